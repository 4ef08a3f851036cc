"""What is read out, a linear layer, and the losses."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

State = tuple[jax.Array, ...]


def select(readout: str, directions: int, y: jax.Array, state: State, valid: jax.Array | None) -> jax.Array:
    """y (T, B, D*H) and the final state -> the rows that are read out, (..., D*H)."""
    match readout:
        case "last_step":
            if valid is None:
                return y[-1]
            # Any row can be taken for a sequence without a valid step, as all of its rows are zero.
            last = jnp.max(valid[:, :, 0] * jnp.arange(len(y))[:, None], axis=0)
            return y[last, jnp.arange(y.shape[1])]
        case "last_sequence":
            return y[:, -1]
        case "final_state":
            return jnp.concatenate(list(state[0][-directions:]), axis=1)
        case _:
            return y


def forward(params: Mapping[str, jax.Array], z: jax.Array) -> jax.Array:
    """Rows z (..., D*H) -> the prediction (..., O)."""
    return z @ params["weight"].T + params["bias"]


def mse(prediction: jax.Array, target: jax.Array, valid: jax.Array | None) -> jax.Array:
    """The mean of the squared errors, over the ``valid`` rows if these are given."""
    return jnp.mean((prediction - target) ** 2, where=valid)


def cross_entropy(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The mean of -log softmax(prediction) at the target, where there is one (not -1)."""
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(prediction, jnp.maximum(target, 0))
    return jnp.mean(losses, where=target >= 0)

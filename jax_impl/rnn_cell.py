"""One step of the Elman network (Elman 1990; ``torch.nn.RNNCell``). The derivative is JAX's."""

import jax
import jax.numpy as jnp

from common.layout import Weights

NONLINEARITIES = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def step(w: Weights, x: jax.Array, state: tuple[jax.Array], nonlinearity: str) -> tuple[jax.Array]:
    """x (B, I) and state (h (B, H),) -> the next state."""
    (h_prev,) = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh
    return (NONLINEARITIES[nonlinearity](a),)

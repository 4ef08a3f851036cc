"""A linear readout and the mean squared error."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

# Which part of y (T, B, H) each readout sees.
SELECT: dict[str, Any] = {"last_step": jnp.s_[-1], "last_sequence": jnp.s_[:, -1]}


def forward(params: Mapping[str, jax.Array], y: jax.Array, readout: str) -> jax.Array:
    """y (T, B, H) -> the prediction: (B, O) for ``last_step``, (T, O) for ``last_sequence``."""
    return y[SELECT[readout]] @ params["weight"].T + params["bias"]


def mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The mean of the squared errors over all elements."""
    return jnp.mean((prediction - target) ** 2)

"""One step of the LSTM without a forget gate (Hochreiter & Schmidhuber 1997). The derivative is JAX's.

The tags, such as (V6), name equations of ``numpy_impl/DERIVATION.md``.
"""

import jax
import jax.numpy as jnp

from common.model.layout import Weights


def step(w: Weights, x: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """x (B, I) and state (h, c), each (B, H) -> the next state. Gates are stacked i, g, o."""
    h_prev, c_prev = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (V1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (V2)
    a_i, a_g, a_o = jnp.split(a, 3, axis=-1)
    i = jax.nn.sigmoid(a_i)  # (V3)
    g = jnp.tanh(a_g)  # (V4)
    o = jax.nn.sigmoid(a_o)  # (V5)
    c = c_prev + i * g  # (V6)
    h = o * jnp.tanh(c)  # (V7)
    return h, c

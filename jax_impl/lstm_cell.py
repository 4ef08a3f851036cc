"""One step of the LSTM with a forget gate (Gers et al. 2000; ``torch.nn.LSTMCell``). The derivative is JAX's.

The tags, such as (K7), name equations of ``numpy_impl/DERIVATION.md``.
"""

import jax
import jax.numpy as jnp

from common.model.layout import Weights


def step(w: Weights, x: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """x (B, I) and state (h, c), each (B, H) -> the next state. Gates are stacked i, f, g, o."""
    h_prev, c_prev = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (K1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (K2)
    a_i, a_f, a_g, a_o = jnp.split(a, 4, axis=-1)
    i = jax.nn.sigmoid(a_i)  # (K3)
    f = jax.nn.sigmoid(a_f)  # (K4)
    g = jnp.tanh(a_g)  # (K5)
    o = jax.nn.sigmoid(a_o)  # (K6)
    c = f * c_prev + i * g  # (K7)
    h = o * jnp.tanh(c)  # (K8)
    return h, c

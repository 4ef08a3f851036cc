"""The LSTM without a forget gate over a whole sequence: one product for the input of all steps, then ``lax.scan``.

The tags, such as (V6), name equations of ``numpy_impl/DERIVATION.md``; (V1) has two lines, as the input needs no state.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from common.model.layout import Weights

from .dropout import drop
from .ragged import freezing

Carry = tuple[jax.Array, jax.Array]


def forward(
    w: Weights,
    x: jax.Array,
    state0: Carry,
    valid: jax.Array | None = None,
    h_mask: jax.Array | None = None,
    record: bool = False,
) -> tuple[Any, Carry]:
    """x (T, B, I) and state0 (h_0, c_0), each (B, H) -> h (T, B, H) after every step, and the final state (h, c).

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h and c stay as they are. ``h_mask`` (B, H) is
    that of dropout of h inside the recurrence.
    With ``record``, the first result is the tuple (h, c, i, g, o) of every step.
    """
    a_x = x @ w.weight_ih.T  # (V1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (V2)

    def step(carry: Carry, a_t: jax.Array) -> tuple[Carry, Any]:
        h_prev, c_prev = carry
        a_i, a_g, a_o = jnp.split(a_t + drop(h_prev, h_mask) @ w.weight_hh.T, 3, axis=-1)  # (V1)
        i = jax.nn.sigmoid(a_i)  # (V3)
        g = jnp.tanh(a_g)  # (V4)
        o = jax.nn.sigmoid(a_o)  # (V5)
        c = c_prev + i * g  # (V6)
        h = o * jnp.tanh(c)  # (V7)
        return (h, c), (h, c, i, g, o) if record else h

    last, h = lax.scan(freezing(step), state0, (a_x, valid))
    return h, last

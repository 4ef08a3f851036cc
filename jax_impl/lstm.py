"""The LSTM over a whole sequence: one product for the input of all steps, then ``lax.scan``.

The tags, such as (K7), name equations of ``numpy_impl/DERIVATION.md``; (K1) has two lines, as the input needs no state.
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
    """x (T, B, I), h_0 (B, P), c_0 (B, H) -> h (T, B, P) after every step, and the final state (h, c).

    With a projection ``weight_hr`` (P, H); without one, P is H. Where ``valid`` (T, B, 1) is given and false, the step
    is frozen: h and c stay as they are. ``h_mask`` (B, P) is that of dropout of h inside the recurrence.
    With ``record``, the first result is the tuple (h, c, i, f, g, o) of every step.
    """
    a_x = x @ w.weight_ih.T  # (K1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (K2)

    def step(carry: Carry, a_t: jax.Array) -> tuple[Carry, Any]:
        h_prev, c_prev = carry
        a_i, a_f, a_g, a_o = jnp.split(a_t + drop(h_prev, h_mask) @ w.weight_hh.T, 4, axis=-1)  # (K1)
        i = jax.nn.sigmoid(a_i)  # (K3)
        f = jax.nn.sigmoid(a_f)  # (K4)
        g = jnp.tanh(a_g)  # (K5)
        o = jax.nn.sigmoid(a_o)  # (K6)
        c = f * c_prev + i * g  # (K7)
        h = o * jnp.tanh(c)  # (K8)
        if w.weight_hr is not None:
            h = h @ w.weight_hr.T  # (L9)
        return (h, c), (h, c, i, f, g, o) if record else h

    last, h = lax.scan(freezing(step), state0, (a_x, valid))
    return h, last

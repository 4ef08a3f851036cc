"""The Elman network over a whole sequence: one product for the input of all steps, then ``lax.scan``.

The tags, such as (E3), name equations of ``numpy_impl/DERIVATION.md``.
"""

from typing import Any

import jax
from jax import lax

from common.model.layout import Weights

from .dropout import drop
from .ragged import freezing
from .rnn_cell import NONLINEARITIES


def forward(
    w: Weights,
    x: jax.Array,
    state0: tuple[jax.Array],
    nonlinearity: str,
    valid: jax.Array | None = None,
    h_mask: jax.Array | None = None,
    record: bool = False,
) -> tuple[Any, tuple[jax.Array]]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> h (T, B, H) after every step, and the final state.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h stays as it is. ``h_mask`` (B, H) is that of
    dropout of h inside the recurrence.
    With ``record``, the first result is the tuple (h,) of every step.
    """
    phi = NONLINEARITIES[nonlinearity]
    a_x = x @ w.weight_ih.T  # (E1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (E2)

    def step(state: tuple[jax.Array], a_t: jax.Array) -> tuple[tuple[jax.Array], Any]:
        (h_prev,) = state
        h = phi(a_t + drop(h_prev, h_mask) @ w.weight_hh.T)  # (E3)
        return (h,), (h,) if record else h

    last, h = lax.scan(freezing(step), state0, (a_x, valid))
    return h, last

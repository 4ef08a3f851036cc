"""The Elman network over a whole sequence: one product for the input of all steps, then a loop.

The tags, such as (E3), name equations of ``numpy_impl/DERIVATION.md``.
"""

from typing import Any

import torch
from torch import Tensor

from common.model.layout import Weights

from .dropout import drop
from .ragged import entering, frozen, stacked
from .rnn_cell import NONLINEARITIES


def forward(
    w: Weights,
    x: Tensor,
    state0: tuple[Tensor],
    nonlinearity: str,
    valid: Tensor | None = None,
    h_mask: Tensor | None = None,
    record: bool = False,
) -> tuple[Any, tuple[Tensor]]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> h (T, B, H) after every step, and the final state.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h stays as it is. ``h_mask`` (B, H) is that of
    dropout of h inside the recurrence.
    With ``record``, the first result is the tuple (h,) of every step.
    """
    phi = NONLINEARITIES[nonlinearity]
    a_x = x @ w.weight_ih.T  # (E1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (E2)
    state, steps = state0, []
    for t, a_t in enumerate(a_x.unbind(0)):
        (h_prev,) = entering(valid, t, state)
        h = phi(torch.addmm(a_t, drop(h_prev, h_mask), w.weight_hh.T))  # (E3)
        state = frozen(valid, t, (h,), state)
        steps.append((h,) if record else h)
    return stacked(steps), state

"""The LSTM over a whole sequence: one product for the input of all steps, then a loop.

The tags, such as (K7), name equations of ``numpy_impl/DERIVATION.md``; (K1) has two lines, as the input needs no state.
"""

from typing import Any

import torch
from torch import Tensor

from common.model.layout import Weights

from .dropout import drop
from .ragged import entering, frozen, stacked


def forward(
    w: Weights,
    x: Tensor,
    state0: tuple[Tensor, Tensor],
    valid: Tensor | None = None,
    h_mask: Tensor | None = None,
    record: bool = False,
) -> tuple[Any, tuple[Tensor, Tensor]]:
    """x (T, B, I), h_0 (B, P) and c_0 (B, H) -> h (T, B, P) after every step, and the final state (h, c).

    With a projection ``weight_hr`` (P, H); without one, P is H. Where ``valid`` (T, B, 1) is given and false, the step
    is frozen: h and c stay as they are. ``h_mask`` (B, P) is that of dropout of h inside the recurrence.
    With ``record``, the first result is the tuple (h, c, i, f, g, o) of every step.
    """
    a_x = x @ w.weight_ih.T  # (K1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (K2)
    state, steps = state0, []
    for t, a_t in enumerate(a_x.unbind(0)):
        h_prev, c_prev = entering(valid, t, state)
        a_i, a_f, a_g, a_o = torch.addmm(a_t, drop(h_prev, h_mask), w.weight_hh.T).chunk(4, dim=-1)  # (K1)
        i = torch.sigmoid(a_i)  # (K3)
        f = torch.sigmoid(a_f)  # (K4)
        g = torch.tanh(a_g)  # (K5)
        o = torch.sigmoid(a_o)  # (K6)
        c = f * c_prev + i * g  # (K7)
        h = o * torch.tanh(c)  # (K8)
        if w.weight_hr is not None:
            h = h @ w.weight_hr.T  # (L9)
        state = frozen(valid, t, (h, c), state)
        steps.append((h, c, i, f, g, o) if record else h)
    return stacked(steps), state

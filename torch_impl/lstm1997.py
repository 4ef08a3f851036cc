"""The LSTM without a forget gate over a whole sequence: one product for the input of all steps, then a loop.

The tags, such as (V6), name equations of ``numpy_impl/DERIVATION.md``; (V1) has two lines, as the input needs no state.
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
    """x (T, B, I) and state0 (h_0, c_0), each (B, H) -> h (T, B, H) after every step, and the final state (h, c).

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h and c stay as they are. ``h_mask`` (B, H) is
    that of dropout of h inside the recurrence.
    With ``record``, the first result is the tuple (h, c, i, g, o) of every step.
    """
    a_x = x @ w.weight_ih.T  # (V1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (V2)
    state, steps = state0, []
    for t, a_t in enumerate(a_x.unbind(0)):
        h_prev, c_prev = entering(valid, t, state)
        a_i, a_g, a_o = torch.addmm(a_t, drop(h_prev, h_mask), w.weight_hh.T).chunk(3, dim=-1)  # (V1)
        i = torch.sigmoid(a_i)  # (V3)
        g = torch.tanh(a_g)  # (V4)
        o = torch.sigmoid(a_o)  # (V5)
        c = c_prev + i * g  # (V6)
        h = o * torch.tanh(c)  # (V7)
        state = frozen(valid, t, (h, c), state)
        steps.append((h, c, i, g, o) if record else h)
    return stacked(steps), state

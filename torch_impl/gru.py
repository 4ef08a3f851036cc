"""The GRU over a whole sequence: one product for the input of all steps, then a loop.

The tags, such as (G5), name equations of ``numpy_impl/DERIVATION.md``; (G4) stands before the loop for the biases of r
and z, which may be added to the input's part.
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
    state0: tuple[Tensor],
    reset_after: bool,
    valid: Tensor | None = None,
    h_mask: Tensor | None = None,
    record: bool = False,
) -> tuple[Any, tuple[Tensor]]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> h (T, B, H) after every step, and the final state.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h stays as it is. ``h_mask`` (B, H) is that of
    dropout of h inside the recurrence: of what the products with W_hh read, not of what z keeps.
    With ``record``, the first result is the tuple (h, r, z, n) of every step.
    """
    H = w.weight_hh.shape[1]
    of_gates, of_candidate = w.weight_hh.split([2 * H, H])
    a = x @ w.weight_ih.T  # (G1)
    b_n = x.new_zeros(())
    if w.bias_ih is not None:
        b_gates, b_n = w.bias_hh.split([2 * H, H])
        a = a + w.bias_ih  # (G3)
        a = a + torch.nn.functional.pad(b_gates, (0, H))  # (G4)
    state, steps = state0, []
    for t, a_t in enumerate(a.unbind(0)):
        (h_prev,) = entering(valid, t, state)
        a_gates, a_n = a_t.split([2 * H, H], dim=-1)
        read = drop(h_prev, h_mask)
        a_r, a_z = torch.addmm(a_gates, read, of_gates.T).chunk(2, dim=-1)  # (G2)
        r = torch.sigmoid(a_r)  # (G5)
        z = torch.sigmoid(a_z)  # (G6)
        s = read if reset_after else r * read  # (G7)
        q_n = s @ of_candidate.T  # (G8)
        q_n = q_n + b_n  # (G9)
        n = torch.tanh(a_n + (r * q_n if reset_after else q_n))  # (G10)
        h = (1 - z) * n + z * h_prev  # (G11)
        state = frozen(valid, t, (h,), state)
        steps.append((h, r, z, n) if record else h)
    return stacked(steps), state

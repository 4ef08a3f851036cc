"""The Elman network over a whole sequence: one product for the input of all steps, then a loop.

The tags, such as (E3), name equations of ``numpy_impl/DERIVATION.md``.
"""

import torch
from torch import Tensor

from common.layout import Weights

from .rnn_cell import NONLINEARITIES


def forward(w: Weights, x: Tensor, state0: tuple[Tensor], nonlinearity: str) -> tuple[list[Tensor]]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> the state after every step: T tensors h (B, H)."""
    phi = NONLINEARITIES[nonlinearity]
    a_x = x @ w.weight_ih.T  # (E1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (E2)
    (h,) = state0
    hs = []
    for a_t in a_x.unbind(0):
        h = phi(torch.addmm(a_t, h, w.weight_hh.T))  # (E3)
        hs.append(h)
    return (hs,)

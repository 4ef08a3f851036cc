"""One step of the LSTM without a forget gate (Hochreiter & Schmidhuber 1997). The derivative is autograd's.

The tags, such as (V6), name equations of ``numpy_impl/DERIVATION.md``.
"""

import torch
from torch import Tensor

from common.model.layout import Weights


def step(w: Weights, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """x (B, I) and state (h, c), each (B, H) -> the next state. Gates are stacked i, g, o."""
    h_prev, c_prev = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (V1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (V2)
    a_i, a_g, a_o = a.chunk(3, dim=-1)
    i = torch.sigmoid(a_i)  # (V3)
    g = torch.tanh(a_g)  # (V4)
    o = torch.sigmoid(a_o)  # (V5)
    c = c_prev + i * g  # (V6)
    h = o * torch.tanh(c)  # (V7)
    return h, c

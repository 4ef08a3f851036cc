"""One step of the LSTM with a forget gate (Gers et al. 2000; ``torch.nn.LSTMCell``). The derivative is autograd's.

The tags, such as (K7), name equations of ``numpy_impl/DERIVATION.md``.
"""

import torch
from torch import Tensor

from common.model.layout import Weights


def step(w: Weights, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """x (B, I) and state (h, c), each (B, H) -> the next state. Gates are stacked i, f, g, o."""
    h_prev, c_prev = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (K1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (K2)
    a_i, a_f, a_g, a_o = a.chunk(4, dim=-1)
    i = torch.sigmoid(a_i)  # (K3)
    f = torch.sigmoid(a_f)  # (K4)
    g = torch.tanh(a_g)  # (K5)
    o = torch.sigmoid(a_o)  # (K6)
    c = f * c_prev + i * g  # (K7)
    h = o * torch.tanh(c)  # (K8)
    return h, c

"""One step of the GRU (Cho et al. 2014; ``torch.nn.GRUCell``). The derivative is autograd's.

The tags, such as (G5), name equations of ``numpy_impl/DERIVATION.md``.
"""

import torch
from torch import Tensor

from common.model.layout import Weights


def step(w: Weights, x: Tensor, state: tuple[Tensor], reset_after: bool) -> tuple[Tensor]:
    """x (B, I) and state (h (B, H),) -> the next state. Gates are stacked r, z, n.

    With ``reset_after`` r scales W_hn h + b_hn, as in torch.nn; without it, r scales h before that product.
    """
    (h_prev,) = state
    H = h_prev.shape[-1]
    a = x @ w.weight_ih.T  # (G1)
    q = h_prev @ w.weight_hh[: 2 * H].T  # (G2)
    if w.bias_ih is not None:
        a = a + w.bias_ih  # (G3)
        q = q + w.bias_hh[: 2 * H]  # (G4)
    a_r, a_z, a_n = a.chunk(3, dim=-1)
    q_r, q_z = q.chunk(2, dim=-1)
    r = torch.sigmoid(a_r + q_r)  # (G5)
    z = torch.sigmoid(a_z + q_z)  # (G6)
    s = h_prev if reset_after else r * h_prev  # (G7)
    q_n = s @ w.weight_hh[2 * H :].T  # (G8)
    if w.bias_ih is not None:
        q_n = q_n + w.bias_hh[2 * H :]  # (G9)
    n = torch.tanh(a_n + (r * q_n if reset_after else q_n))  # (G10)
    h = (1 - z) * n + z * h_prev  # (G11)
    return (h,)

"""One step of the Elman network (Elman 1990; ``torch.nn.RNNCell``). The derivative is autograd's."""

import torch
from torch import Tensor

from common.layout import Weights

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


def step(w: Weights, x: Tensor, state: tuple[Tensor], nonlinearity: str) -> tuple[Tensor]:
    """x (B, I) and state (h (B, H),) -> the next state."""
    (h_prev,) = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh
    return (NONLINEARITIES[nonlinearity](a),)

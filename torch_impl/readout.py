"""A linear readout and the mean squared error."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Which part of y (T, B, H) each readout sees.
SELECT: dict[str, Any] = {"last_step": np.s_[-1], "last_sequence": np.s_[:, -1]}


def forward(params: Mapping[str, Tensor], y: Tensor, readout: str) -> Tensor:
    """y (T, B, H) -> the prediction: (B, O) for ``last_step``, (T, O) for ``last_sequence``."""
    return y[SELECT[readout]] @ params["weight"].T + params["bias"]


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean of the squared errors over all elements."""
    return torch.mean((prediction - target) ** 2)

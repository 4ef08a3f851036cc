"""A linear readout, the mean squared error, and their derivatives. Equations: DERIVATION.md, 5."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Which part of y (T, B, H) each readout sees.
SELECT: dict[str, Any] = {"last_step": np.s_[-1], "last_sequence": np.s_[:, -1]}


def forward(params: Mapping[str, np.ndarray], y: np.ndarray, readout: str) -> np.ndarray:
    """y (T, B, H) -> the prediction: (B, O) for ``last_step``, (T, O) for ``last_sequence``."""
    return y[SELECT[readout]] @ params["weight"].T + params["bias"]  # (O1)


def backward(
    params: Mapping[str, np.ndarray], y: np.ndarray, readout: str, dprediction: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The gradients of the readout's parameters and of y (T, B, H)."""
    grads = {
        "weight": dprediction.T @ y[SELECT[readout]],  # (O2)
        "bias": dprediction.sum(axis=0),  # (O3)
    }
    dy = np.zeros_like(y)
    dy[SELECT[readout]] = dprediction @ params["weight"]  # (O4)
    return grads, dy


def mse(prediction: np.ndarray, target: np.ndarray) -> tuple[np.floating, np.ndarray]:
    """The mean of the squared errors over all elements, and its gradient with respect to the prediction."""
    error = prediction - target
    loss = np.mean(error * error)  # (O5)
    derror = 2 * error / error.size  # (O6)
    return loss, derror

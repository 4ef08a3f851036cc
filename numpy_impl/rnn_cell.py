"""One step of the Elman network and its derivative (Elman 1990; ``torch.nn.RNNCell``). Equations: DERIVATION.md, 1.

``@`` works on rows, so the product W x of the papers is ``x @ W.T`` here, for all B sequences at once.
"""

from typing import Any, NamedTuple

import numpy as np

from common.model.layout import Weights


def relu(a: np.ndarray) -> np.ndarray:
    return np.where(np.real(a) <= 0, 0, a)  # by the real part: so the complex step sees the slope 0 chosen at 0


def relu_slope(h: np.ndarray) -> np.ndarray:
    return (h > 0).astype(h.dtype)


def tanh_slope(h: np.ndarray) -> np.ndarray:
    return 1 - h * h


# Each nonlinearity with its derivative, which is written in the activated value h = phi(a).
NONLINEARITIES: dict[str, tuple[Any, Any]] = {"tanh": (np.tanh, tanh_slope), "relu": (relu, relu_slope)}


class Tape(NamedTuple):
    """What the backward step needs of the forward step."""

    x: np.ndarray
    h_prev: np.ndarray
    h: np.ndarray


def forward(w: Weights, x: np.ndarray, state: tuple[np.ndarray], nonlinearity: str) -> tuple[tuple[np.ndarray], Tape]:
    """x (B, I) and state (h (B, H),) -> the next state and the tape."""
    phi, _ = NONLINEARITIES[nonlinearity]
    (h_prev,) = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (C1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (C2)
    h = phi(a)  # (C3)
    return (h,), Tape(x, h_prev, h)


def backward(
    w: Weights, tape: Tape, dstate: tuple[np.ndarray], nonlinearity: str
) -> tuple[Weights, np.ndarray, tuple[np.ndarray]]:
    """dL/dh of the new state -> the gradients of the weights, of x and of the previous state."""
    _, slope = NONLINEARITIES[nonlinearity]
    (dh,) = dstate
    da = dh * slope(tape.h)  # (C4)
    dweight_ih = da.T @ tape.x  # (C5)
    dweight_hh = da.T @ tape.h_prev  # (C6)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (C7)
    dx = da @ w.weight_ih  # (C8)
    dh_prev = da @ w.weight_hh  # (C9)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_prev,)

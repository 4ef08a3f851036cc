"""One step of the LSTM with a forget gate and its derivative (Gers et al. 2000; ``torch.nn.LSTMCell``).

Equations: DERIVATION.md, 3. Gates are stacked i, f, g, o along the last axis.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights


class Tape(NamedTuple):
    """What the backward step needs of the forward step."""

    x: np.ndarray
    h_prev: np.ndarray
    c_prev: np.ndarray
    i: np.ndarray
    f: np.ndarray
    g: np.ndarray
    o: np.ndarray
    tanh_c: np.ndarray


def sigmoid(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a)) through tanh, which cannot overflow."""
    return 0.5 * np.tanh(0.5 * a) + 0.5


def forward(
    w: Weights, x: np.ndarray, state: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[np.ndarray, np.ndarray], Tape]:
    """x (B, I) and state (h, c), each (B, H) -> the next state and the tape."""
    h_prev, c_prev = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (K1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (K2)
    a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
    i = sigmoid(a_i)  # (K3)
    f = sigmoid(a_f)  # (K4)
    g = np.tanh(a_g)  # (K5)
    o = sigmoid(a_o)  # (K6)
    c = f * c_prev + i * g  # (K7)
    tanh_c = np.tanh(c)
    h = o * tanh_c  # (K8)
    return (h, c), Tape(x, h_prev, c_prev, i, f, g, o, tanh_c)


def backward(
    w: Weights, tape: Tape, dstate: tuple[np.ndarray, np.ndarray]
) -> tuple[Weights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """dL/dh and dL/dc of the new state -> the gradients of the weights, of x and of the previous state."""
    x, h_prev, c_prev, i, f, g, o, tanh_c = tape
    dh, dc_next = dstate
    dc = dc_next + dh * o * (1 - tanh_c * tanh_c)  # (K9)
    da_i = dc * g * i * (1 - i)  # (K10)
    da_f = dc * c_prev * f * (1 - f)  # (K11)
    da_g = dc * i * (1 - g * g)  # (K12)
    da_o = dh * tanh_c * o * (1 - o)  # (K13)
    da = np.concatenate([da_i, da_f, da_g, da_o], axis=1)
    dweight_ih = da.T @ x  # (K14)
    dweight_hh = da.T @ h_prev  # (K15)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (K16)
    dx = da @ w.weight_ih  # (K17)
    dh_prev = da @ w.weight_hh  # (K18)
    dc_prev = dc * f  # (K19)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_prev, dc_prev)

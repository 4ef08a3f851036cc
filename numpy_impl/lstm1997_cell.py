"""One step of the LSTM without a forget gate and its derivative (Hochreiter & Schmidhuber 1997).

Equations: DERIVATION.md, 13. Gates are stacked i, g, o along the last axis. The cell state keeps all that it holds: the
paper's constant error carousel. The functions that squash the candidate and the cell state are the later tanh, and the
derivative is the whole one, which the paper truncates at the gates.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights

from .lstm_cell import sigmoid


class Tape(NamedTuple):
    """What the backward step needs of the forward step."""

    x: np.ndarray
    h_prev: np.ndarray
    i: np.ndarray
    g: np.ndarray
    o: np.ndarray
    tanh_c: np.ndarray


def forward(
    w: Weights, x: np.ndarray, state: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[np.ndarray, np.ndarray], Tape]:
    """x (B, I) and state (h, c), each (B, H) -> the next state and the tape."""
    h_prev, c_prev = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (V1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (V2)
    a_i, a_g, a_o = np.split(a, 3, axis=1)
    i = sigmoid(a_i)  # (V3)
    g = np.tanh(a_g)  # (V4)
    o = sigmoid(a_o)  # (V5)
    c = c_prev + i * g  # (V6)
    tanh_c = np.tanh(c)
    h = o * tanh_c  # (V7)
    return (h, c), Tape(x=x, h_prev=h_prev, i=i, g=g, o=o, tanh_c=tanh_c)


def backward(
    w: Weights, tape: Tape, dstate: tuple[np.ndarray, np.ndarray]
) -> tuple[Weights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """dL/dh and dL/dc of the new state -> the gradients of the weights, of x and of the previous state."""
    x, h_prev, i, g, o, tanh_c = tape
    dh, dc_next = dstate
    dc = dc_next + dh * o * (1 - tanh_c * tanh_c)  # (V8)
    da_i = dc * g * i * (1 - i)  # (V9)
    da_g = dc * i * (1 - g * g)  # (V10)
    da_o = dh * tanh_c * o * (1 - o)  # (V11)
    da = np.concatenate([da_i, da_g, da_o], axis=1)
    dweight_ih = da.T @ x  # (V12)
    dweight_hh = da.T @ h_prev  # (V13)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (V14)
    dx = da @ w.weight_ih  # (V15)
    dh_prev = da @ w.weight_hh  # (V16)
    dc_prev = dc  # (V17)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_prev, dc_prev)

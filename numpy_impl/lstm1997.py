"""The LSTM without a forget gate over a whole sequence, and back-propagation through time by hand.

Equations: DERIVATION.md, 14. As in ``lstm``, the input projection of all steps is one product before the loop, and the
gradient of every weight one product after it.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights

from . import dropout
from .lstm_cell import sigmoid


class Tape(NamedTuple):
    """What the backward pass needs: x (T, B, I), and arrays (T, B, H)."""

    x: np.ndarray
    h_prev: np.ndarray
    i: np.ndarray
    g: np.ndarray
    o: np.ndarray
    tanh_c: np.ndarray


def forward(
    w: Weights,
    x: np.ndarray,
    state0: tuple[np.ndarray, np.ndarray],
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], Tape]:
    """x (T, B, I) and state0 (h_0, c_0), each (B, H) -> h (T, B, H) after every step, the final state and the tape.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h and c stay as they are. ``h_mask`` (B, H) is
    that of dropout of h inside the recurrence.
    """
    T, B, I = x.shape
    H = w.weight_hh.shape[1]
    hs = np.empty((T + 1, B, H), x.dtype)
    h_prev, h = hs[:-1], hs[1:]
    h_prev[0], c = state0
    i, g, o, tanh_c = np.empty((4, T, B, H), x.dtype)

    a = (x.reshape(T * B, I) @ w.weight_ih.T).reshape(T, B, 3 * H)  # (W1)
    if w.bias_ih is not None:
        a += w.bias_ih + w.bias_hh  # (W2)
    for t in range(T):
        h_in = h_prev[t] if valid is None else np.where(valid[t], h_prev[t], 0)  # from 0 a frozen step cannot overflow
        if h_mask is not None:
            h_in = dropout.forward(h_in, h_mask)
        a_i, a_g, a_o = np.split(a[t] + h_in @ w.weight_hh.T, 3, axis=1)  # (W3)
        i[t] = sigmoid(a_i)  # (W4)
        g[t] = np.tanh(a_g)  # (W5)
        o[t] = sigmoid(a_o)  # (W6)
        if valid is not None:
            i[t], o[t] = (np.where(valid[t], gate, 0) for gate in (i[t], o[t]))  # (W7)
        c = c + i[t] * g[t]  # (W8)
        np.tanh(c, out=tanh_c[t])
        h[t] = o[t] * tanh_c[t]  # (W9)
        if valid is not None:
            h[t] = np.where(valid[t], h[t], h_prev[t])  # (W10)
    return h, (hs[-1], c), Tape(x=x, h_prev=h_prev, i=i, g=g, o=o, tanh_c=tanh_c)


def quantities(
    tape: Tape, state0: tuple[np.ndarray, np.ndarray], last: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """h, c, i, g, o of every step, each (T, B, H). c is the running sum of what the steps add to it."""
    h = np.concatenate([tape.h_prev[1:], last[0][None]])
    c = np.cumsum(np.concatenate([state0[1][None], tape.i * tape.g]), axis=0)[1:]
    return h, c, tape.i, tape.g, tape.o


def backward(
    w: Weights,
    tape: Tape,
    dy: np.ndarray,
    dlast: tuple[np.ndarray, np.ndarray],
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[Weights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """dL/dh as outputs, dy (T, B, H), and dL/d(final state) -> the gradients of the weights, of x and of state0.

    ``valid`` and ``h_mask`` are those of the forward pass; dy is zero where ``valid`` is false.
    """
    x, h_prev, i, g, o, tanh_c = tape
    T, B, I = x.shape
    H = h_prev.shape[2]
    da = np.empty((T, B, 3 * H), x.dtype)
    da_i, da_g, da_o = np.split(da, 3, axis=2)
    dh_next, dc = dlast
    for t in reversed(range(T)):
        dh = dy[t] + dh_next  # (W11)
        dc = dc + dh * o[t] * (1 - tanh_c[t] * tanh_c[t])  # (W12)
        da_i[t] = dc * g[t] * (i[t] * (1 - i[t]))  # (W13)
        da_g[t] = dc * i[t] * (1 - g[t] * g[t])  # (W14)
        da_o[t] = dh * tanh_c[t] * (o[t] * (1 - o[t]))  # (W15)
        dh_next = da[t] @ w.weight_hh  # (W16)
        if h_mask is not None:
            dh_next = dropout.backward(dh_next, h_mask)
        if valid is not None:
            dh_next = np.where(valid[t], dh_next, dh)  # (W17)

    da, h_in = da.reshape(T * B, 3 * H), h_prev if h_mask is None else dropout.forward(h_prev, h_mask)
    dweight_ih = da.T @ x.reshape(T * B, I)  # (W18)
    dweight_hh = da.T @ h_in.reshape(T * B, H)  # (W19)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (W20)
    dx = (da @ w.weight_ih).reshape(T, B, I)  # (W21)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_next, dc)

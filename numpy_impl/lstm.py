"""The LSTM over a whole sequence, and back-propagation through time by hand. Equations: DERIVATION.md, 4.

The input projection of all steps is one product before the loop, the gradient of every weight one product after it.
sigmoid(a) = (tanh(a/2) + 1)/2, so with the rows of i, f and o halved beforehand (exact in binary), one tanh over the
contiguous gates of a step serves all four. The derivative of the gates stays inside the loop: taken for all steps at
once it is bound by memory and slower, except for tiny batches.
"""

from typing import NamedTuple

import numpy as np

from common.layout import Weights


class Tape(NamedTuple):
    """What the backward pass needs: x (T, B, I), the activated gates (T, B, 4H), and four arrays (T, B, H)."""

    x: np.ndarray
    gates: np.ndarray
    h_prev: np.ndarray
    c_prev: np.ndarray
    tanh_c: np.ndarray


def split(gates: np.ndarray) -> list[np.ndarray]:
    """Views of i, f, g, o in the last axis."""
    return np.split(gates, 4, axis=-1)


def forward(
    w: Weights, x: np.ndarray, state0: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], Tape]:
    """x (T, B, I) and state0 (h_0, c_0), each (B, H) -> y (T, B, H), the final state and the tape."""
    T, B, I = x.shape
    H = w.weight_hh.shape[1]
    hs, cs, tanh_c = (np.empty((steps, B, H), x.dtype) for steps in (T + 1, T + 1, T))
    h_prev, h, c_prev, c = hs[:-1], hs[1:], cs[:-1], cs[1:]
    h_prev[0], c_prev[0] = state0
    slope, offset = (np.repeat(np.array(v, x.dtype), H) for v in ([0.5, 0.5, 1, 0.5], [0.5, 0.5, 0, 0.5]))
    weight_hh = w.weight_hh * slope[:, None]

    gates = (x.reshape(T * B, I) @ (w.weight_ih * slope[:, None]).T).reshape(T, B, 4 * H)  # (L1)
    if w.bias_ih is not None:
        gates += (w.bias_ih + w.bias_hh) * slope  # (L2)
    i, f, g, o = split(gates)
    for t in range(T):
        gates[t] += h_prev[t] @ weight_hh.T  # (L3)
        np.tanh(gates[t], out=gates[t])  # (L4)
        gates[t] *= slope
        gates[t] += offset  # (L5)
        c[t] = f[t] * c_prev[t] + i[t] * g[t]  # (L6)
        np.tanh(c[t], out=tanh_c[t])
        h[t] = o[t] * tanh_c[t]  # (L7)
    return h, (h[-1], c[-1]), Tape(x, gates, h_prev, c_prev, tanh_c)


def backward(
    w: Weights, tape: Tape, dy: np.ndarray, dstate: tuple[np.ndarray, np.ndarray]
) -> tuple[Weights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """dy (T, B, H), dL/dh_T and dL/dc_T -> the gradients of the weights, of x and of the initial state."""
    x, gates, h_prev, c_prev, tanh_c = tape
    T, B, I = x.shape
    H = tanh_c.shape[2]
    i, f, g, o = split(gates)
    da = np.empty_like(gates)
    da_i, da_f, da_g, da_o = split(da)
    dh_next, dc_next = dstate
    for t in reversed(range(T)):
        dh = dy[t] + dh_next  # (L8)
        dc = dc_next + dh * o[t] * (1 - tanh_c[t] * tanh_c[t])  # (L9)
        da_i[t] = dc * g[t] * (i[t] * (1 - i[t]))  # (L10)
        da_f[t] = dc * c_prev[t] * (f[t] * (1 - f[t]))  # (L11)
        da_g[t] = dc * i[t] * (1 - g[t] * g[t])  # (L12)
        da_o[t] = dh * tanh_c[t] * (o[t] * (1 - o[t]))  # (L13)
        dc_next = dc * f[t]  # (L14)
        dh_next = da[t] @ w.weight_hh  # (L15)

    da = da.reshape(T * B, 4 * H)
    dweight_ih = da.T @ x.reshape(T * B, I)  # (L16)
    dweight_hh = da.T @ h_prev.reshape(T * B, H)  # (L17)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (L18)
    dx = (da @ w.weight_ih).reshape(T, B, I)  # (L19)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_next, dc_next)

"""The LSTM over a whole sequence, and back-propagation through time by hand. Equations: DERIVATION.md, 4.

The input projection of all steps is one product before the loop, the gradient of every weight one product after it.
sigmoid(a) = (tanh(a/2) + 1)/2, so with the rows of i, f and o halved beforehand (exact in binary), one tanh over the
contiguous gates of a step serves all four. The derivative of the gates stays inside the loop: taken for all steps at
once it is bound by memory and slower, except for tiny batches.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights

from . import dropout


class Tape(NamedTuple):
    """What the backward pass needs: x (T, B, I), the activated gates (T, B, 4H), and arrays (T, B, H).

    ``m`` is the output before its projection to P columns, ``h_prev`` (T, B, P) after it; without one, P is H.
    """

    x: np.ndarray
    gates: np.ndarray
    h_prev: np.ndarray
    c_prev: np.ndarray
    tanh_c: np.ndarray
    m: np.ndarray


def split(gates: np.ndarray) -> list[np.ndarray]:
    """Views of i, f, g, o in the last axis."""
    return np.split(gates, 4, axis=-1)


def forward(
    w: Weights,
    x: np.ndarray,
    state0: tuple[np.ndarray, np.ndarray],
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], Tape]:
    """x (T, B, I), h_0 (B, P), c_0 (B, H) -> h (T, B, P) after every step, the final state (h, c) and the tape.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h and c stay as they are. ``h_mask`` (B, P) is
    that of dropout of h inside the recurrence.
    """
    T, B, I = x.shape
    H, P = w.weight_hh.shape[0] // 4, w.weight_hh.shape[1]
    hs, cs, tanh_c = (np.empty(shape, x.dtype) for shape in ((T + 1, B, P), (T + 1, B, H), (T, B, H)))
    h_prev, h, c_prev, c = hs[:-1], hs[1:], cs[:-1], cs[1:]
    m = h if w.weight_hr is None else np.empty_like(tanh_c)
    h_prev[0], c_prev[0] = state0
    slope, offset = (np.repeat(np.array(v, x.dtype), H) for v in ([0.5, 0.5, 1, 0.5], [0.5, 0.5, 0, 0.5]))
    weight_hh = w.weight_hh * slope[:, None]
    frozen = None if valid is None else np.repeat(np.array([0, 1, 0, 0], x.dtype), H)

    gates = (x.reshape(T * B, I) @ (w.weight_ih * slope[:, None]).T).reshape(T, B, 4 * H)  # (L1)
    if w.bias_ih is not None:
        gates += (w.bias_ih + w.bias_hh) * slope  # (L2)
    i, f, g, o = split(gates)
    for t in range(T):
        h_in = h_prev[t] if valid is None else np.where(valid[t], h_prev[t], 0)  # from 0 a frozen step cannot overflow
        if h_mask is not None:
            h_in = dropout.forward(h_in, h_mask)
        gates[t] += h_in @ weight_hh.T  # (L3)
        np.tanh(gates[t], out=gates[t])  # (L4)
        gates[t] *= slope
        gates[t] += offset  # (L5)
        if valid is not None:
            gates[t] = np.where(valid[t], gates[t], frozen)  # (L6)
        c[t] = f[t] * c_prev[t] + i[t] * g[t]  # (L7)
        np.tanh(c[t], out=tanh_c[t])
        m[t] = o[t] * tanh_c[t]  # (L8)
        if w.weight_hr is not None:
            h[t] = m[t] @ w.weight_hr.T  # (L9)
        if valid is not None:
            h[t] = np.where(valid[t], h[t], h_prev[t])  # (L10)
    return h, (hs[-1], cs[-1]), Tape(x, gates, h_prev, c_prev, tanh_c, m)


def quantities(
    tape: Tape, state0: tuple[np.ndarray, np.ndarray], last: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """h (T, B, P) and c, i, f, g, o of every step, each (T, B, H)."""
    h, c = (
        np.concatenate([before[1:], final[None]])
        for before, final in zip((tape.h_prev, tape.c_prev), last, strict=True)
    )
    return h, c, *split(tape.gates)


def backward(
    w: Weights,
    tape: Tape,
    dy: np.ndarray,
    dlast: tuple[np.ndarray, np.ndarray],
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[Weights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """dL/dh as outputs, dy (T, B, P), and dL/d(final state) -> the gradients of the weights, of x and of state0.

    ``valid`` and ``h_mask`` are those of the forward pass; dy is zero where ``valid`` is false.
    """
    x, gates, h_prev, c_prev, tanh_c, m = tape
    T, B, I = x.shape
    H, P = tanh_c.shape[2], h_prev.shape[2]
    i, f, g, o = split(gates)
    da = np.empty_like(gates)
    da_i, da_f, da_g, da_o = split(da)
    dh = np.empty_like(h_prev)
    dh_next, dc_next = dlast
    for t in reversed(range(T)):
        dh[t] = dm = dy[t] + dh_next  # (L11)
        if w.weight_hr is not None:
            dm = dh[t] @ w.weight_hr  # (L12)
        dc = dc_next + dm * o[t] * (1 - tanh_c[t] * tanh_c[t])  # (L13)
        da_i[t] = dc * g[t] * (i[t] * (1 - i[t]))  # (L14)
        da_f[t] = dc * c_prev[t] * (f[t] * (1 - f[t]))  # (L15)
        da_g[t] = dc * i[t] * (1 - g[t] * g[t])  # (L16)
        da_o[t] = dm * tanh_c[t] * (o[t] * (1 - o[t]))  # (L17)
        dc_next = dc * f[t]  # (L18)
        dh_next = da[t] @ w.weight_hh  # (L19)
        if h_mask is not None:
            dh_next = dropout.backward(dh_next, h_mask)
        if valid is not None:
            dh_next = np.where(valid[t], dh_next, dh[t])  # (L20)

    da, h_in = da.reshape(T * B, 4 * H), h_prev if h_mask is None else dropout.forward(h_prev, h_mask)
    dweight_ih = da.T @ x.reshape(T * B, I)  # (L21)
    dweight_hh = da.T @ h_in.reshape(T * B, P)  # (L22)
    dbias_ih = dbias_hh = dweight_hr = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (L23)
    if w.weight_hr is not None:
        dweight_hr = dh.reshape(T * B, P).T @ m.reshape(T * B, H)  # (L24)
    dx = (da @ w.weight_ih).reshape(T, B, I)  # (L25)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh, dweight_hr), dx, (dh_next, dc_next)

"""The GRU over a whole sequence, and back-propagation through time by hand. Equations: DERIVATION.md, 12.

The input projection of all steps is one product before the loop, and the gradient of every weight one product after
it. The two biases of r and z are added together there; that of the candidate's recurrent part belongs to the product
with r, and stays in the loop.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights

from . import dropout
from .lstm_cell import sigmoid


class Tape(NamedTuple):
    """What the backward pass needs: x (T, B, I), and arrays (T, B, H).

    ``s`` is what W_hn multiplies, and ``q_n`` the product, with its bias.
    """

    x: np.ndarray
    h_prev: np.ndarray
    r: np.ndarray
    z: np.ndarray
    n: np.ndarray
    s: np.ndarray
    q_n: np.ndarray


def forward(
    w: Weights,
    x: np.ndarray,
    state0: tuple[np.ndarray],
    reset_after: bool,
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray], Tape]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> h (T, B, H) after every step, the final state and the tape.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h stays as it is. ``h_mask`` (B, H) is that of
    dropout of h inside the recurrence: of what the products with W_hh read, not of what z keeps.
    """
    T, B, I = x.shape
    H = w.weight_hh.shape[1]
    hs = np.empty((T + 1, B, H), x.dtype)
    h_prev, h = hs[:-1], hs[1:]
    (h_prev[0],) = state0
    r, z, n, s, q_n = np.empty((5, T, B, H), x.dtype)

    a = (x.reshape(T * B, I) @ w.weight_ih.T).reshape(T, B, 3 * H)  # (R1)
    b_n = 0
    if w.bias_ih is not None:
        a += w.bias_ih  # (R2)
        a[..., : 2 * H] += w.bias_hh[: 2 * H]  # (R3)
        b_n = w.bias_hh[2 * H :]
    for t in range(T):
        h_in = h_prev[t] if valid is None else np.where(valid[t], h_prev[t], 0)  # from 0 a frozen step cannot overflow
        read = h_in if h_mask is None else dropout.forward(h_in, h_mask)
        gates = sigmoid(a[t, :, : 2 * H] + read @ w.weight_hh[: 2 * H].T)  # (R4)
        r[t], z[t] = np.split(gates, 2, axis=1)
        s[t] = read if reset_after else r[t] * read  # (R5)
        q_n[t] = s[t] @ w.weight_hh[2 * H :].T + b_n  # (R6)
        n[t] = np.tanh(a[t, :, 2 * H :] + (r[t] * q_n[t] if reset_after else q_n[t]))  # (R7)
        h[t] = (1 - z[t]) * n[t] + z[t] * h_in  # (R8)
        if valid is not None:
            h[t] = np.where(valid[t], h[t], h_prev[t])  # (R9)
    return h, (hs[-1],), Tape(x=x, h_prev=h_prev, r=r, z=z, n=n, s=s, q_n=q_n)


def quantities(tape: Tape, state0: tuple[np.ndarray], last: tuple[np.ndarray]) -> tuple[np.ndarray, ...]:
    """h, r, z, n of every step, each (T, B, H)."""
    h = np.concatenate([tape.h_prev[1:], last[0][None]])
    return h, tape.r, tape.z, tape.n


def backward(
    w: Weights,
    tape: Tape,
    dy: np.ndarray,
    dlast: tuple[np.ndarray],
    reset_after: bool,
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[Weights, np.ndarray, tuple[np.ndarray]]:
    """dL/dh as outputs, dy (T, B, H), and as final state -> the gradients of the weights, of x and of state0.

    ``valid`` and ``h_mask`` are those of the forward pass; dy is zero where ``valid`` is false.
    """
    x, h_prev, r, z, n, s, q_n = tape
    T, B, I = x.shape
    H = h_prev.shape[2]
    da = np.empty((T, B, 3 * H), x.dtype)
    da_r, da_z, da_n = np.split(da, 3, axis=2)
    dq_n = np.empty_like(da_n) if reset_after else da_n
    read = h_prev if h_mask is None else dropout.forward(h_prev, h_mask)
    (dh_next,) = dlast
    for t in reversed(range(T)):
        total = dy[t] + dh_next  # (R10)
        dh = total if valid is None else np.where(valid[t], total, 0)  # (R11)
        da_z[t] = dh * (h_prev[t] - n[t]) * (z[t] * (1 - z[t]))  # (R12)
        da_n[t] = dh * (1 - z[t]) * (1 - n[t] * n[t])  # (R13)
        if reset_after:
            dq_n[t] = da_n[t] * r[t]  # (R14)
        ds = dq_n[t] @ w.weight_hh[2 * H :]  # (R15)
        dr = da_n[t] * q_n[t] if reset_after else ds * read[t]  # (R16)
        da_r[t] = dr * (r[t] * (1 - r[t]))  # (R17)
        dread = da[t, :, : 2 * H] @ w.weight_hh[: 2 * H] + (ds if reset_after else ds * r[t])
        if h_mask is not None:
            dread = dropout.backward(dread, h_mask)
        dh_next = dh * z[t] + dread  # (R18)
        if valid is not None:
            dh_next = np.where(valid[t], dh_next, total)  # (R19)

    da, dq = da.reshape(T * B, 3 * H), da[..., : 2 * H].reshape(T * B, 2 * H)
    dq_n = dq_n.reshape(T * B, H)
    dweight_ih = da.T @ x.reshape(T * B, I)  # (R20)
    dweight_hh = np.concatenate([dq.T @ read.reshape(T * B, H), dq_n.T @ s.reshape(T * B, H)])  # (R21)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = da.sum(axis=0)  # (R22)
        dbias_hh = np.concatenate([dbias_ih[: 2 * H], dq_n.sum(axis=0)])  # (R23)
    dx = (da @ w.weight_ih).reshape(T, B, I)  # (R24)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_next,)

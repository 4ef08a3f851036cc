"""The Elman network over a whole sequence, and back-propagation through time by hand. Equations: DERIVATION.md, 2.

Only the recurrence is inside the loop: the input projection of all steps is one product before it, and the gradient
of every weight is one product after it. ``h_prev`` and ``h`` are two views of one buffer, shifted by a step, so
``h_prev[t]`` is h at time t-1 and ``h_prev[0]`` the initial state.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights

from . import dropout
from .rnn_cell import NONLINEARITIES


class Tape(NamedTuple):
    """What the backward pass needs of the forward pass: x (T, B, I), h_prev and h (T, B, H)."""

    x: np.ndarray
    h_prev: np.ndarray
    h: np.ndarray


def forward(
    w: Weights,
    x: np.ndarray,
    state0: tuple[np.ndarray],
    nonlinearity: str,
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray], Tape]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> h (T, B, H) after every step, the final state and the tape.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h stays as it is. ``h_mask`` (B, H) is
    that of dropout of h inside the recurrence.
    """
    phi, _ = NONLINEARITIES[nonlinearity]
    T, B, I = x.shape
    hs = np.empty((T + 1, B, w.weight_hh.shape[1]), x.dtype)
    h_prev, h = hs[:-1], hs[1:]
    (h_prev[0],) = state0

    a_x = (x.reshape(T * B, I) @ w.weight_ih.T).reshape(T, B, -1)  # (E1)
    if w.bias_ih is not None:
        a_x += w.bias_ih + w.bias_hh  # (E2)
    for t in range(T):
        h_in = h_prev[t] if valid is None else np.where(valid[t], h_prev[t], 0)  # from 0 a frozen step cannot overflow
        if h_mask is not None:
            h_in = dropout.forward(h_in, h_mask)
        h[t] = phi(a_x[t] + h_in @ w.weight_hh.T)  # (E3)
        if valid is not None:
            h[t] = np.where(valid[t], h[t], h_prev[t])  # (E4)
    return h, (hs[-1],), Tape(x, h_prev, h)


def quantities(tape: Tape, state0: tuple[np.ndarray], last: tuple[np.ndarray]) -> tuple[np.ndarray, ...]:
    """h of every step, (T, B, H)."""
    return (tape.h,)


def backward(
    w: Weights,
    tape: Tape,
    dy: np.ndarray,
    dlast: tuple[np.ndarray],
    nonlinearity: str,
    valid: np.ndarray | None = None,
    h_mask: np.ndarray | None = None,
) -> tuple[Weights, np.ndarray, tuple[np.ndarray]]:
    """dL/dh as outputs, dy (T, B, H), and as final state -> the gradients of the weights, of x and of state0.

    ``valid`` and ``h_mask`` are those of the forward pass; dy is zero where ``valid`` is false.
    """
    _, slope = NONLINEARITIES[nonlinearity]
    x, h_prev, h = tape
    T, B, I = x.shape
    H = h.shape[2]
    dphi = slope(h)  # (E5)
    if valid is not None:
        dphi = np.where(valid, dphi, 0)  # (E6)
    da = np.empty_like(h)
    (dh_next,) = dlast
    for t in reversed(range(T)):
        dh = dy[t] + dh_next  # (E7)
        da[t] = dh * dphi[t]  # (E8)
        dh_next = da[t] @ w.weight_hh  # (E9)
        if h_mask is not None:
            dh_next = dropout.backward(dh_next, h_mask)
        if valid is not None:
            dh_next = np.where(valid[t], dh_next, dh)  # (E10)

    da, h_in = da.reshape(T * B, H), h_prev if h_mask is None else dropout.forward(h_prev, h_mask)
    dweight_ih = da.T @ x.reshape(T * B, I)  # (E11)
    dweight_hh = da.T @ h_in.reshape(T * B, H)  # (E12)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (E13)
    dx = (da @ w.weight_ih).reshape(T, B, I)  # (E14)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_next,)

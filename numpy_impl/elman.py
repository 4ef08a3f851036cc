"""The Elman network over a whole sequence, and back-propagation through time by hand. Equations: DERIVATION.md, 2.

Only the recurrence is inside the loop: the input projection of all steps is one product before it, and the gradient
of every weight is one product after it. ``h_prev`` and ``h`` are two views of one buffer, shifted by a step, so
``h_prev[t]`` is h at time t-1 and ``h_prev[0]`` the initial state.
"""

from typing import NamedTuple

import numpy as np

from common.layout import Weights

from .rnn_cell import NONLINEARITIES


class Tape(NamedTuple):
    """What the backward pass needs of the forward pass: x (T, B, I), h_prev and h (T, B, H)."""

    x: np.ndarray
    h_prev: np.ndarray
    h: np.ndarray


def forward(w: Weights, x: np.ndarray, state0: tuple[np.ndarray], nonlinearity: str) -> tuple[tuple[np.ndarray], Tape]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> the state after every step, (h (T, B, H),), and the tape."""
    phi, _ = NONLINEARITIES[nonlinearity]
    T, B, I = x.shape
    hs = np.empty((T + 1, B, w.weight_hh.shape[1]), x.dtype)
    h_prev, h = hs[:-1], hs[1:]
    (h_prev[0],) = state0

    a_x = (x.reshape(T * B, I) @ w.weight_ih.T).reshape(T, B, -1)  # (E1)
    if w.bias_ih is not None:
        a_x += w.bias_ih + w.bias_hh  # (E2)
    for t in range(T):
        h[t] = phi(a_x[t] + h_prev[t] @ w.weight_hh.T)  # (E3)
    return (h,), Tape(x, h_prev, h)


def backward(
    w: Weights, tape: Tape, dstates: tuple[np.ndarray], dlast: tuple[np.ndarray], nonlinearity: str
) -> tuple[Weights, np.ndarray, tuple[np.ndarray]]:
    """dL/dh as outputs (dy (T, B, H),) and as final state -> the gradients of the weights, of x and of state0."""
    _, slope = NONLINEARITIES[nonlinearity]
    x, h_prev, h = tape
    T, B, I = x.shape
    H = h.shape[2]
    dphi = slope(h)  # (E4)
    da = np.empty_like(h)
    (dy,), (dh_next,) = dstates, dlast
    for t in reversed(range(T)):
        dh = dy[t] + dh_next  # (E5)
        da[t] = dh * dphi[t]  # (E6)
        dh_next = da[t] @ w.weight_hh  # (E7)

    da = da.reshape(T * B, H)
    dweight_ih = da.T @ x.reshape(T * B, I)  # (E8)
    dweight_hh = da.T @ h_prev.reshape(T * B, H)  # (E9)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = dbias_hh = da.sum(axis=0)  # (E10)
    dx = (da @ w.weight_ih).reshape(T, B, I)  # (E11)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_next,)

"""One step of the GRU and its derivative (Cho et al. 2014; ``torch.nn.GRUCell``). Equations: DERIVATION.md, 11.

Gates are stacked r, z, n along the last axis. With ``reset_after`` the reset gate scales what the candidate takes from
W_hn h + b_hn, as in torch.nn; without it, the gate scales h before that product, as in the paper.
"""

from typing import NamedTuple

import numpy as np

from common.model.layout import Weights

from .lstm_cell import sigmoid


class Tape(NamedTuple):
    """What the backward step needs: ``s`` is what W_hn multiplies, and ``q_n`` the product, with its bias."""

    x: np.ndarray
    h_prev: np.ndarray
    r: np.ndarray
    z: np.ndarray
    n: np.ndarray
    s: np.ndarray
    q_n: np.ndarray


def forward(w: Weights, x: np.ndarray, state: tuple[np.ndarray], reset_after: bool) -> tuple[tuple[np.ndarray], Tape]:
    """x (B, I) and state (h (B, H),) -> the next state and the tape."""
    (h_prev,) = state
    H = h_prev.shape[1]
    a = x @ w.weight_ih.T  # (G1)
    q = h_prev @ w.weight_hh[: 2 * H].T  # (G2)
    if w.bias_ih is not None:
        a = a + w.bias_ih  # (G3)
        q = q + w.bias_hh[: 2 * H]  # (G4)
    a_r, a_z, a_n = np.split(a, 3, axis=1)
    q_r, q_z = np.split(q, 2, axis=1)
    r = sigmoid(a_r + q_r)  # (G5)
    z = sigmoid(a_z + q_z)  # (G6)
    s = h_prev if reset_after else r * h_prev  # (G7)
    q_n = s @ w.weight_hh[2 * H :].T  # (G8)
    if w.bias_ih is not None:
        q_n = q_n + w.bias_hh[2 * H :]  # (G9)
    n = np.tanh(a_n + (r * q_n if reset_after else q_n))  # (G10)
    h = (1 - z) * n + z * h_prev  # (G11)
    return (h,), Tape(x=x, h_prev=h_prev, r=r, z=z, n=n, s=s, q_n=q_n)


def backward(
    w: Weights, tape: Tape, dstate: tuple[np.ndarray], reset_after: bool
) -> tuple[Weights, np.ndarray, tuple[np.ndarray]]:
    """dL/dh of the new state -> the gradients of the weights, of x and of the previous state."""
    x, h_prev, r, z, n, s, q_n = tape
    H = h_prev.shape[1]
    (dh,) = dstate
    da_z = dh * (h_prev - n) * z * (1 - z)  # (G12)
    da_n = dh * (1 - z) * (1 - n * n)  # (G13)
    dq_n = da_n * r if reset_after else da_n  # (G14)
    ds = dq_n @ w.weight_hh[2 * H :]  # (G15)
    dr = da_n * q_n if reset_after else ds * h_prev  # (G16)
    da_r = dr * r * (1 - r)  # (G17)
    da = np.concatenate([da_r, da_z, da_n], axis=1)
    dq = np.concatenate([da_r, da_z], axis=1)
    dweight_ih = da.T @ x  # (G18)
    dweight_hh = np.concatenate([dq.T @ h_prev, dq_n.T @ s])  # (G19)
    dbias_ih = dbias_hh = None
    if w.bias_ih is not None:
        dbias_ih = da.sum(axis=0)  # (G20)
        dbias_hh = np.concatenate([dq, dq_n], axis=1).sum(axis=0)  # (G21)
    dx = da @ w.weight_ih  # (G22)
    dh_prev = dh * z + dq @ w.weight_hh[: 2 * H] + (ds if reset_after else ds * r)  # (G23)
    return Weights(dweight_ih, dweight_hh, dbias_ih, dbias_hh), dx, (dh_prev,)

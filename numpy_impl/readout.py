"""What is read out, a linear layer, the losses, and their derivatives. Equations: DERIVATION.md, 5."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

State = tuple[np.ndarray, ...]


class View(NamedTuple):
    """What the linear layer sees: y (T, B, D*H) at an index, or, without one, the last D rows of h_n (D*L, B, H)."""

    index: Any
    directions: int


def view(readout: str, directions: int, valid: np.ndarray | None) -> View:
    """The part of the output that a readout sees; where the ``valid`` steps (T, B, 1) are given, each sequence has a
    last step of its own.

    Any row can be taken for a sequence without a valid step, as all of its rows are zero.
    """
    last: Any = -1
    if valid is not None:
        T, B, _ = valid.shape
        last = (valid[:, :, 0] * np.arange(T)[:, None]).max(axis=0), np.arange(B)
    indices = {"last_step": last, "last_sequence": np.s_[:, -1], "final_state": None}
    return View(indices.get(readout, ...), directions)


def select(seen: View, y: np.ndarray, state: State) -> np.ndarray:
    """y (T, B, D*H) and the final state -> the rows that are read out, (..., D*H)."""
    if seen.index is None:
        return np.concatenate(list(state[0][-seen.directions :]), axis=1)  # (O1)
    return y[seen.index]


def spread(seen: View, dz: np.ndarray, y: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    """The gradient of y and of the final state from that of the rows; it is zero for what was not read out."""
    dy, dstate = np.zeros_like(y), tuple(np.zeros_like(part) for part in state)
    if seen.index is None:
        dstate[0][-seen.directions :] = np.split(dz, seen.directions, axis=1)  # (O2)
    else:
        dy[seen.index] = dz
    return dy, dstate


def forward(params: Mapping[str, np.ndarray], z: np.ndarray) -> np.ndarray:
    """Rows z (..., D*H) -> the prediction (..., O)."""
    return z @ params["weight"].T + params["bias"]  # (O3)


def backward(
    params: Mapping[str, np.ndarray], z: np.ndarray, dprediction: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The gradients of the parameters and of the rows z."""
    rows, drows = z.reshape(-1, z.shape[-1]), dprediction.reshape(-1, dprediction.shape[-1])
    grads = {
        "weight": drows.T @ rows,  # (O4)
        "bias": drows.sum(axis=0),  # (O5)
    }
    return grads, dprediction @ params["weight"]  # (O6)


def mse(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None) -> tuple[Any, np.ndarray]:
    """The mean of the squared errors, over the ``valid`` rows if these are given, and its gradient."""
    error = prediction - target
    if valid is not None:
        error = np.where(valid, error, 0)
    count = error.size if valid is None else int(valid.sum()) * error.shape[-1]
    loss = (error * error).sum() / count  # (O7)
    derror = 2 * error / count  # (O8)
    return loss, derror


def cross_entropy(prediction: np.ndarray, target: np.ndarray) -> tuple[Any, np.ndarray]:
    """The mean of -log softmax(prediction) at the target, where there is one (not -1), and its gradient."""
    counted, right = target >= 0, np.maximum(target, 0)[..., None]
    shifted = prediction - prediction.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (O9)
    loss = -(np.take_along_axis(log_p, right, axis=-1)[..., 0] * counted).sum() / counted.sum()  # (O10)
    dprediction = np.exp(log_p)
    np.put_along_axis(dprediction, right, np.take_along_axis(dprediction, right, axis=-1) - 1, axis=-1)  # (O11)
    return loss, dprediction * (counted / counted.sum())[..., None].astype(prediction.dtype)  # (O12)

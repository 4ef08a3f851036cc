"""Symbols as vectors: rows of the identity (one-hot), or of a trained table. Equations: DERIVATION.md, 9."""

from collections.abc import Mapping

import numpy as np


def forward(params: Mapping[str, np.ndarray] | None, x: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    """Symbols x (T, B) -> (T, B, I); without a table one-hot of ``size``; features stay as they are."""
    if x.ndim == 3:
        return x
    table = np.eye(size, dtype=dtype) if params is None else params["weight"]
    return table[x]  # (M1)


def backward(params: Mapping[str, np.ndarray], x: np.ndarray, dvectors: np.ndarray) -> dict[str, np.ndarray]:
    """Symbols x (T, B) and the gradient of their vectors (T, B, I) -> that of the table."""
    dtable = np.zeros_like(params["weight"])
    np.add.at(dtable, x, dvectors)  # (M2)
    return {"weight": dtable}

"""Dropout by a mask of one step, the same at each (Gal & Ghahramani 2016): of x, and of h inside the recurrence.

Equations: DERIVATION.md, 15. Dropout between layers, by masks that differ from step to step, is in ``stack``.
"""

import numpy as np


def forward(u: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """u (T, B, n), or of one step (B, n), with the mask (B, n)."""
    return u * mask  # (D1)


def backward(du: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The gradient of what ``forward`` returned -> the gradient of u."""
    return du * mask  # (D2)

"""How far two results are apart, relative to the second."""

import numpy as np


def relative_gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| / |b|, element by element: 0 where they are equal, NaN where one of them is not finite."""
    gaps = np.full(np.shape(a), np.nan)
    equal = a == b
    gaps[equal] = 0.0
    finite = ~equal & np.isfinite(a) & np.isfinite(b)
    gaps[finite] = abs(a[finite] - b[finite]) / np.maximum(abs(b[finite]), np.finfo(float).tiny)
    return gaps


def relative_distance(a: np.ndarray, b: np.ndarray) -> float:
    """max|a - b| / max|b|, or max|a| if the reference is zero everywhere."""
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0))

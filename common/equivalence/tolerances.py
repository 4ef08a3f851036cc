"""How far apart two correct results may lie, and the smallest error that a comparison would have caught.

For outputs and gradients, the bound is what rounding can do to them on this very problem (``rounding``), with a margin.
For losses and training, it is a share of the value, from a table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.equivalence.monte_carlo import MEASURABLE, ROUNDOFF

# How many times the largest error among the runs in Monte Carlo arithmetic two implementations may differ by.
# The farthest apart that any two have been is 0.6 of the bound, over 2,000 drawn configurations a dtype, and over up to
# 1,024 units, 1,000 steps and three layers. NumPy's float32 bias gradient comes closer over very many rows, as it adds
# them one by one: over 300 steps of 64 sequences it reached the bound.
MARGIN = 8
# A coarser comparison decides nothing. An error of 1% (of a millionth in float64) is twice as large, so it is caught
# even where it is hidden in part by an honest difference as large as the bound.
COARSEST = {"float64": 5e-7, "float32": 5e-3, "float16": 0.25, "bfloat16": 0.5}

# What a verdict means, for its readers.
A_PASS_MEANS = (
    "A pass means that two results differ by no more than rounding does to this very problem, and that an error of 1% "
    "of the largest value in float32, or of a millionth in float64, would have failed."
)


class Bound(NamedTuple):
    """How large |a - b| may be, and the size of the exact result that it is relative to.

    Each is one number, or one for each step of a curve.
    """

    allowed: Any
    scale: Any

    @property
    def resolution(self) -> float:
        """The tolerance relative to the exact result: a larger error fails, unless an honest difference offsets it, and
        one of twice that size always does. For an exact zero it is 0, as any error fails.
        """
        allowed, scale = np.ravel(self.allowed), np.ravel(self.scale)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            relative = np.where((scale == 0) & (allowed == 0), 0, allowed / scale)
        return float(np.nan_to_num(relative, nan=np.inf, posinf=np.inf).max(initial=0))


def bounds(results: Sequence[Mapping[str, np.ndarray]], dtype: str) -> dict[str, Bound]:
    """Quantity -> its bound, from the exact results and those of the runs in Monte Carlo arithmetic (``answers``)."""
    exact, *rounded = results
    unit = ROUNDOFF[dtype]
    by_quantity = {}
    for quantity, value in exact.items():
        scale = largest(value)
        moved = np.max([largest(other[quantity] - value) for other in rounded]) * unit / max(unit, MEASURABLE)
        allowed = MARGIN * max(moved, unit * scale)
        by_quantity[quantity] = Bound(allowed if np.isfinite(allowed) else np.inf, scale)
    return by_quantity


def largest(values: np.ndarray) -> float:
    """The largest absolute value."""
    return float(abs(values).max())


def over_tolerance(error: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Error over tolerance, element by element: 0 where there is no error, infinite where none is allowed."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(error == 0, 0, error / allowed)


class Tolerance(NamedTuple):
    """|a - b| <= atol + rtol * (1 + growth * step) * |reference|, at every step of a curve; for anything else, without
    growth and at the largest reference value.
    """

    rtol: float
    atol: float
    growth: float = 0.0

    def bound(self, a: np.ndarray, b: np.ndarray, *, curve: bool) -> Bound:
        """The bound for two results of the same shape."""
        scale = np.maximum(abs(a), abs(b))
        if not curve:
            scale = scale.max()
        steps = np.arange(scale.size).reshape(scale.shape)
        return Bound(self.atol + self.rtol * (1 + self.growth * steps) * scale, scale)


# The growth comes from the sine wave over 12 seeds and 100 epochs: the worst run used 1/8 of the bound in float32 (RNN,
# Adam) and 1/1000 in float64.
TOLERANCES = {
    ("loss", "float64"): Tolerance(1e-11, 1e-14),
    ("loss", "float32"): Tolerance(1e-5, 1e-8),
    ("training", "float64"): Tolerance(1e-11, 1e-14, growth=0.1),
    ("training", "float32"): Tolerance(1e-5, 1e-8, growth=0.5),
    ("task", "float64"): Tolerance(1e-11, 1e-14, growth=0.1),
    ("task", "float32"): Tolerance(1e-5, 1e-8, growth=0.5),
}


def tolerance(check: str, dtype: str) -> Tolerance:
    """The entry of the table for a check."""
    return TOLERANCES[check, dtype]

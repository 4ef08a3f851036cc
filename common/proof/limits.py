"""Which tolerances a test of a port should use: what rounding does to this model on this problem, element by element.

The bound of the harness is one number for a whole result. Here it is split into ``atol`` and ``rtol``, so that
|a - b| <= atol + rtol * |b| allows every element what it has been seen to need in Monte Carlo arithmetic, with the
harness's margin, and allows none more than the bound, apart from rounding up to three digits. ``rtol`` is as large as
that leaves it: 0, where the largest error does not stand at the largest value. ``pytest.approx`` takes the larger of
its two tolerances, not their sum, and so has a pair of its own.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

import numpy as np

from common.equivalence.monte_carlo import MEASURABLE, ROUNDOFF
from common.equivalence.tolerances import MARGIN, bounds

LIBRARIES = ("torch", "numpy", "pytest")
# A share of the bound below which an rtol is not worth its place.
SMALLEST = 0.02


class Pair(NamedTuple):
    """Two tolerances, each rounded up to three digits."""

    rtol: float
    atol: float


class Limit(NamedTuple):
    """The tolerances of one result: of a sum (torch, NumPy), and of the larger of the two (pytest).

    ``bound`` is that of the harness and ``scale`` the largest value of the exact result.
    """

    quantity: str
    scale: float
    bound: float
    summed: Pair
    larger: Pair


def limits(results: Sequence[Mapping[str, np.ndarray]], dtype: str) -> list[Limit]:
    """The tolerances of every result, from the exact results and those of the runs in Monte Carlo arithmetic."""
    exact, *rounded = results
    factor = MARGIN * ROUNDOFF[dtype] / max(ROUNDOFF[dtype], MEASURABLE)
    found = []
    for quantity, bound in bounds(results, dtype).items():
        needed = factor * np.max([abs(run[quantity] - exact[quantity]) for run in rounded], axis=0)
        values, allowed = abs(exact[quantity]).ravel(), float(bound.allowed)
        if not isfinite(allowed):
            found.append(Limit(quantity, float(bound.scale), allowed, Pair(0, allowed), Pair(0, allowed)))
            continue
        summed = _summed(needed.ravel(), values, allowed)
        larger = _larger(needed.ravel(), values, allowed)
        found.append(Limit(quantity, float(bound.scale), allowed, summed, larger))
    return found


def _summed(needed: np.ndarray, values: np.ndarray, allowed: float) -> Pair:
    """The largest rtol, and the atol that it leaves, with atol + rtol * |b| at least ``needed`` and at most ``allowed``
    everywhere.

    The least atol falls with rtol no faster than rtol * max|b| grows, so what is allowed bounds rtol.
    """
    scale = float(values.max())

    def atol(rtol: float) -> float:
        return float(max(0.0, (needed - rtol * values).max()))

    low, high = 0.0, allowed / scale if scale else 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if atol(middle) + middle * scale <= allowed else (low, middle)
    if low * scale < SMALLEST * allowed:
        return Pair(0.0, up(allowed))
    return Pair(up(low), up(atol(low)))


def _larger(needed: np.ndarray, values: np.ndarray, allowed: float) -> Pair:
    """The same for max(atol, rtol * |b|): rtol is what the bound is of the largest value."""
    scale = float(values.max())
    rtol = allowed / scale if scale else 0.0
    beyond = needed[needed > rtol * values]
    return Pair(up(rtol), up(float(beyond.max(initial=0.0))))


def up(value: float, digits: int = 3) -> float:
    """The next number of so many digits that is not smaller."""
    if value == 0 or not isfinite(value):
        return value
    power = digits - 1 - floor(log10(value))
    return float(f"{ceil(round(value * 10.0**power, 6))}e{-power}")


def lines(limit: Limit, library: str) -> str:
    """A line of a test for one result, ready to be pasted; ``expected`` is that of the reference."""
    name = limit.quantity.replace("/", "_").replace(".", "_")
    (rtol, atol), (rel, absolute) = limit.summed, limit.larger
    if library == "torch":
        return f"torch.testing.assert_close({name}, expected_{name}, rtol={rtol:g}, atol={atol:g})"
    if library == "numpy":
        return f"np.testing.assert_allclose({name}, expected_{name}, rtol={rtol:g}, atol={atol:g})"
    return f"assert {name} == pytest.approx(expected_{name}, rel={rel:g}, abs={absolute:g})"

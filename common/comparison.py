"""One comparison of two results, and how far apart they may be: the table of all tolerances."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from common.datasets import TASKS
from common.layout import numpy_dtype
from common.records import Record
from common.variants import Variant


class Tolerance(NamedTuple):
    """|a - b| <= atol * size + rtol * max|reference|, for a curve atol + rtol * (1 + growth * step) * |reference|.

    ``size`` is that of the summands (``summands``): where they cancel, or a gate is shut and the result all but
    vanishes, what remains is their rounding.
    """

    rtol: float
    atol: float
    growth: float = 0.0

    def bound(self, scale: np.ndarray, size: float) -> np.ndarray:
        steps = np.arange(scale.size).reshape(scale.shape)
        return self.atol * size + self.rtol * (1 + self.growth * steps) * scale


# Over 2,000 configurations a dtype the worst comparison used 0.4% of its bound in float64, 25% in float32, 30% in
# float16 and 18% in bfloat16. The growth of a curve's bound comes from the sine wave over 12 seeds and 100 epochs: the
# worst run used 1/8 of it in float32 (RNN, Adam) and 1/1000 in float64.
RTOL_ATOL = {"float64": (1e-11, 1e-14), "float32": (1e-5, 5e-7), "float16": (5e-3, 2e-3), "bfloat16": (4e-2, 1.6e-2)}
TOLERANCES = {
    (check, dtype): Tolerance(*numbers)
    for check in ("complex step", "forward", "gradient")
    for dtype, numbers in RTOL_ATOL.items()
} | {
    ("loss", "float64"): Tolerance(1e-11, 1e-14),
    ("loss", "float32"): Tolerance(1e-5, 1e-8),
    ("training", "float64"): Tolerance(1e-11, 1e-14, growth=0.1),
    ("training", "float32"): Tolerance(1e-5, 1e-8, growth=0.5),
    ("task", "float64"): Tolerance(1e-11, 1e-14, growth=0.1),
    ("task", "float32"): Tolerance(1e-5, 1e-8, growth=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. ``error`` is max|a - b| and ``tolerance`` what it may be, both absolute, at the worst element.

    ``arguments`` are those of ``rosetta check`` for this variant alone. ``drawn`` marks a variant drawn at random, and
    the worst quantity of the rung and pair.
    """

    check: str
    cell: str
    variant: str
    dtype: str
    quantity: str
    a: str
    b: str
    count: int
    error: float
    scale: float
    tolerance: float
    ratio: float
    passed: bool
    reason: str
    options: tuple[str, ...]
    arguments: str
    drawn: bool = False

    def record(self) -> Record:
        return {"kind": "check", **asdict(self)}


def compare(
    check: str,
    variant: Variant,
    quantity: str,
    names: tuple[str, str],
    a: Any,
    b: Any,
    *,
    curve: bool = False,
    size: float = 1.0,
) -> Row:
    """One row. A curve is held to its bound step by step; anything else to the largest reference value.

    What is empty, not finite or not in the variant's dtype has failed, without a number.
    """
    dtype = variant.spec.dtype
    dtypes = [value.dtype if isinstance(value, np.ndarray) else None for value in (a, b)]
    a, b = (np.asarray(np.real(value), dtype="float64") for value in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"{quantity}: {names[0]} gives shape {a.shape}, {names[1]} gives {b.shape}")
    tolerance = TOLERANCES["task" if check in TASKS else check, dtype]
    reason = _unfit(names, (a, b), dtypes, dtype)
    error, scale, allowed = float("nan"), float("nan"), float("nan")
    if not reason:
        scales = np.maximum(abs(a), abs(b))
        if not curve:
            scales = np.full((), scales.max())
        errors = abs(a - b) if curve else abs(a - b).max()
        bounds = tolerance.bound(scales, size)
        worst = int(np.argmax(errors / bounds))
        error, scale, allowed = (float(np.ravel(v)[worst]) for v in (errors, scales, bounds))
    return Row(
        check=check,
        cell=variant.spec.cell,
        variant=variant.label,
        dtype=dtype,
        quantity=quantity,
        a=names[0],
        b=names[1],
        count=a.size,
        error=error,
        scale=scale,
        tolerance=allowed,
        ratio=error / allowed,
        passed=not reason and error <= allowed,
        reason=reason,
        options=variant.options,
        arguments=variant.arguments,
    )


def _unfit(names: Sequence[str], values: Sequence[np.ndarray], dtypes: Sequence[Any], wanted: str) -> str:
    """Why two results cannot be compared, or nothing."""
    for name, value, dtype in zip(names, values, dtypes, strict=True):
        if name != "complex step" and dtype is not None and dtype != numpy_dtype(wanted):
            return f"{name} gives {dtype}, not {wanted}"
        if not value.size:
            return "nothing to compare"
        if not np.isfinite(value).all():
            return f"{name} gives {value[~np.isfinite(value)][0]}"
    return ""


def compare_all(
    check: str,
    variant: Variant,
    results: Mapping[str, Mapping[str, Any]],
    *,
    curve: bool = False,
    sizes: Mapping[str, float] | None = None,
) -> Iterator[Row]:
    """A row for every quantity and every pair of backends; each backend must give the same quantities."""
    for (a, left), (b, right) in combinations(results.items(), 2):
        if left.keys() != right.keys():
            raise ValueError(f"{check}: {a} gives {sorted(left)}, {b} gives {sorted(right)}")
        for quantity in left:
            values, size = (left[quantity], right[quantity]), (sizes or {}).get(quantity, 1.0)
            yield compare(check, variant, quantity, (a, b), *values, curve=curve, size=size)


def badness(row: Row) -> float:
    """Error over tolerance, infinite for a row that failed without a number."""
    return row.ratio if row.passed or row.ratio > 1 else float("inf")

"""One comparison of two results: how far apart they are, how far they may be, and what that decides."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import inf
from typing import Any, NamedTuple

import numpy as np

from common.equivalence.tolerances import COARSEST, Bound, tolerance
from common.equivalence.variants import Variant
from common.errors import BackendBroken
from common.model.dtypes import numpy_dtype
from common.records import Record

# What a comparison comes to. Undecided: a wrong result could have passed. Zero: the exact result is 0, and both are;
# a result that is missing would be 0 too.
PASSED, FAILED, UNDECIDED, ZERO = "passed", "failed", "undecided", "zero"
# What is compared with and is no backend: the complex step, and the exact result of ``rounding``.
COMPLEX_STEP, EXACT = ORACLES = ("complex step", "exact")
# The layer and direction in the name of a quantity.
LAYER = r"_l\d+(_reverse)?$"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. ``error`` is max|a - b| and ``tolerance`` what it may be, both absolute, at the worst element.

    ``resolution`` is the smallest relative error that the tolerance does not allow (``Bound.resolution``).
    ``resolutions`` and ``verdicts`` have every quantity that the row speaks for: its own, or, of a variant drawn at
    random (``drawn``), all of the rung and pair, of which the row is the worst. ``arguments`` are those of ``rosetta
    check`` for this variant alone.
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
    resolution: float
    resolutions: dict[str, float]
    verdict: str
    verdicts: dict[str, str]
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
    bound: Bound | None = None,
    curve: bool = False,
) -> Row:
    """One row. Without a bound the table of tolerances has it; a curve is then held to it step by step.

    What is empty, not finite or not in the variant's dtype has failed, without a number.
    """
    dtype = variant.spec.dtype
    dtypes = [value.dtype if isinstance(value, np.ndarray) else None for value in (a, b)]
    a, b = (np.asarray(np.real(value), dtype="float64") for value in (a, b))
    if a.shape != b.shape:
        raise BackendBroken(f"{quantity}: {names[0]} gives shape {a.shape}, {names[1]} gives {b.shape}")
    reason = _unfit(names, (a, b), dtypes, dtype)
    error, scale, allowed, ratio, resolution = (float("nan"),) * 5
    if not reason:
        bound = bound or tolerance(check, dtype).bound(a, b, curve=curve)
        errors, bounds, scales = np.broadcast_arrays(abs(a - b) if curve else abs(a - b).max(), *bound)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(errors == 0, 0, errors / bounds)
        worst = int(np.argmax(ratios))
        error, scale, allowed, ratio = (float(np.ravel(v)[worst]) for v in (errors, scales, bounds, ratios))
        resolution = bound.resolution
    verdict = decided(resolution, dtype) if ratio <= 1 else FAILED
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
        ratio=ratio,
        resolution=resolution,
        resolutions={quantity: resolution},
        verdict=verdict,
        verdicts={quantity: verdict},
        reason=reason,
        options=variant.options,
        arguments=variant.arguments,
    )


def decided(resolution: float | None, dtype: str) -> str:
    """What a comparison within its tolerance comes to; None, as a file has it, is infinite or not a number.

    Of a dtype without a limit nothing is decided.
    """
    if resolution == 0:
        return ZERO
    return PASSED if resolution is not None and 0 < resolution <= COARSEST.get(dtype, 0) else UNDECIDED


def _unfit(names: Sequence[str], values: Sequence[np.ndarray], dtypes: Sequence[Any], wanted: str) -> str:
    """Why two results cannot be compared, or nothing."""
    for name, value, dtype in zip(names, values, dtypes, strict=True):
        if name != COMPLEX_STEP and dtype is not None and dtype != numpy_dtype(wanted):
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
    bounds: Mapping[str, Bound] | None = None,
    curve: bool = False,
) -> Iterator[Row]:
    """A row for every quantity and every pair of backends; each backend must give the same quantities."""
    for (a, left), (b, right) in combinations(results.items(), 2):
        if left.keys() != right.keys():
            raise BackendBroken(f"{check}: {a} gives {sorted(left)}, {b} gives {sorted(right)}")
        for quantity in left:
            values, bound = (left[quantity], right[quantity]), bounds[quantity] if bounds else None
            yield compare(check, variant, quantity, (a, b), *values, bound=bound, curve=curve)


def failed(row: Record) -> bool:
    """Whether a check record is one of a failure. Any is whose numbers do not bear its verdict out: a comparison of no
    element, an error beyond the tolerance or not finite, a verdict that its resolution does not give.
    """
    sound = row["count"] > 0 and not row["reason"] and used(row) <= 1
    return not sound or row["verdict"] != decided(row["resolution"], row["dtype"])


def used(row: Record) -> float:
    """Error over tolerance; infinite where the comparison met a value that is not finite (null in a file)."""
    return inf if row["ratio"] is None or row["ratio"] != row["ratio"] else row["ratio"]


def badness(row: Record) -> tuple[bool, bool, float]:
    """The key for the worst of several rows: failures come before all others, then rows that decide something."""
    return failed(row), row["verdict"] == PASSED, used(row)


def verdicts(row: Record) -> dict[str, str]:
    """Quantity -> what its comparison came to, for all that a check record speaks for."""
    found = {
        name: verdict if verdict == decided(row["resolutions"].get(name), row["dtype"]) else FAILED
        for name, verdict in row["verdicts"].items()
    }
    return found | ({row["quantity"]: FAILED} if failed(row) else {})


def passed_resolutions(rows: Iterable[Record]) -> list[float]:
    """The resolution of every comparison that passed."""
    return [row["resolutions"][name] for row in rows for name, verdict in verdicts(row).items() if verdict == PASSED]


class Tally(NamedTuple):
    """What some check records come to together.

    ``unseen`` are (backend, check, cell, dtype, quantity) of which no comparison passed or failed: the records show
    nothing of them. Layers and directions of variants drawn at random count together.
    """

    compared: int
    passed: int
    failed: int
    undecided: int
    zero: int
    unseen: tuple[tuple[str, str, str, str, str], ...]

    @property
    def equivalent(self) -> bool:
        """True if there is something that was compared, and nothing that failed or was not seen."""
        return bool(self.compared) and not self.failed and not self.unseen


def tally(records: Iterable[Record]) -> Tally:
    """The comparisons of some check records, counted by what they come to."""
    counts: Counter[str] = Counter()
    seen: dict[tuple[str, str, str, str, str], bool] = {}
    for row in (record for record in records if record["kind"] == "check"):
        for quantity, verdict in verdicts(row).items():
            counts[verdict] += 1
            name = re.sub(LAYER, "", quantity) if row["drawn"] else quantity
            for backend in (name for name in (row["a"], row["b"]) if name not in ORACLES):
                key = backend, row["check"], row["cell"], row["dtype"], name
                seen[key] = seen.get(key, False) or verdict in (PASSED, FAILED)
    numbers = {name: counts[name] for name in (PASSED, FAILED, UNDECIDED, ZERO)}
    return Tally(compared=counts.total(), **numbers, unseen=tuple(key for key, is_seen in seen.items() if not is_seen))

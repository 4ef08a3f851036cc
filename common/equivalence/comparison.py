"""One comparison of two results: how far apart they are, how far apart they may be, and what follows from that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from common.equivalence.tolerances import COARSEST, Bound, over_tolerance, tolerance
from common.equivalence.variants import Variant
from common.errors import BackendBroken
from common.model.dtypes import numpy_dtype
from common.model.spec import ModelSpec
from common.record_parts import CheckedFile, Run
from common.record_types import Check

# The verdicts on a comparison. Undecided: a wrong result could have passed. Zero: the exact result is 0, and so are
# both results; a missing result would be 0 as well.
PASSED, FAILED, UNDECIDED, ZERO = "passed", "failed", "undecided", "zero"
# What backends are compared with, apart from backends: the complex step, and the exact result of ``rounding``.
COMPLEX_STEP, EXACT = ORACLES = ("complex step", "exact")
# What a user recorded, in a check of a file of weights.
EXPECTED = "expected"


def gradient_name(parameter: str) -> str:
    """The name of a parameter's gradient; the first layer's suffix is left out."""
    return "d" + parameter.removesuffix("_l0")


def array_gradient(array: str) -> str:
    """The name of the gradient of an array of a file, whose own name may be a path: dbias, d(rnn.bias_ih_l0)."""
    return f"d{array}" if array.isidentifier() else f"d({array})"


def named_outputs(spec: ModelSpec, y: Any, state: Any) -> dict[str, Any]:
    return {"y": y} | {f"{name}_n": part for name, part in zip(spec.state_names, state, strict=True)}


def named_grads(spec: ModelSpec, grads: Any) -> dict[str, Any]:
    states = {f"d{name}_0": part for name, part in zip(spec.state_names, grads.state0, strict=True)}
    return {gradient_name(name): grad for name, grad in grads.params.items()} | {"dx": grads.x} | states


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How far apart two results are, at the worst of ``count`` elements.

    ``error`` is max|a - b| and ``tolerance`` what it may be, both absolute; ``scale`` is the size of the exact result
    and ``ratio`` the error over the tolerance. All four are NaN if the results cannot be compared.
    """

    count: int
    error: float
    scale: float
    tolerance: float
    ratio: float


class Decision(NamedTuple):
    """The verdict of a comparison for every quantity that it covers, and why results could not be compared.

    The resolution is the smallest relative error that the tolerance does not allow (``Bound.resolution``).
    """

    resolutions: dict[str, float]
    verdicts: dict[str, str]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison of ``a`` and ``b`` on a variant, or, if ``drawn``, the worst of all comparisons of a rung and
    pair.

    A comparison of training runs on a task has ``run``, and the variant is the model that was trained. One of weights
    from a file has ``file``. Only a drawn row decides on more than its own quantity.
    """

    check: str
    quantity: str
    a: str
    b: str
    variant: Variant
    run: Run | None
    measured: Measurement
    decision: Decision
    drawn: bool = False
    file: CheckedFile | None = None

    @property
    def resolution(self) -> float:
        return self.decision.resolutions[self.quantity]

    @property
    def verdict(self) -> str:
        return self.decision.verdicts[self.quantity]

    def record(self) -> Check:
        spec = self.variant.spec
        record = Check(
            kind="check",
            check=self.check,
            cell=spec.cell,
            dtype=spec.dtype,
            variant=self.variant.label,
            options=list(self.variant.options),
            problem=self.variant.data if self.run is None else None,
            run=self.run,
            quantity=self.quantity,
            a=self.a,
            b=self.b,
            **vars(self.measured),
            resolution=self.resolution,
            verdict=self.verdict,
            **self.decision._asdict(),
            drawn=self.drawn,
        )
        if self.file is not None:
            record["file"] = self.file
        return record


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
    run: Run | None = None,
) -> Row:
    """One row. Without a bound, the table of tolerances applies, to a curve step by step.

    A result that is empty, not finite or not in the variant's dtype has failed, without a number.
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
        ratios = over_tolerance(errors, bounds)
        worst = int(np.argmax(ratios))
        error, scale, allowed, ratio = (float(np.ravel(v)[worst]) for v in (errors, scales, bounds, ratios))
        resolution = bound.resolution
    verdict = decided(resolution, dtype) if ratio <= 1 else FAILED
    return Row(
        check=check,
        quantity=quantity,
        a=names[0],
        b=names[1],
        variant=variant,
        run=run,
        measured=Measurement(count=a.size, error=error, scale=scale, tolerance=allowed, ratio=ratio),
        decision=Decision(resolutions={quantity: resolution}, verdicts={quantity: verdict}, reason=reason),
    )


def decided(resolution: float | None, dtype: str) -> str:
    """The verdict of a comparison within its tolerance; a resolution of None (null in a file) is not finite.

    In a dtype without a limit, nothing is decided.
    """
    if resolution == 0:
        return ZERO
    return PASSED if resolution is not None and 0 < resolution <= COARSEST.get(dtype, 0) else UNDECIDED


def _unfit(names: Sequence[str], values: Sequence[np.ndarray], dtypes: Sequence[Any], wanted: str) -> str:
    """Why two results cannot be compared; empty if they can."""
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
    run: Run | None = None,
) -> Iterator[Row]:
    """A row for every quantity and every pair of backends; all backends must return the same quantities."""
    for (a, left), (b, right) in combinations(results.items(), 2):
        if left.keys() != right.keys():
            raise BackendBroken(f"{check}: {a} gives {sorted(left)}, {b} gives {sorted(right)}")
        for quantity in left:
            values, bound = (left[quantity], right[quantity]), bounds[quantity] if bounds else None
            yield compare(check, variant, quantity, (a, b), *values, bound=bound, curve=curve, run=run)


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

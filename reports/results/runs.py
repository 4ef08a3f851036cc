"""Training records, put together by run: what was trained, in which backends, and how far these part."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from reports.results.verdict import Record, names, of_kind

KEY = ("task", "reading", "optimizer", "cell", "dtype", "lr", "hidden_size", "seed")
REFERENCE = "numpy"


class Run(NamedTuple):
    """One training run in every backend: the loss before each update and after the last, and the predictions."""

    first: Record
    curves: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]

    @property
    def reference(self) -> str:
        return REFERENCE if REFERENCE in self.curves else next(iter(self.curves))

    @property
    def label(self) -> str:
        return f"{self.first['cell']}, {self.first['optimizer']}"


class Gap(NamedTuple):
    """The largest |a - b| / |b| of two loss curves, whose it is, and after how many updates."""

    value: float
    backend: str
    update: int


def runs(records: Sequence[Record]) -> list[Run]:
    """The runs by dtype, reading, optimiser and cell."""
    found: dict[tuple, Run] = {}
    for record in of_kind(records, "training"):
        run = found.setdefault(tuple(record.get(key) for key in KEY), Run(record, {}, {}))
        run.curves[record["backend"]] = numbers_of([*record["losses"], record["final_loss"]])
        run.predictions[record["backend"]] = numbers_of(record["prediction"])
    firsts = [run.first for run in found.values()]
    places = {key: names(firsts, key) for key in ("dtype", "reading", "optimizer", "cell")}
    return sorted(found.values(), key=lambda run: [place.index(run.first[key]) for key, place in places.items()])


def numbers_of(values: Sequence[float | None]) -> np.ndarray:
    """Records write null for what is not finite."""
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def relative_gap(curve: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|a - b| / |b| at every update that both have; 0 where they are equal, not a number where one is not."""
    size = min(curve.size, reference.size)
    a, b = curve[:size], reference[:size]
    gap = np.full(size, np.nan)
    gap[a == b] = 0.0
    other = (a != b) & np.isfinite(a) & np.isfinite(b)
    gap[other] = abs(a[other] - b[other]) / np.maximum(abs(b[other]), np.finfo(float).tiny)
    return gap


def gaps(run: Run) -> dict[str, np.ndarray]:
    """The gap of every other backend to the reference."""
    reference = run.curves[run.reference]
    return {name: relative_gap(curve, reference) for name, curve in run.curves.items() if name != run.reference}


def largest_gap(found: dict[str, np.ndarray]) -> Gap | None:
    """None if there is nothing to compare; a value that is not a number is larger than any."""
    tops = []
    for backend, values in found.items():
        ranked = np.where(np.isfinite(values), values, np.inf)
        if ranked.size:
            update = int(np.argmax(ranked))
            tops.append(Gap(float(ranked[update]), backend, update))
    return max(tops, key=lambda gap: gap.value, default=None)


def span(curves: Iterable[np.ndarray], *others: float) -> tuple[float, float]:
    """The smallest and the largest gap that is neither zero nor infinite."""
    found = np.concatenate([*curves, np.array(others)])
    found = found[np.isfinite(found) & (found > 0)]
    return (float(found.min()), float(found.max())) if found.size else (0.1, 1.0)


def spread(run: Run) -> np.ndarray:
    """How far the predictions of all backends lie apart, at every point."""
    return np.ptp(np.stack(list(run.predictions.values())), axis=0)

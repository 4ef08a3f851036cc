"""Training records, put together by run: what was trained, in which backends, and how far these diverge."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from common.equivalence.comparison import relative_gaps
from common.record_parts import Run as Data
from common.record_types import Record, Training
from common.records import of_kind
from reports.results.verdict import names

REFERENCE = "numpy"


class Run(NamedTuple):
    """One training run in every backend: the loss before each update and after the last, and the predictions."""

    first: Training
    curves: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]

    @property
    def reference(self) -> str:
        return REFERENCE if REFERENCE in self.curves else next(iter(self.curves))

    @property
    def optimizer(self) -> str:
        return self.first["optimizer"]["name"]

    @property
    def label(self) -> str:
        return f"{self.first['cell']}, {self.optimizer}"


class Gap(NamedTuple):
    """The largest |a - b| / |b| of two loss curves, the backend that has it, and after how many updates."""

    value: float
    backend: str
    update: int


def runs(records: Sequence[Record]) -> list[Run]:
    """The runs by dtype, variant of the task, optimiser and cell."""
    by_key: dict[str, Run] = {}
    for record in of_kind(records, Training):
        key = json.dumps({name: record[name] for name in Data.__annotations__}, sort_keys=True)
        run = by_key.setdefault(key, Run(record, {}, {}))
        run.curves[record["backend"]] = numbers_of([*record["losses"], record["final_loss"]])
        run.predictions[record["backend"]] = numbers_of(record["prediction"])
    titles = {key: _title(run) for key, run in by_key.items()}
    places = {part: names([*titles.values()], part) for part in ("dtype", "reading", "optimizer", "cell")}
    ranked = sorted(by_key, key=lambda key: [place.index(titles[key][part]) for part, place in places.items()])
    return [by_key[key] for key in ranked]


def _title(run: Run) -> dict[str, str]:
    """The key by which runs are sorted."""
    first = run.first
    return {"dtype": first["dtype"], "reading": first["reading"], "optimizer": run.optimizer, "cell": first["cell"]}


def numbers_of(values: Sequence[float | None]) -> np.ndarray:
    """Records write null for what is not finite."""
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def relative_gap(curve: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|a - b| / |b| at every update that both have."""
    size = min(curve.size, reference.size)
    return relative_gaps(curve[:size], reference[:size])


def gaps(run: Run) -> dict[str, np.ndarray]:
    """The gap of every other backend to the reference."""
    reference = run.curves[run.reference]
    return {name: relative_gap(curve, reference) for name, curve in run.curves.items() if name != run.reference}


def largest_gap(by_backend: dict[str, np.ndarray]) -> Gap | None:
    """The largest gap; None if there is nothing to compare. NaN counts as larger than any number."""
    tops = []
    for backend, values in by_backend.items():
        ranked = np.where(np.isfinite(values), values, np.inf)
        if ranked.size:
            update = int(np.argmax(ranked))
            tops.append(Gap(float(ranked[update]), backend, update))
    return max(tops, key=lambda gap: gap.value, default=None)


def span(curves: Iterable[np.ndarray], *others: float) -> tuple[float, float]:
    """The smallest and the largest gap that is neither zero nor infinite."""
    values = np.concatenate([*curves, np.array(others)])
    values = values[np.isfinite(values) & (values > 0)]
    return (float(values.min()), float(values.max())) if values.size else (0.1, 1.0)


def spread(run: Run) -> np.ndarray:
    """How far apart the predictions of all backends are, at every point."""
    return np.ptp(np.stack(list(run.predictions.values())), axis=0)

"""Outcome records put together by task, variant and cell: scores, spreads and drifts."""

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.datasets import TASKS
from common.datasets.task import Reading
from common.record_types import Outcome, Record
from common.records import of_kind
from reports.page.numbers import digits
from reports.results.runs import REFERENCE
from reports.results.verdict import names

# A score beats the baseline if it is better by this share of it. A share of correct answers must be better by this
# share of what the baseline lacks to 100%, and by this many standard errors of a baseline on as many examples.
MARGIN, ERRORS = 0.05, 2
MARGIN_TEXT = (
    f"by more than {MARGIN:.0%} of it; for a share of correct answers, by more than {MARGIN:.0%} of what is missing to "
    "100% and by more than two standard errors for that number of test examples"
)


class Group(NamedTuple):
    """Every run of one task, variant (``reading``) and cell, over seeds and backends; at least one."""

    task: str
    reading: str
    cell: str
    rows: tuple[Outcome, ...]

    @property
    def first(self) -> Outcome:
        return self.rows[0]

    @property
    def title(self) -> str:
        """The title of the task, or the name of an unknown one."""
        return TASKS[self.task].title if self.task in TASKS else self.task

    @property
    def words(self) -> Reading:
        """The variant in words, or its name if the task or the variant is unknown."""
        task = TASKS.get(self.task)
        if task and self.reading in task.readings:
            return task.readings[self.reading]
        name = task.summary if task else f"{self.task}, {self.reading}"
        return Reading(summary=name, asks=name, remembers="–", span=0, readout="")

    @property
    def backends(self) -> list[str]:
        return names(self.rows, "backend")

    @property
    def reference(self) -> str:
        return REFERENCE if REFERENCE in self.backends else self.backends[0]

    @property
    def origins(self) -> list[str]:
        """The backends that the drift is measured from; where the reference diverged, it is another one."""
        origins = dict.fromkeys(row.get("reference", "") for row in self.rows if row.get("drift"))
        return list(origins) or [self.reference]

    @property
    def seeds(self) -> list[int]:
        return sorted({row["seed"] for row in self.rows})

    @property
    def diverged(self) -> list[Outcome]:
        """Runs without a score."""
        return [row for row in self.rows if score_of(row) is None]

    @property
    def pictured(self) -> tuple[Outcome, dict[str, Any]] | None:
        """The run that has a picture, and the picture."""
        pictures = ((row, row.get("picture")) for row in self.rows)
        return next(((row, picture) for row, picture in pictures if picture), None)

    def of(self, backend: str) -> list[Outcome]:
        return [row for row in self.rows if row["backend"] == backend]

    def scores(self, backend: str = "") -> dict[int, float]:
        """Seed -> score in a backend (the reference if none is named); runs without a score are left out."""
        scores = ((row["seed"], score_of(row)) for row in self.of(backend or self.reference))
        return {seed: score for seed, score in scores if score is not None}

    @property
    def mean(self) -> float | None:
        """Over the seeds that have a score in the reference; None without any."""
        return average(self.scores())

    @property
    def attempted(self) -> set[int]:
        """The seeds that the reference trained with, with or without a score."""
        return {row["seed"] for row in self.of(self.reference)}

    def standing(self, seeds: Collection[int]) -> float:
        """The mean over seeds by which cells are compared: a run without a score counts as the baseline."""
        scores = self.scores()
        baseline: float = self.first["baseline"]
        return float(np.mean([scores.get(seed, baseline) for seed in seeds]))

    def text(self, value: float | None) -> str:
        return score_text(value, self.first)

    @property
    def beats(self) -> bool:
        """Whether the mean, in which lost runs count, beats the baseline."""
        return self.mean is not None and beats(self.standing(self.attempted), self.first)

    @property
    def beating(self) -> str:
        """How many of the reference's runs beat the baseline: "4 of 5"; one without a score does not."""
        count = sum(beats(score, self.first) for score in self.scores().values())
        return f"{count} of {len(self.of(self.reference))}"


class Contest(NamedTuple):
    """The cells of one task and variant, in their usual order; at least one."""

    groups: tuple[Group, ...]

    @property
    def first(self) -> Group:
        return self.groups[0]

    def cell(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.cell == name), None)


def score_of(row: Outcome) -> float | None:
    """The score of a run; None if it diverged or its score is not finite."""
    score = row.get("score")
    return score if score is not None and math.isfinite(score) else None


def average(scores: dict[int, float]) -> float | None:
    return float(np.mean(list(scores.values()))) if scores else None


def better(a: float, b: float, of: Outcome) -> bool:
    """Whether a is the better score under the metric of a record."""
    return a > b if of["higher"] else a < b


def threshold(of: Outcome) -> float:
    """The baseline of a record with its margin: only a better score beats the baseline."""
    baseline: float = of["baseline"]
    if of["share"]:
        return baseline + max(MARGIN * (1 - baseline), ERRORS * _standard_error(baseline, of["tested"]))
    return baseline * (1 + MARGIN if of["higher"] else 1 - MARGIN)


def beats(score: float, of: Outcome) -> bool:
    """Whether a score is better than the baseline of a record by more than its margin."""
    return better(score, threshold(of), of)


def _standard_error(share: float, examples: int) -> float:
    """The standard error of a share of this many examples; it is not zero for a share of 0 or 1 either."""
    share = min(max(share, 1 / examples), 1 - 1 / examples)
    return math.sqrt(max(share * (1 - share), 0.0) / examples)


def score_text(value: float | None, of: Outcome) -> str:
    """95.3% for a share of correct answers, else three digits; "–" for none."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if of["share"] else digits(value)


def contests(records: Sequence[Record]) -> list[Contest]:
    """All tasks and variants, in their usual order."""
    rows = of_kind(records, Outcome)
    cells = names(rows, "cell")
    by_task: dict[tuple[str, str], dict[str, list[Outcome]]] = {}
    for row in rows:
        by_task.setdefault((row["task"], row["reading"]), {}).setdefault(row["cell"], []).append(row)
    found = []
    for (task, reading), by_cell in sorted(by_task.items(), key=lambda item: _place(item[0])):
        groups = (Group(task=task, reading=reading, cell=c, rows=tuple(by_cell[c])) for c in cells if c in by_cell)
        found.append(Contest(tuple(groups)))
    return found


def _place(key: tuple[str, str]) -> tuple[int, int]:
    task, reading = key
    tasks, readings = list(TASKS), list(TASKS[task].readings) if task in TASKS else []
    return (
        tasks.index(task) if task in tasks else len(tasks),
        readings.index(reading) if reading in readings else len(readings),
    )


def curve(row: Outcome, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(updates, values) of a record's ``curve`` or ``drift``; null stands for what is not a number."""
    points = row.get(key) or []
    values = [math.nan if value is None else value for _, value in points]
    return np.array([update for update, _ in points], dtype=float), np.array(values, dtype=float)


def drift_after(rows: Sequence[Outcome], updates: int | None) -> float | None:
    """The largest drift of any row over its first updates, or over all if None; None if no row is that long."""
    tops = []
    for row in rows:
        ends, gaps = curve(row, "drift")
        if ends.size and (updates is None or ends[-1] >= updates):
            first = gaps if updates is None else gaps[ends <= updates]
            tops += np.where(np.isfinite(first), first, np.inf).tolist()
    return max(tops, default=None)

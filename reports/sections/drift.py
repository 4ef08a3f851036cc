"""How runs of two backends diverge over many updates, although they start alike."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.record_types import Record
from reports.page import task_plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import count, error, percent
from reports.page.svg import identifier, variable
from reports.page.task_plots import DASHED, Points, cell_colour
from reports.results.outcomes import Group, average, contests, curve
from reports.sections.tasks import full_command

THRESHOLDS = (1e-9, 1e-6, 1e-3)
PLACES = 40


class Divergence(NamedTuple):
    """A run and its distance from the reference: its cell, its task, and the largest gap so far at some updates."""

    cell: str
    task: str
    ends: np.ndarray
    gaps: np.ndarray

    def after(self, update: float) -> float:
        """The largest gap in the first updates that were recorded; after the end of the run, its last value."""
        return float(self.gaps[min(int(np.searchsorted(self.ends, update)), self.ends.size - 1)])

    def reaches(self, limit: float) -> float | None:
        """The update by which the gap is larger."""
        over = np.flatnonzero(self.gaps > limit)
        return float(self.ends[over[0]]) if over.size else None


def drift_section(records: Sequence[Record]) -> Section | None:
    """None if no run has a drift."""
    groups = [group for contest in contests(records) for group in contest.groups]
    runs = [run for group in groups for run in divergences(group)]
    if not runs:
        return None
    cells = list(dict.fromkeys(run.cell for run in runs))
    reference = " or ".join(dict.fromkeys(name for group in groups for name in group.origins))
    paragraphs = (
        "All backends start from the same weights and see the same batches. A sum taken in another order rounds "
        "differently, in float64 by about 1e-16 of its size, and every update builds on the one before, so training "
        "amplifies the difference as it would any other disturbance of that size. The table reports the largest "
        "difference up to an update, relative to the loss; a run that has ended keeps its last value.",
        *_sentences(runs),
        _scores(groups),
    )
    legend = tuple(
        Key(variable(cell_colour(cell)), f"{cell}, {what}", mark)
        for cell in cells
        for what, mark in (("the largest of all runs", "━"), ("median", "╌╌"))
    )
    caption = f"Relative difference between the losses of {reference} and of another backend, over all runs"
    plot = Plot(caption, tuple(_panel(runs, cell) for cell in cells), legend, _numbers(runs, cells))
    tables = (_thresholds(runs, cells),)
    title = "How far runs of the same training diverge"
    return Section("drift", title, paragraphs, (plot,), tables, (full_command(records),))


def divergences(group: Group) -> list[Divergence]:
    """The runs of a group that have a drift, with running maxima; a value that is not finite counts as infinite."""
    runs = []
    for row in group.rows:
        ends, gaps = curve(row, "drift")
        if ends.size:
            top = np.maximum.accumulate(np.where(np.isfinite(gaps), gaps, np.inf))
            runs.append(Divergence(cell=group.cell, task=f"{group.title}, {group.reading}", ends=ends, gaps=top))
    return runs


def _summary(runs: Sequence[Divergence]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Updates, with the median and the largest gap over all runs."""
    last = max(float(run.ends[-1]) for run in runs)
    updates = np.unique(np.geomspace(1, last, PLACES).round())
    values = np.array([[run.after(update) for run in runs] for update in updates])
    return updates, np.median(values, axis=1), values.max(axis=1)


def _panel(runs: Sequence[Divergence], cell: str) -> Panel:
    updates, middle, top = _summary([run for run in runs if run.cell == cell])
    ink = cell_colour(cell)
    lines = [Points(updates, _drawn(top), ink, 1.8), Points(updates, _drawn(middle), ink, 1.8, DASHED)]
    span = task_plots.positive_span([run.gaps[np.isfinite(run.gaps)] for run in runs])
    zero = any((line.y == 0).any() for line in lines)
    alt = (
        f"{cell}: after 1 update the median relative difference is {error(middle[0])} and the largest {error(top[0])}; "
        f"after {count(int(updates[-1]))}, {error(middle[-1])} and {error(top[-1])}."
    )
    args = (f"drift_{identifier(cell)}", cell, alt, lines, "relative difference", span)
    return Panel(task_plots.log_log(*args, zero=zero, rules=THRESHOLDS), alt)


def _drawn(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _first(runs: Sequence[Divergence], limit: float) -> list[tuple[float, str]]:
    """(update, task and cell) of every run that diverges further than this, the earliest first."""
    return sorted((update, f"{run.task}, {run.cell}") for run in runs if (update := run.reaches(limit)) is not None)


def _sentences(runs: Sequence[Divergence]) -> list[str]:
    texts = []
    for limit in THRESHOLDS:
        crossed = _first(runs, limit)
        if not crossed:
            texts.append(f"None of {count(len(runs))} runs diverges by 1e-{_power(limit)} of the loss.")
            continue
        update, what = crossed[0]
        order = list(dict.fromkeys(what for _, what in crossed))
        listed = "; ".join(order[:4]) + (f"; and {len(order) - 4} more" if len(order) > 4 else "")
        texts.append(
            f"{count(len(crossed))} of {count(len(runs))} runs diverge by 1e-{_power(limit)} of the loss, the first "
            f"after {count(int(update))} updates ({what}), half of these by update "
            f"{count(int(np.median([update for update, _ in crossed])))}. In order: {listed}."
        )
    return texts


def _power(limit: float) -> int:
    return round(-math.log10(limit))


def _scores(groups: Sequence[Group]) -> str:
    """Whether the scores agree: the means of two backends differ no more than the scores of two seeds."""
    apart, compared, equal = [], 0, 0
    for group in groups:
        mine, width = group.scores(), _width(group)
        for name in group.backends:
            theirs = group.scores(name)
            common = set(mine) & set(theirs)
            if name == group.reference or not common:
                continue
            compared += 1
            a = average({seed: mine[seed] for seed in common})
            b = average({seed: theirs[seed] for seed in common})
            assert a is not None
            assert b is not None
            equal += group.text(a) == group.text(b)
            if abs(a - b) > width:
                apart.append(f"{group.title}, {group.reading}, {group.cell}, {name}")
    if not compared:
        return "No scores of two backends can be compared."
    which = "Most scores" if apart else "The scores"
    text = (
        f"{which} agree nevertheless: in {equal} of {compared} comparisons of a backend with the reference the mean "
        "scores over the seeds are equal in all digits shown, and in "
    )
    if apart:
        return (
            f"{text}{compared - len(apart)} they differ by no more than the best and the worst seed do. They do NOT in "
            f"{len(apart)}: {'; '.join(apart)}."
        )
    return f"{text}all {compared} they differ by no more than the best and the worst seed do."


def _width(group: Group) -> float:
    """The largest distance between the scores of two seeds in the reference."""
    scores = group.scores().values()
    return max(scores) - min(scores) if scores else 0.0


def _thresholds(runs: Sequence[Divergence], cells: Sequence[str]) -> Table:
    rows = []
    for limit in THRESHOLDS:
        for cell in cells:
            members = [run for run in runs if run.cell == cell]
            crossed = _first(members, limit)
            updates = [update for update, _ in crossed]
            when = ("–", "–", "–")
            if crossed:
                when = (count(int(updates[0])), count(int(np.median(updates))), crossed[0][1].rpartition(",")[0])
            share = f"{len(crossed)} of {len(members)} ({percent(len(crossed) / len(members))})"
            rows.append((f"1e-{_power(limit)}", cell, share, *when))
    columns = ("Diverged by", "Cell", "Runs", "First, at update", "Median of these", "Which was first")
    return Table("After how many updates runs diverge", columns, tuple(rows), numbers=range(2, 5))


def _numbers(runs: Sequence[Divergence], cells: Sequence[str]) -> Table:
    rows = []
    for cell in cells:
        updates, middle, top = _summary([run for run in runs if run.cell == cell])
        for i in range(0, updates.size, 3):
            rows.append((cell, count(int(updates[i])), error(middle[i]), error(top[i])))
    return Table("Some of the updates", ("Cell", "Updates", "Median", "Largest"), tuple(rows), numbers=(1, 2, 3))

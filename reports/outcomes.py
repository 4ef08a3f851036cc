"""Outcome records put together by task, reading and cell: scores, spreads, drifts, and which cell is better."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.datasets import TASKS

from .numbers import counted, digits
from .runs import REFERENCE
from .verdict import Record, names, of_kind

# A cell is called better where it is ahead in this share of the seeds, and on average.
CLEARLY = 0.8
# A score beats the baseline where it is better by this share of it: less is what another draw of examples changes.
MARGIN = 0.05
SHARES = ("accuracy", "success rate", "exact match")


class Group(NamedTuple):
    """Every run of one task, reading and cell, over seeds and backends; at least one."""

    task: str
    reading: str
    cell: str
    rows: tuple[Record, ...]

    @property
    def first(self) -> Record:
        return self.rows[0]

    @property
    def backends(self) -> list[str]:
        return names(self.rows, "backend")

    @property
    def reference(self) -> str:
        return REFERENCE if REFERENCE in self.backends else self.backends[0]

    @property
    def seeds(self) -> list[int]:
        return sorted({row["seed"] for row in self.rows})

    @property
    def diverged(self) -> list[Record]:
        """Runs without a score."""
        return [row for row in self.rows if not has_score(row)]

    @property
    def sampled(self) -> Record | None:
        """The run that gives the picture."""
        return next((row for row in self.rows if row.get("picture")), None)

    def of(self, backend: str) -> list[Record]:
        return [row for row in self.rows if row["backend"] == backend]

    def scores(self, backend: str = "") -> dict[int, float]:
        """seed -> score of a backend, of the reference if none is named; runs without a score are left out."""
        return {row["seed"]: row["score"] for row in self.of(backend or self.reference) if has_score(row)}

    @property
    def mean(self) -> float | None:
        """Over the seeds, in the reference; None without any score."""
        return average(self.scores())

    def text(self, value: float | None) -> str:
        return score_text(value, self.first)

    @property
    def beats(self) -> bool:
        """Whether the mean beats the baseline."""
        return self.mean is not None and beats(self.mean, self.first)

    @property
    def beating(self) -> str:
        """How many of the reference's runs beat the baseline: "4 of 5"; one without a score does not."""
        found = [beats(score, self.first) for score in self.scores().values()]
        return f"{sum(found)} of {len(self.of(self.reference))}"


class Pair(NamedTuple):
    """The cells of one task and reading, in their usual order."""

    groups: tuple[Group, ...]

    @property
    def first(self) -> Group:
        return self.groups[0]

    def cell(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.cell == name), None)


def has_score(row: Record) -> bool:
    return row.get("score") is not None and math.isfinite(row["score"])


def average(scores: dict[int, float]) -> float | None:
    return float(np.mean(list(scores.values()))) if scores else None


def better(a: float, b: float, of: Record) -> bool:
    """Whether a is the better score under the metric of a record."""
    return a > b if of["higher"] else a < b


def beats(score: float, of: Record) -> bool:
    """Whether a score is better than the baseline of a record by more than ``MARGIN`` of it."""
    baseline = of["baseline"]
    return score > baseline * (1 + MARGIN) if of["higher"] else score < baseline * (1 - MARGIN)


def score_text(value: float | None, of: Record) -> str:
    """95.3% of what is a share, else three digits; "–" for none."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if of["metric"] in SHARES else digits(value)


def pairs(records: Sequence[Record]) -> list[Pair]:
    """All tasks and readings, in their usual order."""
    found: dict[tuple[str, str], dict[str, list[Record]]] = {}
    rows = of_kind(records, "outcome")
    for row in rows:
        found.setdefault((row["task"], row["reading"]), {}).setdefault(row["cell"], []).append(row)
    cells = names(rows, "cell")
    return [
        Pair(tuple(Group(*key, cell, tuple(found[key][cell])) for cell in cells if cell in found[key]))
        for key in sorted(found, key=_place)
    ]


def _place(key: tuple[str, str]) -> tuple[int, int]:
    task, reading = key
    readings = list(TASKS[task].readings) if task in TASKS else []
    tasks = list(TASKS)
    return (
        tasks.index(task) if task in tasks else len(tasks),
        readings.index(reading) if reading in readings else len(readings),
    )


class Comparison(NamedTuple):
    """Which cell came out better, "" for neither, and in how many of the seeds that both have a score for.

    ``ahead`` belongs to the better cell, or where there is none, to the one with the better mean.
    """

    winner: str
    leader: str
    ahead: int
    seeds: int
    beaten: bool


def compare(pair: Pair) -> Comparison:
    """The two cells by their means, seed by seed; ``beaten`` says that some cell beats the baseline."""
    scored = [group for group in pair.groups if group.mean is not None]
    beaten = any(group.beats for group in scored)
    if len(scored) != 2:
        return Comparison("", scored[0].cell if scored else "", 0, 0, beaten)
    a, b = scored
    assert a.mean is not None
    assert b.mean is not None
    lead, other = (b, a) if better(b.mean, a.mean, a.first) else (a, b)
    mine, theirs = lead.scores(), other.scores()
    common = sorted(set(mine) & set(theirs))
    ahead = sum(better(mine[seed], theirs[seed], lead.first) for seed in common)
    clear = common and lead.mean != other.mean and ahead >= CLEARLY * len(common)
    return Comparison(lead.cell if clear and beaten else "", lead.cell, ahead, len(common), beaten)


def verdict_sentence(pair: Pair, named: bool = False) -> str:
    """Which cell is better, by how much and how often; ``named`` tells the reading too."""
    where = f"With the reading “{pair.first.reading}”" if named else "On this task"
    return " ".join([_finding(pair, where), *_losses(pair)])


def _finding(pair: Pair, where: str) -> str:
    scored, found = [group for group in pair.groups if group.mean is not None], compare(pair)
    baseline = pair.first.text(pair.first.first["baseline"])
    told = ", ".join(f"{group.cell} {group.text(group.mean)}" for group in scored)
    sense = "higher" if pair.first.first["higher"] else "lower"
    if not scored:
        return f"{where} no run has a score."
    if not found.beaten:
        who = "neither cell beats" if len(scored) == 2 else f"the {scored[0].cell} does not beat"
        return f"{where} {who} the baseline of {baseline}: {told} ({sense} is better)."
    if len(scored) == 1:
        return f"{where} only the {scored[0].cell} has a score: {told} (baseline {baseline}; {sense} is better)."
    if not found.winner:
        texts = {group.text(group.mean) for group in scored}
        if not found.ahead:
            how = (
                f"ahead in none of {counted(found.seeds, 'seed')}"
                if len(texts) > 1
                else f"equal over {counted(found.seeds, 'seed')}"
            )
        else:
            how = f"the {found.leader} ahead in {found.ahead} of {counted(found.seeds, 'seed')}"
        return f"{where} neither cell is clearly better: {told} (baseline {baseline}; {sense} is better), {how}."
    lead, other = sorted(scored, key=lambda group: group.cell != found.winner)
    behind = "" if other.beats else f" The {other.cell} does not beat the baseline."
    return (
        f"{where} the {found.winner} is better: {lead.text(lead.mean)} against {other.text(other.mean)} (baseline "
        f"{baseline}; {sense} is better), in {found.ahead} of {counted(found.seeds, 'seed')}.{behind}"
    )


def _losses(pair: Pair) -> list[str]:
    """Runs without a score, and cells that were not trained."""
    found = []
    for group in pair.groups:
        if bad := group.diverged:
            found.append(
                f"{len(bad)} of {counted(len(group.rows), 'run')} of the {group.cell} diverged, without a score."
            )
    if len(pair.groups) == 1:
        found.append("The records hold no other cell.")
    return found


def curve(row: Record, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(updates, values) of a record's ``curve`` or ``drift``; null is not a number."""
    points = row.get(key) or []
    values = [math.nan if value is None else value for _, value in points]
    return np.array([update for update, _ in points], dtype=float), np.array(values, dtype=float)


def drift_after(rows: Sequence[Record], updates: int | None) -> float | None:
    """The largest drift of any of the rows over its first updates, all of them if None; None if none is that long."""
    tops = []
    for row in rows:
        ends, gaps = curve(row, "drift")
        if ends.size and (updates is None or ends[-1] >= updates):
            kept = gaps if updates is None else gaps[ends <= updates]
            tops += np.where(np.isfinite(kept), kept, np.inf).tolist()
    return max(tops, default=None)

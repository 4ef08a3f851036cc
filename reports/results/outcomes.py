"""Outcome records put together by task, reading and cell: scores, spreads, drifts, and which cell is better."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from common.datasets import TASKS
from common.record_types import Outcome, Record
from common.records import of_kind
from reports.page.numbers import counted, digits
from reports.results.runs import REFERENCE
from reports.results.verdict import names

# A cell is called better where it is ahead in this share of the seeds, and on average.
CLEARLY = 0.8
# A score beats the baseline where it is better by this share of it, or of a share of right answers, by this share of
# what is left to 100% and by so many standard errors of as many examples at the rate of the baseline.
MARGIN, ERRORS = 0.05, 2
MARGIN_TEXT = (
    f"by more than {MARGIN:.0%} of it; a share of right answers, by more than {MARGIN:.0%} of what is missing to 100% "
    "and more than two standard errors of as many test examples"
)
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
    def origins(self) -> list[str]:
        """From which backends the others' drift is: another than the reference where that diverged."""
        told = dict.fromkeys(row["reference"] for row in self.rows if row.get("drift") and "reference" in row)
        return list(told) or [self.reference]

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
        """Over the seeds that have a score in the reference; None without any."""
        return average(self.scores())

    @property
    def attempted(self) -> set[int]:
        """The seeds that the reference trained with, whether it came to a score or not."""
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
        """Whether the mean beats the baseline; lost runs count in it."""
        return self.mean is not None and beats(self.standing(self.attempted), self.first)

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


def threshold(of: Record) -> float:
    """The baseline of a record and its margin: only what is better beats the baseline."""
    baseline: float = of["baseline"]
    if of["metric"] in SHARES:
        return baseline + max(MARGIN * (1 - baseline), ERRORS * _standard_error(baseline, of.get("tested")))
    return baseline * (1 + MARGIN if of["higher"] else 1 - MARGIN)


def beats(score: float, of: Record) -> bool:
    """Whether a score is better than the baseline of a record by more than its margin."""
    return better(score, threshold(of), of)


def _standard_error(share: float, examples: int | None) -> float:
    """Of a share of so many examples; 0 where records do not tell how many. A share of 0 or 1 has one too."""
    if not examples:
        return 0.0
    share = min(max(share, 1 / examples), 1 - 1 / examples)
    return math.sqrt(max(share * (1 - share), 0.0) / examples)


def score_text(value: float | None, of: Record) -> str:
    """95.3% of what is a share, else three digits; "–" for none."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if of["metric"] in SHARES else digits(value)


def pairs(records: Sequence[Record]) -> list[Pair]:
    """All tasks and readings, in their usual order."""
    found: dict[tuple[str, str], dict[str, list[Record]]] = {}
    rows = of_kind(records, Outcome)
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
    """Which cell came out better, "" for neither, and in how many of the seeds that both were trained with.

    ``ahead`` belongs to the better cell, or where there is none, to the one that stands better on average.
    """

    winner: str
    leader: str
    ahead: int
    seeds: int
    beaten: bool


def compare(pair: Pair) -> Comparison:
    """The two cells by their means and seed by seed; ``beaten`` says that some cell beats the baseline.

    A run that diverged is lost, not missing: any score beats it.
    """
    beaten = any(group.beats for group in pair.groups)
    common = set.intersection(*(group.attempted for group in pair.groups))
    if len(pair.groups) != 2 or not common:
        return Comparison("", pair.first.cell, 0, 0, beaten)
    a, b = pair.groups
    places = a.standing(common), b.standing(common)
    lead, other = (b, a) if better(places[1], places[0], a.first) else (a, b)
    ahead = _ahead(lead, other, common)
    if places[0] == places[1] and (behind := _ahead(other, lead, common)) > ahead:
        lead, ahead = other, behind
    clear = places[0] != places[1] and ahead >= CLEARLY * len(common)
    return Comparison(lead.cell if clear and beaten else "", lead.cell, ahead, len(common), beaten)


def _ahead(group: Group, other: Group, seeds: Collection[int]) -> int:
    """In how many seeds a group has a score, and the other a worse one or none."""
    mine, theirs = group.scores(), other.scores()
    return sum(seed in mine and (seed not in theirs or better(mine[seed], theirs[seed], group.first)) for seed in seeds)


def verdict_sentence(pair: Pair, named: bool = False) -> str:
    """Which cell is better, by how much and how often; ``named`` tells the reading too."""
    where = f"With the reading “{pair.first.reading}”" if named else "On this task"
    return " ".join([_finding(pair, where), *_losses(pair)])


def _finding(pair: Pair, where: str) -> str:
    scored, found = [group for group in pair.groups if group.mean is not None], compare(pair)
    first = pair.first
    base = f"baseline {first.text(first.first['baseline'])}; {'higher' if first.first['higher'] else 'lower'} is better"
    told = ", ".join(f"{group.cell} {group.text(group.mean)}" for group in scored)
    if not scored:
        return f"{where} no run has a score."
    if not found.beaten:
        who = "neither cell beats" if len(pair.groups) == 2 else f"the {first.cell} does not beat"
        return f"{where} {who} the baseline: {told} ({base})."
    if not found.seeds:
        why = f"the {first.cell} beats the baseline" if len(pair.groups) == 1 else "the cells have no seed in common"
        return f"{where} {why}: {told} ({base})."
    seeds = counted(found.seeds, "seed")
    if found.winner:
        lead, other = sorted(pair.groups, key=lambda group: group.cell != found.winner)
        than = "no score" if other.mean is None else other.text(other.mean)
        behind = "" if other.beats or other.mean is None else f" The {other.cell} does not beat the baseline."
        return (
            f"{where} the {found.winner} is better: {lead.text(lead.mean)} against {than} ({base}), in "
            f"{found.ahead} of {seeds}.{behind}"
        )
    if found.ahead:
        how = f"the {found.leader} ahead in {found.ahead} of {seeds}"
    else:
        how = (
            f"ahead in none of {seeds}"
            if len({group.text(group.mean) for group in scored}) > 1
            else f"equal over {seeds}"
        )
    return f"{where} neither cell is clearly better: {told} ({base}), {how}."


def _losses(pair: Pair) -> list[str]:
    """Runs without a score, and cells that were not trained."""
    found = []
    for group in pair.groups:
        if bad := group.diverged:
            lost = sum(row["backend"] == group.reference for row in bad)
            counts = f", of which the {lost} in {group.reference} count as lost" if lost else ""
            found.append(f"{len(bad)} of {counted(len(group.rows), 'run')} of the {group.cell} diverged{counts}.")
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

"""Comparisons of a certificate put together: by check, pair and inputs, and by participant."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from common.equivalence.comparison import FAILED, ORACLES, PASSED
from common.record_parts import Number
from common.study.certificate import Comparison


class Group(NamedTuple):
    """The comparisons of one check and pair on the same inputs: the worst, and the coarsest resolution that passed.

    ``outcome`` counts the verdicts where there are several.
    """

    check: str
    a: str
    b: str
    inputs: int
    members: list[Comparison]
    worst: Comparison
    resolution: Number
    outcome: str


def groups(comparisons: Iterable[Comparison]) -> list[Group]:
    """The comparisons by check, pair and inputs, in the order of their first."""
    by_key: dict[tuple[str, str, str, int], list[Comparison]] = {}
    for row in comparisons:
        by_key.setdefault((row["check"], row["a"], row["b"], row["inputs"]), []).append(row)
    found = []
    for key, members in by_key.items():
        passed = [row["resolution"] for row in members if row["verdict"] == PASSED and row["resolution"] is not None]
        worst = max(members, key=rank)
        found.append(Group(*key, members, worst, max(passed, default=None), outcome(members)))
    return found


def rank(row: Comparison) -> tuple[bool, bool, float]:
    """The key for the worst of several comparisons, as ``tally.badness`` is for check records."""
    ratio = row["ratio"]
    return row["verdict"] == FAILED, row["verdict"] == PASSED, float("inf") if ratio is None else ratio


def shown(verdict: str) -> str:
    return verdict.upper() if verdict == FAILED else verdict


def outcome(rows: Sequence[Comparison]) -> str:
    """The verdict of all of them, or how many there are of each."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    if len(counts) == 1:
        return shown(*counts)
    return ", ".join(f"{number} {shown(verdict)}" for verdict, number in sorted(counts.items()))


def parties(comparisons: Iterable[Comparison]) -> list[str]:
    """The names of what was compared, apart from the exact result and the complex step."""
    sides = dict.fromkeys(name for row in comparisons for name in (row["a"], row["b"]))
    return [name for name in sides if name not in ORACLES]

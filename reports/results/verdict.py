"""Which comparisons failed, which was the worst, and the one sentence that the report begins with."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from common.equivalence.comparison import ORACLES, Tally, badness, tally, used
from common.equivalence.variants import OPTIONS
from common.model.spec import CELLS, DTYPES, HALF_DTYPES
from reports.page.numbers import count, fraction, percent

Record = dict[str, Any]
# The same function with another training: it has a section of its own and is no implementation to count.
ONE_BIAS = "one-bias"
USUAL = {"cell": CELLS, "dtype": (*DTYPES, *HALF_DTYPES)}


class Verdict(NamedTuple):
    """Whether everything was compared and agreed, and one sentence that says so."""

    passed: bool
    sentence: str


def verdict(records: Sequence[Record], partial: bool = False) -> Verdict:
    """The verdict on all check records; none is no proof, and neither is a part of them."""
    rows = of_kind(records, "check")
    found = tally(rows)
    if partial:
        return Verdict(False, f"Incomplete: the records end early; so far, {_finding(rows)}.")
    if found.failed or not rows:
        word = "NOT equivalent"
    elif found.unseen:
        word = "Undecided"
    else:
        alone = len(implementations(rows)) < 2
        word = "Equal to the exact result, compared with no other implementation" if alone else "Equivalent"
    return Verdict(found.equivalent, f"{word}: {_finding(rows)}.")


def _finding(rows: list[Record]) -> str:
    if not rows:
        return "nothing was compared"
    found, top = tally(rows), worst(rows)
    if found.failed:
        one, were = found.compared == 1, "is" if found.failed == 1 else "are"
        amount = f"{count(found.failed)} of {count(found.compared)} comparison{' is' if one else f's {were}'}"
        return f"{amount} out of tolerance; the worst is {_what(top)}{_undecided(found)}"
    within = (
        f"{_extent(rows)}, none out of tolerance; the worst used {percent(used(top))} of its own{_undecided(found)}"
    )
    if not found.unseen:
        return within
    backend, check, cell, dtype, quantity = found.unseen[0]
    others = f" and {count(len(found.unseen) - 1)} more" if len(found.unseen) > 1 else ""
    what = f"{quantity} ({check}) of {backend}, {cell} in {dtype}"
    return f"{within}; no comparison could have shown an error in {what}{others}"


def _undecided(found: Tally) -> str:
    """How many comparisons could not have shown an error, as a clause."""
    clause = f"; {count(found.undecided) if found.undecided else 'none'} undecided"
    return clause + (f", {count(found.zero)} of an exact zero" if found.zero else "")


def _extent(rows: list[Record]) -> str:
    sizes = [(len(implementations(rows)), "implementation"), (len(names(rows, "cell")), "cell")]
    sizes.append((len(names(rows, "dtype")), "dtype"))
    first, second, third = (f"{size} {word}" + ("s" if size > 1 else "") for size, word in sizes)
    amount = tally(rows).compared
    return f"{count(amount)} comparison{'s' if amount > 1 else ''} over {first}, {second} and {third}"


def _what(row: Record) -> str:
    where = f"{row['quantity']} of {row['variant']} in {row['dtype']}, {row['a']} against {row['b']}"
    if not row["count"]:
        return f"{where}, where no element was compared"
    if row["error"] is None:
        return f"{where}, which is not finite"
    if not math.isfinite(used(row)):
        return f"{where}, where the exact result is zero"
    return f"{where}, at {fraction(used(row))} times its tolerance"


def of_kind(records: Sequence[Record], kind: str) -> list[Record]:
    return [record for record in records if record.get("kind") == kind]


def worst(rows: Sequence[Record]) -> Record:
    """The failed row with the largest error over tolerance; if none failed, the row with the largest."""
    return max(rows, key=badness)


def names(rows: Sequence[Record], key: str) -> list[str]:
    """The values of a key: cells and dtypes in their usual order, others in that of their first appearance."""
    found = list(dict.fromkeys(row[key] for row in rows))
    usual = USUAL.get(key, ())
    return sorted(found, key=lambda name: usual.index(name) if name in usual else len(usual))


def options_of(rows: Sequence[Record]) -> list[str]:
    """The options that the rows tell of, in their usual order, then others; older records have none."""
    found = {option for row in rows for option in row.get("options", ())}
    return [*(option for option in OPTIONS if option in found), *sorted(found.difference(OPTIONS))]


def split(rows: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The rows that tell of one tensor each, and those of variants drawn at random, which tell of a rung's worst."""
    return [row for row in rows if not row.get("drawn")], [row for row in rows if row.get("drawn")]


def between_backends(rows: Sequence[Record]) -> list[Record]:
    """The rows that compare two implementations; the one-bias cell counts only where there is nothing else."""
    pairs = [row for row in rows if not {*ORACLES} & {row["a"], row["b"]}]
    return [row for row in pairs if ONE_BIAS not in (row["a"], row["b"])] or pairs


def implementations(rows: Sequence[Record]) -> list[str]:
    """The names of the compared implementations."""
    chosen = between_backends(rows) or rows
    found = dict.fromkeys(name for row in chosen for name in (row["a"], row["b"]))
    return [name for name in found if name not in ORACLES]

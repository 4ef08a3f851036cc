"""Which comparisons failed, which was the worst, and the one sentence that the report begins with."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.equivalence.comparison import ORACLES
from common.equivalence.tally import Tally, badness, full_quantity, tally, used
from common.equivalence.variants import OPTIONS
from common.model.spec import CELLS, DTYPES, HALF_DTYPES
from common.record_types import Check, Record
from common.records import of_kind
from reports.page.model import Verdict
from reports.page.numbers import count, counted, fraction, percent

# The backend that computes the same function but trains differently has its own section and is not counted.
ONE_BIAS = "one-bias"
USUAL = {"cell": CELLS, "dtype": (*DTYPES, *HALF_DTYPES)}


def verdict(records: Sequence[Record], partial: bool = False) -> Verdict:
    """The verdict on all check records; without records, or with only part of them, nothing is proved."""
    rows = of_kind(records, Check)
    counts = tally(rows)
    if partial:
        return Verdict(False, f"Incomplete: the records end early; so far, {_finding(rows)}.")
    if counts.failed or not rows:
        word = "NOT equivalent"
    elif counts.unseen:
        word = "Undecided"
    else:
        alone = len(implementations(rows)) < 2
        word = "Equal to the exact result, but not compared with any other implementation" if alone else "Equivalent"
    return Verdict(counts.equivalent, f"{word}: {_finding(rows)}.")


def _finding(rows: Sequence[Check]) -> str:
    if not rows:
        return "nothing was compared"
    counts, top = tally(rows), worst(rows)
    if counts.failed:
        are = "is" if counts.failed == 1 else "are"
        amount = f"{count(counts.failed)} of {counted(counts.compared, 'comparison')} {are}"
        return f"{amount} out of tolerance; the worst is {_what(top)}{_undecided(counts)}"
    within = f"{_extent(rows)}, none out of tolerance; the worst used {percent(used(top))} of it{_undecided(counts)}"
    if not counts.unseen:
        return within
    backend, check, cell, dtype, quantity = counts.unseen[0]
    others = f" and {count(len(counts.unseen) - 1)} more" if len(counts.unseen) > 1 else ""
    what = f"{quantity} ({check}) of {backend}, {cell} in {dtype}"
    return f"{within}; no comparison could have shown an error in {what}{others}"


def _undecided(counts: Tally) -> str:
    """How many comparisons could not have shown an error, as a clause."""
    clause = f"; {count(counts.undecided) if counts.undecided else 'none'} undecided"
    return clause + (f", {count(counts.zero)} of an exact zero" if counts.zero else "")


def _extent(rows: Sequence[Check]) -> str:
    backends = counted(len(implementations(rows)), "implementation")
    cells, dtypes = counted(len(names(rows, "cell")), "cell"), counted(len(names(rows, "dtype")), "dtype")
    return f"{counted(tally(rows).compared, 'comparison')} over {backends}, {cells} and {dtypes}"


def _what(row: Check) -> str:
    where = f"{full_quantity(row)} of {row['variant']} in {row['dtype']}, {row['a']} against {row['b']}"
    if not row["count"]:
        return f"{where}, where no element was compared"
    if row["error"] is None:
        return f"{where}, which is not finite"
    if not math.isfinite(used(row)):
        return f"{where}, where the exact result is zero"
    return f"{where}, at {fraction(used(row))} times its tolerance"


def worst(rows: Sequence[Check]) -> Check:
    """The failed row with the largest error over tolerance; if none failed, the row with the largest."""
    return max(rows, key=badness)


def names(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The values of a key: cells and dtypes in their usual order, others in that of their first appearance."""
    present = list(dict.fromkeys(row[key] for row in rows))
    usual = USUAL.get(key, ())
    return sorted(present, key=lambda name: usual.index(name) if name in usual else len(usual))


def options_of(rows: Sequence[Check]) -> list[str]:
    """The options of the models that were compared, in their usual order, then others."""
    present = {option for row in rows for option in row["options"]}
    return [*(option for option in OPTIONS if option in present), *sorted(present.difference(OPTIONS))]


def split(rows: Sequence[Check]) -> tuple[list[Check], list[Check]]:
    """The rows about one tensor each, and the rows of variants drawn at random, which are about the worst of a rung."""
    return [row for row in rows if not row["drawn"]], [row for row in rows if row["drawn"]]


def between_backends(rows: Sequence[Check]) -> list[Check]:
    """The rows that compare two implementations; the one-bias cell counts only where there is nothing else."""
    pairs = [row for row in rows if not {*ORACLES} & {row["a"], row["b"]}]
    return [row for row in pairs if ONE_BIAS not in (row["a"], row["b"])] or pairs


def implementations(rows: Sequence[Check]) -> list[str]:
    """The names of the compared implementations."""
    chosen = between_backends(rows) or rows
    sides = dict.fromkeys(name for row in chosen for name in (row["a"], row["b"]))
    return [name for name in sides if name not in ORACLES]

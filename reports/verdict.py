"""Which comparisons failed, which was the worst, and the one sentence that the report begins with."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from common.spec import CELLS, DTYPES, HALF_DTYPES
from common.variants import OPTIONS

from .numbers import count, fraction, percent

Record = dict[str, Any]
ORACLE = "complex step"
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
    passed = bool(rows) and not any(failed(row) for row in rows)
    if partial:
        return Verdict(False, f"Incomplete: the records end early; so far, {_finding(rows)}.")
    word = "Equivalent" if len(implementations(rows)) > 1 else "Consistent with itself, compared with no other"
    return Verdict(passed, f"{word if passed else 'NOT equivalent'}: {_finding(rows)}.")


def _finding(rows: list[Record]) -> str:
    if not rows:
        return "nothing was compared"
    bad, top = sum(failed(row) for row in rows), worst(rows)
    if bad:
        were = "comparison is" if len(rows) == 1 else f"comparisons {'is' if bad == 1 else 'are'}"
        return f"{count(bad)} of {count(len(rows))} {were} out of tolerance; the worst is {_what(top)}"
    return f"{_extent(rows)}, all within tolerance; the worst used {percent(used(top))} of its own"


def _extent(rows: list[Record]) -> str:
    sizes = [(len(implementations(rows)), "implementation"), (len(names(rows, "cell")), "cell")]
    sizes.append((len(names(rows, "dtype")), "dtype"))
    first, second, third = (f"{size} {word}" + ("s" if size > 1 else "") for size, word in sizes)
    return f"{count(len(rows))} comparison{'s' if len(rows) > 1 else ''} over {first}, {second} and {third}"


def _what(row: Record) -> str:
    where = f"{row['quantity']} of {row['variant']} in {row['dtype']}, {row['a']} against {row['b']}"
    if not row["count"]:
        return f"{where}, where no element was compared"
    if not math.isfinite(used(row)):
        return f"{where}, which is not finite"
    return f"{where}, at {fraction(used(row))} times its tolerance"


def of_kind(records: Sequence[Record], kind: str) -> list[Record]:
    return [record for record in records if record.get("kind") == kind]


def failed(row: Record) -> bool:
    """As in ``common.equivalence.all_passed``: a comparison of no element has failed too."""
    return not (row["passed"] and row["count"] > 0)


def used(row: Record) -> float:
    """Error over tolerance; infinite where the comparison met a value that is not finite (null in a file)."""
    return math.inf if row["ratio"] is None or math.isnan(row["ratio"]) else row["ratio"]


def worst(rows: Sequence[Record]) -> Record:
    """The failed row with the largest error over tolerance; if none failed, the row with the largest."""
    return max(rows, key=lambda row: (failed(row), used(row)))


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
    pairs = [row for row in rows if ORACLE not in (row["a"], row["b"])]
    return [row for row in pairs if ONE_BIAS not in (row["a"], row["b"])] or pairs


def implementations(rows: Sequence[Record]) -> list[str]:
    """The names of the compared implementations."""
    chosen = between_backends(rows) or rows
    found = dict.fromkeys(name for row in chosen for name in (row["a"], row["b"]))
    return [name for name in found if name != ORACLE]

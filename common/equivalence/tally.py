"""What check records show: which comparisons failed, and which results none of them could have shown to be wrong."""

import re
from collections import Counter
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from common.equivalence.comparison import FAILED, ORACLES, PASSED, UNDECIDED, ZERO, decided
from common.record_types import Check, Record
from common.records import of_kind

# The layer and direction in the name of a quantity.
LAYER = r"_l\d+(_reverse)?$"


def rung(row: Check) -> str:
    """The name of the check; a comparison of training runs on a task goes by the name of the task."""
    return row["check"] if row["run"] is None else row["run"]["task"]


def full_quantity(row: Check, quantity: str | None = None) -> str:
    """The quantity that was compared, or another that the record covers, with what was trained to get it."""
    quantity = row["quantity"] if quantity is None else quantity
    run = row["run"]
    return quantity if run is None else f"{run['reading']} {run['optimizer']['name']} {quantity}"


def failed(row: Check) -> bool:
    """Whether a comparison failed. It also fails if its numbers contradict its verdict: a comparison of no element, an
    error that is beyond the tolerance or not finite, a verdict that does not follow from its resolution.
    """
    sound = row["count"] > 0 and not row["reason"] and used(row) <= 1
    return not sound or row["verdict"] != decided(row["resolution"], row["dtype"])


def used(row: Check) -> float:
    """Error over tolerance; infinite where the comparison met a value that is not finite (null in a file)."""
    return inf if row["ratio"] is None or row["ratio"] != row["ratio"] else row["ratio"]


def badness(row: Check) -> tuple[bool, bool, float]:
    """The key for the worst of several rows: failures come before all others, then rows that decide something."""
    return failed(row), row["verdict"] == PASSED, used(row)


def verdicts(row: Check) -> dict[str, str]:
    """Quantity -> the verdict of its comparison, for every quantity that a check record covers."""
    confirmed = {
        name: verdict if verdict == decided(row["resolutions"].get(name), row["dtype"]) else FAILED
        for name, verdict in row["verdicts"].items()
    }
    return confirmed | ({row["quantity"]: FAILED} if failed(row) else {})


def passed_resolutions(rows: Iterable[Check]) -> list[float]:
    """The resolution of every comparison that passed."""
    every = (row["resolutions"][name] for row in rows for name, verdict in verdicts(row).items() if verdict == PASSED)
    return [resolution for resolution in every if resolution is not None]


class Tally(NamedTuple):
    """What some check records show together.

    ``unseen`` are (backend, check, cell, dtype, quantity) of which no comparison passed or failed: the records show
    nothing about them. The layers and directions of variants drawn at random count as one.
    """

    compared: int
    passed: int
    failed: int
    undecided: int
    zero: int
    unseen: tuple[tuple[str, str, str, str, str], ...]

    @property
    def equivalent(self) -> bool:
        """True if something was compared, nothing failed, and nothing went unseen."""
        return bool(self.compared) and not self.failed and not self.unseen


def tally(records: Iterable[Record]) -> Tally:
    """The comparisons of some check records, counted by verdict."""
    counts: Counter[str] = Counter()
    seen: dict[tuple[str, str, str, str, str], bool] = {}
    for row in of_kind(records, Check):
        for quantity, verdict in verdicts(row).items():
            counts[verdict] += 1
            name = full_quantity(row, re.sub(LAYER, "", quantity) if row["drawn"] else quantity)
            for backend in (side for side in (row["a"], row["b"]) if side not in ORACLES):
                key = backend, rung(row), row["cell"], row["dtype"], name
                seen[key] = seen.get(key, False) or verdict in (PASSED, FAILED)
    return Tally(
        compared=counts.total(),
        passed=counts[PASSED],
        failed=counts[FAILED],
        undecided=counts[UNDECIDED],
        zero=counts[ZERO],
        unseen=tuple(key for key, is_seen in seen.items() if not is_seen),
    )

"""From check records to the table of gradients."""

import math
from collections import defaultdict
from collections.abc import Sequence

from common.equivalence.comparison import COMPLEX_STEP, PASSED
from common.equivalence.tally import failed
from common.model.spec import DTYPES
from common.record_types import Check, Record
from common.records import of_kind
from reports.page.model import Section, Table
from reports.page.numbers import error
from reports.results.commands import check_commands
from reports.results.verdict import between_backends, names, split
from reports.sections.checks import pair


def gradient_section(records: Sequence[Record]) -> Section | None:
    """How far gradients differ, relative to the largest reference value, without variants drawn at random."""
    rows, drawn = split(of_kind(records, Check))
    pairs = [row for row in between_backends(rows) if row["check"] == "gradient"]
    hand = [row for row in rows if row["check"] == "complex step"]
    if not pairs and not hand:
        return None
    dtypes = names([*pairs, *hand], "dtype")
    columns = ["Cell", "Gradient"]
    if pairs:
        columns += [f"All pairs, {dtype}" for dtype in dtypes]
    if hand:
        columns += [f"By hand, {dtype}" for dtype in dtypes]
    groups = defaultdict(list)
    for row in [*pairs, *hand]:
        groups[row["cell"], row["quantity"]].append(row)
    lines = []
    cells = names([*pairs, *hand], "cell")
    for (cell, quantity), members in sorted(groups.items(), key=lambda group: cells.index(group[0][0])):
        line = [cell, quantity]
        for present, by_hand in ((pairs, False), (hand, True)):
            rows = [row for row in members if (row["check"] == "complex step") == by_hand]
            if present:
                line += [_relative(rows, dtype) for dtype in dtypes]
        lines.append(tuple(line))
    by = ", ".join(names(hand, "a"))
    note = f"By hand: {by} against the complex-step derivative of its own forward pass." if hand else ""
    table = Table(
        "The worst error / max|gradient| for every gradient",
        tuple(columns),
        tuple(lines),
        note,
        numbers=range(2, len(columns)),
    )
    paragraphs = (
        f"Neighbouring {_spacing(dtypes)}. Sums of many terms differ by a few such steps if they are taken in another "
        "order.",
        "The complex step needs no subtraction, so it has no rounding error to speak of: f'(x) = Im f(x + ih) / h "
        "with a tiny h. It is a reference that shares no code with any backward pass.",
    )
    if drawn:
        paragraphs += ("Variants drawn at random are not shown here: see Coverage.",)
    return Section(
        anchor="gradients",
        title="Gradients",
        paragraphs=paragraphs,
        plots=(),
        tables=(table,),
        commands=check_commands(pairs or hand, records),
    )


def _spacing(dtypes: Sequence[str]) -> str:
    """How far the numbers of each dtype lie apart: float64 and float32 always, 16 bits where they were compared."""
    steps = {"float64": "2e-16", "float32": "1e-7", "float16": "1e-3", "bfloat16": "8e-3"}
    listed = [name for name in steps if name in DTYPES or name in dtypes]
    return ", ".join(
        f"{name} numbers lie about {steps[name]} of their size apart"
        if name == listed[0]
        else f"{name} numbers about {steps[name]}"
        for name in listed
    )


def _relative(rows: Sequence[Check], dtype: str) -> str:
    """The largest error / scale, and in brackets the pair that has it."""
    members = [row for row in rows if row["dtype"] == dtype]
    if not members:
        return "–"
    members = [row for row in members if failed(row) or row["verdict"] == PASSED]
    if not members:
        return "undecided"
    if any(row["error"] is None or row["scale"] is None for row in members):
        return "not finite"
    top = max(members, key=relative_error)
    value = error(relative_error(top))
    return value if COMPLEX_STEP in (top["a"], top["b"]) else f"{value} ({pair(top)})"


def relative_error(row: Check) -> float:
    """The error over the largest value of the reference, or the error itself if the reference is zero everywhere."""
    if row["error"] is None or row["scale"] is None:
        return math.inf
    return row["error"] / (row["scale"] or 1.0)

"""How small an error the comparisons would have caught."""

from collections.abc import Sequence
from itertools import product

from common.equivalence.comparison import UNDECIDED, ZERO, passed_resolutions, verdicts
from common.equivalence.tolerances import COARSEST
from common.equivalence.variants import REGIMES
from reports.page.model import Section, Table
from reports.page.numbers import count, error
from reports.results.commands import check_commands
from reports.results.verdict import Record, names, of_kind, options_of


def resolution_section(records: Sequence[Record]) -> Section | None:
    """How small an error the comparisons would have caught."""
    rows = of_kind(records, "check")
    if not rows:
        return None
    lines = []
    for dtype, regime in product(names(rows, "dtype"), REGIMES):
        members = [row for row in rows if row["dtype"] == dtype and regime in options_of([row])]
        judged = [verdict for row in members for verdict in verdicts(row).values()]
        passed = sorted(passed_resolutions(members))
        if judged:
            places = (0, len(passed) // 2, len(passed) * 99 // 100, -1)
            shown = [error(passed[place]) for place in places] if passed else ["–"] * len(places)
            others = [count(judged.count(kind)) for kind in (UNDECIDED, ZERO)]
            lines.append((dtype, regime, count(len(judged)), *shown, *others))
    columns = ("Dtype", "Regime", "Comparisons", "Finest", "Median", "99%", "Coarsest", "Undecided", "Exact zero")
    limits = ", ".join(f"{limit:g} in {dtype}" for dtype, limit in COARSEST.items() if dtype in names(rows, "dtype"))
    paragraphs = (
        "The resolution of a comparison is its tolerance over the largest value of the exact result. A larger error "
        "fails, unless an honest difference offsets it; one of twice that size always does. Here is how the resolution "
        "is spread over the comparisons that passed.",
        f"A comparison coarser than {limits} does not pass: it fails if it finds an error beyond its tolerance, and is "
        "undecided if it does not. That is so where the dtype itself cannot tell: where every gate is shut, a gradient "
        "is less than the rounding of what it is made of. A quantity that no comparison of an implementation decided "
        "makes the verdict fail.",
    )
    table = Table("Resolution, by dtype and regime", columns, tuple(lines), numbers=range(2, len(columns)))
    return Section("resolution", "What would have been caught", paragraphs, (), (table,), check_commands(rows, records))

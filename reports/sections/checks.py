"""From check records to the summary, the explanation of terms, and the heat maps."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product

from common.backend.registry import BUILTIN
from common.equivalence.comparison import PASSED
from common.equivalence.coverage import configuration
from common.equivalence.ladder import CHECKS
from common.equivalence.reproduce import row_command
from common.equivalence.tally import failed, full_quantity, rung, tally, used
from common.equivalence.tolerances import A_PASS_MEANS
from common.record_types import Check, Record
from common.records import of_kind
from reports.page import plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import count, error, fraction
from reports.page.svg import HEAT_COLOURS
from reports.results.commands import check_commands
from reports.results.verdict import ONE_BIAS, between_backends, implementations, names, options_of, split, worst

SHOWN_FAILURES = 200


def verdict_section(records: Sequence[Record]) -> Section:
    """The summary by cell and dtype, and what failed."""
    rows = of_kind(records, Check)
    tables = [summary(rows)] if rows else []
    if bad := [row for row in rows if failed(row)]:
        tables.append(failures(bad))
    commands = check_commands(rows, records) if rows else ("rosetta check",)
    return Section(anchor="summary", title="Summary", paragraphs=(), plots=(), tables=tuple(tables), commands=commands)


def summary(rows: Sequence[Check]) -> Table:
    """One row for every cell and dtype, with the worst comparison."""
    lines = []
    for dtype, cell in product(names(rows, "dtype"), names(rows, "cell")):
        members = [row for row in rows if (row["cell"], row["dtype"]) == (cell, dtype)]
        if not members:
            continue
        top = worst(members)
        where = f"{full_quantity(top)} ({rung(top)}), {top['variant']}"
        compared = count(tally(members).compared)
        lines.append(
            (dtype, cell, outcome(members), compared, fraction(used(top)), error(top["error"]), where, pair(top))
        )
    columns = ("Dtype", "Cell", "Passed", "Comparisons", "Error / tolerance", "Error", "Worst comparison", "Pair")
    return Table("All comparisons, by dtype and cell", columns, tuple(lines), numbers=range(3, 6), whole=True)


def outcome(rows: Sequence[Check]) -> str:
    """Whether comparisons passed, and how many did not."""
    counts = tally(rows)
    words = ["yes" if counts.equivalent else "NO"]
    if counts.failed:
        words.append(f"{count(counts.failed)} failed")
    if counts.undecided:
        words.append(f"{count(counts.undecided)} undecided")
    return ", ".join(words)


def failures(bad: Sequence[Check]) -> Table:
    """The failed comparisons, the worst first, each with the command that reproduces it."""
    ranked = sorted(bad, key=used, reverse=True)[:SHOWN_FAILURES]
    lines = tuple(
        (
            row["variant"],
            row["dtype"],
            f"{full_quantity(row)} ({rung(row)})",
            pair(row),
            error(row["error"]),
            error(row["tolerance"]),
            fraction(used(row)) if row["count"] else "nothing compared",
            row_command(row),
        )
        for row in ranked
    )
    columns = ("Variant", "Dtype", "Quantity", "Pair", "Error", "Tolerance", "Error / tolerance", "Reproduce")
    more = len(bad) - len(ranked)
    notes = [f"The worst {count(len(ranked))}; {count(more)} more failed."] if more else []
    if any("smallest" in row for row in ranked):
        notes.append("A variant drawn at random is shrunk: the command runs the smallest one found that still fails.")
    title = f"Comparisons that failed: {count(len(bad))}"
    return Table(title, columns, lines, " ".join(notes), numbers=range(4, 7), code=(7,))


def pair(row: Check) -> str:
    return f"{row['a']} – {row['b']}"


def reading_section(records: Sequence[Record]) -> Section | None:
    """The explanation of terms."""
    rows = of_kind(records, Check)
    if not rows:
        return None
    lines = tuple((name, BUILTIN[name].summary if name in BUILTIN else "") for name in implementations(rows))
    backends = Table("The implementations", ("Name", "What it is"), lines)
    paragraphs = (
        "Each implementation gets the same weights and the same data, and every pair of them is compared. An oracle is "
        "a library's own layer, not written for this project.",
        "The error is the largest |a - b| over all elements. The tolerance is how far rounding can move the results of "
        "this very problem, as measured (see Coverage); for a loss curve it comes from a table, step by step. A "
        "comparison passes if error / tolerance is at most 1; 0.001 means that the two results differ by a thousandth "
        "of what is allowed.",
        f"{A_PASS_MEANS} A comparison that could not have seen such an error is undecided. Nothing is claimed about an "
        "exact zero either: it would reveal any error, but not a missing result.",
        "A variant is a cell with its options. It is given an initial state or starts from zero.",
    )
    if drawn := split(rows)[1]:
        paragraphs += (
            f"{count(len({configuration(row) for row in drawn}))} of the variants were drawn at random from all "
            "combinations of options. On such a variant, every check makes one comparison for each pair: that of the "
            "tensor that agrees worst.",
        )
    return Section(
        anchor="reading",
        title="How to read this",
        paragraphs=paragraphs,
        plots=(),
        tables=(_ladder(rows), backends),
        commands=("rosetta ls",),
    )


def _ladder(rows: Sequence[Check]) -> Table:
    """The checks, each resting on the one before, and how each came out."""
    order = [*CHECKS]
    rungs = {rung(row): row["check"] for row in rows}
    lines = []
    for name in sorted(rungs, key=lambda name: order.index(rungs[name]) if rungs[name] in order else len(order)):
        members = [row for row in rows if rung(row) == name]
        compared, ratio = count(tally(members).compared), fraction(used(worst(members)))
        lines.append((name, outcome(members), compared, ratio, CHECKS.get(rungs[name], "")))
    columns = ("Check", "Passed", "Comparisons", "Worst error / tolerance", "What is compared")
    return Table("The ladder of checks, each resting on the one before", columns, tuple(lines), numbers=range(2, 4))


def group_of(row: Check) -> str:
    """The column of the heat map: a tensor in the first rungs, the rung itself in the others."""
    return row["quantity"] if row["check"] in ("forward", "gradient") else rung(row)


def heat_section(records: Sequence[Record]) -> Section | None:
    """One heat map for every cell and dtype, over all pairs of implementations; not of variants drawn at random."""
    by_tensor, drawn = split(of_kind(records, Check))
    rows = between_backends(by_tensor)
    if not rows:
        return None
    cells = names(rows, "cell")
    maps = tuple(_heat_plot([row for row in rows if row["cell"] == cell], cell, i) for i, cell in enumerate(cells))
    paragraphs = (
        f"Each square is the worst error / tolerance over all variants of a cell: {_extent(rows)}. 1 is the limit. "
        "Both the colour and the number show it; the colour changes with every power of ten, and a failed square is "
        "framed and marked ✗. ? means that no comparison in the square was decisive, and – that none was made.",
    )
    if drawn:
        text = (
            "Variants drawn at random are not shown here, as only the worst of their tensors is recorded: see Coverage."
        )
        paragraphs += (text,)
    if any(ONE_BIAS in (row["a"], row["b"]) for row in of_kind(records, Check)):
        paragraphs += ("The one-bias cell has its own section below.",)
    return Section(
        anchor="heat",
        title="Error over tolerance",
        paragraphs=paragraphs,
        plots=maps,
        tables=(),
        commands=check_commands(rows, records),
    )


def _extent(rows: Sequence[Check]) -> str:
    """Which options the variants have."""
    return ", ".join(option for option in options_of(rows) if option != "plain")


def _heat_plot(rows: Sequence[Check], cell: str, number: int) -> Plot:
    columns = list(dict.fromkeys(group_of(row) for row in sorted(rows, key=_rung)))
    pairs = list(dict.fromkeys(pair(row) for row in rows))
    panels, lines = [], []
    for dtype in names(rows, "dtype"):
        members = [row for row in rows if row["dtype"] == dtype]
        cells = heat_cells(members)
        top = worst(members)
        bad = sum(failed(row) for row in members)
        alt = (
            f"{cell} in {dtype}: {len(pairs)} pairs of implementations by {len(columns)} quantities. The worst error "
            f"is {fraction(used(top))} of its tolerance: {group_of(top)}, {pair(top)}. "
            + (f"{count(bad)} comparisons failed." if bad else "None failed.")
        )
        svg = plots.heat(f"heat{number}-{len(panels)}", f"{cell}, {dtype}", alt, pairs, columns, cells)
        panels.append(Panel(svg, alt))
        for name in pairs:
            lines.append((dtype, name, *(cell_text(cells.get((name, column))) for column in columns)))
    table = Table(
        f"{cell}: worst error / tolerance",
        ("Dtype", "Pair", *columns),
        tuple(lines),
        numbers=range(2, 2 + len(columns)),
    )
    return Plot(f"{cell}: error over tolerance for every pair and quantity", tuple(panels), heat_legend(), table)


def _rung(row: Check) -> int:
    order = ("forward", "gradient", "loss", "training")
    return order.index(row["check"]) if row["check"] in order else len(order)


def cell_text(cell: plots.Cell | None) -> str:
    """A square of a picture, in a table."""
    if cell is None:
        return "–"
    words = [fraction(cell.ratio)]
    if cell.note:
        words.append(cell.note)
    if cell.failed:
        words.append("FAILED")
    return " ".join(words)


def heat_cells(rows: Sequence[Check]) -> dict[tuple[str, str], plots.Cell]:
    """(pair, quantity) -> the worst."""
    groups = defaultdict(list)
    for row in rows:
        groups[pair(row), group_of(row)].append(row)
    tops = {key: worst(members) for key, members in groups.items()}
    return {
        key: plots.Cell(used(top), failed(top), "" if failed(top) or top["verdict"] == PASSED else "?")
        for key, top in tops.items()
    }


def heat_legend() -> tuple[Key, ...]:
    edges = [f"{edge:.0e}".replace("e-0", "e-") if edge < 0.01 else f"{edge:g}" for edge in plots.DECADES]
    labels = ["0", f"below {edges[0]}", *(f"to {edge}" for edge in edges[1:]), "to 1"]
    return (*map(Key, HEAT_COLOURS, labels), Key("--fail", "above 1, or not finite: failed"))

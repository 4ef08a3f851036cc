"""From check records to the verdict, the heat maps and the table of gradients."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product

from common.backend.registry import BUILTIN
from common.equivalence.comparison import COMPLEX_STEP, PASSED, failed, tally, used
from common.equivalence.ladder import CHECKS
from common.equivalence.tolerances import A_PASS_MEANS
from common.model.spec import DTYPES
from reports.page import plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import count, error, fraction
from reports.page.svg import HEAT_COLOURS
from reports.results.commands import again, check_commands, seed_of
from reports.results.verdict import (
    ONE_BIAS,
    Record,
    between_backends,
    implementations,
    names,
    of_kind,
    options_of,
    split,
    worst,
)

SHOWN_FAILURES = 200


def verdict_section(records: Sequence[Record]) -> Section:
    """The summary by cell and dtype, and what failed."""
    rows, seed = of_kind(records, "check"), seed_of(records)
    tables = [summary(rows)] if rows else []
    if bad := [row for row in rows if failed(row)]:
        tables.append(failures(bad, seed))
    commands = check_commands(rows, records) if rows else ("rosetta check",)
    return Section("summary", "Summary", (), (), tuple(tables), commands)


def summary(rows: Sequence[Record]) -> Table:
    """One row for every cell and dtype, with the worst comparison."""
    lines = []
    for dtype, cell in product(names(rows, "dtype"), names(rows, "cell")):
        members = [row for row in rows if (row["cell"], row["dtype"]) == (cell, dtype)]
        if not members:
            continue
        top = worst(members)
        where = f"{top['quantity']} ({top['check']}), {top['variant']}"
        compared = count(tally(members).compared)
        lines.append(
            (dtype, cell, outcome(members), compared, fraction(used(top)), error(top["error"]), where, pair(top))
        )
    columns = ("Dtype", "Cell", "Passed", "Comparisons", "Error / tolerance", "Error", "Worst comparison", "Pair")
    return Table("All comparisons, by dtype and cell", columns, tuple(lines), numbers=range(3, 6), whole=True)


def outcome(rows: Sequence[Record]) -> str:
    """Whether some comparisons passed, and how many did not."""
    found = tally(rows)
    words = [f"{count(found.failed)} failed"] if found.failed else []
    words += [f"{count(found.undecided)} undecided"] if found.undecided else []
    return ", ".join(["yes" if found.equivalent else "NO", *words])


def failures(bad: Sequence[Record], seed: int) -> Table:
    """The failed comparisons, the worst first, each with the run that shows it again."""
    ranked = sorted(bad, key=used, reverse=True)[:SHOWN_FAILURES]
    lines = tuple(
        (
            row["variant"],
            row["dtype"],
            f"{row['quantity']} ({row['check']})",
            pair(row),
            error(row["error"]),
            error(row["tolerance"]),
            fraction(used(row)) if row["count"] else "nothing compared",
            again(row, seed),
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


def pair(row: Record) -> str:
    return f"{row['a']} – {row['b']}"


def reading_section(records: Sequence[Record]) -> Section | None:
    """What the words mean."""
    rows = of_kind(records, "check")
    if not rows:
        return None
    lines = tuple((name, BUILTIN[name].summary if name in BUILTIN else "") for name in implementations(rows))
    backends = Table("The implementations", ("Name", "What it is"), lines)
    paragraphs = (
        "Each implementation gets the same weights and the same data, and every pair of them is compared. An oracle is "
        "a library's own layer: nobody here wrote it.",
        "Error is the largest |a - b| over all elements. Tolerance is what rounding can do to this very problem, by "
        "measurement (see Coverage); a loss curve has a table's, step by step. In a pass error / tolerance is at most "
        "1; 0.001 means that the two differ by a thousandth of what they may.",
        f"{A_PASS_MEANS} A comparison that could not have seen such an error is undecided. Of an exact zero, which any "
        "error would show in but a missing result would not, nothing is claimed either.",
        "A variant is a cell with its options. It is given an initial state, or starts from zero.",
    )
    if drawn := split(rows)[1]:
        paragraphs += (
            f"{count(len({row['arguments'] for row in drawn}))} of the variants were drawn at random from the product "
            "of all options. Of such a variant every check gives one comparison a pair, that of the tensor that "
            "agrees worst.",
        )
    return Section("reading", "How to read this", paragraphs, (), (_ladder(rows), backends), ("rosetta ls",))


def _ladder(rows: Sequence[Record]) -> Table:
    """The checks, each resting on the one before, and how each came out."""
    kinds = [*(name for name in CHECKS if any(row["check"] == name for row in rows))]
    kinds += [name for name in names(rows, "check") if name not in CHECKS]
    lines = []
    for name in kinds:
        members = [row for row in rows if row["check"] == name]
        shown = (count(tally(members).compared), fraction(used(worst(members))))
        lines.append((name, outcome(members), *shown, CHECKS.get(name, "")))
    columns = ("Check", "Passed", "Comparisons", "Worst error / tolerance", "What is compared")
    return Table("The ladder of checks, each resting on the one before", columns, tuple(lines), numbers=range(2, 4))


def group_of(row: Record) -> str:
    """The column of the heat map: a tensor in the first rungs, later the rung."""
    return row["quantity"] if row["check"] in ("forward", "gradient") else row["check"]


def heat_section(records: Sequence[Record]) -> Section | None:
    """One heat map for every cell and dtype, over all pairs of implementations; not of variants drawn at random."""
    by_tensor, drawn = split(of_kind(records, "check"))
    rows = between_backends(by_tensor)
    if not rows:
        return None
    found = names(rows, "cell")
    maps = tuple(_heat_plot([row for row in rows if row["cell"] == cell], cell, i) for i, cell in enumerate(found))
    paragraphs = (
        f"Each square is the worst error / tolerance over all variants of a cell: {_extent(rows)}. 1 is the limit. "
        "Both colour and number tell it; the colour changes with every power of ten, and a failed square is framed and "
        "marked ✗. ? means that no comparison of the square decided anything, – that the run was not made.",
    )
    if drawn:
        text = "Variants drawn at random have no place here, as of their tensors only the worst is told: see Coverage."
        paragraphs += (text,)
    if any(ONE_BIAS in (row["a"], row["b"]) for row in of_kind(records, "check")):
        paragraphs += ("The one-bias cell is apart, in its own section below.",)
    return Section("heat", "Error over tolerance", paragraphs, maps, (), check_commands(rows, records))


def _extent(rows: Sequence[Record]) -> str:
    """Which variants there are: the usual ones, where the records do not tell."""
    found = [option for option in options_of(rows) if option != "plain"]
    return ", ".join(found) or "tanh and relu, with and without bias, with and without an initial state"


def _heat_plot(rows: Sequence[Record], cell: str, number: int) -> Plot:
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


def _rung(row: Record) -> int:
    order = ("forward", "gradient", "loss", "training")
    return order.index(row["check"]) if row["check"] in order else len(order)


def cell_text(cell: plots.Cell | None) -> str:
    """As a table tells a square."""
    if cell is None:
        return "–"
    words = [fraction(cell.ratio)] + [cell.note] * bool(cell.note) + ["FAILED"] * cell.failed
    return " ".join(words)


def heat_cells(rows: Sequence[Record]) -> dict[tuple[str, str], plots.Cell]:
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


def gradient_section(records: Sequence[Record]) -> Section | None:
    """How far gradients differ, relative to the largest reference value; not of variants drawn at random."""
    rows, drawn = split(of_kind(records, "check"))
    pairs = [row for row in between_backends(rows) if row["check"] == "gradient"]
    hand = [row for row in rows if row["check"] == "complex step"]
    if not pairs and not hand:
        return None
    dtypes = names([*pairs, *hand], "dtype")
    columns = ["Cell", "Gradient"]
    columns += [f"All pairs, {dtype}" for dtype in dtypes if pairs] + [f"By hand, {dtype}" for dtype in dtypes if hand]
    groups = defaultdict(list)
    for row in [*pairs, *hand]:
        groups[row["cell"], row["quantity"]].append(row)
    lines = []
    cells = names([*pairs, *hand], "cell")
    for (cell, quantity), members in sorted(groups.items(), key=lambda group: cells.index(group[0][0])):
        line = [cell, quantity]
        for kept, kind in ((pairs, False), (hand, True)):
            of_kind_rows = [row for row in members if (row["check"] == "complex step") == kind]
            line += [_relative(of_kind_rows, dtype) for dtype in dtypes if kept]
        lines.append(tuple(line))
    by = ", ".join(names(hand, "a"))
    note = f"By hand: {by} against the complex-step derivative of its own forward pass." if hand else ""
    table = Table(
        "The worst error / max|gradient| of every gradient",
        tuple(columns),
        tuple(lines),
        note,
        numbers=range(2, len(columns)),
    )
    paragraphs = (
        f"Neighbouring {_spacing(dtypes)}. Sums of many terms, taken in another order, differ by a few such steps.",
        "The complex step needs no subtraction, so it has no rounding error to speak of: f'(x) = Im f(x + ih) / h "
        "with a tiny h. It is a reference that shares no code with any backward pass.",
    )
    if drawn:
        paragraphs += ("Variants drawn at random are not here: see Coverage.",)
    return Section("gradients", "Gradients", paragraphs, (), (table,), check_commands(pairs or hand, records))


def _spacing(dtypes: Sequence[str]) -> str:
    """How far the numbers of each dtype lie apart: float64 and float32 always, 16 bits where they were compared."""
    steps = {"float64": "2e-16", "float32": "1e-7", "float16": "1e-3", "bfloat16": "8e-3"}
    shown = [name for name in steps if name in DTYPES or name in dtypes]
    return ", ".join(
        f"{name} numbers lie about {steps[name]} of their size apart"
        if name == shown[0]
        else f"{name} numbers about {steps[name]}"
        for name in shown
    )


def _relative(rows: Sequence[Record], dtype: str) -> str:
    """The largest error / scale, and in brackets the pair that has it."""
    members = [row for row in rows if row["dtype"] == dtype]
    if not members:
        return "–"
    members = [row for row in members if failed(row) or row["verdict"] == PASSED]
    if not members:
        return "undecided"
    if any(row["error"] is None or row["scale"] is None for row in members):
        return "not finite"
    top = max(members, key=_error_over_scale)
    value = error(_error_over_scale(top))
    return value if COMPLEX_STEP in (top["a"], top["b"]) else f"{value} ({pair(top)})"


def _error_over_scale(row: Record) -> float:
    return row["error"] / row["scale"] if row["scale"] else row["error"]

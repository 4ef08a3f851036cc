"""Which options were compared in which implementation, what the tolerance is, and what would have been caught."""

from collections.abc import Sequence
from itertools import product

from common.equivalence.comparison import UNDECIDED, ZERO
from common.equivalence.coverage import configuration, coverage
from common.equivalence.ladder import CHECKS
from common.equivalence.tally import failed, passed_resolutions, used, verdicts
from common.equivalence.tolerances import COARSEST, MARGIN, TOLERANCES, Tolerance
from common.equivalence.variants import OPTIONS, REGIMES
from common.model.spec import HALF_DTYPES
from common.record_types import Check, Record
from common.records import of_kind
from reports.page import plots
from reports.page.model import Panel, Plot, Section, Table
from reports.page.numbers import count, error, fraction
from reports.results.commands import check_commands
from reports.results.verdict import ONE_BIAS, implementations, names, options_of, worst
from reports.sections.checks import cell_text, heat_legend, pair

ALL = "all"
# (implementation, option or dtype) -> why it does not compute that.
REASONS = {
    ("flax", "proj_size"): "Flax has no projection",
    ("flax", "reset_before"): "Flax has the reset gate after the product alone",
    ("torch.nn", "reset_before"): "torch.nn has the reset gate after the product alone",
    ("numpy", "bfloat16"): "NumPy has no bfloat16 of its own",
}
LAW = (
    "The tolerance of outputs and gradients is measured on the problem itself. The same network is computed in float64 "
    "in Monte Carlo arithmetic: weights, inputs, states, cotangents and all intermediate results are moved by one "
    "rounding of the dtype, up or down at random. The result of such a run is as good as the dtype allows. The "
    f"tolerance is {MARGIN} times the distance of the farthest run from the exact result, or {MARGIN} roundings of its "
    "largest value, if that is more. No implementation takes part in this. For losses and training, a table gives the "
    "tolerance: |a - b| <= rtol × |reference| + atol."
)
RELU = (
    "With relu in 16 bits, only the outputs are compared: two backends may round an input near the kink to different "
    "sides of it, and their gradients then differ by a whole slope."
)


def coverage_section(records: Sequence[Record]) -> Section | None:
    """Options by implementations, a heat map for every dtype; None without comparisons."""
    checks = of_kind(records, Check)
    rows = [row for row in checks if ONE_BIAS not in (row["a"], row["b"])] or checks
    if not rows:
        return None
    options, backends = options_of(rows), implementations(rows)
    paragraphs = [
        "Every variant has options that concern its cell, its batch and initial state, its sizes, and the regime of "
        "its numbers; tanh and relu apply to RNN and RNNCell, reset_after (the form of torch.nn) and reset_before (of "
        "Cho et al. 2014) to GRU and GRUCell. Each square shows the worst error / tolerance of an "
        "implementation over all comparisons of the variants with an option, with the number of these variants in "
        "brackets. A pair that disagrees marks the squares of both.",
        _gaps(rows, options, backends),
        LAW,
        *([RELU] if set(HALF_DTYPES) & set(names(rows, "dtype")) else []),
    ]
    tables = (*_tolerances(rows), _regimes(options))
    commands = check_commands(rows, records)
    return Section(
        anchor="coverage",
        title="Coverage",
        paragraphs=tuple(paragraphs),
        plots=(_plot(rows, options, backends),),
        tables=tables,
        commands=commands,
    )


def squares(rows: Sequence[Check]) -> dict[tuple[str, str], plots.Cell]:
    """(option, implementation) -> the worst, with the number of variants as its note."""
    bad = coverage(row for row in rows if failed(row))
    return {
        key: plots.Cell(covered.worst, key in bad, f"({covered.variants})") for key, covered in coverage(rows).items()
    }


def _plot(rows: Sequence[Check], options: Sequence[str], backends: Sequence[str]) -> Plot:
    every = [ALL, *options]
    panels, lines = [], []
    for dtype in names(rows, "dtype"):
        members = [row for row in rows if row["dtype"] == dtype]
        cells, alt = squares(members), _alt(members, dtype)
        panels.append(Panel(plots.heat(f"cover{len(panels)}", dtype, alt, every, backends, cells), alt))
        for option in every:
            lines.append((dtype, option, *(cell_text(cells.get((option, name))) for name in backends)))
    columns = ("Dtype", "Option", *backends)
    title = "Worst error / tolerance, and in brackets the number of variants"
    table = Table(title, columns, tuple(lines), numbers=range(2, len(columns)))
    return Plot(f"{title}: options by implementations", tuple(panels), heat_legend(), table)


def _alt(rows: Sequence[Check], dtype: str) -> str:
    top, bad = worst(rows), sum(failed(row) for row in rows)
    variants = len({configuration(row) for row in rows})
    return (
        f"Coverage in {dtype}: {count(variants)} variants, {len(options_of(rows))} options by "
        f"{len(implementations(rows))} implementations. The worst error is {fraction(used(top))} of its tolerance: "
        f"{top['variant']}, {pair(top)}. " + (f"{count(bad)} comparisons failed." if bad else "None failed.")
    )


def _gaps(rows: Sequence[Check], options: Sequence[str], backends: Sequence[str]) -> str:
    """Why there are dashes, and which options no variant had."""
    covered, dtypes = coverage(rows), names(rows, "dtype")
    computed = {(name, row["dtype"]) for row in rows for name in (row["a"], row["b"])}
    sentences = ["– means that the implementation was given no variant with the option in that dtype."]
    sentences.append("A variant is given only to the implementations that support all of its options.")
    for name in backends:
        without = [option for option in options if (option, name) not in covered]
        if without:
            sentences.append(f"{name} was given none with {_reasoned(name, without)}, so its column has fewer.")
        if unseen := [dtype for dtype in dtypes if (name, dtype) not in computed]:
            sentences.append(f"{name} was given none in {_reasoned(name, unseen)}.")
    if absent := [option for option in OPTIONS if option not in options]:
        sentences.append(f"No variant here had {', '.join(absent)}.")
    return " ".join(sentences)


def _reasoned(name: str, lacking: Sequence[str]) -> str:
    """What an implementation lacks, and why, if that is known."""
    return ", ".join(f"{what} ({REASONS[name, what]})" if (name, what) in REASONS else what for what in lacking)


def _tolerances(rows: Sequence[Check]) -> tuple[Table, ...]:
    """rtol and atol of losses and training by dtype, one line for the checks that share them."""
    checks, groups = set(names(rows, "check")), {}
    for dtype in names(rows, "dtype"):
        for check in (name for name in CHECKS if name in checks and (name, dtype) in TOLERANCES):
            groups.setdefault((dtype, TOLERANCES[check, dtype]), []).append(check)
    curves = any(tolerance.growth for _, tolerance in groups)
    lines = [
        (dtype, ", ".join(members), *_written(tolerance, curves)) for (dtype, tolerance), members in groups.items()
    ]
    columns = ("Dtype", "Checks", "rtol", "atol")
    if curves:
        columns += ("Growth of rtol per step",)
    note = "The tolerance of a loss curve follows its value at every step, and its rtol grows." if curves else ""
    table = Table("The tolerance of losses and training", columns, tuple(lines), note, numbers=range(2, len(columns)))
    return (table,) if lines else ()


def _written(tolerance: Tolerance, curves: bool) -> tuple[str, ...]:
    numbers = tuple(f"{value:g}".replace("e-0", "e-") for value in (tolerance.rtol, tolerance.atol))
    if not curves:
        return numbers
    return (*numbers, f"{tolerance.growth:g} × rtol" if tolerance.growth else "–")


def _regimes(options: Sequence[str]) -> Table:
    lines = tuple((name, text) for name, text in REGIMES.items() if name in options)
    return Table("The regimes", ("Regime", "The numbers of the problem"), lines)


def resolution_section(records: Sequence[Record]) -> Section | None:
    """How small an error the comparisons would have caught."""
    rows = of_kind(records, Check)
    if not rows:
        return None
    lines = []
    for dtype, regime in product(names(rows, "dtype"), REGIMES):
        members = [row for row in rows if row["dtype"] == dtype and regime in options_of([row])]
        judged = [verdict for row in members for verdict in verdicts(row).values()]
        passed = sorted(passed_resolutions(members))
        if judged:
            places = (0, len(passed) // 2, len(passed) * 99 // 100, -1)
            quantiles = [error(passed[place]) if passed else "–" for place in places]
            others = [count(judged.count(kind)) for kind in (UNDECIDED, ZERO)]
            lines.append((dtype, regime, count(len(judged)), *quantiles, *others))
    columns = ("Dtype", "Regime", "Comparisons", "Finest", "Median", "99%", "Coarsest", "Undecided", "Exact zero")
    limits = ", ".join(f"{limit:g} in {dtype}" for dtype, limit in COARSEST.items() if dtype in names(rows, "dtype"))
    paragraphs = (
        "The resolution of a comparison is its tolerance divided by the largest value of the exact result. A larger "
        "error fails unless an honest difference offsets it; an error of twice that size always fails. The table shows "
        "how the resolution is distributed over the comparisons that passed.",
        f"A comparison coarser than {limits} does not pass: it fails if it finds an error beyond its tolerance, and is "
        "undecided if it does not. This happens when the dtype itself cannot show it: if every gate is shut, a "
        "gradient is smaller than the rounding errors of its terms. The verdict fails if some quantity of an "
        "implementation was decided by no comparison.",
    )
    table = Table("Resolution, by dtype and regime", columns, tuple(lines), numbers=range(2, len(columns)))
    return Section(
        anchor="resolution",
        title="What would have been caught",
        paragraphs=paragraphs,
        plots=(),
        tables=(table,),
        commands=check_commands(rows, records),
    )

"""The tables that the commands print: what was compared, trained and timed."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np

from common.cli import console
from common.datasets import TASKS
from common.equivalence.comparison import relative_gaps
from common.equivalence.coverage import coverage
from common.equivalence.reproduce import row_command
from common.equivalence.tally import (
    Tally,
    badness,
    failed,
    full_quantity,
    passed_resolutions,
    rung,
    tally,
    used,
)
from common.equivalence.tolerances import A_PASS_MEANS
from common.equivalence.variants import OPTIONS
from common.model.spec import CELLS, DTYPES, HALF_DTYPES
from common.record_types import Bench, Check, Record, Training
from common.records import of_kind
from common.study import bench

SHOWN_FAILURES = 20


def print_checks(records: Iterable[Record]) -> None:
    """One line for each cell and dtype, every comparison that failed, and what could not be seen."""
    rows = of_kind(records, Check)
    if not rows:
        console.line("Nothing was compared, so the check fails.")
        return
    lines = []
    for cell, dtype in product(CELLS, (*DTYPES, *HALF_DTYPES)):
        group = [row for row in rows if (row["cell"], row["dtype"]) == (cell, dtype)]
        if group:
            counted, worst = tally(group), used(max(group, key=badness))
            passed = passed_resolutions(group)
            coarsest = f"{max(passed):.1g}" if passed else "–"
            lines.append((cell, dtype, counted.compared, f"{worst:.2g}", coarsest, _outcome(counted)))
    columns = ("cell", "dtype", "comparisons", "worst error/tolerance", "coarsest pass", "verdict")
    console.table("Equivalence", columns, lines, numeric=columns[2:5])
    worst = max(rows, key=badness)
    console.line(
        f"The worst, at {used(worst):.2g} of its tolerance: {_what(worst)} ({worst['variant']}, {worst['dtype']})"
    )
    _print_failures([row for row in rows if failed(row)])
    console.line(_sentence(tally(rows)))
    console.line(textwrap.fill(A_PASS_MEANS, 80))


def _what(row: Check) -> str:
    return f"{rung(row)} {full_quantity(row)}, {row['a']} - {row['b']}"


def _print_failures(rows: list[Check]) -> None:
    """Each with the command that reproduces it; those that shrink to the same model are grouped."""
    groups: dict[str, list[Check]] = {}
    for row in rows:
        smallest = row.get("smallest")
        alike = json.dumps(smallest | {"seed": 0}, sort_keys=True) if smallest else f"{len(groups)}"
        groups.setdefault(alike, []).append(row)
    for row, *others in list(groups.values())[:SHOWN_FAILURES]:
        console.line(f"FAILED {row['variant']} {row['dtype']}: {_what(row)}")
        which = "the smallest that fails: " if "smallest" in row else ""
        console.line(f"       {_reason(row)}; {which}{row_command(row)}")
        if others:
            console.line(f"       and {len(others)} more comparisons that shrink to the same model")
    if len(groups) > SHOWN_FAILURES:
        console.line(f"... and {len(groups) - SHOWN_FAILURES} more; --json lists all")


def _reason(row: Check) -> str:
    """Why a comparison failed."""
    if row["reason"] or row["tolerance"] is None or row["error"] is None:
        return row["reason"] or "a value is not finite"
    return f"expected an error of at most {row['tolerance']:.2g}, got {row['error']:.2g}"


def _outcome(counted: Tally) -> str:
    """The verdict on a cell, and what did not pass."""
    words = []
    if counted.failed:
        words.append(f"{counted.failed} FAILED")
    elif not counted.unseen:
        words.append("passed")
    if counted.undecided:
        words.append(f"{counted.undecided} undecided")
    if counted.unseen:
        words.append(f"{len(counted.unseen)} NOT SEEN")
    return ", ".join(words)


def _sentence(counted: Tally) -> str:
    """The number of comparisons by verdict, and the results that no comparison could have shown to be wrong."""
    text = f"{counted.compared} comparisons: {counted.failed} failed, {counted.undecided} undecided, "
    text += f"{counted.zero} of an exact zero."
    groups: dict[str, list[str]] = {}
    for backend, check, cell, dtype, quantity in counted.unseen:
        groups.setdefault(f"{backend}, {cell} {dtype}, {check}", []).append(quantity)
    for where, quantities in groups.items():
        text += f"\nNOT SEEN {where}: {', '.join(quantities)}"
    if groups:
        text += "\nThat is a failure: no comparison of these could have shown an error, or a missing result."
        text += "\nAnother problem can: more steps, a plainer regime, more configurations."
    return text


def print_coverage(records: Iterable[Record], chosen: int) -> None:
    """Option by backend: how many configurations had it, and the worst error over tolerance."""
    table = coverage(records)
    backends = list(dict.fromkeys(name for _, name in table))
    lines = []
    for option in dict.fromkeys(option for option, _ in table):
        cells = [table.get((option, name)) for name in backends]
        lines.append((option, *("–" if cell is None else f"{cell.variants}: {cell.worst:.2g}" for cell in cells)))
    title = f"Coverage of {chosen} configurations: how many had the option, and the worst error/tolerance"
    console.table(title, ("option", *backends), lines, numeric=backends)
    if absent := [option for option in OPTIONS if option not in {option for option, _ in table}]:
        console.line(f"Not drawn: {', '.join(absent)}.")


def print_training(records: Iterable[Record]) -> None:
    """One line for each training run, and where the trained network was saved."""
    runs = of_kind(records, Training)
    if not runs:
        return
    lines = [
        (
            run["cell"],
            run["dtype"],
            run["backend"],
            len(run["losses"]),
            _number(run["losses"][0], 6) if run["losses"] else "–",
            _number(run["final_loss"], 6),
            _number(run["score"], 4),
            _number(run["baseline"], 4),
        )
        for run in runs
    ]
    first = runs[0]
    columns = ("cell", "dtype", "backend", "updates", "first loss", "test loss", f"test {first['metric']}")
    columns += ("without learning",)
    rule = first["optimizer"]
    title = f"{first['task']}, {first['reading']}, {rule['name']} with lr {rule['lr']:g}"
    console.table(title, columns, lines, numeric=columns[3:])
    for run in runs:
        if run["ended"] != "finished":
            how = "stopped by its patience" if run["ended"] == "patience" else run["ended"]
            console.line(f"{run['cell']} in {run['dtype']} with {run['backend']}: {how}.")
    for line in _gaps(runs):
        console.line(line)
    for run in runs:
        if "saved" in run:
            console.line(f"Saved: {run['saved']}")


def _number(value: float | None, digits: int) -> str:
    return "not finite" if value is None else f"{value:.{digits}g}"


def _gaps(runs: list[Training]) -> Iterator[str]:
    """How far each backend's losses diverge from those of the first backend with the same training."""
    first: dict[tuple[str, str], Training] = {}
    for run in runs:
        other = first.setdefault((run["cell"], run["dtype"]), run)
        size = min(len(run["losses"]), len(other["losses"]))
        if other is run or not size:
            continue
        gaps = relative_gaps(np.array(run["losses"][:size], float), np.array(other["losses"][:size], float))
        worst = int(gaps.argmax())
        held = min(TASKS[run["task"]].held, size)
        text = f"{run['cell']} {run['dtype']}: the losses of {run['backend']} and {other['backend']} differ by "
        text += f"{gaps[:held].max():.1e} of the loss in the first {held} updates, which are compared below"
        yield text + (f", and by {gaps[worst]:.1e} at update {worst + 1}" if worst >= held else "")


def print_bench(records: Iterable[Bench]) -> None:
    """Milliseconds and the ratio to the reference arm, one line for each case and arm."""
    lines, reference = [], []
    for record in records:
        if record["arm"] == record["reference"]:  # the reference comes first in its case
            reference = record["seconds"]
        ratio = bench.ratio(record["seconds"], reference)
        median = bench.median(record["seconds"])
        lines.append(
            (
                record["cell"],
                " ".join(str(record[size]) for size in ("steps", "batch", "input_size", "hidden_size")),
                record["dtype"],
                "forward + backward" if record["backward"] else "forward",
                record["arm"],
                f"{median * 1e3:.3g}",
                f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
                f"{record['flops'] / median / 1e9:.3g}",
                f"{record['first_call']:.2f}",
            )
        )
    columns = ("cell", "T B I H", "dtype", "pass", "arm", "ms", "times reference", "GFLOP/s", "first call, s")
    interval = "95% interval" if len(reference) >= bench.ROUNDS_FOR_95 else "range"
    console.table(f"Speed: medians of the rounds, and the {interval} of the ratio", columns, lines, columns[5:])
    console.line(
        "Below 1 is faster than the reference. The A/A arm is the reference once more: its interval is the noise."
    )

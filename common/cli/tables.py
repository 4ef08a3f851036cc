"""The tables that the commands print: what was compared, and what it took."""

import re
import textwrap
from collections.abc import Iterator
from itertools import product

from common.cli import console
from common.datasets import TASKS
from common.equivalence import comparison
from common.equivalence.coverage import coverage
from common.equivalence.reproduce import row_command
from common.equivalence.tolerances import A_PASS_MEANS
from common.equivalence.variants import OPTIONS
from common.model.spec import CELLS, DTYPES, HALF_DTYPES
from common.records import Record
from common.study import bench

SHOWN_FAILURES = 20


def print_checks(found: list[Record], seed: int) -> None:
    """One line a cell and dtype, every comparison that failed, and what could not be seen."""
    rows = [record for record in found if record["kind"] == "check"]
    if not rows:
        console.line("Nothing was compared: that is a failure.")
        return
    lines = []
    for cell, dtype in product(CELLS, (*DTYPES, *HALF_DTYPES)):
        group = [row for row in rows if (row["cell"], row["dtype"]) == (cell, dtype)]
        if group:
            members, worst = comparison.tally(group), comparison.used(max(group, key=comparison.badness))
            coarsest = f"{max(passed):.1g}" if (passed := comparison.passed_resolutions(group)) else "–"
            lines.append((cell, dtype, members.compared, f"{worst:.2g}", coarsest, _outcome(members)))
    columns = ("cell", "dtype", "comparisons", "worst error/tolerance", "coarsest pass", "verdict")
    console.table("Equivalence", columns, lines, numeric=columns[2:5])
    worst = max(rows, key=comparison.badness)
    where = f"{worst['check']} {worst['quantity']}, {worst['a']} - {worst['b']} ({worst['variant']}, {worst['dtype']})"
    console.line(f"The worst, at {comparison.used(worst):.2g} of its tolerance: {where}")
    groups: dict[str, list[Record]] = {}
    for row in filter(comparison.failed, rows):
        command = row_command(row, seed)
        alike = re.sub(r" --(seed|backend) \S+", "", command) if "smallest" in row else f"{len(groups)}"
        groups.setdefault(alike, []).append(row | {"command": command})
    for row, *others in list(groups.values())[:SHOWN_FAILURES]:
        where = f"{row['check']} {row['quantity']}, {row['a']} - {row['b']}"
        console.line(f"FAILED {row['variant']} {row['dtype']}: {where}")
        which = "the smallest that fails: " if "smallest" in row else ""
        what = row.get("reason") or f"expected an error of at most {row['tolerance']:.2g}, got {row['error']:.2g}"
        console.line(f"       {what}; {which}{row['command']}")
        if others:
            console.line(f"       and {len(others)} more comparisons that shrink to the same model")
    if len(groups) > SHOWN_FAILURES:
        console.line(f"... and {len(groups) - SHOWN_FAILURES} more; --json lists all")
    console.line(_sentence(comparison.tally(rows)))
    console.line(textwrap.fill(A_PASS_MEANS, 80))


def _outcome(members: comparison.Tally) -> str:
    """The verdict on a cell, and what did not pass."""
    words = [f"{members.failed} FAILED"] if members.failed else [] if members.unseen else ["passed"]
    words += [f"{members.undecided} undecided"] if members.undecided else []
    return ", ".join([*words, *([f"{len(members.unseen)} NOT SEEN"] if members.unseen else [])])


def _sentence(members: comparison.Tally) -> str:
    """How many comparisons came to what, and what none of them showed."""
    text = f"{members.compared} comparisons: {members.failed} failed, {members.undecided} undecided, "
    text += f"{members.zero} of an exact zero."
    groups: dict[str, list[str]] = {}
    for backend, check, cell, dtype, quantity in members.unseen:
        groups.setdefault(f"{backend}, {cell} {dtype}, {check}", []).append(quantity)
    for where, quantities in groups.items():
        text += f"\nNOT SEEN {where}: {', '.join(quantities)}"
    if groups:
        text += "\nThat is a failure: of these no comparison could have shown an error, or a missing result."
        text += "\nAnother problem can: more steps, a plainer regime, more configurations."
    return text


def print_coverage(found: list[Record], chosen: int) -> None:
    """Option by backend: how many configurations had it, and the worst error over tolerance."""
    table = coverage(found)
    backends = list(dict.fromkeys(name for _, name in table))
    lines = []
    for option in dict.fromkeys(option for option, _ in table):
        shown = [table.get((option, name)) for name in backends]
        lines.append((option, *("–" if found is None else f"{found.variants}: {found.worst:.2g}" for found in shown)))
    title = f"Coverage of {chosen} configurations: how many had the option, and the worst error/tolerance"
    console.table(title, ("option", *backends), lines, numeric=backends)
    if absent := [option for option in OPTIONS if option not in {option for option, _ in table}]:
        console.line(f"Not drawn: {', '.join(absent)}.")


def print_training(found: list[Record]) -> None:
    """One line a training run, and where what was learnt is."""
    runs = [record for record in found if record["kind"] == "training"]
    if not runs:
        return
    lines = [
        (
            *(r["cell"], r["dtype"], r["backend"], len(r["losses"])),
            *(f"{r['losses'][0]:.9g}" if r["losses"] else "–", f"{r['final_loss']:.9g}"),
            *(f"{r['score']:.6g}", f"{r['baseline']:.6g}", r["ended"]),
        )
        for r in runs
    ]
    columns = ("cell", "dtype", "backend", "updates", "first loss", "test loss", f"test {runs[0]['metric']}")
    title = "{task}, {reading}, {optimizer} with lr {lr:g}".format(**runs[0])
    console.table(title, (*columns, "without learning", "ended"), lines, numeric=columns[3:])
    for line in _gaps(runs):
        console.line(line)
    for r in runs:
        if "saved" in r:
            console.line(f"Saved: {r['saved']}")


def _gaps(runs: list[Record]) -> Iterator[str]:
    """How far each backend's losses part from those of the first that trained the same."""
    first: dict[tuple[str, str], Record] = {}
    for run in runs:
        other = first.setdefault((run["cell"], run["dtype"]), run)
        pairs = list(zip(run["losses"], other["losses"], strict=False))
        if other is run or not pairs:
            continue
        gaps = [abs(a - b) / max(abs(b), 1e-300) for a, b in pairs]
        worst = max(range(len(gaps)), key=gaps.__getitem__)
        held = min(TASKS[run["task"]].held, len(gaps))
        text = f"{run['cell']} {run['dtype']}: the losses of {run['backend']} and {other['backend']} part by "
        text += f"{max(gaps[:held]):.1e} of the loss in the first {held} updates, which are compared below"
        yield text + (f", and by {gaps[worst]:.1e} at update {worst + 1}" if worst >= held else "")


def print_bench(found: list[Record]) -> None:
    """Milliseconds and the ratio to the reference arm, one line a case and arm."""
    lines, reference = [], []
    for record in found:
        if record["arm"] == record["reference"]:  # it comes first in its case
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

"""How far back the gradient reaches: its size at every time step, before and after training."""

import math
from collections.abc import Sequence

import numpy as np

from . import plots, task_plots
from .model import Key, Panel, Plot, Section, Table
from .numbers import digits, error
from .plots import Curve
from .runs import numbers_of
from .svg import variable
from .task_plots import cell_colour
from .tasks import full_command
from .verdict import Record, names, of_kind

SHOWN_STEPS = 10
STAGES = {"before": "before training", "after": "after training"}


def flow_section(records: Sequence[Record]) -> Section | None:
    """None where no gradients were recorded."""
    found = of_kind(records, "gradient-norms")
    if not found:
        return None
    stages = [stage for stage in STAGES if stage in names(found, "stage")]
    cells, backends = names(found, "cell"), names(found, "backend")
    span = task_plots.positive_span([numbers_of(row["norms"]) for row in found])
    plot = Plot(
        f"Size of the gradient of the error at each time step, {_whose(found)}",
        tuple(_panel(found, stage, backends, span) for stage in stages),
        (
            *(Key(variable(cell_colour(cell)), cell) for cell in cells),
            *(Key("--muted", name, plots.mark(i)) for i, name in enumerate(backends)),
        ),
        _steps(found, stages),
    )
    paragraphs = (
        "A network learns from an early input only if the error at the end tells the state at that time in which "
        "direction to change. That message is the gradient dL/dh_t; its size says how loud it still is after having "
        "gone back from the last step to step t.",
        "Each step back multiplies it by about the same factor. Below 1, it fades exponentially (the vanishing "
        "gradient) and what is far back is hardly learnt; an LSTM's gates can hold the factor near 1.",
        " ".join(_slopes(found, stages)),
        _agreement(found, backends),
    )
    table = _factors(found, stages)
    return Section(
        "flow", "How far back does the gradient reach?", paragraphs, (plot,), (table,), (full_command(records),)
    )


def _whose(found: Sequence[Record]) -> str:
    row = found[0]
    return f"task {row['task']}, seed {row['seed']}, median of {row['sequences']} sequences"


def factor(norms: np.ndarray) -> float:
    """By what a step back multiplies the norm: from the straight line through its logarithm over t."""
    time = np.arange(norms.size)
    kept = np.isfinite(norms) & (norms > 0)
    if kept.sum() < 2:
        return math.nan
    return float(np.exp(-np.polyfit(time[kept], np.log(norms[kept]), 1)[0]))


def _share(norms: np.ndarray) -> str:
    """The first norm over the last."""
    return error(norms[0] / norms[-1] if norms[-1] else math.nan)


def _one(found: Sequence[Record], stage: str, cell: str) -> Record | None:
    return next((row for row in found if (row["stage"], row["cell"]) == (stage, cell)), None)


def _panel(found: Sequence[Record], stage: str, backends: Sequence[str], span: tuple[float, float]) -> Panel:
    rows = [row for row in found if row["stage"] == stage]
    curves = [
        Curve(numbers_of(row["norms"]).tolist(), cell_colour(row["cell"]), backends.index(row["backend"]))
        for row in rows
    ]
    told = [
        f"{cell}: {error(norms[0])} at step 0, {error(norms[-1])} at step {norms.size - 1}, times "
        f"{digits(factor(norms), 3)} a step back."
        for cell in names(rows, "cell")
        if (row := _one(rows, stage, cell)) and (norms := numbers_of(row["norms"])).size
    ]
    alt = f"Size of the gradient over time, {STAGES[stage]}. {' '.join(told)}"
    return Panel(task_plots.by_time(f"flow-{stage}", STAGES[stage].capitalize(), alt, curves, span), alt)


def _slopes(found: Sequence[Record], stages: Sequence[str]) -> list[str]:
    texts = []
    for stage in stages:
        parts = []
        for cell in names(found, "cell"):
            if row := _one(found, stage, cell):
                norms = numbers_of(row["norms"])
                parts.append(
                    f"by {digits(factor(norms), 3)} in the {cell}, whose first step gets {_share(norms)} "
                    "of what the last gets"
                )
        texts.append(f"{STAGES[stage].capitalize()} a step back multiplies it {'; '.join(parts)}.")
    return texts


def _agreement(found: Sequence[Record], backends: Sequence[str]) -> str:
    """The largest relative difference between two backends, over all steps."""
    if len(backends) < 2:
        return f"Only {backends[0]} was run."
    gaps = []
    for stage, cell in {(row["stage"], row["cell"]) for row in found}:
        rows = [numbers_of(row["norms"]) for row in found if (row["stage"], row["cell"]) == (stage, cell)]
        gaps += [abs(row - rows[0]) / np.maximum(abs(rows[0]), np.finfo(float).tiny) for row in rows[1:]]
    top = float(np.max(np.concatenate(gaps))) if gaps else 0.0
    return (
        f"The lines of {', '.join(backends)} coincide, so their marks take turns on one line: the largest relative "
        f"difference between two of them, at any step, is {error(top)}."
        if top < 1e-6
        else f"The lines of {', '.join(backends)} do NOT coincide: they differ by up to {error(top)} of their size."
    )


def _factors(found: Sequence[Record], stages: Sequence[str]) -> Table:
    rows = []
    for cell in names(found, "cell"):
        for stage in stages:
            for row in (row for row in found if (row["stage"], row["cell"]) == (stage, cell)):
                norms = numbers_of(row["norms"])
                ends = (error(norms[-1]), error(norms[0]), f"{factor(norms):.4f}")
                rows.append((cell, STAGES[stage], row["backend"], *ends))
    columns = ("Cell", "When", "Backend", "At the last step", "At the first", "Factor a step back")
    note = "The factor is that of a straight line through the logarithms; where the line bends it is a summary."
    return Table("What a step back in time does to the gradient", columns, tuple(rows), note, numbers=(3, 4, 5))


def _steps(found: Sequence[Record], stages: Sequence[str]) -> Table:
    rows = []
    for stage in stages:
        for cell in names(found, "cell"):
            if row := _one(found, stage, cell):
                norms = numbers_of(row["norms"])
                step = max(1, (norms.size - 1) // SHOWN_STEPS)
                rows += [(STAGES[stage], cell, str(t), error(norms[t])) for t in range(0, norms.size, step)]
    columns = ("When", "Cell", "Time step", "Size of the gradient")
    return Table(f"Some of the steps, by {found[0]['backend']}", columns, tuple(rows), numbers=(2, 3))

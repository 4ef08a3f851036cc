"""From training and task records to pictures and tables: predictions, losses and their gaps."""

import math
from collections.abc import Sequence

import numpy as np

from common.datasets import TASKS
from common.record_types import Record, Task, Training
from common.records import of_kind
from reports.page import plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import digits, error, percent
from reports.page.plots import Curve, Gaps
from reports.page.svg import variable
from reports.results.commands import train_commands
from reports.results.runs import Gap, Run, gaps, largest_gap, runs, span, spread
from reports.results.verdict import names

# What the README promises of loss curves in float64.
PROMISE = 1e-9
SHOWN_POINTS, SHOWN_UPDATES = 22, 10


def backend_names(trained: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in trained for name in run.curves))


def _lines(values: dict[str, np.ndarray], backends: Sequence[str]) -> list[Curve]:
    return [Curve(values[name].tolist(), backends.index(name)) for name in backends if name in values]


def _legend(backends: Sequence[str]) -> list[Key]:
    return [Key(variable(i), name, plots.mark(i)) for i, name in enumerate(backends)]


def sine_section(records: Sequence[Record]) -> Section | None:
    """The wave and the predictions, for each axis order of the data."""
    tasks = {task["reading"]: task for task in of_kind(records, Task)}
    trained = [run for run in runs(records) if run.first["reading"] in tasks]
    if not trained:
        return None
    backends, first = backend_names(trained), next(iter(tasks.values()))
    paragraphs = [
        f"The series is a sine wave of {len(first['series'])} points. {len(first['position'])} windows of "
        f"{first['position'][0]} points are cut from it, and a model learns to predict the point after each window. "
        "The data come in two variants, which feed the same numbers to the same layer."
    ]
    readings = TASKS["sine"].readings
    for reading, task in tasks.items():
        why = readings[reading].readout if reading in readings else ""
        paragraphs.append(f"Variant “{reading}”: {task['summary']}. {why}".strip())
    if len(backends) > 1:
        apart = float(np.max([spread(run).max() for run in trained if run.first["dtype"] == main_dtype(trained)]))
        paragraphs.append(
            "Each implementation has its marks at its own positions: where predictions coincide, all marks lie on one "
            f"line. In {main_dtype(trained)} no two implementations are further apart than {error(apart)} at any point."
        )
    main = [run for run in trained if run.first["dtype"] == main_dtype(trained)]
    pictures = [
        _wave_plot([run for run in main if run.first["reading"] == reading], task, backends, number)
        for number, (reading, task) in enumerate(tasks.items())
        if any(run.first["reading"] == reading for run in main)
    ]
    return Section(
        anchor="sine",
        title="The sine wave",
        paragraphs=tuple(paragraphs),
        plots=tuple(pictures),
        tables=(_predictions(trained, tasks),),
        commands=train_commands(of_kind(records, Training)),
    )


def main_dtype(trained: Sequence[Run]) -> str:
    dtypes = [run.first["dtype"] for run in trained]
    return "float64" if "float64" in dtypes else dtypes[0]


def _wave_plot(trained: Sequence[Run], task: Task, backends: Sequence[str], number: int) -> Plot:
    panels = []
    for run in trained:
        away = _away(run, task)
        alt = (
            f"{run.label}, variant {task['reading']}: a wave between -1 and 1 and the predictions of "
            f"{', '.join(run.predictions)}, which lie at most {error(float(spread(run).max()))} apart and at most "
            f"{digits(away, 2)} from the wave."
        )
        name = f"wave{number}-{len(panels)}"
        lines = _lines(run.predictions, backends)
        panels.append(Panel(plots.wave(name, run.label, alt, task["series"], task["position"], lines), alt))
    step = max(1, math.ceil(len(task["position"]) / SHOWN_POINTS))
    rows = []
    for i in range(0, len(task["position"]), step):
        point = task["position"][i]
        values = [(f"{run.predictions[run.reference][i]:.6f}", error(float(spread(run)[i]))) for run in trained]
        rows.append((str(point), f"{task['series'][point]:.6f}", *(text for value in values for text in value)))
    columns = ["Point", "Wave", *(text for run in trained for text in (f"{run.label}: {run.reference}", "spread"))]
    note = "Spread: how far the predictions of all implementations lie apart. The records contain every point."
    caption = f"Variant “{task['reading']}”, {trained[0].first['dtype']}"
    table = Table(f"{caption}: one point in {step}", tuple(columns), tuple(rows), note, numbers=range(len(columns)))
    legend = (Key("--ink", "the wave", "╌╌"), *_legend(backends))
    return Plot(f"{caption}: the wave and the predictions after training", tuple(panels), legend, table)


def _away(run: Run, task: Task) -> float:
    wave = np.array(task["series"])[task["position"]]
    return float(abs(run.predictions[run.reference] - wave).max())


def _predictions(trained: Sequence[Run], tasks: dict[str, Task]) -> Table:
    rows = []
    for run in trained:
        first = run.first
        apart = error(float(spread(run).max())) if len(run.predictions) > 1 else "–"
        away = digits(_away(run, tasks[first["reading"]]), 2)
        loss = error(float(run.curves[run.reference][-1]))
        rows.append((first["dtype"], first["reading"], run.optimizer, first["cell"], loss, away, apart))
    columns = ("Dtype", "Variant", "Optimiser", "Cell", "Final loss", "Farthest from the wave", "Farthest apart")
    note = "Farthest apart: the largest difference between two implementations' predictions at one point."
    return Table("Predictions after training", columns, tuple(rows), note, numbers=range(4, len(columns)))


def training_section(records: Sequence[Record]) -> Section | None:
    """Loss curves, and how far apart the implementations move."""
    trained = runs(records)
    if not trained:
        return None
    backends = backend_names(trained)
    reference = trained[0].reference
    paragraphs = [
        "The loss is the mean squared error over the whole batch, before each update and after the last. All runs "
        "start from the same weights.",
    ]
    if len(backends) > 1:
        paragraphs += [_promise(trained), *_measured(trained)]
        paragraphs.append(
            "The upper plots show the losses; where they coincide, their marks alternate along one line. Below is the "
            f"gap of each to {reference}, |a - b| / |b|, on a log axis; the dots around the line “0” are losses equal "
            "to the last bit, in either dtype."
        )
    cells = names([run.first for run in trained], "cell")
    limits = span((curve for run in trained for curve in gaps(run).values()), PROMISE)
    pictures = tuple(
        _training_plot([run for run in trained if run.first["cell"] == cell], f"loss{number}", backends, limits)
        for number, cell in enumerate(cells)
    )
    return Section(
        anchor="training",
        title="Training",
        paragraphs=tuple(paragraphs),
        plots=pictures,
        tables=(_gap_table(trained),),
        commands=train_commands(of_kind(records, Training)),
    )


def worst_gap(trained: Sequence[Run], dtype: str) -> Gap | None:
    """The largest gap to the reference over all runs of a dtype."""
    tops = [largest_gap(gaps(run)) for run in trained if run.first["dtype"] == dtype]
    return max((top for top in tops if top), key=lambda gap: gap.value, default=None)


def _promise(trained: Sequence[Run]) -> str:
    top = worst_gap(trained, "float64")
    if top is None:
        return "The promise is a gap of at most 1e-9 in float64, but no run in float64 was compared."
    outcome = "kept" if top.value <= PROMISE else "NOT kept"
    size = max(len(curve) for run in trained for curve in run.curves.values()) - 1
    where = f"({top.backend}, after {top.update} updates)"
    return (
        f"The promise for float64: over {size} updates no loss differs from {trained[0].reference}'s by more than "
        f"1e-9 of it. Measured: {error(top.value)} {where}. The promise is {outcome}."
    )


def _measured(trained: Sequence[Run]) -> list[str]:
    top = worst_gap(trained, "float32")
    if top is None:
        return []
    where = f"({top.backend}, after {top.update} updates)"
    return [
        f"In float32 the gap measured is at most {error(top.value)} {where}. Rounding errors feed back through every "
        "update, and matter more when the loss is small."
    ]


def _training_plot(trained: Sequence[Run], name: str, backends: Sequence[str], limits: tuple[float, float]) -> Plot:
    """The runs of one cell: a panel for every variant of the task and optimiser, with the gaps of all dtypes."""
    cell = trained[0].first["cell"]
    panels, rows, bounded = [], [], False
    for setting in dict.fromkeys(_setting(run) for run in trained):
        members = [run for run in trained if _setting(run) == setting]
        main = next(run for run in members if run.first["dtype"] == main_dtype(members))
        kinds = [Gaps(run.first["dtype"], tuple(_gap_curves(run, backends))) for run in members if len(run.curves) > 1]
        title = f"{main.label}, {main.first['reading']}"
        alt = _training_alt(title, main, members)
        bound = (PROMISE, "promised for float64: 1e-9") if any(kind.label == "float64" for kind in kinds) else None
        bounded = bounded or bound is not None
        losses = _lines(main.curves, backends)
        svg = plots.training(f"{name}-{len(panels)}", title, alt, losses, kinds, limits, bound)
        panels.append(Panel(svg, alt))
        rows += [row for run in members for row in _update_rows(run)]
    columns = ("Variant", "Optimiser", "Dtype", "Updates", "Loss", "Largest gap", "Whose")
    table = Table(f"{cell}: losses and gaps during training", columns, tuple(rows), numbers=range(3, 6))
    legend = (*_legend(backends), *([Key("--fail", "the promise", "╌╌")] if bounded else []))
    caption = f"{cell}: losses, and gaps relative to the loss" if len(backends) > 1 else f"{cell}: losses"
    return Plot(caption, tuple(panels), legend, table)


def _setting(run: Run) -> tuple:
    first = run.first
    return first["reading"], run.optimizer, first["optimizer"]["lr"], first["spec"]["hidden_size"], first["seed"]


def _gap_curves(run: Run, backends: Sequence[str]) -> list[Curve]:
    return [Curve(values.tolist(), backends.index(name)) for name, values in gaps(run).items()]


def _training_alt(title: str, main: Run, members: Sequence[Run]) -> str:
    curve = main.curves[main.reference]
    parts = [f"{title}: the loss goes from {digits(curve[0], 2)} to {error(float(curve[-1]))}."]
    for run in members:
        if top := largest_gap(gaps(run)):
            parts.append(f"In {run.first['dtype']} the largest gap to {run.reference} is {error(top.value)}.")
    return " ".join(parts)


def _update_rows(run: Run) -> list[tuple[str, ...]]:
    curve, apart = run.curves[run.reference], gaps(run)
    step = max(1, (len(curve) - 1) // SHOWN_UPDATES)
    rows = []
    for update in range(0, len(curve), step):
        top = largest_gap({name: values[update : update + 1] for name, values in apart.items()})
        gap = (error(top.value), top.backend if top.value else "–") if top else ("–", "–")
        first = run.first
        rows.append((first["reading"], run.optimizer, first["dtype"], str(update), f"{curve[update]:.6g}", *gap))
    return rows


def _gap_table(trained: Sequence[Run]) -> Table:
    rows = []
    for run in trained:
        first, curve, top = run.first, run.curves[run.reference], largest_gap(gaps(run))
        ratios = [value for values in gaps(run).values() for value in values]
        gap = (error(top.value), str(top.update), percent(ratios.count(0) / len(ratios))) if top else ("–",) * 3
        whose = top.backend if top and top.value else "–"
        place = (first["dtype"], first["reading"], run.optimizer, first["cell"], whose)
        rows.append((*place, f"{curve[0]:.3g}", f"{curve[-1]:.3g}", *gap))
    columns = ("Dtype", "Variant", "Optimiser", "Cell", "Farthest", "First loss", "Final loss")
    columns += ("Largest gap", "At update", "Equal")
    note = f"Gaps are to {trained[0].reference}, relative to its loss. Equal: losses that agree to the last bit."
    return Table("The largest gap of every run", columns, tuple(rows), note, numbers=range(5, len(columns)))

"""From a task's outcome records to its pictures, each with a description and the numbers that it shows."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from common.record_types import Outcome
from reports.page import plots, task_plots
from reports.page.model import Key, Panel, Plot, Table
from reports.page.numbers import count, counted, digits, percent
from reports.page.plots import Curve
from reports.page.svg import HEAT_COLOURS, identifier, variable
from reports.page.task_plots import DASH_MARKS, Points, cell_colour, cell_style
from reports.results.outcomes import Contest, Group, curve
from reports.results.runs import numbers_of

SHOWN_POINTS, SHOWN_UPDATES = 20, 10
# The cells, each with the picture of its record.
Pictures = list[tuple[Group, dict[str, Any]]]


def picture(contest: Contest) -> Plot | None:
    """The predictions of the trained networks, one panel per cell; None if a table shows them or none was recorded."""
    pictures = [(group, group.pictured[1]) for group in contest.groups if group.pictured]
    kind = pictures[0][1].get("plot") if pictures else None
    make = KINDS.get(str(kind))
    return make([item for item in pictures if item[1].get("plot") == kind]) if make else None


def _title(group: Group) -> str:
    return f"{group.cell}, {group.reading}"


def _run(group: Group) -> str:
    assert group.pictured
    row, _ = group.pictured
    return f"{row['backend']}, seed {row['seed']}"


def _who(group: Group) -> str:
    return f"{_title(group)}, {_run(group)}"


def _name(group: Group) -> str:
    return identifier(group.task, group.reading, group.cell)


def _keys(pictures: Pictures, marked: bool = True) -> list[Key]:
    return [_key(group.cell, marked) for group, _ in pictures]


def _key(cell: str, marked: bool = True) -> Key:
    return Key(variable(cell_colour(cell)), cell, plots.mark(cell_colour(cell)) if marked else "")


def _line_key(cell: str) -> Key:
    style = cell_style(cell)
    return Key(variable(style.colour), cell, DASH_MARKS[style.dash])


def _caption(pictures: Pictures, what: str) -> str:
    group = pictures[0][0]
    return f"{what}: {group.reading}, {_run(group)}"


def _thin(size: int) -> range:
    return range(0, size, max(1, math.ceil(size / SHOWN_POINTS)))


def _series(pictures: Pictures) -> Plot:
    panels, rows = [], []
    for group, data in pictures:
        truth, predicted = numbers_of(data["series"]), numbers_of(data["prediction"])
        away = abs(predicted - truth[data["position"]])
        alt = (
            f"{_who(group)}: a wave between {truth.min():.2g} and {truth.max():.2g} and {predicted.size} predictions, "
            f"at most {digits(float(away.max()), 2)} from it and {digits(float(away.mean()), 2)} on average."
        )
        line = Curve(predicted.tolist(), cell_colour(group.cell))
        svg = plots.wave(_name(group), _title(group), alt, data["series"], data["position"], [line])
        panels.append(Panel(svg, alt))
        for i in _thin(predicted.size):
            point = data["position"][i]
            rows.append((group.cell, str(point), f"{truth[point]:.4f}", f"{predicted[i]:.4f}"))
    columns = ("Cell", "Point", "Wave", "Predicted")
    table = Table("One prediction in a few", columns, tuple(rows), numbers=range(1, 4))
    legend = (Key("--ink", "the wave", "╌╌"), *_keys(pictures))
    return Plot(_caption(pictures, "The wave and the predictions"), tuple(panels), legend, table)


def _scatter(pictures: Pictures) -> Plot:
    pairs = [(numbers_of(data["target"]), numbers_of(data["prediction"])) for _, data in pictures]
    every = np.concatenate([part for pair in pairs for part in pair])
    every = every[np.isfinite(every)]
    edge = 0.04 * float(np.ptp(every)) or 1.0
    limits = (float(every.min()) - edge, float(every.max()) + edge)
    panels, rows = [], []
    for (group, _), (target, predicted) in zip(pictures, pairs, strict=True):
        away = abs(predicted - target)
        alt = (
            f"{_who(group)}: {count(target.size)} predictions against the correct answers. Half lie within "
            f"{digits(float(np.median(away)), 2)} of the diagonal, where both are equal, all within "
            f"{digits(float(away.max()), 2)}. The correct answers go from {target.min():.2f} to {target.max():.2f}, "
            f"the predictions from {predicted.min():.2f} to {predicted.max():.2f}."
        )
        series = cell_colour(group.cell)
        svg = task_plots.scatter(_name(group), _title(group), alt, target, predicted, series, limits)
        panels.append(Panel(svg, alt))
        rows += [(group.cell, f"{target[i]:.4f}", f"{predicted[i]:.4f}") for i in _thin(target.size)]
    table = Table("One example in a few", ("Cell", "Correct answer", "Predicted"), tuple(rows), numbers=(1, 2))
    legend = (Key("--muted", "right", "╌╌"), *_keys(pictures, marked=False))
    return Plot(_caption(pictures, "Predictions against correct answers"), tuple(panels), legend, table)


def _by_length(pictures: Pictures) -> Plot:
    return _over(pictures, ("lengths", "errors"), "length of the series", "unit", "Error by length")


def _by_step(pictures: Pictures) -> Plot:
    return _over(pictures, ("steps", "values"), "position in the answer", "name", "By step")


def _over(pictures: Pictures, keys: tuple[str, str], below: str, beside: str, what: str) -> Plot:
    values = [numbers_of([*data[keys[1]], *data["baseline"]]) for _, data in pictures]
    shares = pictures[0][1][beside].startswith("accuracy")
    top = 1.0 if shares else float(np.nanmax(np.concatenate(values)))
    panels, rows = [], []
    for group, data in pictures:
        x, y, base = (numbers_of(data[key]) for key in (*keys, "baseline"))
        alt = (
            f"{_who(group)}: {data[beside]}, from {digits(y[0], 2)} at {x[0]:.0f} to {digits(y[-1], 2)} at "
            f"{x[-1]:.0f} ({below}); without learning from {digits(base[0], 2)} to {digits(base[-1], 2)}."
        )
        line = Curve(y.tolist(), cell_colour(group.cell))
        labels = (below, _short(data[beside]))
        svg = task_plots.over_baseline(_name(group), _title(group), alt, x.tolist(), line, base.tolist(), labels, top)
        panels.append(Panel(svg, alt))
        rows += [(group.cell, f"{a:.0f}", digits(b), digits(c)) for a, b, c in zip(x, y, base, strict=True)]
    columns = ("Cell", below.capitalize(), _short(pictures[0][1][beside]).capitalize(), "Baseline")
    table = Table(what, columns, tuple(rows), numbers=range(1, 4))
    legend = (Key("--ink", "without learning", "╌╌"), *_keys(pictures))
    return Plot(_caption(pictures, f"{what}, {pictures[0][1][beside]}"), tuple(panels), legend, table)


def _short(name: str) -> str:
    return name.partition(" of ")[0]


def _confusion(pictures: Pictures) -> Plot:
    panels, rows = [], []
    for group, data in pictures:
        labels, counts = data["labels"], np.array(data["counts"])
        wrong = counts - np.diag(np.diag(counts))
        a, b = np.unravel_index(int(wrong.argmax()), wrong.shape)
        right = f"{count(int(np.trace(counts)))} of {count(int(counts.sum()))} right"
        title = f"{group.cell}: {np.trace(counts) / max(counts.sum(), 1):.1%} right"
        often = (
            f"most often {labels[a]} was taken for {labels[b]}, {wrong[a, b]} times" if wrong.any() else "none wrong"
        )
        alt = f"{_who(group)}: {right}; {often}."
        panels.append(Panel(task_plots.confusion(_name(group), title, alt, labels, counts), alt))
        rows += [(group.cell, label, *map(str, line)) for label, line in zip(labels, counts, strict=True)]
    labels = pictures[0][1]["labels"]
    columns = ("Cell", "Correct answer", *(f"predicted {label}" for label in labels))
    table = Table("How often each class was taken for another", columns, tuple(rows), numbers=range(2, len(columns)))
    caption = "Correct answers (rows) and predictions (columns), in numbers of examples"
    return Plot(_caption(pictures, caption), tuple(panels), _confusion_legend(), table)


def _confusion_legend() -> tuple[Key, ...]:
    shares = [percent(edge) for edge in task_plots.EDGES]
    labels = [f"under {shares[0]} of the row", *(f"to {share}" for share in shares[1:]), "more"]
    return tuple(map(Key, HEAT_COLOURS[1:], labels))


KINDS: dict[str, Callable[[Pictures], Plot]] = {
    "series": _series,
    "scatter": _scatter,
    "by_length": _by_length,
    "by_step": _by_step,
    "confusion": _confusion,
}


def learning(variants: Sequence[Contest]) -> Plot:
    """Training losses over the updates: one panel per variant, one thin line per seed."""
    panels, rows = [], []
    groups = [group for contest in variants for group in contest.groups]
    span = task_plots.positive_span([curve(row, "curve")[1] for group in groups for row in _curves(group)])
    for contest in variants:
        lines = [
            Points(*curve(row, "curve"), cell_style(group.cell).colour, 1.0, cell_style(group.cell).dash)
            for group in contest.groups
            for row in _curves(group)
        ]
        if not lines:
            continue
        reading = contest.first.reading
        sentences = [_described(group, _curves(group)) for group in contest.groups if _curves(group)]
        alt = f"Training loss, variant {reading}. {' '.join(sentences)}"
        name = f"learn_{identifier(contest.first.task, reading)}"
        panels.append(Panel(task_plots.log_log(name, f"training, {reading}", alt, lines, "loss", span), alt))
        rows += [row for group in contest.groups for row in _curve_rows(group, _curves(group))]
    columns = ("Variant", "Cell", "Update", "Mean", "Lowest", "Highest")
    table = Table("Training loss over time, by seed", columns, tuple(rows), numbers=range(2, 6))
    legend = tuple(_line_key(cell) for cell in dict.fromkeys(group.cell for group in groups))
    caption = "Training loss over the updates: means of growing groups of updates, one thin line per seed"
    return Plot(caption, tuple(panels), legend, table)


def _curves(group: Group) -> list[Outcome]:
    return [row for row in group.rows if row.get("curve")]


def _described(group: Group, rows: Sequence[Outcome]) -> str:
    ends = [curve(row, "curve")[1][[0, -1]] for row in rows]
    (first, last), low, high = np.mean(ends, axis=0), np.min(ends, axis=0)[1], np.max(ends, axis=0)[1]
    return (
        f"{group.cell}: from {digits(first, 2)} to {digits(last, 2)} ({digits(low, 2)} to {digits(high, 2)} over "
        f"{counted(len(rows), 'seed')})."
    )


def _curve_rows(group: Group, rows: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Some of the updates; a run that stopped earlier no longer counts."""
    lines = []
    curves = [curve(row, "curve") for row in rows]
    longest = max(curves, key=lambda points: points[0].size, default=(np.array([]), np.array([])))[0]
    for place in range(0, longest.size, max(1, longest.size // SHOWN_UPDATES)):
        losses = np.concatenate([y[x == longest[place]] for x, y in curves])
        numbers = (digits(float(value)) for value in (losses.mean(), losses.min(), losses.max()))
        lines.append((group.reading, group.cell, count(int(longest[place])), *numbers))
    return lines

"""From a task's outcome records to its pictures, each with its words and the numbers behind it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from common.record_types import Record
from reports.page import plots, task_plots
from reports.page.model import Key, Panel, Plot, Table
from reports.page.numbers import count, counted, digits, percent
from reports.page.plots import Curve
from reports.page.svg import HEAT_COLOURS, identifier, variable
from reports.page.task_plots import Points, cell_colour
from reports.results.outcomes import Group, Pair, curve
from reports.results.runs import numbers_of

SHOWN_POINTS, SHOWN_UPDATES = 20, 10
Shown = list[tuple[Group, dict[str, Any]]]


def picture(pair: Pair) -> Plot | None:
    """What the trained networks say, a panel a cell; None for what is shown as a table, and where nothing is told."""
    found = [(group, row["picture"]) for group in pair.groups if (row := group.sampled)]
    kind = found[0][1].get("plot") if found else None
    make = KINDS.get(str(kind))
    return make([item for item in found if item[1].get("plot") == kind]) if make else None


def _title(group: Group) -> str:
    return f"{group.cell}, {group.reading}"


def _who(group: Group) -> str:
    row = group.sampled
    assert row
    return f"{_title(group)}, {row['backend']}, seed {row['seed']}"


def _name(group: Group) -> str:
    return identifier(group.task, group.reading, group.cell)


def _keys(found: Shown, marked: bool = True) -> list[Key]:
    return [_key(group.cell, marked) for group, _ in found]


def _key(cell: str, marked: bool = True) -> Key:
    return Key(variable(cell_colour(cell)), cell, plots.mark(cell_colour(cell)) if marked else "")


def _caption(found: Shown, what: str) -> str:
    row = found[0][0].sampled
    assert row
    return f"{what}: {found[0][0].reading}, {row['backend']}, seed {row['seed']}"


def _thin(size: int) -> range:
    return range(0, size, max(1, math.ceil(size / SHOWN_POINTS)))


def _series(found: Shown) -> Plot:
    panels, rows = [], []
    for group, shown in found:
        truth, said = numbers_of(shown["series"]), numbers_of(shown["prediction"])
        away = abs(said - truth[shown["position"]])
        alt = (
            f"{_who(group)}: a wave between {truth.min():.2g} and {truth.max():.2g} and {said.size} predictions, at "
            f"most {digits(float(away.max()), 2)} from it and {digits(float(away.mean()), 2)} on average."
        )
        line = Curve(said.tolist(), cell_colour(group.cell))
        svg = plots.wave(_name(group), _title(group), alt, shown["series"], shown["position"], [line])
        panels.append(Panel(svg, alt))
        for i in _thin(said.size):
            point = shown["position"][i]
            rows.append((group.cell, str(point), f"{truth[point]:.4f}", f"{said[i]:.4f}"))
    columns = ("Cell", "Point", "Wave", "Predicted")
    table = Table("One prediction in a few", columns, tuple(rows), numbers=range(1, 4))
    legend = (Key("--ink", "the wave", "╌╌"), *_keys(found))
    return Plot(_caption(found, "The wave and the predictions"), tuple(panels), legend, table)


def _scatter(found: Shown) -> Plot:
    pairs = [(numbers_of(shown["target"]), numbers_of(shown["prediction"])) for _, shown in found]
    every = np.concatenate([part for pair in pairs for part in pair])
    every = every[np.isfinite(every)]
    edge = 0.04 * float(np.ptp(every)) or 1.0
    limits = (float(every.min()) - edge, float(every.max()) + edge)
    panels, rows = [], []
    for (group, _), (target, said) in zip(found, pairs, strict=True):
        away = abs(said - target)
        alt = (
            f"{_who(group)}: {count(target.size)} predictions over their right answers. Half lie within "
            f"{digits(float(np.median(away)), 2)} of the diagonal, where both are equal, all within "
            f"{digits(float(away.max()), 2)}. The right answers go from {target.min():.2f} to {target.max():.2f}, the "
            f"predictions from {said.min():.2f} to {said.max():.2f}."
        )
        series = cell_colour(group.cell)
        svg = task_plots.scatter(_name(group), _title(group), alt, target, said, series, limits)
        panels.append(Panel(svg, alt))
        rows += [(group.cell, f"{target[i]:.4f}", f"{said[i]:.4f}") for i in _thin(target.size)]
    table = Table("One example in a few", ("Cell", "Right answer", "Predicted"), tuple(rows), numbers=(1, 2))
    legend = (Key("--muted", "right", "╌╌"), *_keys(found, marked=False))
    return Plot(_caption(found, "Predictions over right answers"), tuple(panels), legend, table)


def _by_length(found: Shown) -> Plot:
    return _over(found, ("lengths", "errors"), "length of the series", "unit", "Error by length")


def _by_step(found: Shown) -> Plot:
    return _over(found, ("steps", "values"), "place in the answer", "name", "By step")


def _over(found: Shown, keys: tuple[str, str], below: str, beside: str, what: str) -> Plot:
    values = [numbers_of([*shown[keys[1]], *shown["baseline"]]) for _, shown in found]
    shares = found[0][1][beside].startswith("accuracy")
    top = 1.0 if shares else float(np.nanmax(np.concatenate(values)))
    panels, rows = [], []
    for group, shown in found:
        x, y, base = (numbers_of(shown[key]) for key in (*keys, "baseline"))
        alt = (
            f"{_who(group)}: {shown[beside]}, from {digits(y[0], 2)} at {x[0]:.0f} to {digits(y[-1], 2)} at "
            f"{x[-1]:.0f} ({below}); without learning from {digits(base[0], 2)} to {digits(base[-1], 2)}."
        )
        line = Curve(y.tolist(), cell_colour(group.cell))
        labels = (below, _short(shown[beside]))
        svg = task_plots.over_baseline(_name(group), _title(group), alt, x.tolist(), line, base.tolist(), labels, top)
        panels.append(Panel(svg, alt))
        rows += [(group.cell, f"{a:.0f}", digits(b), digits(c)) for a, b, c in zip(x, y, base, strict=True)]
    columns = ("Cell", below.capitalize(), _short(found[0][1][beside]).capitalize(), "Baseline")
    table = Table(what, columns, tuple(rows), numbers=range(1, 4))
    legend = (Key("--ink", "without learning", "╌╌"), *_keys(found))
    return Plot(_caption(found, f"{what}, {found[0][1][beside]}"), tuple(panels), legend, table)


def _short(name: str) -> str:
    return name.partition(" of ")[0]


def _confusion(found: Shown) -> Plot:
    panels, rows = [], []
    for group, shown in found:
        labels, counts = shown["labels"], np.array(shown["counts"])
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
    labels = found[0][1]["labels"]
    columns = ("Cell", "Right answer", *(f"said {label}" for label in labels))
    table = Table("How often each class was taken for each", columns, tuple(rows), numbers=range(2, len(columns)))
    caption = "Right answers (rows) and what the network said (columns), numbers of examples"
    return Plot(_caption(found, caption), tuple(panels), _confusion_legend(), table)


def _confusion_legend() -> tuple[Key, ...]:
    shares = [percent(edge) for edge in task_plots.EDGES]
    labels = [f"under {shares[0]} of the row", *(f"to {share}" for share in shares[1:]), "more"]
    return tuple(map(Key, HEAT_COLOURS[1:], labels))


KINDS: dict[str, Callable[[Shown], Plot]] = {
    "series": _series,
    "scatter": _scatter,
    "by_length": _by_length,
    "by_step": _by_step,
    "confusion": _confusion,
}


def learning(found: Sequence[Pair]) -> Plot:
    """Training losses over the updates, a panel a reading, a thin line a seed."""
    panels, rows = [], []
    groups = [group for pair in found for group in pair.groups]
    span = task_plots.positive_span([curve(row, "curve")[1] for group in groups for row in _curves(group)])
    for pair in found:
        lines = [
            Points(*curve(row, "curve"), cell_colour(group.cell), 0.9)
            for group in pair.groups
            for row in _curves(group)
        ]
        if not lines:
            continue
        told = [_told(group, _curves(group)) for group in pair.groups if _curves(group)]
        alt = f"Training loss, reading {pair.first.reading}. {' '.join(told)}"
        name = f"learn_{identifier(pair.first.task, pair.first.reading)}"
        panels.append(Panel(task_plots.log_log(name, f"training, {pair.first.reading}", alt, lines, "loss", span), alt))
        rows += [row for group in pair.groups for row in _curve_rows(group, _curves(group))]
    columns = ("Reading", "Cell", "Update", "Mean", "Least", "Greatest")
    table = Table("Training loss on the way, over the seeds", columns, tuple(rows), numbers=range(2, 6))
    legend = tuple(_key(cell, marked=False) for cell in dict.fromkeys(group.cell for group in groups))
    caption = "Training loss over the updates, means of growing groups of them, a thin line a seed"
    return Plot(caption, tuple(panels), legend, table)


def _curves(group: Group) -> list[Record]:
    return [row for row in group.rows if row.get("curve")]


def _told(group: Group, rows: Sequence[Record]) -> str:
    ends = [curve(row, "curve")[1][[0, -1]] for row in rows]
    (first, last), low, high = np.mean(ends, axis=0), np.min(ends, axis=0)[1], np.max(ends, axis=0)[1]
    return (
        f"{group.cell}: from {digits(first, 2)} to {digits(last, 2)} ({digits(low, 2)} to {digits(high, 2)} over "
        f"{counted(len(rows), 'seed')})."
    )


def _curve_rows(group: Group, rows: Sequence[Record]) -> list[tuple[str, ...]]:
    """A few updates; a run that stopped before counts no more."""
    lines = []
    found = [curve(row, "curve") for row in rows]
    longest = max(found, key=lambda points: points[0].size, default=(np.array([]), np.array([])))[0]
    for place in range(0, longest.size, max(1, longest.size // SHOWN_UPDATES)):
        values = [y[x == longest[place]] for x, y in found]
        here = np.concatenate(values)
        told = (digits(float(v)) for v in (here.mean(), here.min(), here.max()))
        lines.append((group.reading, group.cell, count(int(longest[place])), *told))
    return lines

"""The pictures of the tasks: confusion, scatter, lines over a baseline, learning curves, drift."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.page.plots import Curve, dots, grid, log_axis, marked, value_range
from reports.page.svg import HEAT, INK, MUTED, ON_HEAT, colour, draw

# At each of these shares of its row, a square of the confusion matrix takes the next colour.
EDGES = (0.1, 0.25, 0.5, 0.75, 0.9)
WIDTH, HEIGHT = 350, 240
# Below this ratio of the largest to the smallest value a log axis has more ticks than powers of ten.
NEAR = 30


# Dashes, in widths of the line, as Matplotlib takes them, and the same as text.
Dash = str | tuple[float, tuple[float, ...]]
SOLID, DASHED, DOTTED, BROKEN = "-", (0, (5, 3)), (0, (1.5, 1.8)), (0, (6, 2, 1.5, 2))
DASH_MARKS: dict[Dash, str] = {SOLID: "━━", DASHED: "╌╌", DOTTED: "····", BROKEN: "━·"}


class Style(NamedTuple):
    """How a cell is drawn in all pictures of tasks: the number of its colour in the style sheet, and its dashes."""

    colour: int
    dash: Dash


CELL_STYLES = {
    "RNN": Style(4, DOTTED),
    "LSTM": Style(0, SOLID),
    "GRU": Style(2, DASHED),
    "LSTM1997": Style(3, BROKEN),
}
OTHER_CELLS = Style(6, SOLID)


def cell_style(cell: str) -> Style:
    return CELL_STYLES.get(cell, OTHER_CELLS)


def cell_colour(cell: str) -> int:
    return cell_style(cell).colour


class Points(NamedTuple):
    """A line over positive x of its own, wide or thin."""

    x: np.ndarray
    y: np.ndarray
    series: int
    width: float = 1.1
    dash: Dash = SOLID


def confusion(name: str, title: str, alt: str, labels: Sequence[str], counts: np.ndarray) -> str:
    """A row for each correct class, a column for each prediction; the colour is the share of the row, if any."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    def square(axes: Axes, x: int, y: int) -> None:
        if x == y:
            axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=MUTED, linewidth=1, clip_on=False))
        if not counts[y, x]:
            return
        level = 1 + sum(share[y, x] >= edge for edge in EDGES)
        axes.add_patch(Rectangle((x + 0.04, y + 0.05), 0.92, 0.9, facecolor=HEAT[level], linewidth=0, clip_on=False))
        ink = ON_HEAT if level > 3 else INK
        axes.text(x + 0.5, y + 0.53, str(counts[y, x]), ha="center", va="center", fontsize=9.5, color=ink)

    return grid(name, title, alt, labels, labels, 28.0 if len(labels) > 6 else 44.0, square)


def scatter(name: str, title: str, alt: str, target: np.ndarray, said: np.ndarray, series: int, limits: tuple) -> str:
    """Predictions over targets, with the diagonal where both are equal."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.17, 0.17, 0.79, 0.73))
        axes.set_title(title)
        axes.plot(limits, limits, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)))
        dots(axes, target, said, colour(series), 4.2)
        axes.set(xlim=limits, ylim=limits)
        axes.locator_params(nbins=5)
        axes.set_xlabel("correct answer", labelpad=1)
        axes.set_ylabel("predicted", labelpad=3)

    return draw(name, WIDTH, 290, alt, paint)


def over_baseline(
    name: str,
    title: str,
    alt: str,
    x: Sequence[float],
    curve: Curve,
    baseline: Sequence[float],
    labels: tuple[str, str],
    top: float,
) -> str:
    """A value by length or by step, and the baseline, which needs no learning, as a dashed line."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.13, 0.18, 0.83, 0.71))
        axes.set_title(title)
        axes.plot(x, baseline, color=INK, linewidth=1.3, linestyle=(0, (4, 3)))
        marked(axes, x, [curve], marks=len(x))
        axes.set_ylim(-0.04 * top, 1.06 * top)
        axes.locator_params(axis="y", nbins=5)
        axes.set_xlabel(labels[0], labelpad=1)
        axes.set_ylabel(labels[1], labelpad=3)

    return draw(name, WIDTH, HEIGHT, alt, paint)


def log_log(
    name: str,
    title: str,
    alt: str,
    lines: Sequence[Points],
    y_name: str,
    span: tuple[float, float],
    zero: bool = False,
    rules: Sequence[float] = (),
) -> str:
    """Lines over the updates on log axes; with ``zero`` a line for exact zeros, with ``rules`` thin lines across."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.17, 0.18, 0.79, 0.71))
        axes.set_title(title)
        axes.set_xscale("log")
        floor = _near_axis(axes, span) if span[1] < NEAR * span[0] and not zero else log_axis(axes, span, zero)
        for rule in rules:
            axes.axhline(rule, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        for line in lines:
            y = np.where(line.y == 0, floor if zero else np.nan, line.y)
            axes.plot(line.x, y, color=colour(line.series), linewidth=line.width, linestyle=line.dash)
        last = max((float(line.x.max()) for line in lines if line.x.size), default=10.0)
        axes.set_xlim(0.9, 1.1 * max(last, 2))
        ticks = [10**e for e in range(math.floor(math.log10(max(last, 1))) + 1)]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("updates", labelpad=1)
        axes.set_ylabel(y_name, labelpad=3)

    return draw(name, WIDTH, HEIGHT, alt, paint)


def _near_axis(axes: Axes, span: tuple[float, float]) -> float:
    """A log axis whose values are too close to one another for powers of ten alone."""
    axes.set_yscale("log")
    middle, reach = math.sqrt(span[0] * span[1]), max(2.0, 1.2 * span[1] / span[0]) ** 0.5
    limits = middle / reach, middle * reach
    decades = range(math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1])) + 1)
    steps = (1, 2, 5) if span[1] > 5 * span[0] else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    ticks = [v * 10.0**e for e in decades for v in steps if limits[0] <= v * 10.0**e <= limits[1]]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(*limits)
    return limits[0]


def by_time(name: str, title: str, alt: str, curves: Sequence[Curve], span: tuple[float, float]) -> str:
    """Positive values over time steps, on a log axis; the marks of coinciding lines alternate."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.17, 0.17, 0.79, 0.72))
        axes.set_title(title)
        size = max(len(curve.y) for curve in curves)
        log_axis(axes, span)
        for shade in dict.fromkeys(curve.series for curve in curves):
            marked(axes, range(size), [curve for curve in curves if curve.series == shade], marks=4)
        axes.set_xlabel("time step t", labelpad=1)
        axes.set_ylabel("size of the gradient", labelpad=3)

    return draw(name, WIDTH, 270, alt, paint)


def positive_span(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """The smallest and the largest value that is positive and finite."""
    return value_range(float(v) for part in values for v in part)

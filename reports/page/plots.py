"""The pictures: a heat map, predictions over a wave, loss curves over their gaps, ratios with intervals."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from common.study.bench import Ratio
from reports.page.numbers import digits, times
from reports.page.svg import BAND, FAIL, HEAT, INK, MUTED, ON_FAIL, ON_HEAT, PANEL, colour, draw

# At each of these shares of the tolerance, a cell of the heat map takes the next colour; a zero has its own.
DECADES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
HEAT_WIDTH = 536
MARKERS = {"●": "o", "■": "s", "▲": "^", "◆": "D", "▼": "v", "✚": "P", "✖": "X", "★": "*"}


class Cell(NamedTuple):
    """Error over tolerance, whether a comparison in it failed, and a note in small type next to the number."""

    ratio: float
    failed: bool
    note: str = ""


class Curve(NamedTuple):
    """A line: its values, its colour, and its mark, which follows from the colour unless one is given."""

    y: Sequence[float]
    series: int
    mark: int | None = None


class Gaps(NamedTuple):
    """Gap curves of one kind, and the text next to them."""

    label: str
    curves: tuple[Curve, ...]


def heat(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
) -> str:
    """Colour and number for every (row, column); a failed cell is framed and marked."""
    left = 12 + 6 * max(map(len, rows))
    wide = min(38.0, max(28.0, (HEAT_WIDTH - left - 30) / len(columns)))
    if notes := max((len(cell.note) for cell in cells.values()), default=0):
        wide = max(50.0, 32 + 4.6 * notes)

    def square(axes: Axes, x: int, y: int) -> None:
        _heat_cell(axes, x, y, cells.get((rows[y], columns[x])))

    return grid(name, title, alt, rows, columns, wide, square)


def grid(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[str],
    columns: Sequence[str],
    wide: float,
    square: Callable[[Axes, int, int], None],
) -> str:
    """Rows by columns of squares ``wide`` pixels wide; ``square(axes, x, y)`` paints the one at (x, y)."""
    left, side = 12 + 6 * max(map(len, rows)), 23
    level = 6 * max(map(len, columns)) < wide
    top, right = (50, 8) if level else (92, 30)
    width = round(left + wide * len(columns) + right)
    height = round(top + side * len(rows) + 8)

    def paint(figure: Figure) -> None:
        box = (left / width, 8 / height, wide * len(columns) / width, side * len(rows) / height)
        axes = figure.add_axes(box)
        axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        place, style = (0.5, {}) if level else (0.35, {"rotation": 50, "ha": "left"})
        axes.set_xticks([i + place for i in range(len(columns))], columns, **style)
        axes.set_yticks([i + 0.5 for i in range(len(rows))], rows)
        figure.text(8 / width, 1 - 18 / height, title, fontweight="bold", fontsize=12)
        for y, x in product(range(len(rows)), range(len(columns))):
            square(axes, x, y)

    return draw(name, width, height, alt, paint)


def _heat_cell(axes: Axes, x: int, y: int, cell: Cell | None) -> None:
    if cell is None:
        axes.text(x + 0.5, y + 0.53, "–", ha="center", va="center", color=MUTED, fontsize=9.5)
        return
    level = 0 if cell.ratio == 0 else 1 + sum(cell.ratio >= edge for edge in DECADES)
    face, text = (FAIL, ON_FAIL) if cell.failed else (HEAT[level], ON_HEAT if level > 3 else INK)
    axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=face, linewidth=0, clip_on=False))
    if cell.failed:
        axes.add_patch(
            Rectangle((x + 0.06, y + 0.1), 0.88, 0.8, fill=False, edgecolor=ON_FAIL, linewidth=1.4, clip_on=False)
        )
    weight, size = ("bold", 8.5) if cell.failed else ("normal", 9.5)
    style: dict[str, Any] = {"va": "center", "color": text}
    place, side = (0.57, "right") if cell.note else (0.5, "center")
    axes.text(x + place, y + 0.53, _short(cell), ha=side, fontsize=size, fontweight=weight, **style)
    if cell.note:
        axes.text(x + 0.61, y + 0.53, cell.note, ha="left", fontsize=7.5, **style)


def _short(cell: Cell) -> str:
    mark = "✗" if cell.failed else ""
    if not math.isfinite(cell.ratio):
        return mark + "nan"
    if cell.ratio == 0:
        return mark + "0"
    if 0.0095 <= cell.ratio < 99.5:
        return mark + (f"{cell.ratio:.2f}" if cell.ratio < 1 else digits(cell.ratio, 2))
    digit, _, exponent = f"{cell.ratio:.0e}".partition("e")
    return f"{mark}{digit}e{int(exponent)}"


def mark(index: int) -> str:
    """The character that stands for a curve's mark in a legend."""
    return list(MARKERS)[index % len(MARKERS)]


def marked(axes: Axes, x: Sequence[float], curves: Sequence[Curve], marks: int) -> None:
    """Thin lines, each with marks at its own positions: where lines coincide, their marks alternate along one line."""
    markers = list(MARKERS.values())
    for place, curve in enumerate(curves):
        which = curve.series if curve.mark is None else curve.mark
        ink, marker = colour(curve.series), markers[which % len(markers)]
        step = max(1, round(len(curve.y) / marks))
        every = (place * step // len(curves), step)
        style = {"marker": marker, "markersize": 6, "markeredgewidth": 0, "markevery": every}
        axes.plot(x[: len(curve.y)], curve.y, color=ink, linewidth=1.1, **style)


def wave(
    name: str, title: str, alt: str, series: Sequence[float], position: Sequence[int], curves: Sequence[Curve]
) -> str:
    """Predictions over the wave that they should follow."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.09, 0.16, 0.87, 0.73))
        axes.set_title(title)
        axes.plot(range(len(series)), series, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        marked(axes, position, curves, marks=9)
        axes.set(xlim=(0, len(series) - 1), ylim=(-1.25, 1.25))
        axes.set_yticks([-1, 0, 1])
        axes.set_xlabel("point of the series", labelpad=1)

    return draw(name, 350, 240, alt, paint)


def training(
    name: str,
    title: str,
    alt: str,
    losses: Sequence[Curve],
    gaps: Sequence[Gaps],
    span: tuple[float, float],
    bound: tuple[float, str] | None = None,
) -> str:
    """Losses on a log axis, and below them the gaps, within ``span``, on another; its "0" stands for no gap at all."""
    height = 420 if gaps else 225
    first = (0.6, 0.34) if gaps else (0.2, 0.68)

    def paint(figure: Figure) -> None:
        top = figure.add_axes((0.155, first[0], 0.81, first[1]))
        top.set_title(title)
        size = max(len(curve.y) for curve in losses)
        marked(top, range(size), losses, marks=6)
        log_axis(top, value_range(v for curve in losses for v in curve.y))
        top.set_ylabel("loss", labelpad=3)
        top.set_xlim(-0.01 * size, 1.01 * size)
        last = top
        if gaps:
            last = figure.add_axes((0.155, 0.1, 0.81, 0.43), sharex=top)
            top.tick_params(labelbottom=False, length=0)
            _gap_axes(last, gaps, span, bound)
        last.set_xlabel("updates")

    return draw(name, 350, height, alt, paint)


def _gap_axes(axes: Axes, gaps: Sequence[Gaps], span: tuple[float, float], bound: tuple[float, str] | None) -> None:
    zero = any(v == 0 for kind in gaps for curve in kind.curves for v in curve.y)
    floor = log_axis(axes, span, zero)
    for number, kind in enumerate(gaps):
        for place, curve in enumerate(kind.curves):
            # The dots of exact zeros are spread around their line, as they would otherwise hide one another.
            y = np.array(curve.y, dtype=float)
            shift = 10.0 ** (0.5 * (place - (len(kind.curves) - 1) / 2) / len(kind.curves))
            dots(axes, np.arange(y.size), np.where(y == 0, floor * shift, y), colour(curve.series))
        found = [v for curve in kind.curves for v in curve.y if v > 0 and math.isfinite(v)]
        if found and kind.label:
            _label(axes, 0.02 + 0.2 * number, max(found), kind.label)
    if bound:
        axes.axhline(bound[0], color=FAIL, linewidth=1.2, linestyle=(0, (5, 3)))
        _label(axes, 0.98, bound[0], bound[1])
    axes.set_ylabel("relative gap", labelpad=3)


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, ink: str, size: float = 2.6) -> None:
    """Points as the round caps of lines without length: one path, whereas each marker would be an element."""
    xs, ys = (np.stack([v, v, np.full(v.size, np.nan)], axis=1).ravel() for v in (x.astype(float), y))
    axes.plot(xs, ys, color=ink, linewidth=size, solid_capstyle="round")


def _label(axes: Axes, x: float, y: float, text: str) -> None:
    side = "left" if x < 0.5 else "right"
    axes.text(x, y * 2, text, transform=axes.get_yaxis_transform(), fontsize=10, color=INK, va="bottom", ha=side)


def value_range(values: Iterable[float]) -> tuple[float, float]:
    found = [v for v in values if v > 0 and math.isfinite(v)] or [1.0]
    return min(found), max(found)


def log_axis(axes: Axes, span: tuple[float, float], zero: bool = False) -> float:
    """Powers of ten as ticks; with ``zero`` a line for exact zeros below them, whose position is returned."""
    low, high = math.floor(math.log10(span[0])), math.ceil(math.log10(span[1]) + 0.15)
    floor = 10.0 ** (low - 1)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylim(floor / 3 if zero else 10.0**low, 10.0 ** max(high, low + 1))
    every = 1 if high - low < 8 else 3 * math.ceil((high - low) / 24)
    ticks = [10.0**e for e in range(low, high + 1) if e % every == 0]
    labels = [f"1e{round(math.log10(t))}" if t != 1 else "1" for t in ticks]
    axes.set_yticks([floor, *ticks] if zero else ticks, ["0", *labels] if zero else labels)
    return floor


def ratios(
    name: str,
    title: str,
    alt: str,
    arms: Sequence[tuple[str, int, Ratio]],
    noise: Ratio | None,
    limits: tuple[float, float],
) -> str:
    """A dot and an interval for every arm on a log axis, over the band of the noise."""
    height = 82 + 25 * len(arms)

    def paint(figure: Figure) -> None:
        left = (14 + 6.4 * max(len(arm) for arm, _, _ in arms)) / 520
        axes = figure.add_axes((left, 44 / height, 0.985 - left - 0.1, 1 - 76 / height))
        axes.set_title(title, x=-left / (0.885 - left) + 0.02)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set(xlim=limits, ylim=(len(arms) - 0.4, -0.6))
        ticks = [v * 10.0**e for e in range(-4, 5) for v in (1, 2, 5) if limits[0] <= v * 10.0**e <= limits[1]]
        if len(ticks) > 9:
            ticks = [t for t in ticks if f"{t:.0e}"[0] == "1"]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_yticks(range(len(arms)), [arm for arm, _, _ in arms])
        axes.grid(False, axis="y")
        axes.set_xlabel("time relative to the reference (left is faster)", labelpad=2)
        if noise:
            axes.axvspan(noise.low, noise.high, color=BAND, linewidth=0)
        axes.axvline(1, color=INK, linewidth=1)
        for y, (_, index, ratio) in enumerate(arms):
            _dot(axes, y, index, ratio)

    return draw(name, 520, height, alt, paint)


def _dot(axes: Axes, y: int, index: int, ratio: Ratio) -> None:
    ink = colour(index) if index >= 0 else MUTED
    axes.plot([ratio.low, ratio.high], [y, y], color=ink, linewidth=3, solid_capstyle="round")
    face = ink if index >= 0 else PANEL
    axes.plot([ratio.median], [y], "o", color=face, markeredgecolor=ink, markersize=8, markeredgewidth=1.5)
    axes.text(1.02, y, times(ratio.median), transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)

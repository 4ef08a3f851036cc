"""What a lesson calls to show something: sentences, tables, figures, equations beside their lines of code.

In a plain run everything is printed as text. While a page is being made the items are collected for it, and in a
notebook they are displayed.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from zlib import crc32

import numpy as np
from matplotlib.figure import Figure

from common.cli import console
from common.errors import InvalidInput, mismatch
from reports.page.model import Block, Key, Panel, Plot, Table
from reports.page.plots import MARKERS, log_axis, value_range
from reports.page.svg import colour, draw, variable
from reports.teaching import sources
from reports.teaching.html import fragment
from reports.teaching.items import Beside, Item, Sentence, Snippet

_collected: ContextVar[list[Item] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting():
    """Collects everything that is shown inside the block, in a list."""
    items: list[Item] = []
    token = _collected.set(items)
    try:
        yield items
    finally:
        _collected.reset(token)


def text(sentence: str) -> None:
    """A statement with computed numbers in it."""
    _emit(Sentence(sentence))


def table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = (), note: str = ""
) -> None:
    """A table; ``numbers`` are the indices of the columns that are aligned to the right. Format the numbers yourself.

    Raises ``InvalidInput`` without rows, and where a row has more or fewer cells than there are columns.
    """
    cells = tuple(tuple(str(cell) for cell in row) for row in rows)
    if not cells or any(len(row) != len(columns) for row in cells):
        raise InvalidInput(mismatch(f"rows of {caption!r}", f"some, of {len(columns)} cells", [len(r) for r in cells]))
    _emit(Table(caption, tuple(columns), cells, note=note, numbers=tuple(numbers)))


def lines(*tags: str, file: str | None = None) -> None:
    """The equations of DERIVATION.md with these tags, each beside its line in NumPy, JAX and PyTorch.

    ``file``, such as "lstm", names the file of JAX and PyTorch where it differs from the file in which NumPy has the
    equation.
    """
    _emit(Beside(tuple(sources.equation(tag, file) for tag in tags)))


def source(path: str, symbol: str) -> None:
    """The source of a function or class of the project, as in ``source("jax_impl/stack.py", "unroll")``."""
    _emit(Snippet(path, symbol, sources.snippet(path, symbol)))


def output(caption: str, content: Any) -> None:
    """Text that keeps its spaces and line breaks, as a program prints it."""
    _emit(Block(caption, str(content)))


def plot(
    caption: str,
    x: Sequence[float] | np.ndarray,
    curves: Mapping[str, Sequence[float] | np.ndarray],
    *,
    alt: str,
    x_label: str,
    y_label: str = "",
    log: bool = False,
) -> None:
    """Curves over one axis, each with its own marker; ``alt`` describes in a sentence, with numbers, what can be seen.

    The numbers behind the figure are in a table below it. With ``log``, values of 0 are left out of the picture.
    Raises ``InvalidInput`` where a curve does not have one number for each of ``x``.
    """
    x = np.asarray(x, dtype=float)
    values = {label: np.asarray(y, dtype=float) for label, y in curves.items()}
    if x.ndim != 1 or any(y.shape != x.shape for y in values.values()):
        raise InvalidInput(mismatch(f"curves of {caption!r}", x.shape, {k: y.shape for k, y in values.items()}))
    marks = list(MARKERS)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.115, 0.14, 0.865, 0.8))
        for place, y in enumerate(values.values()):
            if log:
                y = np.where(y > 0, y, np.nan)
            every = max(1, len(x) // 12)
            marker = MARKERS[marks[place % len(marks)]]
            axes.plot(
                x, y, color=colour(place), linewidth=1.6, marker=marker, markersize=6, markevery=every, clip_on=False
            )
        if log:
            log_axis(axes, value_range(v for y in values.values() for v in y))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)

    name = f"plot-{crc32(caption.encode()):08x}"
    svg = draw(name, 620, 320, alt, paint)
    legend = tuple(Key(variable(place), label, marks[place % len(marks)]) for place, label in enumerate(values))
    rows = tuple((f"{at:g}", *(f"{y[place]:.4g}" for y in values.values())) for place, at in enumerate(x.tolist()))
    data = Table(f"Numbers: {caption}", (x_label, *values), rows, numbers=range(len(values) + 1))
    _emit(Plot(caption, (Panel(svg, alt),), legend, data))


def _emit(item: Item) -> None:
    items = _collected.get()
    if items is not None:
        items.append(item)
    elif not _displayed(item):
        _print(item)


def _displayed(item: Item) -> bool:
    """Shows the item as on the page, if this is a notebook; returns whether it is one."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return False
    sys.modules["IPython"].display.display({"text/html": fragment(item)}, raw=True)
    return True


def _print(item: Item) -> None:
    match item:
        case Sentence(text):
            print(text)
        case Table():
            console.table(item.caption, item.columns, item.rows, [item.columns[n] for n in item.numbers])
            if item.note:
                print(item.note)
        case Plot():
            print(f"{item.caption}: {item.panels[0].alt}")
        case Block():
            print(f"{item.caption}\n{item.text}")
        case Snippet():
            print(f"{item.path}, {item.symbol}\n{item.code}")
        case Beside():
            for equation in item.equations:
                print(f"({equation.tag}) {equation.latex}")
                for code in equation.code:
                    rows = code.lines or ("",)
                    print(f"  {code.framework:8}{' '.join(filter(None, (code.relation, ' ; '.join(rows))))}")

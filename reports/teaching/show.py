"""What a lesson shows with: sentences, tables, figures, equations beside their lines of code.

In a plain run everything is printed as text; under the renderer it is collected for the page, and in a notebook it is
displayed.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from matplotlib.figure import Figure

from common.cli import console
from common.errors import InvalidInput, mismatch
from reports.page.model import Block, Key, Panel, Plot, Table
from reports.page.plots import MARKERS, log_axis, value_range
from reports.page.svg import colour, draw, variable

from . import sources


class Sentence(NamedTuple):
    """A computed statement; Markdown with mathematics, as the prose."""

    text: str


class Beside(NamedTuple):
    """Equations, each beside its lines in the three frameworks."""

    equations: tuple[sources.Equation, ...]


class Snippet(NamedTuple):
    """A piece of a source file."""

    path: str
    symbol: str
    code: str


Item = Sentence | Beside | Snippet | Table | Plot | Block
_collected: ContextVar[list[Item] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting():
    """A list of everything shown meanwhile."""
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
    """A table; ``numbers`` are the indices of columns that are set flush right. Format the numbers yourself."""
    cells = tuple(tuple(str(cell) for cell in row) for row in rows)
    if not cells or any(len(row) != len(columns) for row in cells):
        raise InvalidInput(mismatch(f"rows of {caption!r}", f"some, of {len(columns)} cells", [len(r) for r in cells]))
    _emit(Table(caption, tuple(columns), cells, note=note, numbers=tuple(numbers)))


def lines(*tags: str, file: str | None = None) -> None:
    """The equations with these tags of DERIVATION.md, each beside its line in NumPy, JAX and PyTorch.

    ``file``, as "lstm", names the file of JAX and PyTorch where it is not the one in which NumPy has the equation.
    """
    _emit(Beside(tuple(sources.equation(tag, file) for tag in tags)))


def source(path: str, symbol: str) -> None:
    """A function or class of the project, as ``source("jax_impl/stack.py", "unroll")``."""
    _emit(Snippet(path, symbol, sources.snippet(path, symbol)))


def output(caption: str, content: Any) -> None:
    """Text that keeps its blanks and line ends, as a program prints it."""
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
    """Curves over one axis, each with a mark of its own; ``alt`` says in a sentence what one sees, with numbers.

    The numbers behind the figure stand in a table under it. With ``log`` values of 0 are left out of the picture.
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
    """In a notebook: as on the page."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return False
    from .pages import fragment

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

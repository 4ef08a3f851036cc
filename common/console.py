"""What the commands print: tables on stdout, progress and messages on stderr.

Rich honours ``NO_COLOR`` and leaves out colour and animation where there is no terminal; a finished stage is then one
line.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """As ``print`` does: the command decides what it means that the reader of its output left."""
        raise BrokenPipeError


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[str] = (), rules: bool = False
) -> None:
    """Print a table on stdout, at full width where stdout is no terminal; ``rules`` are drawn between the rows."""
    console = _Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = _Console(file=sys.stdout, highlight=False, width=160)
    grid = Table(title=title, title_justify="left", title_style="bold", show_lines=rules)
    for column in columns:
        grid.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(str(cell)) for cell in row))
    console.print(grid)


def message(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


class Stages(AbstractContextManager["Stages"]):
    """Progress bars on stderr, one a stage; ``quiet`` shows nothing."""

    def __init__(self, quiet: bool = False):
        console = Console(file=sys.stderr)
        self._live = console.is_terminal and not quiet
        self._quiet = quiet
        self._last: TaskID | None = None
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not self._live)

    def __enter__(self) -> "Stages":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> Callable[..., None]:
        """A call to make after each part; ``note`` is shown behind the bar."""
        bar, start, done = self._bars.add_task(name, total=total, note=""), monotonic(), 0

        def advance(note: str = "") -> None:
            nonlocal done
            done += 1
            fields: dict[str, Any] = {"note": note} if note else {}
            self._bars.update(bar, advance=1, **fields)
            if done == total and not self._live and not self._quiet:
                message(f"{name}: {total} of {total} in {monotonic() - start:.1f} s")

        self._last = bar
        return advance

    def note(self, text: str) -> None:
        """What is shown behind the newest bar."""
        if self._live and self._last is not None:
            self._bars.update(self._last, note=text)

"""What the commands print: tables and records on stdout, progress and messages on stderr.

Rich honours ``NO_COLOR`` and leaves out colour and animation where there is no terminal; a finished stage is then one
line. It is imported only where it is used: messages, and therefore ``--help``, do not need it.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from common import records
from common.printable import printable
from common.record_types import Record

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.text import Text


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    numeric: Sequence[str] = (),
    rules: bool = False,
    width: int = 160,
) -> None:
    """Print a table on stdout, of at most ``width`` if stdout is no terminal; ``rules`` are drawn between the rows."""
    from rich.table import Table

    console = _stdout()
    if not console.is_terminal:
        console = _stdout(width=width)
    grid = Table(title=_text(title, "bold"), title_justify="left", show_lines=rules)
    for column in columns:
        grid.add_column(_text(column), justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(_text, row))
    console.print(grid)


def _stdout(**options: Any) -> "Console":
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            """Raise, as ``print`` does: the command decides what follows when the reader of its output has left."""
            raise BrokenPipeError

    return Output(file=sys.stdout, highlight=False, **options)


def _text(value: Any, style: str = "") -> "Text":
    """Text in which neither control characters nor Rich's markup have any effect."""
    from rich.text import Text

    return Text(printable(str(value)), style)


def collect(stream: Iterable[Record], options: Namespace, seed: int) -> list[Record]:
    """All records of a stream; with --json, each is printed as soon as it is made, after a header with the seed."""
    if not options.json:
        return list(stream)
    rows = []
    with records.writing(sys.stdout, options.command, seed) as writer:
        for record in stream:
            writer.write(record)
            rows.append(record)
    return rows


def line(text: str, keep: str = "\n") -> None:
    """A line on stdout; control characters other than those in ``keep`` are escaped."""
    print(printable(text, keep))


def message(text: str) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


class Stages(AbstractContextManager["Stages"]):
    """Progress bars on stderr, one for each stage; with ``quiet``, nothing is shown."""

    def __init__(self, quiet: bool = False):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(file=sys.stderr)
        self._live = console.is_terminal and not quiet
        self._quiet = quiet
        self._last: TaskID | None = None
        label, note = (TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[note]"))
        columns = (label, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), note)
        self._bars = Progress(*columns, console=console, disable=not self._live)

    def __enter__(self) -> "Stages":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> Callable[..., None]:
        """A function to call after each part; its ``note`` is shown after the bar."""
        bar, start, done = self._bars.add_task(printable(name), total=total, note=""), monotonic(), 0

        def advance(note: str = "") -> None:
            nonlocal done
            done += 1
            fields: dict[str, Any] = {"note": printable(note)} if note else {}
            self._bars.update(bar, advance=1, **fields)
            if done == total and not self._live and not self._quiet:
                message(f"{name}: {total} of {total} in {monotonic() - start:.1f} s")

        self._last = bar
        return advance

    def note(self, text: str) -> None:
        """Show a text after the newest bar."""
        if self._live and self._last is not None:
            self._bars.update(self._last, note=printable(text))

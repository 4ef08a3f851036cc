"""Reads and runs lessons: scripts in cells that begin with ``# %%``.

Cells that begin with ``# %% [markdown]`` hold prose, in comments. The format is jupytext's "percent", which editors
know too. A code cell may have a tag, as in ``# %% tags=["solution"]``: "solution" for the solution of an exercise,
"setup" for code that a reader can skip. Both are folded on the page.
"""

import ast
import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import InvalidInput, choice, mismatch
from reports.page.model import Block
from reports.teaching import show
from reports.teaching.items import Item

FOLDER = Path(__file__).parent.parent / "lessons"
TAGS = ("setup", "solution")
MARK = re.compile(r"# %%(?P<prose> \[markdown\])?(?: tags=\[\"(?P<tag>\w+)\"\])?\s*")


class Cell(NamedTuple):
    """Prose (Markdown) or code as text; ``line`` is the number of its first line in the file, for error messages."""

    prose: bool
    text: str
    tag: str
    line: int

    @property
    def only_shows(self) -> bool:
        """Whether the code does nothing but show lines or sources, and can itself be left out of the page."""
        shows = ("show.lines(", "show.source(")
        body = [] if self.prose else ast.parse(self.text).body
        return all(ast.unparse(statement).startswith(shows) for statement in body)


class Lesson(NamedTuple):
    """A script, divided into cells."""

    path: Path
    cells: tuple[Cell, ...]

    @property
    def number(self) -> int:
        return int(self.path.stem.partition("_")[0])

    @property
    def name(self) -> str:
        return self.path.stem.replace("_", "-")

    @property
    def title(self) -> str:
        """The title of the page: the first heading without its number."""
        return self.cells[0].text.splitlines()[0].removeprefix("# ").partition(". ")[2]

    def opening(self, word: str) -> str:
        """The text after **Question.** or **Answer.** in the first cell."""
        paragraph = re.search(rf"\*\*{word}\.\*\* (.+?)(?:\n\n|\Z)", self.cells[0].text, flags=re.DOTALL)
        if paragraph is None:
            raise InvalidInput(mismatch(f"{self.path.name}", f"**{word}.** in its first cell", "none"))
        return paragraph[1].replace("\n", " ")


class Ran(NamedTuple):
    """A cell and what it showed."""

    cell: Cell
    shown: Sequence[Item]


def lessons() -> tuple[Lesson, ...]:
    """All lessons, in order."""
    return tuple(read(path) for path in sorted(FOLDER.glob("[0-9][0-9]_*.py")))


def read(path: Path) -> Lesson:
    """Reads a script. Raises ``InvalidInput``, with the line, for one that is not in cells as described above."""
    cells = []
    rows = path.read_text(encoding="utf-8").splitlines()
    marks = [number for number, row in enumerate(rows) if row.startswith("# %%")]
    if not marks:
        raise InvalidInput(mismatch(path.name, "cells that begin with # %%", "none"))
    for start, end in zip(marks, [*marks[1:], len(rows)], strict=True):
        mark = MARK.fullmatch(rows[start])
        if mark is None or (mark["tag"] or "setup") not in TAGS:
            raise InvalidInput(choice(f"{path.name} line {start + 1}: tag", TAGS, rows[start]))
        text = rows[start + 1 : end]
        if mark["prose"]:
            foreign = next((row for row in text if row and not row.startswith("#")), None)
            if foreign is not None:
                raise InvalidInput(mismatch(f"{path.name}, prose at line {start + 1}", "comments", foreign))
            text = [row.removeprefix("#").removeprefix(" ") for row in text]
        blank = next((n for n, row in enumerate(text) if row), 0)
        cells.append(
            Cell(
                prose=bool(mark["prose"]),
                text="\n".join(text).strip("\n"),
                tag=mark["tag"] or "",
                line=start + 2 + blank,
            )
        )
    if not cells[0].prose or any(row.strip() for row in rows[: marks[0]]):
        raise InvalidInput(mismatch(path.name, "a first cell of prose", "something else"))
    return Lesson(path, tuple(cells))


def run(lesson: Lesson) -> list[Ran]:
    """Runs every cell in order, in one namespace; what a cell prints follows what it shows.

    An exception is passed on; its traceback has the line of the file.
    """
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(lesson.path)}
    ran = []
    for cell in lesson.cells:
        printed = io.StringIO()
        with show.collecting() as items, contextlib.redirect_stdout(printed):
            if not cell.prose:
                # optimize=0: asserts hold even under python -O
                code = compile("\n" * (cell.line - 1) + cell.text, str(lesson.path), "exec", optimize=0)
                exec(code, namespace)
        if printed.getvalue():
            items.append(Block("Printed", printed.getvalue()))
        ran.append(Ran(cell, items))
    return ran

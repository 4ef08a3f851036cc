"""What a report is made of: plain tables and plots, computed once and written twice, as HTML and as Markdown."""

from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Cells as text; ``numbers`` and ``code`` hold the indices of the columns of numbers and of commands.

    ``wrap`` is for many columns of words, which break to fit the page. The Markdown version never shortens a ``whole``
    table.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    numbers: Sequence[int] = ()
    code: Sequence[int] = ()
    wrap: bool = False
    whole: bool = False


class Panel(NamedTuple):
    """One picture and a description of what it shows, with numbers."""

    svg: str
    alt: str


class Key(NamedTuple):
    """A line of a legend: a colour of the style sheet, what it stands for, and its mark; if empty, a filled square."""

    colour: str
    label: str
    mark: str = ""


class Plot(NamedTuple):
    """Panels under one caption, with their legend and their numbers."""

    caption: str
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...]
    data: Table


class Block(NamedTuple):
    """Text that keeps its blanks and line ends, under a caption."""

    caption: str
    text: str


class Section(NamedTuple):
    """A part of the report, ending with the commands that reproduce its numbers; ``findings`` come first, in bold."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...]
    plots: tuple[Plot, ...]
    tables: tuple[Table, ...]
    commands: tuple[str, ...]
    findings: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


class Verdict(NamedTuple):
    """Whether everything was compared and agreed, and one sentence that says so."""

    passed: bool
    sentence: str


class Report(NamedTuple):
    """Everything that a template needs.

    ``origin`` is the command that made the records and the versions it ran with; ``missing`` lists what they lack, with
    the command that supplies it.
    """

    title: str
    verdict: Verdict
    origin: tuple[str, str]
    missing: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

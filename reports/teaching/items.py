"""What a lesson's page is made of, as plain data; tables, plots and blocks of text are those of ``reports.page``."""

from typing import NamedTuple

from reports.page.model import Block, Plot, Table


class Code(NamedTuple):
    """The lines of one framework; ``relation`` says how they relate to the equation, and is empty where they are it."""

    framework: str
    where: str
    lines: tuple[str, ...]
    relation: str = ""


class Equation(NamedTuple):
    """An equation in LaTeX, and for each framework the lines that compute it or from which it is derived."""

    tag: str
    latex: str
    code: tuple[Code, ...]


class Sentence(NamedTuple):
    """A statement with computed numbers in it; Markdown with mathematics, like the prose."""

    text: str


class Beside(NamedTuple):
    """Equations, each beside its lines in the three frameworks."""

    equations: tuple[Equation, ...]


class Snippet(NamedTuple):
    """A function or a class from one of the project's files."""

    path: str
    symbol: str
    code: str


Item = Sentence | Beside | Snippet | Table | Plot | Block

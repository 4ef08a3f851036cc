"""Which line of source is which equation of ``numpy_impl/DERIVATION.md``, by the tag at its end, such as ``# (K7)``."""

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

TAG = re.compile(r"# \(([A-Z]\d+)\)")


class Line(NamedTuple):
    """A tagged line: its number in the file, its code without the tag, and the names or elements that it assigns."""

    tag: str
    number: int
    code: str
    targets: tuple[str, ...]


def tagged_lines(source: str) -> tuple[Line, ...]:
    """The tagged lines of a source text, in order; ``code`` is empty where a line holds only the tag."""
    lines, assigned = source.splitlines(), _assigned(source)
    tagged = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        number, column = token.start
        if token.type == tokenize.COMMENT and (match := TAG.fullmatch(token.string)):
            code = lines[number - 1][:column].strip()
            tagged.append(Line(tag=match[1], number=number, code=code, targets=assigned.get(number, ())))
    return tuple(tagged)


@cache
def lines_of(path: Path) -> tuple[Line, ...]:
    """The tagged lines of a file."""
    return tagged_lines(path.read_text(encoding="utf-8"))


def _assigned(source: str) -> dict[int, tuple[str, ...]]:
    """Line number -> the targets, as expressions, of an assignment that is the only statement on that line."""
    targets_of = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign) and node.lineno == node.end_lineno:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            targets_of[node.lineno] = tuple(ast.unparse(part) for target in targets for part in _parts(target))
    return targets_of


def _parts(target: ast.expr) -> list[ast.expr]:
    return [part for element in target.elts for part in _parts(element)] if isinstance(target, ast.Tuple) else [target]

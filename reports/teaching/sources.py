"""Equations and lines of code, taken from the real files by tag or by symbol; nothing is imported from them."""

import ast
import re
import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from common.errors import InvalidInput, choice, mismatch
from common.tracing.equations import Line, lines_of

PACKAGES = {"NumPy": "numpy_impl", "JAX": "jax_impl", "PyTorch": "torch_impl"}
# What autodiff has no line for: the forward equations from which each backward equation follows.
DERIVED_FROM = {
    tag: tuple(sources)
    for tag, *sources in map(
        str.split,
        (
            *("C4 C3", "C5 C1", "C6 C1", "C7 C2", "C8 C1", "C9 C1"),
            *("E5 E3", "E8 E3", "E9 E3", "E11 E1", "E12 E3", "E13 E2", "E14 E1"),
            *("K9 K7 K8", "K10 K3 K7", "K11 K4 K7", "K12 K5 K7", "K13 K6 K8"),
            *("K14 K1", "K15 K1", "K16 K2", "K17 K1", "K18 K1", "K19 K7"),
        ),
    )
}
# NumPy's LSTM halves a and takes one tanh of all gates; what it computes is what the cell's equations say.
SAME_AS = {"L1": "K1", "L2": "K2", "L3": "K1", "L7": "K7", "L8": "K8"}
# No line anywhere but in NumPy: autodiff does it by itself.
AUTOMATIC = {
    "E7": "adds the gradients of all uses of a value by itself",
    "U1": "adds the gradients of all uses of a value by itself",
    "U2": "adds the gradients of all uses of a weight by itself",
}


class Code(NamedTuple):
    """Lines of one framework, and how they are related to the equation: empty if they are it."""

    framework: str
    where: str
    lines: tuple[str, ...]
    relation: str = ""


class Equation(NamedTuple):
    """An equation in LaTeX, and the lines that are it in the three frameworks, or that it is derived from."""

    tag: str
    latex: str
    code: tuple[Code, ...]


def folder(package: str) -> Path:
    """Where the files of a package are; it is not imported."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise InvalidInput(mismatch("package", "an importable one", package))
    return Path(found.origin).parent


@cache
def _derivation() -> dict[str, tuple[str, str]]:
    """Tag -> the equation's LaTeX and the file of its section."""
    text = (folder("numpy_impl") / "DERIVATION.md").read_text(encoding="utf-8")
    found = {}
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        file = re.search(r"`(\w+)\.py`", heading)
        for latex, tag in re.findall(r"\$\$\s(.+?)\s*\\tag\{(\w+)\}\s*\$\$", body, flags=re.DOTALL):
            found[tag] = (latex, file[1] if file else "")
    return found


def notation() -> str:
    """The table of symbols at the head of the derivation, in Markdown."""
    text = (folder("numpy_impl") / "DERIVATION.md").read_text(encoding="utf-8")
    return text.split("## Notation\n", 1)[1].split("\n\n**", 1)[0].strip()


def lines(framework: str, file: str, tag: str) -> tuple[Line, ...]:
    """The lines with this tag in a file of a framework's package; empty where there is none."""
    path = folder(PACKAGES[framework]) / f"{file}.py"
    return tuple(line for line in lines_of(path) if line.tag == tag) if path.exists() else ()


def equation(tag: str, file: str | None = None) -> Equation:
    """An equation beside its lines. ``file`` names that of JAX and PyTorch, where it is not NumPy's own.

    Raises ``InvalidInput`` for an unknown tag, and where a framework has no line that is or gives the equation.
    """
    known = _derivation()
    if tag not in known:
        raise InvalidInput(choice("tag", sorted(known), tag))
    latex, own = known[tag]
    return Equation(tag, latex, tuple(_code(framework, tag, own, file or own) for framework in PACKAGES))


def _code(framework: str, tag: str, own: str, file: str) -> Code:
    if framework == "NumPy":
        found, relation, where = lines(framework, own, tag), "", f"numpy_impl/{own}.py"
    elif tag in AUTOMATIC:
        return Code(framework, "", (), AUTOMATIC[tag])
    else:
        where = f"{PACKAGES[framework]}/{file}.py"
        sources = DERIVED_FROM.get(tag, (SAME_AS.get(tag, tag),))
        relation = "derived by autodiff from" if tag in DERIVED_FROM else ""
        groups = [lines(framework, file, source) for source in sources]
        found = tuple(line for group in groups for line in group) if all(groups) else ()
    if not found:
        raise InvalidInput(mismatch(f"({tag}) in {where}", "a line with its tag", "none"))
    return Code(framework, where, tuple(line.code for line in found), relation)


def snippet(path: str, symbol: str) -> str:
    """The source of a function, a class or a method, as ``snippet("jax_impl/stack.py", "Steps.turn")``."""
    package, _, file = path.partition("/")
    if not (folder(package) / file).is_file():
        raise InvalidInput(mismatch(f"file in {package}", "one of the project", path))
    text = (folder(package) / file).read_text(encoding="utf-8")
    body: list[ast.stmt] = ast.parse(text).body
    found: ast.stmt | None = None
    for name in symbol.split("."):
        found = next((node for node in body if getattr(node, "name", None) == name), None)
        if found is None:
            raise InvalidInput(mismatch(f"{symbol} in {path}", "a function or a class", "none"))
        body = getattr(found, "body", [])
    first = min([found.lineno, *(own.lineno for own in getattr(found, "decorator_list", []))]) if found else 1
    return textwrap.dedent("\n".join(text.splitlines()[first - 1 : found.end_lineno if found else None]))

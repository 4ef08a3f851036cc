"""Equations and lines of code, read from the project's own files by tag or by symbol, without importing those files."""

import ast
import re
import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from common.errors import InvalidInput, choice, mismatch
from common.tracing.equations import Line, lines_of
from reports.teaching.items import Code, Equation

PACKAGES = {"NumPy": "numpy_impl", "JAX": "jax_impl", "PyTorch": "torch_impl"}
# Autodiff needs no line for a backward equation. Each tag is followed by those of the forward equations that give it.
DERIVED_FROM = {
    tag: tuple(sources)
    for tag, *sources in map(
        str.split,
        (
            *("C4 C3", "C5 C1", "C6 C1", "C7 C2", "C8 C1", "C9 C1"),
            *("E5 E3", "E8 E3", "E9 E3", "E11 E1", "E12 E3", "E13 E2", "E14 E1"),
            *("K9 K7 K8", "K10 K3 K7", "K11 K4 K7", "K12 K5 K7", "K13 K6 K8"),
            *("K14 K1", "K15 K1", "K16 K2", "K17 K1", "K18 K1", "K19 K7"),
            *("G12 G6 G11", "G13 G10 G11", "G14 G10", "G15 G8", "G16 G7 G10", "G17 G5"),
            *("G18 G1", "G19 G2 G8", "G20 G3", "G21 G4 G9", "G22 G1", "G23 G2 G7 G11"),
            *("V8 V6 V7", "V9 V3 V6", "V10 V4 V6", "V11 V5 V7"),
            *("V12 V1", "V13 V1", "V14 V2", "V15 V1", "V16 V1", "V17 V6"),
        ),
    )
}
# NumPy's LSTM halves a and takes one tanh for all gates; the result is what the cell's equations say.
SAME_AS = {"L1": "K1", "L2": "K2", "L3": "K1", "L7": "K7", "L8": "K8"}
# Only NumPy has a line for these; autodiff takes care of them.
AUTOMATIC = {
    "E7": "adds up the gradients of all uses of a value automatically",
    "U1": "adds up the gradients of all uses of a value automatically",
    "U2": "adds up the gradients of all uses of a weight automatically",
}


def folder(package: str) -> Path:
    """The folder of a package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InvalidInput(mismatch("package", "an importable one", package))
    return Path(spec.origin).parent


@cache
def _derivation() -> dict[str, tuple[str, str]]:
    """Tag -> the equation in LaTeX, and the file that its section is about."""
    text = (folder("numpy_impl") / "DERIVATION.md").read_text(encoding="utf-8")
    equations = {}
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        file = re.search(r"`(\w+)\.py`", heading)
        for latex, tag in re.findall(r"\$\$\s(.+?)\s*\\tag\{(\w+)\}\s*\$\$", body, flags=re.DOTALL):
            equations[tag] = (latex, file[1] if file else "")
    return equations


def notation() -> str:
    """The table of symbols at the head of the derivation, in Markdown."""
    text = (folder("numpy_impl") / "DERIVATION.md").read_text(encoding="utf-8")
    return text.split("## Notation\n", 1)[1].split("\n\n**", 1)[0].strip()


def lines(framework: str, file: str, tag: str) -> tuple[Line, ...]:
    """The lines with this tag in a file of a framework's package; empty if there are none."""
    path = folder(PACKAGES[framework]) / f"{file}.py"
    return tuple(line for line in lines_of(path) if line.tag == tag) if path.exists() else ()


def equation(tag: str, file: str | None = None) -> Equation:
    """An equation with its lines. ``file`` names the file of JAX and PyTorch where it differs from NumPy's.

    Raises ``InvalidInput`` for an unknown tag, and where a framework has no line that computes the equation or from
    which it is derived.
    """
    known = _derivation()
    if tag not in known:
        raise InvalidInput(choice("tag", sorted(known), tag))
    latex, of_numpy = known[tag]
    return Equation(tag, latex, tuple(_code(framework, tag, of_numpy, file or of_numpy) for framework in PACKAGES))


def _code(framework: str, tag: str, of_numpy: str, file: str) -> Code:
    if framework == "NumPy":
        tagged, relation, where = lines(framework, of_numpy, tag), "", f"numpy_impl/{of_numpy}.py"
    elif tag in AUTOMATIC:
        return Code(framework, "", (), AUTOMATIC[tag])
    else:
        where = f"{PACKAGES[framework]}/{file}.py"
        sources = DERIVED_FROM.get(tag, (SAME_AS.get(tag, tag),))
        relation = "derived by autodiff from" if tag in DERIVED_FROM else ""
        groups = [lines(framework, file, source) for source in sources]
        tagged = tuple(line for group in groups for line in group) if all(groups) else ()
    if not tagged:
        raise InvalidInput(mismatch(f"({tag}) in {where}", "a line with its tag", "none"))
    return Code(framework, where, tuple(line.code for line in tagged), relation)


def snippet(path: str, symbol: str) -> str:
    """The source of a function, a class or a method, as in ``snippet("jax_impl/base.py", "Module.state_dict")``.

    Raises ``InvalidInput`` where there is no such file, or nothing of that name in it.
    """
    package, _, file = path.partition("/")
    if not (folder(package) / file).is_file():
        raise InvalidInput(mismatch(f"file in {package}", "one of the project", path))
    text = (folder(package) / file).read_text(encoding="utf-8")
    body: list[ast.stmt] = ast.parse(text).body
    node: ast.stmt | None = None
    for name in symbol.split("."):
        node = next((child for child in body if getattr(child, "name", None) == name), None)
        if node is None:
            raise InvalidInput(mismatch(f"{symbol} in {path}", "a function or a class", "none"))
        body = getattr(node, "body", [])
    first = min([node.lineno, *(line.lineno for line in getattr(node, "decorator_list", []))]) if node else 1
    return textwrap.dedent("\n".join(text.splitlines()[first - 1 : node.end_lineno if node else None]))

"""The code and equations that lessons show are those in the files; where a file has none, none are shown."""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import InvalidInput
from common.tracing.equations import lines_of
from reports.teaching import show, sources
from reports.teaching.items import Beside

ROOT = Path(__file__).parents[2]
DERIVATION = (ROOT / "numpy_impl" / "DERIVATION.md").read_text(encoding="utf-8")
FOLDERS = {"NumPy": "numpy_impl", "JAX": "jax_impl", "PyTorch": "torch_impl"}
PARTS = ("rnn_cell", "elman", "lstm_cell", "lstm", "gru_cell", "gru", "lstm1997_cell", "lstm1997", "unroll")


def tagged(path: Path, tag: str) -> list[str]:
    """The code of the lines of a file that end with a tag, read independently of the code under test."""
    end = f"  # ({tag})"
    return [row.removesuffix(end).strip() for row in path.read_text("utf-8").splitlines() if row.endswith(end)]


def tags_by_function(name: str) -> dict[str, str]:
    """Tag -> file, for the lines within the functions of this name in NumPy's files."""
    found = {}
    for file in PARTS:
        text = (ROOT / "numpy_impl" / f"{file}.py").read_text("utf-8")
        own = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name]
        for node in own:
            rows = "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])
            found |= dict.fromkeys(re.findall(r"# \(([A-Z]\d+)\)$", rows, flags=re.MULTILINE), file)
    return found


FORWARD, BACKWARD = tags_by_function("forward"), tags_by_function("backward")
BOTH = FORWARD | BACKWARD
# Only NumPy needs some equations of the gated layers over a sequence, for one tanh of four gates and for the backward
# pass, and a separate line for each frozen step.
FROZEN = {"E4", "E6", "E10", "L6", "L10", "L20"}
GATED = set("LRW")
COMMON = {tag for tag in BOTH if tag[0] not in GATED or tag in sources.SAME_AS or tag == "L9"}
SHOWN = {tag: file for tag, file in BOTH.items() if tag in COMMON - FROZEN}
ALONE = sorted(BOTH.keys() - SHOWN.keys())
# From which equations each backward equation follows: "C4 C3" means that (C4) follows from (C3).
DERIVED = """
C4 C3, C5 C1, C6 C1, C7 C2, C8 C1, C9 C1, E5 E3, E8 E3, E9 E3, E11 E1, E12 E3, E13 E2, E14 E1, K9 K7 K8, K10 K3 K7,
K11 K4 K7, K12 K5 K7, K13 K6 K8, K14 K1, K15 K1, K16 K2, K17 K1, K18 K1, K19 K7, G12 G6 G11, G13 G10 G11, G14 G10,
G15 G8, G16 G7 G10, G17 G5, G18 G1, G19 G2 G8, G20 G3, G21 G4 G9, G22 G1, G23 G2 G7 G11, V8 V6 V7, V9 V3 V6, V10 V4 V6,
V11 V5 V7, V12 V1, V13 V1, V14 V2, V15 V1, V16 V1, V17 V6
"""
DERIVED_FROM = {tag: origins for tag, *origins in map(str.split, DERIVED.split(","))}
AUTOMATIC = {
    "E7": "adds up the gradients of all uses of a value automatically",
    "U1": "adds up the gradients of all uses of a value automatically",
    "U2": "adds up the gradients of all uses of a weight automatically",
}


def test_the_sections_have_the_equations_that_the_files_have() -> None:
    written = set(re.findall(r"\\tag\{([CEKLUGRVW]\d+)\}", DERIVATION))
    assert written == BOTH.keys()
    assert len(written) == 9 + 14 + 19 + 25 + 2 + 23 + 24 + 17 + 21
    assert not FORWARD.keys() & BACKWARD.keys()
    assert set(ALONE) == {"L4", "L5"} | FROZEN | {tag for tag in BACKWARD if tag[0] == "L"} | {
        tag for tag in BOTH if tag[0] in "RW"
    }


@pytest.mark.parametrize("tag", SHOWN)
def test_an_equation_appears_next_to_the_lines_of_the_files(tag: str) -> None:
    found = sources.equation(tag)
    (latex,) = re.findall(rf"\$\$\n((?:(?!\$\$).)*?) *\\tag\{{{tag}\}}\n\$\$", DERIVATION, flags=re.DOTALL)
    assert (found.tag, found.latex) == (tag, latex)
    assert [code.framework for code in found.code] == list(FOLDERS)
    numpy, *others = found.code
    assert (numpy.where, numpy.relation) == (f"numpy_impl/{SHOWN[tag]}.py", "")
    assert numpy.lines
    assert list(numpy.lines) == tagged(ROOT / numpy.where, tag)
    for code in others:
        if tag in AUTOMATIC:
            assert (code.where, code.lines, code.relation) == ("", (), AUTOMATIC[tag])
            continue
        assert code.where == f"{FOLDERS[code.framework]}/{SHOWN[tag]}.py"
        assert code.relation == ("derived by autodiff from" if tag in BACKWARD else "")
        wanted = DERIVED_FROM[tag] if tag in BACKWARD else (sources.SAME_AS.get(tag, tag),)
        assert list(code.lines) == [line for own in wanted for line in tagged(ROOT / code.where, own)]
        assert all(code.lines)


@pytest.mark.parametrize("tag", ALONE)
def test_an_equation_that_only_numpy_has_is_not_shown(tag: str) -> None:
    message = rf"\({tag}\) in jax_impl/(elman|lstm|gru|lstm1997).py: expected a line with its tag, got none"
    with pytest.raises(InvalidInput, match=message):
        sources.equation(tag)


def test_another_file_of_the_frameworks_can_be_named() -> None:
    numpy, jax, torch = sources.equation("K1", "lstm").code
    assert [numpy.where, jax.where, torch.where] == [
        "numpy_impl/lstm_cell.py",
        "jax_impl/lstm.py",
        "torch_impl/lstm.py",
    ]
    assert list(jax.lines) == tagged(ROOT / "jax_impl" / "lstm.py", "K1")
    assert len(jax.lines) == 2
    with show.collecting() as items:
        show.lines("K1", "K7", file="lstm")
    assert items == [Beside((sources.equation("K1", "lstm"), sources.equation("K7", "lstm")))]


def test_every_step_back_has_a_forward_equation_or_needs_none() -> None:
    """This covers what autodiff has to derive; a gated layer over a sequence is the same as its cell."""
    assert DERIVED_FROM.keys() | AUTOMATIC.keys() == {tag for tag in BACKWARD if tag[0] not in GATED} - FROZEN
    assert {tag: list(origins) for tag, origins in sources.DERIVED_FROM.items()} == DERIVED_FROM
    assert sources.AUTOMATIC == AUTOMATIC
    for tag, origins in DERIVED_FROM.items():
        assert all(FORWARD[own] == BACKWARD[tag] for own in origins), tag
    assert all(same in FORWARD and tag in FORWARD for tag, same in sources.SAME_AS.items())


@pytest.mark.parametrize("tag", ["C10", "E0", "Z1", "c1", "", "C1, C2"])
def test_an_unknown_tag(tag: str) -> None:
    with pytest.raises(InvalidInput, match=rf"tag: expected one of B1, .*W9, got '{tag}'"):
        sources.equation(tag)
    with show.collecting() as items, pytest.raises(InvalidInput):
        show.lines("C1", tag)
    assert not items


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copies of the three packages, from which equations and lines are then read."""
    for package in FOLDERS.values():
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "folder", lambda package: tmp_path / package)
    sources._derivation.cache_clear()
    yield tmp_path
    sources._derivation.cache_clear()


def without(path: Path, what: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(what) == 1
    path.write_text(text.replace(what, ""), "utf-8")


@pytest.mark.parametrize(
    ("file", "tag", "shown", "others"),
    [
        ("numpy_impl/rnn_cell.py", "C3", "C3", ["C4"]),
        ("numpy_impl/rnn_cell.py", "C4", "C4", ["C3"]),
        ("numpy_impl/unroll.py", "U2", "U2", ["U1"]),
        ("jax_impl/rnn_cell.py", "C2", "C2", ["C1"]),
        ("jax_impl/elman.py", "E3", "E8", ["E11"]),
        ("jax_impl/lstm_cell.py", "K7", "K9", ["K13"]),
        ("jax_impl/lstm_cell.py", "K8", "K9", ["K10"]),
        ("torch_impl/lstm_cell.py", "K3", "K10", ["K11"]),
        ("torch_impl/lstm.py", "K7", "L7", ["L8"]),
        ("torch_impl/lstm.py", "L9", "L9", ["L8"]),
        ("torch_impl/gru_cell.py", "G7", "G16", ["G17"]),
        ("jax_impl/gru_cell.py", "G9", "G21", ["G19"]),
    ],
)
def test_a_missing_tag_is_reported(file: str, tag: str, shown: str, others: list[str], copied: Path) -> None:
    assert sources.equation(shown).tag == shown
    without(copied / file, f"  # ({tag})")
    message = rf"\({shown}\) in {file}: expected a line with its tag, got none"
    lines_of.cache_clear()
    with pytest.raises(InvalidInput, match=message):
        sources.equation(shown)
    for other in others:
        assert sources.equation(other).tag == other


def test_an_equation_that_is_removed_is_unknown(copied: Path) -> None:
    without(copied / "numpy_impl" / "DERIVATION.md", r" \tag{C3}")
    with pytest.raises(InvalidInput, match="got 'C3'"):
        sources.equation("C3")


def test_an_unknown_package() -> None:
    with pytest.raises(InvalidInput, match="package: expected an importable one, got no_such_package"):
        sources.folder("no_such_package")


def test_the_notation_is_the_derivation_s_table() -> None:
    rows = sources.notation().splitlines()
    assert rows[0] == "| symbol | meaning | shape |"
    own = [row for row in rows if row.startswith("|")]
    assert own == [row for row in DERIVATION.splitlines() if row.startswith("|")]
    assert rows[: len(own)] == own


@pytest.mark.parametrize(
    ("path", "symbol", "first", "last"),
    [
        ("jax_impl/stack.py", "unroll", "def unroll(", "    return h, last"),
        ("jax_impl/stack.py", "unroll.body", "def body(", "    return state, state[0]"),
        ("common/backend/arrangement.py", "Arrangement", "class Arrangement(NamedTuple):", "        return entered"),
        ("common/backend/arrangement.py", "Arrangement.leave_steps", "def leave_steps(self", "    return {name: "),
        ("common/backend/arrangement.py", "Arrangement.enter", "def enter(", "    "),
        ("common/datasets/sine.py", "make", "def make(", "    "),
    ],
)
def test_a_snippet_is_a_piece_of_its_file(path: str, symbol: str, first: str, last: str) -> None:
    rows = sources.snippet(path, symbol).splitlines()
    assert rows[0].startswith(first)
    assert rows[-1].startswith(last)
    text = [row.rstrip() for row in (ROOT / path).read_text("utf-8").splitlines()]
    places = [n for n, row in enumerate(text) if row.strip() == rows[0]]
    indents = [len(text[n]) - len(text[n].lstrip()) for n in places]
    assert any(
        text[n : n + len(rows)] == [row and " " * indent + row for row in rows]
        for n, indent in zip(places, indents, strict=True)
    )
    compile("\n".join(rows), path, "exec")


@pytest.mark.parametrize(
    "symbol", ["nothing", "unroll.nothing", "unroll.body.nothing", "nothing.turn", "State", "unroll.body.state"]
)
def test_a_snippet_of_nothing(symbol: str) -> None:
    message = rf"{symbol} in jax_impl/stack.py: expected a function or a class, got none"
    with pytest.raises(InvalidInput, match=message):
        sources.snippet("jax_impl/stack.py", symbol)
    with show.collecting() as items, pytest.raises(InvalidInput, match=message):
        show.source("jax_impl/stack.py", symbol)
    assert not items


def test_a_snippet_begins_with_its_decorators() -> None:
    assert sources.snippet("common/tracing/watch.py", "watching").startswith("@contextmanager\ndef watching(")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"file in jax_impl: expected one of the project, got jax_impl/none\.py"):
        sources.snippet("jax_impl/none.py", "f")
    for tag, file in (("B1", None), ("C1", "nowhere")):
        with pytest.raises(
            InvalidInput, match=rf"\({tag}\) in jax_impl/\w+\.py: expected a line with its tag, got none"
        ):
            sources.equation(tag, file)

"""The tags of the equations in numpy_impl/*.py and in DERIVATION.md are a bijection."""

import re
from collections import Counter
from pathlib import Path

import pytest

import jax_impl
import numpy_impl
import torch_impl
from common.tracing.equations import tagged_lines

FOLDER = Path(numpy_impl.__file__).parent
DERIVATION = (FOLDER / "DERIVATION.md").read_text(encoding="utf-8")
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}


def code_tags(source: str) -> list[tuple[str, bool]]:
    """The tags of one file in order, each with whether code stands before it on its line."""
    return [(line.tag, bool(line.code)) for line in tagged_lines(source)]


def sections(derivation: str) -> dict[str, str]:
    """Heading -> text of every section."""
    parts = re.split(r"^## (.+)$", derivation, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def problems(sources: dict[str, str], derivation: str) -> list[str]:
    """Everything that keeps the tags of code and derivation from being a bijection, in words."""
    in_code = {name: code_tags(source) for name, source in sources.items()}
    code = Counter(tag for tags in in_code.values() for tag, _ in tags)
    text = Counter(re.findall(r"\\tag\{(.*?)\}", derivation))

    found = [f"{tag}: {n} times in the code" for tag, n in code.items() if n > 1]
    found += [f"{tag}: {n} times in the derivation" for tag, n in text.items() if n > 1]
    found += [f"{tag}: only in the code" for tag in code.keys() - text.keys()]
    found += [f"{tag}: only in the derivation" for tag in text.keys() - code.keys()]
    found += [f"{tag}: a comment without code" for tags in in_code.values() for tag, on_code in tags if not on_code]

    for equation in derivation.split("$$")[1::2]:
        if equation.count(r"\tag{") != 1:
            found.append(f"not exactly one tag: {equation.strip()}")
    for heading, body in sections(derivation).items():
        tags = re.findall(r"\\tag\{(.*?)\}", body)
        named = re.findall(r"`(\w+\.py)`", heading)
        if not tags:
            continue
        if tags != [f"{tags[0][:1]}{n}" for n in range(1, len(tags) + 1)]:
            found.append(f"{heading}: not numbered in order without gaps: {' '.join(tags)}")
        if len(named) != 1 or named[0] not in sources:
            found.append(f"{heading}: names no source file")
        elif [tag for tag, _ in in_code[named[0]]] != tags:
            found.append(f"{heading}: {named[0]} has other tags or another order")
        elif set(re.findall(r"DERIVATION\.md, (\d+)", sources[named[0]])) - {heading.split(".")[0]}:
            found.append(f"{heading}: {named[0]} cites another section")
    return found


def test_tags_in_code_and_derivation_are_a_bijection():
    assert problems(SOURCES, DERIVATION) == []


def test_there_are_tags_to_compare():
    assert sum(len(code_tags(source)) for source in SOURCES.values()) >= 180


def test_a_tag_in_a_string_is_no_tag():
    assert code_tags('a = "# (E3)"  # see (E3)\nb = 1  # (E4)\n') == [("E4", True)]


CODE = {"one.py": "# DERIVATION.md, 1\na = 1  # (A1)\nb = 2  # (A2)\n", "two.py": "c = 3  # (B1)\n"}
TEXT = "## 1. First: `one.py`\n$$ a \\tag{A1} $$\n$$ b \\tag{A2} $$\n## 2. Second: `two.py`\n$$ c \\tag{B1} $$\n"


def test_the_small_example_is_accepted():
    assert problems(CODE, TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "report"),
    [
        ("  # (A1)", "", "A1: only in the derivation"),
        ("  # (A2)", "  # (A1)", "A1: 2 times in the code"),
        ("  # (A2)", "  # (A3)", "A3: only in the code"),
        ("b = 2  # (A2)", "b = 2\n# (A2)", "A2: a comment without code"),
        ("a = 1  # (A1)\nb = 2  # (A2)", "b = 2  # (A2)\na = 1  # (A1)", "one.py has other tags or another order"),
        ("$$ b \\tag{A2} $$\n", "", "A2: only in the code"),
        ("\\tag{A2}", "\\tag{A1}", "A1: 2 times in the derivation"),
        ("\\tag{A2}", "", "not exactly one tag: b"),
        ("\\tag{A2}", "\\tag{A3}", "not numbered in order without gaps: A1 A3"),
        (": `two.py`", "", "2. Second: names no source file"),
        ("DERIVATION.md, 1", "DERIVATION.md, 2", "one.py cites another section"),
        ("`two.py`", "`one.py`", "one.py has other tags or another order"),
    ],
)
def test_a_planted_fault_is_reported(old: str, new: str, report: str):
    code = {name: source.replace(old, new) for name, source in CODE.items()}
    text = TEXT.replace(old, new)
    assert (code, text) != (CODE, TEXT)
    assert any(report in line for line in problems(code, text))


@pytest.mark.parametrize("change", ["", "  # (E3)\n        hs = 0  # (E3)"], ids=["removed", "doubled"])
def test_a_fault_in_the_real_code_is_reported(change: str):
    elman = SOURCES["elman.py"].replace("  # (E3)", change)
    found = problems(SOURCES | {"elman.py": elman}, DERIVATION)
    assert any(line.startswith("E3: ") for line in found)


@pytest.mark.parametrize("package", [jax_impl, torch_impl], ids=["jax", "torch"])
@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("rnn_cell.py", "C1 C2 C3"),
        ("elman.py", "E1 E2 E3"),
        ("ragged.py", "S9"),
        ("dropout.py", "D1"),
        ("lstm_cell.py", "K1 K2 K3 K4 K5 K6 K7 K8"),
        ("lstm.py", "K1 K2 K1 K3 K4 K5 K6 K7 K8 L9"),
        ("gru_cell.py", "G1 G2 G3 G4 G5 G6 G7 G8 G9 G10 G11"),
        ("gru.py", "G1 G3 G4 G2 G5 G6 G7 G8 G9 G10 G11"),
        ("lstm1997_cell.py", "V1 V2 V3 V4 V5 V6 V7"),
        ("lstm1997.py", "V1 V2 V1 V3 V4 V5 V6 V7"),
    ],
)
def test_the_forward_equations_are_tagged_in_the_frameworks_too(package, file: str, wanted: str):
    source = (Path(package.__file__).parent / file).read_text(encoding="utf-8")
    assert " ".join(tag for tag, on_code in code_tags(source) if on_code) == wanted


def test_a_tagged_line_knows_its_code_and_what_it_assigns():
    (gates, step) = tagged_lines(
        "f(x)\ni, (a.f, g[t]) = h = one(  # no tag\n    2)\ni, (f, g[t]) = h = x  # (K3)\na += 1  # (K4)\n"
    )
    assert gates == ("K3", 4, "i, (f, g[t]) = h = x", ("i", "f", "g[t]", "h"))
    assert step == ("K4", 5, "a += 1", ("a",))

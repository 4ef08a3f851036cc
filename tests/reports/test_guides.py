"""The pages "From X to Y" are what the layouts say, and every command and line of Python on them runs."""

import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numpy_impl
from common import weights
from common.cli import main, parse
from common.conversions.parts import Part
from common.conversions.systems import LAYOUTS
from common.weights.targets import TARGETS
from reports.guides import conventions, pages
from reports.guides.systems import PAIRS, SYSTEMS

# Pairs whose commands are run too; the others differ from them in the names of the files and of the formats, whose
# conversions have tests of their own.
WHOLE = ("PyTorch to Keras", "ONNX to PyTorch")
PAGES = pages.pages()
every_pair = pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)


def blocks(pair: tuple[str, str], language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", PAGES[pages.name(*pair)], re.DOTALL)


@pytest.fixture(name="source")
def source_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A call that writes the file that a page begins with, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "torch")

    def write(pair: tuple[str, str]) -> Any:
        system = SYSTEMS[pair[0]]
        module = numpy_impl.LSTM(8, 16, dtype="float32", seed=4)
        weights.write(system.file, system.target, module)
        return module

    return write


def test_the_committed_pages_are_those_that_are_made() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in pages.FOLDER.iterdir()}
    assert committed == PAGES, "run: python -m reports.guides"


def test_every_page_is_linked_and_every_target_named() -> None:
    index = PAGES["README.md"]
    assert set(re.findall(r"\]\(([^)]+)\)", index)) == set(PAGES) - {"README.md"}
    assert all(f"`{target.name}`" in index and target.summary in index for target in TARGETS.values())


@every_pair
def test_the_python_of_a_page_runs(pair: tuple[str, str], source: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """And what it loads at the end is the model that it began with."""
    module = source(pair)
    conversion, loading = blocks(pair, "python")
    assert len(conversion.splitlines()) <= 5
    scope: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, on import
        exec(conversion, scope)
        exec(loading, scope)
    system = SYSTEMS[pair[1]]
    (found,) = tuple(weights.read(system.file).layers or ())
    for name in ("weight_ih_l0", "weight_hh_l0"):
        np.testing.assert_array_equal(found.params[name], module.params[name])
    said = capsys.readouterr().out.splitlines()
    assert said == list(weights.write(f"again{TARGETS[system.target].suffix}", system.target, scope["layer"]))


@every_pair
def test_the_commands_of_a_page_are_understood(pair: tuple[str, str]) -> None:
    (text,) = blocks(pair, "sh")
    commands = [shlex.split(line) for line in text.splitlines()]
    assert [words[1] for words in commands] == ["inspect", "check", "convert", "check", "tolerance"]
    for program, *words in commands:
        assert program == "rosetta"
        parse(words)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if " to ".join(pair) in WHOLE], ids=" to ".join)
def test_the_commands_of_a_page_run(pair: tuple[str, str], source: Any, capsys: pytest.CaptureFixture[str]) -> None:
    source(pair)
    (text,) = blocks(pair, "sh")
    for line in text.splitlines():
        words = shlex.split(line)[1:]
        words += ["--backend", "numpy"] if words[0] == "check" else []
        assert main(words) == 0, (line, capsys.readouterr())
    assert Path(SYSTEMS[pair[1]].file).exists()


def told() -> Iterator[tuple[str, str]]:
    yield "haiku-to-pytorch.md", "| gates, in order | i g f o | i f g o |"
    yield "haiku-to-pytorch.md", "| added when it runs | 1 to the bias of f | nothing |"
    yield "haiku-to-pytorch.md", "- haiku.GRU (r acts before the product) cannot become torch.nn.GRU"
    yield "pytorch-to-flax.md", "| states | (h, c) | (c, h) |"
    yield "pytorch-to-flax.md", "- The two biases of r and of z were merged into one"
    yield "pytorch-to-flax.md", "- flax.linen.LSTMCell has no projection: a layer with one is refused."
    yield "pytorch-to-flax-nnx.md", "bias_hh"
    yield (
        "pytorch-to-keras.md",
        "| biases | `bias_ih` (3H): that of x; `bias_hh` (3H): that of h | `bias` (2, 3H): both as rows",
    )
    yield "onnx-to-pytorch.md", "`W` (4H, I)"
    yield "keras-to-pytorch.md", "- Nothing is lost."


@pytest.mark.parametrize(("page", "text"), list(told()))
def test_a_page_says_what_the_library_does(page: str, text: str) -> None:
    """Written here from the documentation of the libraries, not from the layouts."""
    assert text in PAGES[page]


def test_a_page_follows_the_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    own = LAYOUTS["haiku LSTM"]
    changed = (Part("linear/w", "xh", "ofgi"), Part("linear/b", "sum", "ofgi", added={"o": 2.5}, negated="g"))
    monkeypatch.setitem(LAYOUTS, "haiku LSTM", own._replace(parts=changed, state=("c", "h")))
    text = "\n".join(conventions.of_cell("LSTM", SYSTEMS["Haiku"], SYSTEMS["PyTorch"]))
    for row in ("| o f g i | i f g o |", "| 2.5 to the bias of o | nothing |", "| g | – |", "| (c, h) | (h, c) |"):
        assert row in text
    assert "adds 2.5 to the bias of o" in text

"""``rosetta stepper`` and ``lessons`` as a user meets them, and how they and ``trace`` refuse what cannot be."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.cli.commands import Run
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here
from tests.refusals import assert_refusal


@pytest.mark.parametrize(
    ("words", "argument", "expected", "got"),
    [
        (["trace", "--cell", "LSTM", "--nonlinearity", "relu"], "nonlinearity", "'tanh' for LSTM", "'relu'"),
        (["trace", "--cell", "LSTM", "--no-reset-after"], "reset_after", "True for LSTM", "False"),
        (["trace", "--backend", "flax"], "backend to trace", "one of numpy, jax, torch", "'flax'"),
        (["stepper", "--units", "4"], "--units", "different numbers from 1 to 3", "4"),
        (["stepper", "--units", "0,1"], "--units", "different numbers from 1 to 3", "0,1"),
        (["stepper", "--units", "2,2"], "--units", "different numbers from 1 to 3", "2,2"),
        (["stepper", "--features", "3"], "--features", "different numbers from 1 to 2", "3"),
        (["stepper", "--steps", "21"], "--steps", "at most 20", "21"),
        (["lessons", "--lesson", "99"], "lesson", "one of 1, ", "99"),
    ],
)
def test_bad_usage(words: list[str], argument: str, expected: str, got: str, run: Run, tmp_path: Path) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert_refusal(err.splitlines()[-1], f"rosetta: {argument}", expected, got)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("library", "words", "extra"),
    [
        ("latex2mathml", ["lessons", "--lesson", "4"], "lessons"),
        ("pygments", ["stepper"], "lessons"),
        ("matplotlib", ["lessons"], "lessons"),
        ("jupytext", ["lessons", "--notebooks"], "notebooks"),
    ],
)
def test_a_library_that_is_missing(
    library: str, words: list[str], extra: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else find(name))
    code, out, err = run(*words)
    assert (code, out) == (3, "")
    assert err == f"rosetta: the lessons need {library}, which is not installed; run: pip install -e '.[{extra}]'\n"
    assert not list(tmp_path.iterdir())


def test_the_page_of_the_stepper(run: Run) -> None:
    code, out, err = run("stepper", "--cell", "LSTM", "--steps", "2", "--hidden-size", "6", "--out", "deep/page.html")
    assert (code, out) == (0, "Stepper: deep/page.html\n")
    assert err == "It shows 4 of 6 hidden units; --units and --features choose others\n"
    text = Path("deep/page.html").read_text("utf-8")
    (embedded,) = re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", text, re.DOTALL)
    data = json.loads(embedded)
    assert data["sizes"] == {"steps": 2, "inputs": 2, "units": 6}
    assert data["shown"] == {"units": [1, 2, 3, 4], "inputs": [1, 2]}
    assert not re.search(r'(?:src|href)="https?:', text)
    code, out, _ = run("stepper", "--units", "3,1", "--out", "page.html", "--json")
    assert (code, json.loads(out)) == (0, {"file": "page.html", "bytes": Path("page.html").stat().st_size})


def test_one_lesson(run: Run) -> None:
    """With the steppers and the index, which are always written."""
    code, out, err = run("lessons", "--lesson", "4", "--jobs", "1", "--out", "pages", "--json")
    assert code == 0
    found = {Path(row["file"]).name: row["bytes"] for row in map(json.loads, out.splitlines())}
    steppers = {"stepper-rnn.html", "stepper-lstm.html", "stepper-gru.html"}
    assert set(found) == {"04-bptt-by-hand.html", "index.html", *steppers}
    assert found == {path.name: path.stat().st_size for path in Path("pages").iterdir()}
    assert "pages: 4 of 4" in err

"""``rosetta stepper`` and ``lessons`` as a user meets them, and how they and ``trace`` refuse what cannot be."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from common.cli import main
from tests.cli.test_trace_command import Call
from tests.cli.test_trace_command import call_fixture as call_fixture  # pytest looks for it here


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trace", "--hidden-size", "0"], "hidden_size: expected at least 1, got 0"),
        (["trace", "--cell", "LSTM", "--nonlinearity", "relu"], "nonlinearity: expected 'tanh' for LSTM, got 'relu'"),
        (["trace", "--backend", "flax"], "backend to trace: expected one of numpy, jax, torch, got 'flax'"),
        (["stepper", "--units", "4"], "--units: expected different numbers from 1 to 3, got 4"),
        (["stepper", "--units", "0,1"], "--units: expected different numbers from 1 to 3, got 0,1"),
        (["stepper", "--units", "2,2"], "--units: expected different numbers from 1 to 3, got 2,2"),
        (["stepper", "--inputs", "3"], "--inputs: expected different numbers from 1 to 2, got 3"),
        (["lessons", "--lesson", "99"], "lesson: expected one of 1, "),
    ],
)
def test_bad_usage(words: list[str], message: str, call: Call, tmp_path: Path) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert f"rosetta: {message}" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["trace", "stepper", "lessons"])
def test_every_verb_has_help_and_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert "--json" in capsys.readouterr().out


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
    library: str, words: list[str], extra: str, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else find(name))
    code, out, err = call(*words)
    assert (code, out) == (3, "")
    assert err == f"rosetta: the lessons need {library}, which is not installed; run: pip install -e '.[{extra}]'\n"
    assert not list(tmp_path.iterdir())


def test_the_page_of_the_stepper(call: Call) -> None:
    code, out, err = call("stepper", "--cell", "LSTM", "--steps", "2", "--hidden-size", "6", "--out", "deep/page.html")
    assert (code, out) == (0, "Stepper: deep/page.html\n")
    assert err == "It shows 4 of 6 hidden units; --units and --inputs choose others\n"
    text = Path("deep/page.html").read_text("utf-8")
    (embedded,) = re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", text, re.DOTALL)
    data = json.loads(embedded)
    assert data["sizes"] == {"steps": 2, "inputs": 2, "units": 6}
    assert data["shown"] == {"units": [1, 2, 3, 4], "inputs": [1, 2]}
    assert not re.search(r'(?:src|href)="https?:', text)
    code, out, _ = call("stepper", "--units", "3,1", "--out", "page.html", "--json")
    assert (code, json.loads(out)) == (0, {"file": "page.html", "bytes": Path("page.html").stat().st_size})


def test_one_lesson(call: Call) -> None:
    """With the steppers and the index, which are always written."""
    code, out, err = call("lessons", "--lesson", "4", "--jobs", "1", "--out", "pages", "--json")
    assert code == 0
    found = {Path(row["file"]).name: row["bytes"] for row in map(json.loads, out.splitlines())}
    assert set(found) == {"04-bptt-by-hand.html", "index.html", "stepper-rnn.html", "stepper-lstm.html"}
    assert found == {path.name: path.stat().st_size for path in Path("pages").iterdir()}
    assert "pages: 3 of 3" in err

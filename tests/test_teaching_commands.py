"""``rosetta trace``, ``stepper`` and ``lessons`` as a user meets them."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import examples, saved, tracing
from common.cli import main
from common.layout import Parameters, initial_parameters
from common.records import read
from common.spec import ModelSpec

ROOT = Path(__file__).parent.parent
T = 4
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return called


def traced(call: Call, *words: str) -> dict[str, dict[str, Any]]:
    """Backend -> its record; the example's is under no name."""
    code, out, err = call("trace", "--json", "--steps", str(T), *words)
    assert (code, err) == (0, "")
    path = Path("trace.jsonl")
    path.write_text(out, encoding="utf-8")
    header, *found, end = read(path)
    assert header["command"] == " ".join(["rosetta trace --json --steps 4", *words])
    assert (header["kind"], end) == ("header", {"kind": "end", "records": len(found)})
    assert {record["kind"] for record in found} == {"trace"}
    return {record["backend"]: record for record in found}


def arrays(record: dict[str, Any]) -> Parameters:
    return {name: np.array(values) for name, values in record["arrays"].items()}


def executed(is_lstm: bool) -> list[list[str]]:
    """The tags of a step forward and of one backward, in the order of the source."""
    text = (ROOT / "numpy_impl" / f"{'lstm' if is_lstm else 'rnn'}_cell.py").read_text("utf-8")
    forward, backward = (re.findall(r"# \(([CK]\d+)\)$", part, re.MULTILINE) for part in text.split("\ndef backward("))
    return [forward, ["U1", *backward, "U2"]]


def example_of(cell: str, loss: str = "every", seed: int = 0) -> tracing.Example:
    given = examples.example(ModelSpec(cell=cell, input_size=2, hidden_size=3), steps=T, seed=seed)
    return given._replace(counted=np.array([0.0] * (T - 1) + [1.0]) if loss == "last" else np.ones(T))


@pytest.mark.parametrize("cell", ["RNN", "LSTMCell"])
def test_a_trace_as_records(cell: str, call: Call) -> None:
    found = traced(call, "--cell", cell, "--seed", "3")
    example = example_of(cell, seed=3)
    given, names, G = arrays(found[""]), [own for own in found if own], 4 if cell == "LSTMCell" else 1
    assert names == ["numpy", "jax", "torch", "finite differences"]
    assert np.array_equal(given["x"], example.x[:, 0])
    assert np.array_equal(given["target"], example.target[:, 0])
    assert given["counted"].tolist() == [1] * T
    assert all(np.array_equal(given[name], value) for name, value in example.params.items())
    assert given["h_0"].tolist() == example.state0[0][0, 0].tolist()
    assert ("c_0" in given) == (G == 4)
    shapes = {"a": (T, G * 3), "da": (T, G * 3), "h": (T, 3), "dh": (T, 3), "dx": (T, 2)}
    shapes |= {"dweight_ih": (T, G * 3, 2), "dweight_hh": (T, G * 3, 3), "dbias_hh_step": (T, G * 3)}
    wanted = tracing.everything(example)
    for name in names:
        own = arrays(found[name])
        assert own.keys() == wanted[name].arrays.keys()
        assert all(np.array_equal(own[key], value) for key, value in wanted[name].arrays.items()), name
        assert {key: own[key].shape for key in shapes if key in own} == {k: v for k, v in shapes.items() if k in own}
    assert shapes.keys() <= found["numpy"]["arrays"].keys()
    lines, (forward, backward) = found["numpy"]["lines"], executed(G == 4)
    assert [(line["t"], line["phase"], line["tag"]) for line in lines] == [
        *((t, "forward", tag) for t in range(1, T + 1) for tag in forward),
        *((t, "backward", tag) for t in range(T, 0, -1) for tag in backward),
    ]
    for line in lines:
        file = "unroll" if line["tag"][0] == "U" else ("lstm_cell" if G == 4 else "rnn_cell")
        row = (ROOT / "numpy_impl" / f"{file}.py").read_text("utf-8").splitlines()[line["line"] - 1]
        assert row.strip() == f"{line['code']}  # ({line['tag']})"
    assert not any(found[name]["lines"] for name in ("", *names[1:]))


@pytest.mark.parametrize("loss", ["every", "last"])
def test_what_the_loss_counts_is_where_gradients_come_from(loss: str, call: Call) -> None:
    found = traced(call, "--loss", loss)
    given = arrays(found[""])
    assert given["counted"].tolist() == ([1] * T if loss == "every" else [0, 0, 0, 1])
    for name in ("numpy", "jax", "torch"):
        own = arrays(found[name])
        later = np.vstack([own["da"][1:] @ given["weight_hh_l0"], np.zeros(3)])
        from_loss = (own["h"] - given["target"]) * given["counted"][:, None]
        np.testing.assert_allclose(own["dh"], later + from_loss, rtol=1e-12)
        assert from_loss[-1].all()
        assert from_loss[:-1].any() == (loss == "every")


def test_a_trace_as_text(call: Call) -> None:
    code, out, err = call("trace", "--cell", "LSTM", "--steps", "2", "--seed", "1")
    assert (code, err) == (0, "")
    text, _, table = out.partition("largest difference from numpy, relative to the largest value")
    forward, backward = executed(True)
    titles = ["step 1 of 2, forward", "step 2 of 2, forward", "step 2 of 2, backward", "step 1 of 2, backward"]
    assert re.findall(r"^step.*$", text, re.MULTILINE) == titles
    assert re.findall(r"^  \((\w+)\) ", text, re.MULTILINE) == 2 * forward + 2 * backward
    spec = ModelSpec(cell="LSTM", input_size=2, hidden_size=3)
    own = tracing.everything(examples.example(spec, steps=2, seed=1), ["numpy"])["numpy"].arrays

    def printed(name: str) -> list[list[float]]:
        rows = re.findall(rf"^      {name} = (.*(?:\n {{7,}}.*)*)", text, re.MULTILINE)
        return [[float(number) for number in row.split()] for row in rows]

    for name in ("h", "c", "i"):
        np.testing.assert_allclose(printed(name), own[name], atol=6e-7)
    for name in ("dc", "dx", "dh"):
        np.testing.assert_allclose(printed(name), own[name][::-1], atol=6e-7)
    np.testing.assert_allclose(printed("dweight_ih so far")[1], own["dweight_ih"][0].ravel(), atol=6e-7)
    np.testing.assert_allclose(printed("dweight_hh")[0], own["dweight_hh_step"][1].ravel(), atol=6e-7)
    ruled = [row for row in table.splitlines() if row[:1] in ("┃", "│")]
    head, *rows = ([cell.strip() for cell in re.split("[│┃]", row)[1:-1]] for row in ruled)
    assert head == ["quantity", "shape", "jax", "torch", "finite differences"]
    assert {"a", "h", "c", "dx", "dc", "dweight_hh", "dbias_ih_step"} <= {row[0] for row in rows}
    for name, shape, *gaps in rows:
        assert shape == str(own[name].shape)
        assert all(float(gap) < limit for gap, limit in zip(gaps, (1e-12, 1e-12, 1e-6), strict=True) if gap), name
    assert call("trace", "--backend", "torch", "--steps", "2")[1].lstrip().startswith("largest difference from torch")


def test_options_of_the_model(call: Call) -> None:
    words = ["--no-bias", "--nonlinearity", "relu", "--input-size", "1", "--hidden-size", "5"]
    found = traced(call, *words, "--backend", "numpy", "--backend", "numpy")
    assert list(found) == ["", "numpy", "finite differences"]
    given, own = arrays(found[""]), arrays(found["numpy"])
    assert given["weight_ih_l0"].shape == (5, 1)
    assert not {name for name in given | own if "bias" in name}
    assert np.array_equal(own["h"], np.maximum(own["a"], 0))
    assert own["h"].any()
    assert {line["tag"] for line in found["numpy"]["lines"]}.isdisjoint({"C2", "C7"})


SMALL = ["--epochs", "1", "--hidden-size", "3", "--set", "window=4", "--set", "points_per_period=10", "--out", "."]


def trained(call: Call, *words: str) -> str:
    """The file of a network that was trained a little."""
    code, out, _ = call("train", "sine", "--json", *SMALL, *words)
    assert code == 0
    return next(row["saved"] for row in map(json.loads, out.splitlines()) if row["kind"] == "training")


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "RNNCell"])
def test_weights_of_a_trained_network(cell: str, call: Call) -> None:
    file = trained(call, "--cell", cell)
    found, params = traced(call, "--weights", file, "--cell", cell), saved.load(Path(file)).params
    wanted = {name.removeprefix("rnn."): value for name, value in params.items() if name.startswith("rnn.")}
    assert {name: value.tolist() for name, value in wanted.items()} == {
        name: values for name, values in found[""]["arrays"].items() if "weight" in name or "bias" in name
    }
    assert arrays(found[""])["x"].shape == (T, 1)
    again = json.loads(json.dumps(traced(call, "--weights", file, "--cell", cell, "--backend", "jax")))
    assert again["jax"]["arrays"] == found["jax"]["arrays"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["none.npz"],
            "--weights: expected an .npz file, or torch's (.pt, .pth, .bin), got none.npz (No such file or dir",
        ),
        (
            ["none.pt"],
            "--weights: expected a state_dict, names with tensors, that torch.save wrote, got none.pt (",
        ),
        (["--input-size", "2"], "--input-size: expected none beside --weights, whose file tells it, got 2"),
        (["--hidden-size", "3"], "--hidden-size: expected none beside --weights, whose file tells it, got 3"),
        (["--no-bias"], "--no-bias: expected none beside --weights, whose file tells it, got False"),
        (["--cell", "LSTM"], "weights in rnn.npz: weight_hh_l0 for LSTM: expected (12, 3), got (3, 3); an RNN's?"),
    ],
)
def test_weights_that_cannot_be_used(words: list[str], message: str, call: Call) -> None:
    weights: dict[str, Any] = initial_parameters(ModelSpec(cell="RNN", input_size=2, hidden_size=3), 0)
    np.savez("rnn.npz", **weights)
    file = [] if words[0].startswith("none") else ["rnn.npz"]
    code, out, err = call("trace", "--weights", *file, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"rosetta: {message}")
    assert err.count("\n") == 1


def test_trained_networks_that_cannot_be_traced(call: Call) -> None:
    """What is told of the file: the model that it holds."""
    for made, asked, expected, got in (
        ([], "LSTM", "LSTM", "RNN"),
        (["--cell", "LSTMCell"], "RNN", "RNN", "LSTMCell"),
        (["--num-layers", "2"], "RNN", "RNN", "RNN 2 layers"),
        (["--bidirectional"], "RNN", "RNN", "RNN bidirectional"),
    ):
        file = trained(call, *made)
        code, out, err = call("trace", "--weights", file, "--cell", asked)
        message = f"model in {file}: expected one layer of {expected} in one direction, got {got}"
        assert (code, out, err) == (2, "", f"rosetta: {message}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trace", "--steps", "0"], "steps: expected at least 1, got 0"),
        (["trace", "--seed", "-1"], "seed: expected at least 0, got -1"),
        (["trace", "--hidden-size", "0"], "hidden_size: expected at least 1, got 0"),
        (["trace", "--cell", "LSTM", "--nonlinearity", "relu"], "nonlinearity: expected 'tanh' for LSTM, got 'relu'"),
        (["trace", "--backend", "flax"], "backend to trace: expected one of numpy, jax, torch, got 'flax'"),
        (["stepper", "--steps", "0"], "steps: expected at least 1, got 0"),
        (["stepper", "--units", "4"], "--units: expected different numbers from 1 to 3, got 4"),
        (["stepper", "--units", "0,1"], "--units: expected different numbers from 1 to 3, got 0,1"),
        (["stepper", "--units", "2,2"], "--units: expected different numbers from 1 to 3, got 2,2"),
        (["stepper", "--inputs", "3"], "--inputs: expected different numbers from 1 to 2, got 3"),
        (["lessons", "--lesson", "99"], "lesson: expected one of 1, "),
        (["lessons", "--jobs", "-1"], "--jobs: expected at least 1, got -1"),
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
        ("matplotlib", ["lessons"], "report"),
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
    assert "lessons: 3 of 3" in err

"""``rosetta trace`` as a user meets it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.model.initial import initial_parameters
from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.records import read
from common.tracing import backends as tracing
from common.tracing import examples, finite_differences
from common.tracing.trace import Example, Trace
from common.weights import files
from tests.cli.commands import Run
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here
from tests.refusals import assert_refusal

ROOT = Path(__file__).parents[2]
T = 4


def traced(run: Run, *words: str) -> dict[str, dict[str, Any]]:
    """Backend -> its record; the example's is under no name."""
    code, out, err = run("trace", "--json", "--steps", str(T), *words)
    assert (code, err) == (0, "")
    path = Path("trace.jsonl")
    path.write_text(out, encoding="utf-8")
    everything: list[Any] = read(path)
    header, *found, end = everything
    assert " ".join(header["command"]) == " ".join(["rosetta trace --json --steps 4", *words])
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


def example_of(cell: str, loss: str = "every", seed: int = 0) -> Example:
    given = examples.example(ModelSpec(cell=cell, input_size=2, hidden_size=3), steps=T, seed=seed)
    return given._replace(counted=np.array([0.0] * (T - 1) + [1.0]) if loss == "last" else np.ones(T))


@pytest.mark.parametrize("cell", ["RNN", "LSTMCell"])
def test_a_trace_as_records(cell: str, run: Run) -> None:
    found = traced(run, "--cell", cell, "--seed", "3")
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
def test_what_the_loss_counts_is_where_gradients_come_from(loss: str, run: Run) -> None:
    found = traced(run, "--loss", loss)
    given = arrays(found[""])
    assert given["counted"].tolist() == ([1] * T if loss == "every" else [0, 0, 0, 1])
    for name in ("numpy", "jax", "torch"):
        own = arrays(found[name])
        later = np.vstack([own["da"][1:] @ given["weight_hh_l0"], np.zeros(3)])
        from_loss = (own["h"] - given["target"]) * given["counted"][:, None]
        np.testing.assert_allclose(own["dh"], later + from_loss, rtol=1e-12)
        assert from_loss[-1].all()
        assert from_loss[:-1].any() == (loss == "every")


def cells_of(table: str) -> list[list[str]]:
    """The head and the rows of a table on the terminal."""
    ruled = [row for row in table.splitlines() if row[:1] in ("┃", "│")]
    return [[cell.strip() for cell in re.split("[│┃]", row)[1:-1]] for row in ruled]


def test_a_trace_as_text(run: Run) -> None:
    code, out, err = run("trace", "--cell", "LSTM", "--steps", "2", "--seed", "1")
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
    head, *rows = cells_of(table)
    assert head == ["quantity", "shape", "jax", "torch", "finite differences"]
    assert {"a", "h", "c", "dx", "dc", "dweight_hh", "dbias_ih_step"} <= {row[0] for row in rows}
    for name, shape, *gaps in rows:
        assert shape == str(own[name].shape)
        assert all(float(gap) < limit for gap, limit in zip(gaps, (1e-12, 1e-12, 1e-6), strict=True) if gap), name


def test_a_trace_as_text_without_numpy_lists_the_values_of_another(run: Run) -> None:
    """And the example, with which every trace begins."""
    text, _, table = run("trace", "--backend", "torch")[1].partition("largest difference from torch")
    assert "finite differences" in table
    example = examples.example(ModelSpec(cell="RNN", input_size=2, hidden_size=3), steps=5, seed=0)
    blocks = re.findall(r"^(\S.*?) = (.*(?:\n  +.*)*)", text, re.MULTILINE)
    found = {name: [float(number) for number in values.split()] for name, values in blocks}
    wanted = {"x": example.x, "target": example.target, "counted": example.counted, "h_0": example.state0[0]}
    wanted |= example.params
    for name, array in tracing.everything(example, ["torch"])["torch"].arrays.items():
        wanted |= {f"torch, step {t + 1}: {name}": own for t, own in enumerate(array)}
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array.ravel(), atol=6e-7)


@pytest.mark.parametrize("who", ["jax", "torch", "finite differences"])
def test_a_difference_is_shown_where_it_is(who: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the largest value, above or below, and at whom it is."""
    load, differences = tracing.load, finite_differences.trace

    def off(own: Trace) -> Trace:
        arrays = {name: array.copy() for name, array in own.arrays.items()}
        for name, t, size in (("dh", 1, 1e-3), ("dx", 2, -4e-3)):
            arrays[name][t, -1] += size * abs(arrays[name]).max()
        return own._replace(arrays=arrays)

    if who == "finite differences":
        monkeypatch.setattr(finite_differences, "trace", lambda *given: off(differences(*given)))
    monkeypatch.setattr(tracing, "load", lambda name: lambda own: (off if name == who else kept)(load(name)(own)))
    code, out, _ = run("trace", "--steps", "4")
    assert code == 0
    head, *rows = cells_of(out.partition("largest difference from numpy")[2])
    seen = {(name, column) for name, _, *gaps in rows for column, gap in zip(head[2:], gaps, strict=True) if gap}
    assert {(name, column) for name in ("dh", "dx", "dweight_hh") for column in head[2:]} <= seen
    assert ("h", "finite differences") not in seen
    wanted = {("dh", who): "1.0e-03", ("dx", who): "4.0e-03"}
    for name, _, *gaps in rows:
        for column, gap in zip(head[2:], gaps, strict=True):
            assert gap == wanted.get((name, column), gap)
            assert (name, column) in wanted or not gap or float(gap) < 1e-6, (name, column)


def kept(own: Trace) -> Trace:
    return own


def test_options_of_the_model(run: Run) -> None:
    words = ["--no-bias", "--nonlinearity", "relu", "--input-size", "1", "--hidden-size", "5", "--all"]
    found = traced(run, *words, "--backend", "numpy", "--backend", "numpy")
    assert list(found) == ["", "numpy", "finite differences"]
    given, own = arrays(found[""]), arrays(found["numpy"])
    assert given["weight_ih_l0"].shape == (5, 1)
    assert not {name for name in given | own if "bias" in name}
    assert np.array_equal(own["h"], np.maximum(own["a"], 0))
    assert own["h"].any()
    assert {line["tag"] for line in found["numpy"]["lines"]}.isdisjoint({"C2", "C7"})


SMALL = ["--epochs", "1", "--hidden-size", "3", "--set", "window=4", "--set", "points_per_period=10", "--out", "."]


def trained(run: Run, *words: str) -> str:
    """The file of a network that was trained a little."""
    code, out, _ = run("train", "sine", "--json", *SMALL, *words)
    assert code == 0
    return next(row["saved"] for row in map(json.loads, out.splitlines()) if row["kind"] == "training")


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "RNNCell"])
def test_weights_of_a_trained_network(cell: str, run: Run) -> None:
    file = trained(run, "--cell", cell)
    found, params = traced(run, "--weights", file, "--cell", cell), files.read_trained(Path(file)).params
    wanted = {name.removeprefix("rnn."): value for name, value in params.items() if name.startswith("rnn.")}
    assert {name: value.tolist() for name, value in wanted.items()} == {
        name: values for name, values in found[""]["arrays"].items() if "weight" in name or "bias" in name
    }
    assert arrays(found[""])["x"].shape == (T, 1)
    again = json.loads(json.dumps(traced(run, "--weights", file, "--cell", cell, "--backend", "jax")))
    assert again["jax"]["arrays"] == found["jax"]["arrays"]


BESIDE = "none with FILE"


@pytest.mark.parametrize(
    ("words", "argument", "expected", "got", "cause"),
    [
        (["none.npz"], "--weights", "a file of weights of PyTorch", "none.npz (No such file", ""),
        (["none.pt"], "--weights", "a file of weights of PyTorch", "none.pt (No such file", ""),
        (["rnn.npz", "--input-size", "2"], "--input-size", BESIDE, "2", "the file decides it"),
        (["rnn.npz", "--hidden-size", "3"], "--hidden-size", BESIDE, "3", "the file decides it"),
        (["rnn.npz", "--no-bias"], "--no-bias", BESIDE, "False", "the file decides it"),
        (["rnn.npz", "--cell", "LSTM"], "model in rnn.npz", "a layer of LSTM", "RNN", ""),
    ],
)
@pytest.mark.parametrize("verb", ["trace", "stepper"])
def test_weights_that_cannot_be_used(
    verb: str, words: list[str], argument: str, expected: str, got: str, cause: str, run: Run
) -> None:
    weights: dict[str, Any] = initial_parameters(ModelSpec(cell="RNN", input_size=2, hidden_size=3), 0)
    np.savez("rnn.npz", **weights)
    code, out, err = run(verb, "--weights", *words)
    assert (code, out) == (2, "")
    assert_refusal(err.rstrip("\n"), f"rosetta: {argument}", expected, got, cause)


def test_notes_on_the_weights_go_to_stderr(run: Run) -> None:
    torch.save({"state": torch.ones(2)} | torch.nn.ModuleDict({"net": torch.nn.RNN(2, 3)}).state_dict(), "own.pt")
    words = ["trace", "--weights", "own.pt", "--backend", "numpy", "--no-finite-differences"]
    code, out, err = run(*words)
    assert code == 0
    assert "own.pt" not in out
    assert [line.partition(":")[0].partition(" ")[0] for line in err.splitlines() if line[0] != " "] == ["own.pt"] * 2
    assert "using net, leaving out state" in err
    assert "does not record the nonlinearity; assuming tanh (use --nonlinearity relu otherwise)" in " ".join(
        err.split()
    )
    assert run(*words, "--nonlinearity", "relu")[2].count("\n") == 1


def test_the_file_that_the_readme_writes_is_refused_with_what_can_be_taken(run: Run) -> None:
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "proj_size": 8, "batch_first": True}
    torch.save(torch.nn.LSTM(10, 20, **options).state_dict(), "lstm.pt")
    for verb in ("trace", "stepper"):
        code, out, err = run(verb, "--weights", "lstm.pt", "--cell", "LSTM")
        assert (code, out) == (2, "")
        expected, got = "one layer of LSTM in one direction, without a projection", "LSTM 2 layers bidirectional proj"
        assert_refusal(err.rstrip("\n"), "rosetta: model in lstm.pt", expected, got)


@pytest.mark.parametrize(
    ("made", "asked", "got"),
    [
        ([], "LSTM", "RNN"),
        (["--cell", "LSTMCell"], "RNN", "LSTMCell"),
        (["--num-layers", "2"], "RNN", "RNN 2 layers"),
        (["--bidirectional"], "RNN", "RNN bidirectional"),
    ],
)
def test_trained_networks_that_cannot_be_traced(made: list[str], asked: str, got: str, run: Run) -> None:
    file = trained(run, *made)
    code, out, err = run("trace", "--weights", file, "--cell", asked)
    assert (code, out) == (2, "")
    expected = f"one layer of {asked} in one direction" if "RNN " in got else f"a layer of {asked}"
    assert_refusal(err.rstrip("\n"), f"rosetta: model in {file}, rnn", expected, got)

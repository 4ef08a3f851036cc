"""``rosetta trace`` and ``stepper`` on one layer and direction of a user's file, on the user's inputs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.model.spec import ModelSpec
from common.tracing import backends, examples, finite_differences
from common.tracing.backends import everything
from common.tracing.shown import shown
from tests.cli.commands import Run
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here
from tests.refusals import assert_refusal
from tests.weights.choice.models import H, I, inputs, network

QUICK = ["--backend", "numpy", "--no-finite-differences", "--json", "--all"]


def saved() -> str:
    torch.save(network().state_dict(), "model.pt")
    return "model.pt"


def traced(run: Run, *words: str) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of the example and of NumPy's trace, and what was said on stderr."""
    code, out, err = run("trace", saved(), "--nonlinearity", "tanh", *QUICK, *words)
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    arrays = {name: value for row in rows if row["kind"] == "trace" for name, value in row["arrays"].items()}
    return {name: np.array(value) for name, value in arrays.items()}, err


def torch_runs(x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What the second layer of the encoder reads and gives, by torch's own modules, for a batch."""
    model = network()["encoder"]
    lower = torch.nn.LSTM(I, H, bidirectional=True)
    lower.load_state_dict({name: value for name, value in model.state_dict().items() if "_l0" in name})
    return lower.double()(x.double())[0].detach().numpy(), model.double()(x.double())[0].detach().numpy()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("direction", ["l1", "l1_reverse"])
def test_a_direction_of_an_upper_layer_on_inputs_of_the_network_or_of_the_layer(
    direction: str, batch_first: bool, run: Run
) -> None:
    x = inputs()
    below, y = torch_runs(x)
    wanted = y[::-1, 1, H:] if direction.endswith("reverse") else y[:, 1, :H]
    order = slice(None, None, -1) if direction.endswith("reverse") else slice(None)
    for name, array in (("x.npy", x.numpy()), ("below.npy", below.astype("float32"))):
        np.save(name, array.swapaxes(0, 1) if batch_first else array)
    chosen = ["--layer", f"encoder:{direction}", "--sequence", "2", *(["--batch-first"] if batch_first else [])]
    found, err = traced(run, "--inputs", "x.npy", *chosen)
    np.testing.assert_allclose(found["x"], below[order, 1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["h"], wanted, rtol=0, atol=1e-12)
    assert np.ptp(found["h"]) > 0.1
    assert f"layer 0 was run on the inputs, from zero states, to make those of {direction}\n" in err
    assert ("step 1 is the last input" in err) is direction.endswith("reverse")
    found, err = traced(run, "--inputs", "below.npy", *chosen)
    np.testing.assert_allclose(found["h"], wanted, rtol=0, atol=1e-6)
    assert f"the inputs are taken as those of {direction}, whose width they have\n" in err


def test_the_first_steps_of_one_sequence_and_of_a_stack(run: Run) -> None:
    x = inputs(width=2 * H)[:, 0]
    np.savez("x.npz", x=x.numpy(), other=np.ones(3, "float32"))
    found, err = traced(run, "--layer", "lower+upper:l1", "--inputs", "x.npz", "--steps", "4")
    model = network().double()
    y, _ = model["upper"](model["lower"](x.double())[0])
    np.testing.assert_allclose(found["h"], y.detach().numpy()[:4], rtol=0, atol=1e-12)
    assert "layer 0 was run" in err
    found, _ = traced(run, "--layer", "lower", "--inputs", "x.npz")
    np.testing.assert_allclose(found["h"], model["lower"](x.double())[0].detach().numpy(), rtol=0, atol=1e-12)
    assert not found["h_0"].any()


def test_where_two_widths_are_one_the_user_decides(run: Run) -> None:
    torch.manual_seed(5)
    model = torch.nn.GRU(H, H, num_layers=2)
    torch.save(model.state_dict(), "gru.pt")
    x = inputs(width=H)[:, 0]
    np.save("x.npy", x.numpy())
    words = ["trace", "gru.pt", "--cell", "GRU", "--layer", ".:l1", "--inputs", "x.npy", *QUICK]
    upper = torch.nn.GRU(H, H)
    upper.load_state_dict({name.replace("_l1", "_l0"): v for name, v in model.state_dict().items() if "_l1" in name})
    for of, wanted in ((None, model), ("network", model), ("layer", upper)):
        code, out, _ = run(*words, *(["--inputs-of", of] if of else []))
        assert code == 0
        h = np.array(json.loads(out.splitlines()[2])["arrays"]["h"])
        np.testing.assert_allclose(h, wanted.double()(x.double())[0].detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "argument", "expected", "got"),
    [
        ("model.pt", "recurrent layers in model.pt", "one", "encoder (LSTM"),
        ("model.pt --layer encoder", "model in model.pt, encoder", "one direction", "encoder:l1_reverse"),
        ("model.pt --layer encoder:l1 --inputs odd.npy", "width of the inputs", "4, that of the network or 10", "7"),
        ("model.pt --layer encoder:l0 --inputs odd.npy", "width of the inputs", "4, that of the network", "7"),
        ("model.pt --layer encoder:l1 --inputs x.npy --inputs-of layer", "width of the inputs", "10, that of l1", "4"),
        ("model.pt --layer encoder:l0 --inputs x.npy --sequence 4", "--sequence", "at most 3", "4"),
        ("model.pt --layer encoder:l0 --inputs x.npy --steps 9", "--steps", "at most 6", "9"),
        ("model.pt --layer encoder:l0 --inputs none.npy", "--inputs", "an .npy or .npz file", "none.npy (No such"),
        ("model.pt --layer encoder:l0 --inputs model.pt", "--inputs", "an .npy or .npz file", "model.pt ("),
        ("model.pt --weights model.pt", "--weights", "none with FILE", "model.pt"),
        ("--layer encoder", "--layer", "none without FILE", "encoder"),
        ("--inputs x.npy", "--inputs", "none without FILE", "x.npy"),
    ],
)
@pytest.mark.parametrize("verb", ["trace", "stepper"])
def test_what_does_not_go_together(verb: str, words: str, argument: str, expected: str, got: str, run: Run) -> None:
    saved()
    np.save("x.npy", inputs().numpy())
    np.save("odd.npy", inputs(width=7).numpy())
    code, out, err = run(verb, *words.split())
    assert (code, out) == (2, "")
    assert_refusal(err.splitlines()[-1], f"rosetta: {argument}", expected, got)


def test_a_long_trace_is_refused_before_it_fills_the_memory(run: Run) -> None:
    torch.save(torch.nn.LSTM(64, 256).state_dict(), "large.pt")
    code, out, err = run("trace", "large.pt", "--steps", "2000")
    assert (code, out) == (2, "")
    assert_refusal(err.rstrip("\n"), "rosetta: steps to trace", "at most ", "2000", "--steps takes the first")
    np.save("x.npy", np.ones((30, 64), "float32"))
    code, _, err = run("stepper", "large.pt", "--inputs", "x.npy")
    assert code == 2
    assert_refusal(err.splitlines()[-1], "rosetta: steps of --inputs", "at most 20", "30", "--steps takes the first")


def test_the_output_is_bounded_and_says_what_is_left_out(run: Run) -> None:
    words = [
        "trace",
        "--cell",
        "LSTM",
        "--hidden-size",
        "40",
        "--input-size",
        "9",
        "--steps",
        "8",
        "--backend",
        "numpy",
    ]
    words += ["--no-finite-differences"]
    code, out, err = run(*words)
    assert code == 0
    left = "It shows 4 of 40 hidden units, 3 of 9 features of x, 5 of 8 steps; --all shows everything, "
    assert err == f"{left}--units and --features choose others\n"
    assert len(out) < 60_000
    assert max(map(len, out.splitlines())) <= 80
    titles = re.findall(r"^step (\d) of 8", out, re.MULTILINE)
    assert titles == ["1", "2", "3", "4", "5", "5", "4", "3", "2", "1"]
    code, every, err = run(*words, "--all")
    assert (code, err) == (0, "")
    assert len(every) > 20 * len(out)
    code, short, _ = run(*words, "--json", "--units", "40,2", "--features", "9")
    code, whole, _ = run(*words, "--json", "--all")
    assert len(whole) > 20 * len(short)
    (some, own), (_, full) = ([json.loads(row) for row in text.splitlines()[1:3]] for text in (short, whole))
    assert own["shown"] == {"units": [40, 2], "features": [9], "steps": [1, 2, 3, 4, 5]}
    gates = [gate * 40 + unit for gate in range(4) for unit in (39, 1)]
    wanted = np.array(full["arrays"]["dweight_hh"])[:5][:, gates][:, :, [39, 1]]
    assert np.array_equal(own["arrays"]["dweight_hh"], wanted)
    assert np.array_equal(own["arrays"]["dx"], np.array(full["arrays"]["dx"])[:5, [8]])
    assert {line["t"] for line in own["lines"]} == {1, 2, 3, 4, 5}
    assert np.array(some["arrays"]["weight_ih_l0"]).shape == (8, 1)


def test_what_is_left_out_is_said_before_anything_is_computed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backends, "everything", stop)
    _, out, err = run("trace", "--hidden-size", "9", "--backend", "numpy", "--no-finite-differences")
    assert out == ""
    assert err.startswith("It shows 4 of 9 hidden units; --all shows everything")


def test_finite_differences_are_those_of_what_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rest they are not computed; where they take long, they are left out with a word, unless asked for."""
    words = ["trace", "--hidden-size", "6", "--input-size", "5", "--steps", "2", "--backend", "numpy", "--json"]
    code, out, _ = run(*words)
    assert code == 0
    found = {row["backend"]: row["arrays"] for row in map(json.loads, out.splitlines()) if row["kind"] == "trace"}
    differences = found["finite differences"]
    for name in ("dweight_ih", "dweight_hh", "dx", "dh"):
        np.testing.assert_allclose(differences[name], found["numpy"][name], rtol=0, atol=1e-8)
    monkeypatch.setattr(finite_differences, "seconds", lambda *_: 100.0)
    code, out, err = run(*words)
    assert code == 0
    assert "finite differences" not in out
    assert err.splitlines()[1].startswith("Finite differences are left out, as they would take about 100 seconds; ")
    code, out, err = run(*words, "--finite-differences")
    assert code == 0
    assert "finite differences" in out
    assert "Finite differences take about 100 seconds" in err
    assert "finite differences: 2 of 2 in " in err


def test_differences_of_some_features_are_those_of_all() -> None:
    example = examples.example(ModelSpec(cell="GRU", input_size=4, hidden_size=3), steps=2, seed=0)
    (some,) = everything(example, (), (0, 2), (1,)).values()
    (every,) = everything(example, ()).values()
    part = shown(example, (0, 2), (1,), everything=False)
    for name, array in every.arrays.items():
        assert np.array_equal(part.of(name, some.arrays[name]), part.of(name, array)), name
    assert np.isnan(some.arrays["dx"][:, [0, 2, 3]]).all()
    counted = sum(np.isfinite(array[0]).sum() for array in some.arrays.values())
    assert finite_differences.forward_steps(example, (0, 2), (1,)) == 2 * 4 * counted


def test_the_page_of_a_direction_of_a_file(run: Run) -> None:
    np.save("x.npy", inputs(steps=2).numpy())
    words = ["--layer", "encoder:l1_reverse", "--inputs", "x.npy", "--units", "5,1", "--features", "10"]
    code, out, err = run("stepper", saved(), *words, "--out", "page.html")
    assert (code, out) == (0, "Stepper: page.html\n")
    assert "It shows 2 of 5 hidden units and 1 of 10 features of x; --units and --features choose others" in err
    text = Path("page.html").read_text("utf-8")
    (embedded,) = re.findall(r"<script[^>]*application/json[^>]*>(.*?)</script>", text, re.DOTALL)
    data: dict[str, Any] = json.loads(embedded)
    assert data["sizes"] == {"steps": 2, "inputs": 10, "units": 5}
    assert data["shown"] == {"units": [5, 1], "inputs": [10]}
    assert "model.pt, encoder:l1_reverse" in text
    assert "The inputs are those of <code>x.npy</code>, the targets are random" in text

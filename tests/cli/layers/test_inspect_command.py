"""``rosetta inspect`` as a user meets it: what is in a file, at 80 columns, as JSON, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.cli import main
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from tests.cli.commands import Run
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here
from tests.refusals import assert_refusal
from tests.weights.choice.models import network


def saved(changes: dict[str, Any] | None = None, name: str = "model.pt") -> str:
    """The file of a whole model; None takes an array out."""
    arrays = network().state_dict() | (changes or {})
    torch.save({key: value for key, value in arrays.items() if value is not None}, name)
    return name


def rows(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]


def test_every_layer_with_what_it_is(run: Run) -> None:
    code, out, err = run("inspect", saved())
    assert (code, err) == (0, "")
    assert out.startswith("model.pt: PyTorch's state_dict, 33 arrays, 1,468 values\n")
    assert rows(out) == [
        ["encoder", "LSTM", "4", "5", "2 × 2", "two", "float32"],
        ["lower", "RNN", "10", "3", "1", "two", "float32"],
        ["upper", "RNN", "3", "3", "1", "two", "float32"],
        ["wide", "RNN", "10", "3", "1", "none", "float32"],
        ["step", "GRUCell", "3", "6", "1", "two", "float32"],
    ]
    flat = " ".join(out.split())
    assert "as torch.nn.LSTM (encoder): gates i, f, g, o one below another; matrices weight_ih (4H, I)" in flat
    assert "as torch.nn.RNN (wide): matrices weight_ih (H, I) and weight_hh (H, H); no bias." in flat
    assert "not recurrent: 3 arrays, 42 values: embedding.weight, head.weight, head.bias" in flat
    assert "note: lower, upper, wide: model.pt does not record the nonlinearity; assuming tanh" in flat
    assert "hint: by their sizes, lower, upper may stand above one another; --layer lower+upper takes" in flat
    commands = [line.strip() for line in out.splitlines() if line.startswith("  rosetta")]
    assert commands == [
        "rosetta check model.pt --layer encoder",
        "rosetta describe model.pt --layer encoder",
        "rosetta trace model.pt --layer encoder:l1_reverse",
        "rosetta convert model.pt --layer encoder --to FORMAT --out OUT",
    ]
    assert run("describe", *commands[1].split()[2:])[0] == 0


def test_what_the_user_knows_is_no_longer_assumed(run: Run) -> None:
    torch.save(torch.nn.GRU(3, 5).state_dict(), "gru.pt")
    assert run("inspect", "gru.pt")[1].count("note:") == 2
    code, out, _ = run("inspect", "gru.pt", "--cell", "LSTM1997")
    assert (code, out.count("note:"), rows(out)[0][1]) == (0, 0, "LSTM1997")
    assert "as LSTM1997 of RNN Rosetta: gates i, g, o" in out
    code, out, _ = run("inspect", "gru.pt", "--cell", "LSTM")
    assert code == 0
    assert "cannot be used: .: model in gru.pt: expected a layer of LSTM, got GRU" in out


def test_one_layer_with_its_arrays(run: Run) -> None:
    code, out, _ = run("inspect", saved(), "--layer", "encoder:l1_reverse")
    assert code == 0
    assert ["encoder:l1_reverse", "LSTM", "10", "5", "1", "two", "float32"] in rows(out)
    assert ["l0", "bias_hh", "encoder.bias_hh_l1_reverse", "(20,)"] in rows(out)
    assert "rosetta trace model.pt --layer encoder:l1_reverse\n" in out
    code, out, err = run("inspect", "model.pt", "--layer", "encodr")
    assert (code, out) == (2, "")
    assert_refusal(err.rstrip("\n"), "rosetta: layer in model.pt", "encoder (LSTM", "'encodr'", "did you mean encoder?")


def test_what_cannot_be_used_and_what_is_not_recognised(run: Run) -> None:
    changes: dict[str, Any] = {"wide.weight_hh_l0": torch.ones(2, 3), "step.weight_hh": None}
    code, out, _ = run("inspect", saved(changes))
    assert code == 0
    assert ["wide", "RNN", "", "", "", "", ""] in rows(out)
    flat = " ".join(out.split())
    assert "cannot be used: wide: wide.weight_hh_l0: expected (H, H) of torch.nn.RNN" in flat
    assert "which fit no layout that is known: step.weight_ih, step.bias_ih, step.bias_hh note:" in flat
    only = {name: None for name in network().state_dict() if not name.startswith("wide")}
    code, out, _ = run("inspect", saved(changes | only))
    assert code == 0
    assert "rosetta" not in out


def test_a_file_without_a_recurrent_layer_is_read_and_that_is_said(run: Run) -> None:
    torch.save(torch.nn.Linear(3, 5).state_dict(), "linear.pt")
    code, out, err = run("inspect", "linear.pt")
    assert (code, err) == (0, "")
    assert "No recurrent layer was found.\nnot recurrent: 2 arrays, 20 values: weight, bias\n" in out
    assert run("inspect", "linear.pt", "--json")[0] == 0
    for name, got in (("none.pt", "No such file"), (".", "")):
        code, out, err = run("inspect", name)
        assert (code, out) == (2, "")
        assert_refusal(err.rstrip("\n"), "rosetta: FILE", "a file of weights", f"{name} ({got}")


def test_json_is_one_object_with_every_name(run: Run) -> None:
    code, out, _ = run("inspect", saved(), "--json")
    assert (code, out.count("\n")) == (0, 1)
    found = json.loads(out)
    assert list(found) == [
        "file",
        "format",
        "arrays",
        "values",
        "layers",
        "others",
        "optimiser",
        "random",
        "unrecognised",
        "candidates",
        "skipped",
        "stacks",
        "pairs",
    ] + ["notes"]
    model = network()
    assert found["arrays"] == len(model.state_dict())
    assert found["values"] == sum(value.numel() for value in model.state_dict().values())
    layer = found["layers"][0]
    wanted = {"path": "encoder", "cell": "LSTM", "input_size": 4, "hidden_size": 5, "output_size": 10, "num_layers": 2}
    wanted |= {"directions": 2, "proj_size": 0, "biases": "two", "dtype": "float32", "layout": "torch LSTM"}
    assert wanted.items() <= layer.items()
    assert layer["arrays"]["_l1_reverse"]["weight_ih"] == "encoder.weight_ih_l1_reverse"
    assert found["others"] == {"count": 3, "values": 42, "names": ["embedding.weight", "head.weight", "head.bias"]}
    assert found["stacks"] == [["lower", "upper"]]
    assert found["layers"][-1]["options"] == {"reset_after": True}


def test_the_network_of_a_training_run_needs_no_assumption(run: Run) -> None:
    words = ["--epochs", "1", "--hidden-size", "3", "--set", "window=4", "--set", "points_per_period=10", "--out", "."]
    _, out, _ = run("train", "sine", "--cell", "RNN", "--nonlinearity", "relu", "--json", *words)
    file = next(row["saved"] for row in map(json.loads, out.splitlines()) if row["kind"] == "training")
    found = json.loads(run("inspect", file, "--json")[1])
    (layer,) = found["layers"]
    assert (layer["path"], layer["options"], layer["notes"]) == ("rnn", {"nonlinearity": "relu"}, [])
    assert found["others"]["names"] == ["readout.weight", "readout.bias"]


@pytest.mark.parametrize("count", [3, 200])
def test_many_layers_and_long_names_stay_readable(
    count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On a terminal of 80 columns, of which only what is to be typed may need more; a few dozen lines, however many."""
    params = initial_parameters(ModelSpec(cell="LSTM", input_size=4, hidden_size=5, proj_size=2, dtype="float32"), 0)
    prefix = "model.encoder.conformer_blocks.recurrent_part"
    arrays: dict[str, Any] = {f"{prefix}.{k}.{name}": value for k in range(count) for name, value in params.items()}
    arrays |= {f"backbone.block.{k}.\x1b[31mconvolution.weight": np.ones(2) for k in range(count)}
    monkeypatch.chdir(tmp_path)
    np.savez("long.npz", **arrays)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["inspect", "long.npz"]) == 0
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "\\x1b[31mconvolution" in out
    assert "\x1b" not in out
    lines = [line for line in out.splitlines() if not line.startswith("  rosetta") and prefix not in line]
    assert max(map(len, lines)) == 80
    assert len(lines) < (40 if count == 3 else 240)
    assert ("160 more; --json has all of them" in out) is (count == 200)


def test_the_table_fits_80_columns_where_there_is_no_terminal(run: Run) -> None:
    path = "model.encoder.conformer_blocks.recurrent_part_with_a_long_name.0"
    torch.save({f"{path}.{name}": value for name, value in torch.nn.LSTM(3, 5).state_dict().items()}, "long.pt")
    _, out, _ = run("inspect", "long.pt")
    assert max(len(line) for line in out.splitlines() if line[:1] in "│┃┏└") == 80
    assert "".join(row[0] for row in rows(out)) == path


def test_two_layers_of_equal_sizes_may_be_two_directions(run: Run) -> None:
    """Of one module, and not where there are three; what the hint says is a layer."""
    parts = {name: torch.nn.LSTM(3, 5) for name in ("a.fw", "a.bw", "b.1", "b.2", "b.3")}
    torch.save({f"{at}.{name}": v for at, part in parts.items() for name, v in part.state_dict().items()}, "two.pt")
    _, out, _ = run("inspect", "two.pt")
    assert " ".join(out.split()).count("have equal sizes") == 1
    assert "one layer, --layer a.fw,a.bw takes them as one" in " ".join(out.split())
    assert json.loads(run("inspect", "two.pt", "--json")[1])["pairs"] == [["a.fw", "a.bw"]]
    _, out, _ = run("inspect", "two.pt", "--layer", "a.fw,a.bw")
    assert ["a.fw,a.bw", "LSTM", "3", "5", "1 × 2", "two", "float32"] in rows(out)
    assert "rosetta check two.pt --layer a.fw,a.bw" in out


def test_the_states_of_an_optimiser_and_of_random_generators_are_called_so(run: Run) -> None:
    layer = initial_parameters(ModelSpec(cell="LSTM", input_size=3, hidden_size=5), 0)
    arrays: dict[str, Any] = {f"params.rnn.{name}": value for name, value in layer.items()}
    arrays |= {f"opt_state.0.{of}.rnn.{name}": value for of in ("mu", "nu") for name, value in layer.items()}
    arrays |= {"opt_state.0.count": np.array(3), "rnn.rngs.count.value": np.array(1), "rnn.rngs.key.value": np.ones(2)}
    np.savez("state.npz", **arrays)
    _, out, _ = run("inspect", "state.npz")
    assert [row[0] for row in rows(out)] == ["params.rnn"]
    assert "not recognised" not in out
    flat = " ".join(out.split())
    assert "an optimiser's state: 9 arrays, 401 values: opt_state.0.mu.rnn.weight_ih_l0" in flat
    assert "random states: 2 arrays, 3 values: rnn.rngs.count.value, rnn.rngs.key.value" in flat


def test_help_needs_no_framework_and_says_what_0_means(run: Run) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", "--help"])
    assert caught.value.code == 0
    assert not list(Path().iterdir())

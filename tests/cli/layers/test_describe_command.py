"""``rosetta describe`` as a user meets it: what it prints, as text and as JSON, and what it refuses."""

import json
import re

import pytest
import torch

from common.cli import main
from common.model.cells import CELLS
from tests.cli.commands import Run
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here
from tests.model.described import Case
from tests.refusals import assert_refusal
from tests.weights.choice.models import network


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rnn --hidden-size 3", "--input-size: expected a size, as RNN needs it, got none"),
        ("lstmcell --input-size 3", "--hidden-size: expected a size, as LSTMCell needs it, got none"),
        ("rnn --input-size 2 --hidden-size 3 --dropout 2", "dropout: expected a probability in [0, 1], got 2"),
        ("rnncell --input-size 2 --hidden-size 3 --seq-len 4", "seq_len: expected none for RNNCell, which is one step"),
        ("lstmcell --input-size 2 --hidden-size 3 --batch-first", "batch_first: expected False for LSTMCell"),
        ("rnn --input-size 2 --hidden-size 3 --unbatched --batch 4", "batch: expected none for an unbatched input"),
        ("rnn --input-size 2 --hidden-size 3 --proj-size 1", "proj_size: expected 0 for RNN"),
    ],
)
def test_the_command_refuses(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", *arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"rosetta: {message}")
    assert captured.out == ""


def show(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["describe", *arguments.split()]) == 0
    return capsys.readouterr().out


def test_six_matrices_of_a_rnn_of_three_layers(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("rnn --input-size 2 --hidden-size 3 --num-layers 3 --no-bias", capsys)
    rows = re.findall(r"│ ((?:weight|bias)_\w+) +│ (\([\d, ]+\)) +│ +(\d+) │", out)
    own = [("weight_ih_l0", "(3, 2)", "6"), ("weight_hh_l0", "(3, 3)", "9")]
    above = [(f"weight_{of}_l{k}", "(3, 3)", "9") for k in (1, 2) for of in ("ih", "hh")]
    assert rows == own + above
    assert re.search(r"│ total +│ +│ +51 │", out)
    assert out.startswith("torch.nn.RNN(2, 3, num_layers=3, bias=False)\n")
    assert "  x_t of layer k > 0 is h_t of layer k-1\n" in out


def test_shapes_of_a_lstm_of_two_layers(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("lstm --input-size 10 --hidden-size 20 --num-layers 2 --seq-len 5 --batch 3", capsys)
    for name, shape in (("output", "(5, 3, 20)"), ("h_n", "(2, 3, 20)"), ("c_n", "(2, 3, 20)")):
        assert re.search(rf"│ {name} +│ {re.escape(shape)} +│", out)
    assert "i_t = sigmoid(a_t[0:20])" in out
    assert "output[-1] == h_n[-1]" in out


def test_letters_and_a_shape_of_one_axis_are_written_as_python_does(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("rnncell --input-size 10 --hidden-size 20 --unbatched", capsys)
    assert "(10,)" in out
    assert "h_n" not in out
    assert "equal" not in out
    assert "(B, T, 10)" in show("rnn --input-size 10 --hidden-size 20 --batch-first", capsys)


@pytest.mark.parametrize("cell", [*map(str.lower, CELLS), "gru --no-reset-after", "grucell --no-reset-after"])
def test_the_text_fits_100_columns_and_its_tables_80(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = " --num-layers 2 --bidirectional --dropout 0.5 --batch-first --seq-len 100 --batch 64"
    options += " --proj-size 32" if cell == "lstm" else ""
    if "reset" in cell:
        options = options.replace(" --batch-first", "")  # the constructor is one line
    out = show(f"{cell} --input-size 10 --hidden-size 64{'' if 'cell' in cell else options}", capsys)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    assert max(len(line.rstrip()) for line in out.splitlines() if line[:1] in "│┃") <= 80


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = show("lstm --input-size 2 --hidden-size 5 --num-layers 2 --seq-len 6 --json", capsys)
    assert out.count("\n") == 1
    record = json.loads(out)
    assert list(record) == ["cell", "constructor", "parameters", "total", "equations", "shapes", "relations", "notes"]
    assert record["cell"] == "LSTM"
    found = Case("LSTM", {"num_layers": 2}).describe(steps=6)
    assert record["parameters"][0] == {"name": "weight_ih_l0", "shape": [20, 2], "count": 40} | {
        "role": found.parameters[0].role
    }
    assert record["total"] == found.total
    assert record["shapes"]["output"] == [6, "B", 5]
    first = found.relations[0]
    assert record["relations"][0] == {"left": "output[-1]", "right": "h_n[-1]", "text": first.text}
    assert record["equations"] == found.equations
    assert record["notes"] == found.notes


def test_a_layer_of_a_file_decides_the_model(run: Run) -> None:
    torch.save(network().state_dict(), "model.pt")
    code, out, err = run("describe", "model.pt", "--layer", "encoder", "--seq-len", "7")
    assert (code, err) == (0, "")
    assert out.startswith("encoder in model.pt: PyTorch's state_dict, float32, LSTM 2 layers bidirectional, 4 -> 10\n")
    assert "torch.nn.LSTM(4, 5, num_layers=2, bidirectional=True)\n" in out
    assert re.search(r"│ l1_reverse │ bias_hh +│ encoder.bias_hh_l1_reverse +│ \(20,\) +│", out)
    assert re.search(r"│ output +│ \(7, B, 10\) +│", out)
    code, out, err = run("describe", "model.pt", "--layer", "encoder:l1_reverse", "--json")
    found = json.loads(out)
    assert found["constructor"] == "torch.nn.LSTM(10, 5)"
    assert (found["file"], found["layer"]["path"]) == ("model.pt", "encoder:l1_reverse")
    assert "x_1 is the last input" in run("describe", "model.pt", "--layer", "encoder:l1_reverse")[1]
    code, out, err = run("describe", "model.pt", "--layer", "upper", "--nonlinearity", "relu")
    assert (code, err) == (0, "")
    assert "h_t = relu(" in out
    assert "does not record the nonlinearity" in run("describe", "model.pt", "--layer", "upper")[2]


@pytest.mark.parametrize(
    ("words", "argument", "expected", "got", "cause"),
    [
        ("model.pt --hidden-size 3", "--hidden-size", "none with FILE", "3", "the file decides it"),
        ("model.pt --no-bias", "--no-bias", "none with FILE", "False", "the file decides it"),
        ("model.pt", "recurrent layers in model.pt", "one", "encoder (LSTM", "--layer"),
        ("none.pt", "FILE", "a file of weights", "none.pt (No such file", ""),
        ("modl", "CELL|FILE", "one of RNN, ", "'modl'", "there is no such file"),
        ("rnn --layer encoder", "--layer", "none with RNN", "encoder", "it is for a file of weights"),
        ("rnn --cell RNN", "--cell", "none with RNN", "RNN", "it is for a file of weights"),
    ],
)
def test_what_goes_with_a_file_and_what_with_a_cell(
    words: str, argument: str, expected: str, got: str, cause: str, run: Run
) -> None:
    torch.save(network().state_dict(), "model.pt")
    code, out, err = run("describe", *words.split())
    assert (code, out) == (2, "")
    assert_refusal(err.rstrip("\n"), f"rosetta: {argument}", expected, got, cause)

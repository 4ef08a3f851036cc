"""`rosetta check` on drawn configurations and on one model: what it compares, prints, refuses, reproduces."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from common.cli import main
from common.equivalence import reproduce
from common.equivalence.variants import Variant, drawn, problem
from common.model.cells import LAYERS
from tests.refusals import assert_refusal

PAIR = ["--backend", "numpy", "--backend", "torch"]
MODEL = shlex.split(
    "--cell LSTM --dtype float64 --input-size 2 --hidden-size 5 --num-layers 2 --bidirectional --proj-size 3"
)
WRONG_TURN = """
from dataclasses import replace
from numpy_impl import stack
from numpy_impl.backend import NumpyBackend

class Wrong(NumpyBackend):
    name = "wrong"

    @staticmethod
    def _forward(spec, params, x, state0, lengths=None, masks=None, mask=None):
        y, state, tape = stack.forward(spec, params, x, state0, lengths, masks, mask)
        return (y, state, tape) if lengths is None or not spec.bidirectional else (y * 1.001, state, tape)

BACKEND = Wrong()
"""


def checks(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict]:
    assert main(["check", *arguments, "--jobs", "1", "--json"]) == code
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [record for record in found if record["kind"] == "check"]


def test_configs_are_those_that_the_seed_draws(capsys: pytest.CaptureFixture[str]) -> None:
    rows = checks(capsys, *PAIR, "--configs", "6", "--cell", "RNN", "--cell", "LSTM", "--seed", "3")
    expected = drawn(6, ["RNN", "LSTM"], ["float64", "float32"], 3)
    assert list(dict.fromkeys(str(row["problem"]) for row in rows)) == [str(v.data) for v in expected]
    assert all(row["drawn"] for row in rows)
    assert {row["check"] for row in rows} == {"complex step", "forward", "gradient"}
    of_one = {str(row["problem"]): row["options"] for row in rows}
    assert [tuple(options) for options in of_one.values()] == [v.options for v in expected]


def test_the_tables_show_how_much_was_covered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *PAIR, "--configs", "8", "--dtype", "float64", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "Coverage of 8 configurations" in out
    (line,) = [line for line in out.splitlines() if line.startswith("│ all")]
    assert line.count("8: ") == 2


def test_one_model_is_checked_alone_with_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*PAIR, *MODEL, "--steps", "4", "--batch", "3", "--lengths", "4,1,2", "--dropout", "0.5"]
    rows = checks(capsys, *arguments, "--regime", "saturated", "--seed", "9")
    assert {row["variant"] for row in rows} == {"LSTM 2 layers bidirectional proj_size 3 dropout 0.5 lengths saturated"}
    assert not any(row["drawn"] for row in rows)
    assert {"dweight_hr_l1_reverse", "dx", "dc_0"} <= {row["quantity"] for row in rows}
    (again,) = {reproduce.arguments(row["problem"]) for row in rows}
    assert checks(capsys, *PAIR, *shlex.split(again)) == rows


DROPS = ["--dropout", "0.5"]
TWO = [
    ([], ["--no-state"]),
    ([], DROPS),
    (DROPS, [*DROPS, "--eval"]),
    ([], ["--regime", "huge"]),
    ([], ["--seed", "1"]),
]


@pytest.mark.parametrize(("plain", "other"), [*TWO, (["--steps", "9"], ["--lengths", "9,3,1,5,2"])], ids=str)
def test_every_option_reaches_the_problem(plain: list[str], other: list[str], capsys: Any) -> None:
    """By the size of the output, which every option changes."""
    sizes = []
    for more in (plain, other):
        rows = checks(capsys, *PAIR, *MODEL, *more)
        sizes.append([row["scale"] for row in rows if row["quantity"] == "y" and row["b"] == "torch"])
    assert len(sizes[0]) == len(sizes[1]) == 1
    assert sizes[0] != sizes[1]


def test_one_model_is_checked_in_every_dtype_and_cell_that_has_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *PAIR, "--num-layers", "2", "--lengths", "2,9,1,4,5", "--jobs", "1", "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    seen = {(row["cell"], row["dtype"]) for row in rows if row["kind"] == "check"}
    assert seen == {(cell, dtype) for cell in LAYERS for dtype in ("float64", "float32")}
    assert "RNNCell is left out: num_layers: expected 1 for RNNCell" in captured.err


def test_only_plain_models_of_one_layer_are_trained(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--regime", "saturated"], ["--lengths", "2,9,1,4,5"], ["--num-layers", "2", "--dropout", "0.5"]):
        rows = checks(capsys, *PAIR, "--cell", "LSTM", "--dtype", "float32", "--no-state", *more)
        assert ("training" in {row["check"] for row in rows}) == (not more)


def test_models_of_other_sizes_have_a_loss_and_are_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    """There training amplifies rounding beyond every bound: an RNN of 128 units under RMSprop in 20 updates."""
    arguments = [*PAIR, "--cell", "RNN", "--dtype", "float32", "--no-state"]
    for more in (["--hidden-size", "128"], ["--steps", "10"], ["--batch", "6"], ["--input-size", "4"]):
        assert {row["check"] for row in checks(capsys, *arguments, *more)} >= {"loss"}
        assert "training" not in {row["check"] for row in checks(capsys, *arguments, *more)}


def test_what_no_comparison_could_have_seen_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """All inputs zero: so is the gradient of every weight that meets them, in a right and in an empty backend alike."""
    arguments = ["check", *PAIR, "--cell", "RNN", "--dtype", "float64", "--jobs", "1"]
    assert main([*arguments, "--regime", "zero"]) == 1
    out = capsys.readouterr().out
    assert "0 failed, 0 undecided, 4 of an exact zero." in out
    assert "NOT SEEN numpy, RNN float64, gradient: dweight_ih" in out
    assert "NOT SEEN torch, RNN float64, gradient: dweight_ih" in out
    assert "That is a failure" in out
    assert main([*arguments, "--regime", "plain"]) == 0
    assert "NOT SEEN" not in capsys.readouterr().out


def test_a_cell_without_the_options_is_left_out_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--cell", "LSTMCell", "--dtype", "bfloat16", "--jobs", "1"]
    assert main([*arguments, "--configs", "4"]) == 0
    assert "numpy was not compared with any other backend, as it supports none of these" in capsys.readouterr().err
    assert main([*arguments, "--steps", "2"]) == 0
    assert "numpy is left out: it does not support bfloat16" in capsys.readouterr().err


def test_backends_that_cannot_are_named_and_left_out_unless_they_were_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["check", *MODEL, "--steps", "2", "--batch", "2", "--jobs", "1"]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert "flax is left out: it does not support proj_size" in captured.err
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert {row["a"] for row in rows if row["kind"] == "check"} == {"numpy", "jax", "torch", "torch.nn"}
    assert main([*arguments, "--backend", "numpy", "--backend", "flax"]) == 2
    assert "options for backend flax: expected none but" in capsys.readouterr().err


def test_a_backend_in_no_comparison_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", *PAIR, "--backend", "one-bias", "--configs", "4", "--cell", "LSTM", "--dtype", "float64"]
    assert main([*arguments, "--jobs", "1"]) == 1
    assert "one-bias was not compared with any other backend, so the check fails." in capsys.readouterr().err


def test_a_failure_is_printed_as_the_smallest_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong_turn.py").write_text(WRONG_TURN)
    pair = ["--backend", "numpy", "--backend", "wrong_turn:BACKEND"]
    arguments = ["check", *pair, "--configs", "8", "--cell", "LSTM", "--dtype", "float64", "--seed", "6", "--jobs", "1"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    command = next(
        line.partition("smallest that fails: rosetta ")[2] for line in out.splitlines() if "smallest" in line
    )
    words = shlex.split(command)
    assert "--bidirectional" in words
    sizes = {words[i + 1] for i, word in enumerate(words) if word in ("--steps", "--batch", "--lengths")}
    assert sizes == {"1"}
    assert not {"--num-layers", "--proj-size", "--dropout", "--regime"} & set(words)
    assert main([*words, "--jobs", "1"]) == 1
    assert "FAILED" in capsys.readouterr().out


WRONG = [
    (["--configs", "0"], "--configs", "at least 1", "0"),
    (["--configs", "3", "--bidirectional"], "--configs", "no option of one model", "bidirectional"),
    (["--lengths", "1,x"], "--lengths", "integers with commas between them", "'1,x'"),
    (["--batch", "2", "--lengths", "1,2,3"], "lengths", "2, one for each sequence", "3"),
    (["--batch", "2", "--steps", "3", "--lengths", "1,4"], "lengths", "0 to 3 steps", "4 at index 1"),
    (["--steps", "0"], "--steps", "at least 1", "0"),
    (["--cell", "RNN", "--proj-size", "2"], "proj_size", "0 for RNN", "2"),
    (["--dropout", "2"], "dropout", "a probability in [0, 1]", "2.0"),
    (["--dtype", "bfloat16"], "dtype for backend numpy", "one of", "bfloat16"),
]


@pytest.mark.parametrize(("arguments", "argument", "expected", "got"), WRONG)
def test_wrong_options_exit_with_2(
    arguments: list[str], argument: str, expected: str, got: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["check", *PAIR, *arguments, "--jobs", "1"])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert_refusal(capsys.readouterr().err.splitlines()[0], f"rosetta: {argument}", expected, got)


def test_float16_is_compared_and_relu_in_its_outputs_only(capsys: pytest.CaptureFixture[str]) -> None:
    rows = checks(capsys, *PAIR, "--cell", "RNN", "--nonlinearity", "relu", "--dtype", "float16")
    assert {row["check"] for row in rows} == {"forward"}
    rows = checks(capsys, *PAIR, "--cell", "LSTM", "--steps", "5", "--dtype", "float16")
    assert {row["check"] for row in rows} == {"complex step", "forward", "gradient"}
    assert problem(Variant(spec=drawn(1, ["LSTM"], ["float16"], 0)[0].spec)).x.dtype == "float16"

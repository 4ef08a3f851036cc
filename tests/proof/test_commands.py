"""`rosetta check FILE` and `rosetta tolerance`: what they print, record, repeat and refuse."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import records
from common.cli import main
from common.equivalence.reproduce import row_command
from common.study import certificate
from common.weights import peers
from tests.proof.models import H, I, Made, made
from tests.refusals import assert_refusal

PAIR = ["--backend", "numpy", "--backend", "torch"]
WRONG = """
from numpy_impl.backend import NumpyBackend
from numpy_impl import stack

class Wrong(NumpyBackend):
    name = "wrong"

    @staticmethod
    def _forward(spec, params, x, state0, lengths=None, masks=None, mask=None):
        y, state, tape = stack.forward(spec, params, x, state0, lengths, masks, mask)
        y = y.copy()
        y[3:] *= 1.01
        return y, state, tape

BACKEND = Wrong()
"""


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A file, x.npy and outputs.npz in the folder in which the commands run; no library but the backends takes part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers, "owner", lambda _: "")
    file = made(tmp_path, num_layers=2)
    np.save("x.npy", file.x)
    np.savez("outputs.npz", **file.outputs)  # pyright: ignore
    return file


def checks(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[Any]:
    assert main(["check", *words, "--json"]) == code
    Path("records.jsonl").write_text(capsys.readouterr().out)
    return [record for record in records.read(Path("records.jsonl")) if record["kind"] == "check"]


def test_records_are_whole_and_say_what_was_checked(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    rows = checks(capsys, str(file.path), *PAIR, "--inputs", "x.npy", "--expect", "outputs.npz")
    assert {row["verdict"] for row in rows} == {"passed"}
    assert {row["dtype"] for row in rows} == {"float32", "float64"}
    assert {side for row in rows for side in (row["a"], row["b"])} == {
        "numpy",
        "torch",
        "exact",
        "complex step",
        "expected",
    }
    (sha,) = {row["file"]["sha256"] for row in rows}
    assert len(sha) == 64
    assert {row["file"]["inputs"] for row in rows} == {"x.npy"}
    assert len({row["file"]["fingerprint"] for row in rows}) == 3, "two dtypes, and the one that starts from zeros"


@pytest.mark.parametrize(
    "more", [["--inputs", "x.npy"], ["--steps", "4", "--batch", "2", "--seed", "3"], ["--lengths", "2,6,1"]]
)
def test_the_command_of_a_record_repeats_it(more: list[str], file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    rows = checks(capsys, str(file.path), *PAIR, *more, "--dtype", "float32", "--layer", "rnn")
    row = next(row for row in rows if (row["quantity"], row["a"], row["b"]) == ("dx", "numpy", "torch"))
    words = shlex.split(row_command(row))
    assert words[:3] == ["rosetta", "check", str(file.path)]
    again = checks(capsys, *words[2:])
    assert row in again


def test_a_failure_is_diagnosed_within_80_columns(
    file: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("wrong_outputs.py").write_text(WRONG)
    words = ["check", str(file.path), "--backend", "wrong_outputs:BACKEND", "--backend", "torch", "--inputs", "x.npy"]
    assert main([*words, "--dtype", "float32"]) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 88, "but for the command, whose words are not broken, and the table"
    assert "FAILED float32 outputs, y: wrong_outputs:BACKEND against exact" in out
    assert "The outputs depart at step 3; steps 0 to 2 agree." in out
    assert "Layer by layer: layer 0 departs, at step 3." in out
    assert "<- the bound" in out
    assert "again: rosetta check" in out
    assert "│ float32 │ torch " in out
    last = out[out.index("Not equivalent") :]
    assert "wrong_outputs:BACKEND in y" in " ".join(last.split())
    assert "Compared: y, h_n and c_n; 8 gradients of parameters, dx, dh_0 and dc_0" in " ".join(last.split())


def test_a_wrong_recording_exits_with_1_and_its_cause(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    y = file.outputs["y"].copy()
    np.save("wrong.npy", y[::-1])
    words = ["check", str(file.path), "--backend", "numpy", "--dtype", "float32", "--inputs", "x.npy"]
    assert main([*words, "--expect", "wrong.npy", "--certificate", "proof.html"]) == 1
    cause = "What would explain it: y runs backwards in time."
    assert cause in capsys.readouterr().out
    found = certificate.read(Path("proof.json"))
    assert cause in [failure["cause"] for failure in found["failures"]]
    assert [given["label"] for given in found["inputs"]] == ["float32", "float32, from zeros"]
    assert ["initial states of zeros" in given["origin"] for given in found["inputs"]] == [False, True]


def test_recorded_axes_and_dtypes(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """The batch first; one sequence; float32 results that were saved as float64; states that were recorded."""
    words = [str(file.path), "--backend", "numpy"]
    np.save("xb.npy", file.x.swapaxes(0, 1))
    np.save("yb.npy", file.outputs["y"].swapaxes(0, 1))
    rows = checks(capsys, *words, "--inputs", "xb.npy", "--expect", "yb.npy", "--batch-first")
    assert "expected" in {row["a"] for row in rows}
    np.save("x1.npy", file.x[:, 0])
    np.save("y1.npy", file.outputs["y"][:, 0])
    checks(capsys, *words, "--inputs", "x1.npy", "--expect", "y1.npy")
    np.save("y64.npy", file.outputs["y"].astype("float64"))
    rows = checks(capsys, *words, "--inputs", "x.npy", "--expect", "y64.npy")
    assert {row["dtype"] for row in rows if "expected" in (row["a"], row["b"])} == {"float32"}
    h, c = torch.randn(2, 2, 3, H)
    with torch.no_grad():
        y, (h_n, c_n) = file.module(torch.tensor(file.x), (h, c))
    np.savez("xs.npz", x=file.x, h_0=h.numpy(), c_0=c.numpy())
    np.savez("ys.npz", y=y.numpy(), h_n=h_n.numpy(), c_n=c_n.numpy())
    rows = checks(capsys, *words, "--inputs", "xs.npz", "--expect", "ys.npz")
    assert {row["problem"]["given_state"] for row in rows} == {True}
    assert {"y", "h_n", "c_n"} == {row["quantity"] for row in rows if row["a"] == "expected"}
    checks(capsys, *words, "--inputs", "xs.npz", "--expect", "outputs.npz", code=1)


def test_one_step_of_a_cell(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    cell = torch.nn.GRUCell(I, H)
    torch.save(cell.state_dict(), "cell.pt")
    x = torch.randn(5, I)
    np.save("x0.npy", x.numpy())
    np.save("y0.npy", cell(x).detach().numpy())
    rows = checks(capsys, "cell.pt", *PAIR, "--inputs", "x0.npy", "--expect", "y0.npy")
    assert {row["problem"]["steps"] for row in rows} == {1}
    assert {row["cell"] for row in rows} == {"GRUCell"}


def test_what_the_file_leaves_open_is_said_or_asked(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    module = torch.nn.RNN(I, H, nonlinearity="relu")
    torch.save(module.state_dict(), "relu.pt")
    np.save("yr.npy", module(torch.tensor(file.x))[0].detach().numpy())
    words = ["check", "relu.pt", "--backend", "numpy", "--inputs", "x.npy", "--expect", "yr.npy"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "does not record the nonlinearity; assuming tanh" in " ".join(captured.err.split())
    assert "the nonlinearity is relu: --nonlinearity relu" in captured.out
    assert main([*words, "--nonlinearity", "relu"]) == 0
    assert "does not record" not in capsys.readouterr().err


REFUSED = [
    (["--expect", "outputs.npz"], "--expect", "the inputs that it was recorded on with it", "no --inputs"),
    (["--inputs", "x.npy", "--steps", "3"], "--steps", "7, as in x.npy", "3"),
    (["--inputs", "outputs.npz"], "arrays in outputs.npz", "x and h_0 and c_0", "y, h_n, c_n"),
    (["--inputs", "x.npy", "--expect", "yb.npy"], "y in yb.npy", "(7, 3, 6)", "(3, 7, 6)"),
    (["--inputs", "x.npy", "--batch-first", "--expect", "outputs.npz"], "h_n in outputs.npz", "(2, 7, 6)", "(2, 3, 6)"),
    (["--inputs", "ints.npy"], "the array in ints.npy", "one of float64", "int64"),
    (["--inputs", "wide.npy"], "x in wide.npy", "(T, B, I), or (T, I), one sequence, with I = 4", "shape (7, 3, 5)"),
    (["--inputs", "nan.npy"], "the array in nan.npy", "finite values", "nan at index (0, 1, 2)"),
    (["--inputs", "none.npy"], "--inputs", "an .npy or .npz file", "none.npy (No such file"),
    (["--inputs", "LSTM.pt"], "--inputs", "an .npy or .npz file", "LSTM.pt"),
    (["--inputs", "x.npy", "--expect", "last.npy"], "y in last.npy", "(7, 3, 6)", "(3, 6)"),
    (["--hidden-size", "7"], "--hidden-size", "6, as in", "7"),
    (["--dropout", "0.5"], "--dropout", "0.0, as in", "0.5"),
    (["--no-bias"], "--no-bias", "True, as in", "False"),
    (["--cell", "GRU"], "LSTM.pt", "GRU", "LSTM"),
    (["--configs", "3"], "--configs", "none with FILE", "3"),
    (["--regime", "huge"], "--regime", "none with FILE", "--regime"),
    (["--eval"], "--eval", "none with FILE", "--eval"),
    (["--layer", "decoder"], "layer in", "one of", "'decoder'"),
    (["--lengths", "2,3", "--batch", "3"], "lengths", "(3,)", "(2,)"),
    (["--mask", "01,0"], "mask", "words of 2 letters", "'0'"),
    (["--backend", "expected"], "the name of a backend", "another than expected", "'expected'"),
]


@pytest.mark.parametrize(("words", "argument", "expected", "got"), REFUSED, ids=lambda words: str(words)[:40])
def test_bad_input_exits_with_2(
    words: list[str], argument: str, expected: str, got: str, file: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("ints.npy", np.ones((7, 3), int))
    np.save("wide.npy", np.ones((7, 3, 5)))
    np.save("last.npy", np.ones((3, H), "f4"))
    np.save("yb.npy", file.outputs["y"].swapaxes(0, 1))
    wrong = file.x.copy()
    wrong[0, 1, 2] = np.nan
    np.save("nan.npy", wrong)
    assert main(["check", "LSTM.pt", *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("rosetta: ")
    assert argument in line.partition(": expected ")[0]
    assert_refusal(line, line.partition(": expected ")[0], expected, got)


@pytest.mark.parametrize(
    "option", [["--inputs", "x.npy"], ["--layer", "rnn"], ["--batch-first"], ["--expect", "y.npy"]]
)
def test_options_of_a_file_need_one(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *option]) == 2
    assert "expected none without FILE" in capsys.readouterr().err


def test_the_file_may_stand_after_the_options(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    rows = checks(
        capsys, "--backend", "numpy", "--dtype", "float32", "--steps", "3", "--batch", "2", "--json", str(file.path)
    )
    assert {row["file"]["path"] for row in rows} == {str(file.path)}


def test_a_library_that_cannot_be_asked_is_named_with_its_extra(
    file: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = peers.Entry("not_installed_at_all:PEER", "keras", ("not_installed_at_all",))
    monkeypatch.setattr(peers, "owner", lambda _: "library")
    monkeypatch.setitem(peers.PEERS, "library", entry)
    assert main(["check", str(file.path), "--backend", "numpy", "--dtype", "float32", "--steps", "2"]) == 0
    error = " ".join(capsys.readouterr().err.split())
    assert "library is not asked: library needs not_installed_at_all, which is not installed" in error
    assert "pip install -e '.[keras]'" in error


def test_tolerances_of_a_file_and_of_a_model(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tolerance", str(file.path), "--inputs", "x.npy"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "Tolerances in float32 for T=7, B=3" in out
    for line in (
        "torch.testing.assert_close(dweight_hh_l1, ",
        "np.testing.assert_allclose(y, ",
        "assert h_n == pytest.approx(",
    ):
        assert line in out
    assert main([*words, "--for", "numpy", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["quantity"] for one in found][:3] == ["y", "h_n", "c_n"]
    assert all("torch" not in one and one["numpy"]["line"] in out for one in found)
    assert main(["tolerance", "--cell", "GRU", "--hidden-size", "5", "--dtype", "float16", "--for", "pytest"]) == 0
    out = capsys.readouterr().out
    assert "Tolerances in float16 for T=9, B=5" in out
    assert "import torch" not in out
    assert main(["tolerance", "--layer", "rnn"]) == 2

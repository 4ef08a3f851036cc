"""Files in which no one layer can be found are refused: other models, other weights, other files."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.model.cells import TABLE
from common.model.spec import ModelSpec
from common.weights import files
from tests.refusals import assert_refusal
from tests.weights.layers import refused, spec_of, written


@pytest.mark.parametrize("file", ["own.npz", "own.pt"])
@pytest.mark.parametrize(
    ("spec", "asked", "got"),
    [
        (spec_of("RNN"), "LSTM", "RNN"),
        (spec_of("LSTM"), "RNN", "LSTM"),
        (spec_of("LSTMCell"), "RNN", "LSTMCell"),
        (spec_of("GRU"), "LSTM", "GRU"),
        (spec_of("GRUCell"), "RNN", "GRUCell"),
        (spec_of("LSTM"), "GRU", "LSTM"),
        (spec_of("LSTM"), "LSTM1997", "LSTM"),
        (spec_of("RNN"), "LSTM1997", "RNN"),
        (spec_of("GRU", num_layers=2), None, "GRU 2 layers"),
        (spec_of("RNN", num_layers=2), "RNN", "RNN 2 layers"),
        (spec_of("RNN", bidirectional=True), None, "RNN bidirectional"),
        (spec_of("LSTM", proj_size=2), None, "LSTM proj_size 2"),
        # What the README saves.
        (spec_of("LSTM", num_layers=2, bidirectional=True, proj_size=2), None, "LSTM 2 layers bidirectional proj_size"),
    ],
)
def test_another_model(spec: ModelSpec, asked: str | None, got: str, file: str, tmp_path: Path) -> None:
    """The refusal says what can be taken, and what the file holds."""
    written(tmp_path / file, spec)
    expected = f"one layer{f' of {asked}' if asked else ''} in one direction, without a projection"
    if asked and TABLE[asked].layer != spec.kind.layer:
        expected = f"a layer of {asked}"
    assert_refusal(refused(tmp_path / file, asked), "model in FILE", expected, got)


@pytest.mark.parametrize(
    ("changes", "argument", "expected", "got"),
    [
        ({"bias_hh_l0": None}, "parameters of torch.nn.RNN, l0", "bias_hh", "missing bias_hh"),
        ({"bias_ih_l0": None}, "parameters of torch.nn.RNN, l0", "bias_ih", "missing bias_ih"),
        ({"weight_hr_l0": np.ones((2, 5))}, "parameters of torch.nn.RNN, l0", "bias_hh", "extra weight_hr"),
        ({"weight_hr_l0": np.ones(5)}, "parameters of torch.nn.RNN, l0", "weight_hh", "extra weight_hr"),
        ({"weight_hh_l7": np.ones((5, 5))}, "parameters of torch.nn.RNN, l7", "weight_ih", "missing weight_ih"),
        ({"weight_ih_l0": np.full((5, 4), np.nan)}, "weight_ih_l0", "finite values", "nan at index (0, 0)"),
        ({"weight_ih_l0": np.ones((6, 4))}, "weight_ih_l0", "(H, I) of torch.nn.RNN with H=5", "(6, 4)"),
        ({"weight_hh_l0": np.ones((7, 5))}, "weight_hh_l0", "(H, H) of torch.nn.RNN", "(7, 5)"),
        ({"weight_hh_l0": np.ones((0, 0))}, "weight_hh_l0", "(H, H)", "(0, 0)"),
        ({"weight_ih_l0": np.ones((5, 0))}, "weight_ih_l0", "(H, I)", "(5, 0)"),
        ({"weight_ih_l0": np.ones(4)}, "weight_ih_l0", "(H, I)", "(4,); an axis too"),
    ],
)
def test_weights_that_fit_no_model(
    changes: dict[str, Any], argument: str, expected: str, got: str, tmp_path: Path
) -> None:
    written(tmp_path / "own.npz", spec_of("RNN"), **changes)
    assert_refusal(refused(tmp_path / "own.npz"), f"weights in FILE: {argument}", expected, got)


@pytest.mark.parametrize(
    ("changes", "argument", "expected", "got"),
    [
        ({"weight_hh_l0": np.ones((16, 5))}, "weight_hh_l0", "", "(16, 5)"),
        ({"weight_hh_l0": np.ones((10, 5))}, "weight_hh_l0", "", "(10, 5)"),
        ({"weight_ih_l0": np.ones((16, 4))}, "weight_ih_l0", "(3H, I) of torch.nn.GRU with H=5", "(16, 4)"),
        ({"weight_ih_l0": np.ones((4, 15))}, "weight_ih_l0", "(3H, I) of torch.nn.GRU", "(4, 15); transposed?"),
        ({"bias_hh_l0": np.ones(5)}, "bias_hh_l0", "(3H,) of torch.nn.GRU with H=5", "(5,)"),
        ({"bias_hh_l0": None}, "parameters of torch.nn.GRU, l0", "bias_hh", "missing bias_hh"),
        # As a projection would have them.
        ({"weight_hh_l0": np.ones((15, 2))}, "weight_hh_l0", "", "(15, 2)"),
        (
            {"weight_hh_l0": np.ones((15, 2)), "weight_hr_l0": np.ones((2, 5))},
            "parameters of torch.nn.GRU, l0",
            "",
            "extra weight_hr; it has a projection",
        ),
        ({"weight_hr_l0": np.ones((2, 7))}, "parameters of torch.nn.RNN, l0", "", "extra weight_hr"),
        ({"weight_hh_l0": np.full((15, 5), np.inf)}, "weight_hh_l0", "finite values", "inf at index (0, 0)"),
    ],
)
def test_damaged_weights_of_a_gru(
    changes: dict[str, Any], argument: str, expected: str, got: str, tmp_path: Path
) -> None:
    written(tmp_path / "own.npz", spec_of("GRU"), **changes)
    assert_refusal(refused(tmp_path / "own.npz"), f"weights in FILE: {argument}", expected, got)


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    written(tmp_path / "whole.pt", spec_of("RNN"))
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-40])
    (tmp_path / "text.npz").write_text("weights")
    (tmp_path / "empty.npz").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"weight": torch.ones(2, 2).to_sparse()}, tmp_path / "sparse.pt")
    (tmp_path / "hello.pt").write_text("hello")
    np.save(tmp_path / "single.npy", np.ones(3))
    expected = files.EXPECTED
    for name, reason in (
        ("no-such.npz", "No such file or directory"),
        ("no-such.pt", "No such file or directory"),
        ("", "a directory that is no checkpoint"),
        ("text.npz", "in none of the known formats"),
        ("empty.npz", "empty"),
        ("single.npy", "a single array"),
        ("cut.pt", "no end record at its end"),
        ("hello.pt", "in none of the known formats"),
        ("list.pt", "no arrays can be read from it (0: a value (int); 1: a value (int)); load it where it was made"),
        ("sparse.pt", "no arrays can be read from it (weight: a sparse tensor); load it where it was made"),
    ):
        assert_refusal(refused(tmp_path / name), "weights", expected, f"FILE ({reason}")


def test_arrays_that_are_no_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz")
    np.savez(tmp_path / "words.npz", weight_ih_l0=np.array([["a"]]), weight_hh_l0=np.ones((1, 1)))
    np.savez(tmp_path / "complex.npz", weight_ih_l0=np.ones((1, 1)), weight_hh_l0=1j * np.ones((1, 1)))
    assert_refusal(refused(tmp_path / "none.npz"), "recurrent layers in FILE", "one", "nothing")
    for name, argument, got in (("words.npz", "weight_ih_l0", "str32"), ("complex.npz", "weight_hh_l0", "complex128")):
        assert_refusal(refused(tmp_path / name), f"weights in FILE: {argument}", "float", got)


def test_a_part_of_a_layer_is_none(tmp_path: Path) -> None:
    written(tmp_path / "own.npz", spec_of("RNN"), weight_hh_l0=None)
    got = "none among 3 arrays: weight_ih_l0, bias_ih_l0, bias_hh_l0"
    assert_refusal(refused(tmp_path / "own.npz"), "recurrent layers in FILE", "one", got)


@pytest.mark.parametrize("source", ["raise ModuleNotFoundError(\"No module named 'torch'\")", "raise OSError('CUDA')"])
def test_files_of_pytorch_are_read_without_it(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = torch.nn.RNN(4, 5).state_dict()
    torch.save(wanted, tmp_path / "own.pt")
    (tmp_path / "torch.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    params = files.read(tmp_path / "own.pt").params
    assert {name: value.tolist() for name, value in params.items()} == {k: v.tolist() for k, v in wanted.items()}

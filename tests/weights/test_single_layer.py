"""The one layer in a file of weights: which model it is, in which dtype, and what is noted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import datasets
from common.backend import registry
from common.errors import InvalidInput
from common.model.initial import initial_network, initial_parameters
from common.tracing import backends, examples
from common.weights import files
from common.weights.layer import single_layer
from tests.refusals import assert_refusal
from tests.weights.layers import ABOUT, read, refused, spec_of, written


@pytest.mark.parametrize("file", ["own.npz", "own.pt", "own.pth", "own.bin"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cell", "asked"),
    [
        ("RNN", "RNN"),
        ("LSTM", "LSTM"),
        ("GRU", "GRU"),
        ("LSTM1997", "LSTM1997"),
        ("RNNCell", "RNN"),
        ("LSTM", "LSTMCell"),
        ("GRUCell", None),
        ("LSTM1997Cell", "LSTM1997"),
        ("LSTM1997", "LSTM1997Cell"),
    ],
)
def test_the_shapes_decide_the_model(cell: str, asked: str | None, bias: bool, file: str, tmp_path: Path) -> None:
    spec = spec_of(cell, bias=bias)
    wanted = written(tmp_path / file, spec)
    found, params = read(tmp_path / file, asked)
    assert found == spec
    assert params.keys() == wanted.keys()
    for name, value in wanted.items():
        assert params[name].dtype == np.dtype("float64")
        assert np.array_equal(params[name], value)


@pytest.mark.parametrize("file", ["own.npz", "own.pt"])
def test_weights_in_float64_keep_every_digit(file: str, tmp_path: Path) -> None:
    wanted = initial_parameters(spec_of("LSTM"), 6)
    arrays: dict[str, Any] = wanted
    if file == "own.npz":
        np.savez(tmp_path / file, **arrays)
    else:
        torch.save({name: torch.tensor(value) for name, value in wanted.items()}, tmp_path / file)
    _, params = read(tmp_path / file, "LSTM")
    assert params.keys() == wanted.keys()
    for name, value in wanted.items():
        assert params[name].dtype == np.dtype("float64")
        assert np.array_equal(params[name], value)
        assert not np.array_equal(value, value.astype("float32"))


def test_every_dtype_that_float64_holds_is_widened_and_no_other(tmp_path: Path) -> None:
    params = initial_parameters(spec_of("LSTM"), 6)
    for dtype in (torch.bfloat16, torch.float16):
        narrow = {name: torch.tensor(value).to(dtype) for name, value in params.items()}
        torch.save(narrow, tmp_path / "own.pt")
        _, found = read(tmp_path / "own.pt", "LSTM")
        assert all(np.array_equal(found[name], value.double().numpy()) for name, value in narrow.items())
        assert {value.dtype for value in found.values()} == {np.dtype("float64")}
    wide: dict[str, Any] = {name: value.astype("longdouble") for name, value in params.items()}
    np.savez(tmp_path / "own.npz", **wide)
    text = refused(tmp_path / "own.npz", "LSTM")
    assert_refusal(text, "weights in FILE: weight_ih_l0", "floating-point numbers", np.dtype("longdouble").name)


@pytest.mark.parametrize("cell", ["RNN", "LSTMCell", "GRU"])
def test_a_trace_of_torch_s_weights_is_torch_s_own(cell: str, tmp_path: Path) -> None:
    spec = spec_of(cell)
    written(tmp_path / "own.pt", spec)
    example = examples.example(*read(tmp_path / "own.pt", cell), steps=3, seed=1)
    assert example.x.shape == (3, 1, 4)
    y, _ = registry.load("torch.nn").forward(spec, example.params, example.x, example.state0)
    found = backends.everything(example)
    assert not [name for name in backends.TRACED if abs(found[name].arrays["h"] - y[:, 0]).max() > 1e-14]
    assert np.ptp(y) > 0.1


def test_the_nonlinearity_comes_from_the_caller_or_is_tanh_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    written(path, spec_of("RNN"))
    for given, notes in ((None, 1), ("tanh", 0), ("relu", 0)):
        layer = single_layer(files.read(path), "RNN", given)
        assert layer.spec == spec_of("RNN", nonlinearity=given or "tanh")
        assert len(layer.notes) == notes
    (note,) = single_layer(files.read(path)).notes
    assert note.startswith(f"{path} does not record the nonlinearity; assuming tanh")
    written(path, spec_of("LSTM"))
    assert single_layer(files.read(path)).notes == ()
    with pytest.raises(InvalidInput) as caught:
        read(path, "LSTM", "relu")
    assert_refusal(str(caught.value), f"weights in {path}: nonlinearity", "'tanh' for LSTM", "'relu'")


CELL_NOTE = "FILE does not record the cell; assuming {0} (use --cell {1} otherwise)"
RESET_NOTE = "FILE does not record reset_after; assuming that r acts after the product, as in torch.nn"


@pytest.mark.parametrize(
    ("written_cell", "asked", "reset_after", "found", "notes"),
    [
        ("GRU", None, None, "GRU", [CELL_NOTE.format("GRU", "LSTM1997"), RESET_NOTE]),
        ("LSTM1997", None, True, "GRU", [CELL_NOTE.format("GRU", "LSTM1997")]),
        ("GRUCell", None, False, "GRUCell", [CELL_NOTE.format("GRUCell", "LSTM1997Cell")]),
        ("GRU", "GRUCell", None, "GRU", [RESET_NOTE]),
        ("GRU", "GRU", False, "GRU", []),
        ("LSTM1997", "LSTM1997", None, "LSTM1997", []),
        ("LSTM1997Cell", "LSTM1997", None, "LSTM1997Cell", []),
    ],
)
def test_three_blocks_are_a_gru_s_unless_the_caller_says_otherwise(
    written_cell: str, asked: str | None, reset_after: bool | None, found: str, notes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "own.npz"
    written(path, spec_of(written_cell))
    layer = single_layer(files.read(path), asked, None, reset_after)
    options = {"reset_after": reset_after is not False} if "GRU" in found else {}
    assert layer.spec == spec_of(found, **options)
    assert len(layer.notes) == len(notes)
    for note, wanted in zip(layer.notes, notes, strict=True):
        assert note.replace(str(path), "FILE").startswith(wanted)
    if asked == "LSTM1997":
        with pytest.raises(InvalidInput, match=r"reset_after: expected True for LSTM1997.*, got False; only GRU"):
            read(path, asked, None, False)


def test_the_layer_of_a_larger_module_is_found_with_a_note(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.ModuleDict({"rnn": torch.nn.RNN(4, 5)}), torch.nn.Linear(5, 2))
    torch.save(network.state_dict(), tmp_path / "own.pt")
    spec, params, notes = single_layer(files.read(tmp_path / "own.pt"), None, "tanh")
    assert spec == spec_of("RNN")
    assert set(params) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert notes == (f"{tmp_path / 'own.pt'}: using 0.rnn, leaving out 1.weight, 1.bias",)
    twice = torch.nn.Sequential(torch.nn.RNN(4, 5), torch.nn.RNN(5, 5))
    torch.save(twice.state_dict(), tmp_path / "own.pt")
    got = "0 (RNN, 4 -> 5), 1 (RNN, 5 -> 5); choose one by its path: --layer PATH"
    assert_refusal(refused(tmp_path / "own.pt"), "recurrent layers in FILE", "one", got)


@pytest.mark.parametrize("name", ["own.npz", "own.pt", "own.weights", "own"])
def test_the_content_decides_the_format_not_the_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    module = torch.nn.RNN(4, 5)
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(module.state_dict(), path, **options)
        file = files.read(path)
        assert (file.format, file.network, file.about) == ("PyTorch's state_dict", None, {})
        assert len(file.notes) == len(options)
        for key, value in module.state_dict().items():
            assert np.array_equal(file.params[key], value.numpy())
    with path.open("wb") as stream:
        np.savez(stream, weight=np.arange(3.0))
    file = files.read(path)
    assert (file.format, file.network, file.about, file.notes) == ("NumPy's .npz", None, {}, ())
    assert file.params["weight"].tolist() == [0, 1, 2]
    network = datasets.load("sine").network("RNN", hidden_size=5)
    files.write_trained(path, network, initial_network(network, 0), ABOUT)
    file = files.read(path)
    assert (file.format, file.network, file.about["task"], file.notes) == ("rosetta train", network, "sine", ())


def test_what_was_trained_records_its_nonlinearity_and_is_no_decoder(tmp_path: Path) -> None:
    network = datasets.load("sine").network("RNN", hidden_size=5, nonlinearity="relu")
    path = tmp_path / "relu.npz"
    files.write_trained(path, network, initial_network(network, 0), ABOUT)
    for given in (None, "relu"):
        spec, params, notes = single_layer(files.read(path), "RNN", given)
        assert (spec, notes) == (network.model, ())
        assert set(params) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert_refusal(refused(path, "RNN", "tanh"), "nonlinearity", "relu, which FILE records", "tanh")
    assert_refusal(refused(path, "LSTM"), "model in FILE, rnn", "a layer of LSTM", "RNN relu")
    network = datasets.load("kana").network("LSTM", hidden_size=5)
    files.write_trained(path, network, initial_network(network, 0), ABOUT | {"task": "kana"})
    sizes = {name: model.input_size for name, model in network.models.items()}
    got = f"rnn (LSTM, {sizes['rnn']} -> 5), decoder (LSTM, {sizes['decoder']} -> 5)"
    assert_refusal(refused(path), "recurrent layers in FILE", "one", got)


@pytest.mark.parametrize(("cell", "reset_after"), [("GRU", False), ("GRU", True), ("LSTM1997", True)])
def test_what_was_trained_records_its_cell_and_its_form(cell: str, reset_after: bool, tmp_path: Path) -> None:
    network = datasets.load("sine").network(cell, hidden_size=5, reset_after=reset_after)
    path = tmp_path / "own.npz"
    files.write_trained(path, network, initial_network(network, 0), ABOUT)
    asked_for: list[Any] = [(), (cell,), (cell, None, reset_after)]
    for asked in asked_for:
        spec, _, notes = single_layer(files.read(path), *asked)
        assert (spec, notes) == (network.model, ())
    wrong = refused(path, cell, None, not reset_after)
    assert_refusal(wrong, "reset_after", f"{reset_after}, which FILE records", str(not reset_after))
    other = "GRU" if cell == "LSTM1997" else "LSTM1997"
    assert_refusal(refused(path, other), "model in FILE, rnn", f"a layer of {other}", cell)


def test_dropout_which_acts_in_training_only_is_left_out(tmp_path: Path) -> None:
    network = datasets.load("sine").network("GRU", hidden_size=5, input_dropout=0.2, recurrent_dropout=0.3)
    path = tmp_path / "dropped.npz"
    files.write_trained(path, network, initial_network(network, 0), ABOUT)
    spec, _, notes = single_layer(files.read(path), "GRU")
    assert (spec, notes) == (replace(network.model, input_dropout=0.0, recurrent_dropout=0.0), ())


def test_a_trained_network_in_float32_is_widened(tmp_path: Path) -> None:
    network = datasets.load("sine", None, "float32").network("LSTM", hidden_size=5)
    params = initial_network(network, 0)
    files.write_trained(tmp_path / "own.npz", network, params, ABOUT)
    spec, found = read(tmp_path / "own.npz")
    assert spec == network.model.with_dtype("float64")
    for name, value in found.items():
        assert value.dtype == np.dtype("float64")
        assert np.array_equal(value, params[f"rnn.{name}"])

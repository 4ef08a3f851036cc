"""Weights from files: the model that they are of, and what is no file of one layer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import datasets
from common.backend import registry
from common.errors import InvalidInput, InvalidType
from common.model.initial import initial_network, initial_parameters
from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.tracing import examples, trace
from common.weights.saved import save


def spec_of(cell: str, **options: Any) -> ModelSpec:
    return ModelSpec(**{"cell": cell, "input_size": 4, "hidden_size": 5} | options)


def written(file: Path, spec: ModelSpec, **changes: Any) -> Parameters:
    """Weights in a file of float32; of torch's own module, if that is what the name says."""
    params = initial_parameters(spec, 6)
    if file.suffix == ".npz":
        arrays: dict[str, Any] = {name: value.astype("float32") for name, value in params.items()} | changes
        np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    else:
        options = {"bias": spec.bias} | {name: getattr(spec, name) for name in spec.options}
        module = getattr(torch.nn, spec.cell)(spec.input_size, spec.hidden_size, **options)
        module.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in params.items()})
        torch.save(module.state_dict(), file)
    return {name: value.astype("float32").astype("float64") for name, value in params.items()}


@pytest.mark.parametrize("file", ["own.npz", "own.pt", "own.pth", "own.bin"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cell", "asked"),
    [("RNN", "RNN"), ("LSTM", "LSTM"), ("RNNCell", "RNNCell"), ("RNNCell", "RNN"), ("LSTM", "LSTMCell")],
)
def test_the_shapes_tell_the_model(cell: str, asked: str, bias: bool, file: str, tmp_path: Path) -> None:
    spec = spec_of(cell, bias=bias)
    wanted = written(tmp_path / file, spec)
    found, params = examples.read_weights(tmp_path / file, asked)
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
    _, params = examples.read_weights(tmp_path / file, "LSTM")
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
        _, found = examples.read_weights(tmp_path / "own.pt", "LSTM")
        assert all(np.array_equal(found[name], value.double().numpy()) for name, value in narrow.items())
        assert {value.dtype for value in found.values()} == {np.dtype("float64")}
    wide: dict[str, Any] = {name: value.astype("longdouble") for name, value in params.items()}
    np.savez(tmp_path / "own.npz", **wide)
    with pytest.raises(
        InvalidType, match=r"weight_ih_l0: expected float64 for LSTM\(hidden_size=5\), got (float|longd)"
    ):
        examples.read_weights(tmp_path / "own.npz", "LSTM")


@pytest.mark.parametrize("cell", ["RNN", "LSTMCell"])
def test_a_trace_of_torch_s_weights_is_torch_s_own(cell: str, tmp_path: Path) -> None:
    spec = spec_of(cell)
    written(tmp_path / "own.pt", spec)
    example = examples.example(*examples.read_weights(tmp_path / "own.pt", cell), steps=3, seed=1)
    assert example.x.shape == (3, 1, 4)
    y, _ = registry.load("torch.nn").forward(spec, example.params, example.x, example.state0)
    found = trace.everything(example)
    assert not [name for name in trace.TRACED if abs(found[name].arrays["h"] - y[:, 0]).max() > 1e-14]
    assert np.ptp(y) > 0.1


def test_a_nonlinearity_can_be_told(tmp_path: Path) -> None:
    written(tmp_path / "own.npz", spec_of("RNN"))
    assert examples.read_weights(tmp_path / "own.npz", "RNN", "relu")[0] == spec_of("RNN", nonlinearity="relu")
    written(tmp_path / "own.npz", spec_of("LSTM"))
    with pytest.raises(InvalidInput, match="nonlinearity: expected 'tanh' for LSTM, got 'relu'"):
        examples.read_weights(tmp_path / "own.npz", "LSTM", "relu")


@pytest.mark.parametrize("file", ["own.npz", "own.pt"])
@pytest.mark.parametrize(
    ("spec", "asked", "message"),
    [
        (spec_of("RNN"), "LSTM", r"weight_hh_l0 for LSTM: expected \(20, 5\), got \(5, 5\); an RNN's\?"),
        (spec_of("LSTM"), "RNN", r"weight_hh_l0 for RNN: expected \(5, 5\), got \(20, 5\); an LSTM's\?"),
        (spec_of("LSTMCell"), "RNN", r"weight_hh for RNNCell: expected \(5, 5\), got \(20, 5\); an LSTM's\?"),
        (spec_of("RNN", num_layers=2), "RNN", r"expected weight_ih_l0, .* got extra .*; a model with num_layers=2\?"),
        (spec_of("RNN", bidirectional=True), "RNN", r"got extra .*_reverse; a model with bidirectional=True\?"),
    ],
)
def test_another_model(spec: ModelSpec, asked: str, message: str, file: str, tmp_path: Path) -> None:
    written(tmp_path / file, spec)
    with pytest.raises(InvalidInput, match=message):
        trace.require_example(examples.example(*examples.read_weights(tmp_path / file, asked), steps=2, seed=0))


def test_a_gru_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.GRU(4, 5).state_dict(), tmp_path / "gru.pt")
    with pytest.raises(InvalidInput, match=r"weight_hh_l0 for RNN: expected \(5, 5\), got \(15, 5\); a GRU's\?"):
        examples.read_weights(tmp_path / "gru.pt", "RNN")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias_hh_l0": None}, "got missing bias_hh_l0"),
        ({"bias_ih_l0": None}, "got extra bias_hh_l0"),
        ({"weight_hr_l0": np.ones((2, 5))}, "got extra weight_hr_l0"),
        ({"weight_ih_l0": np.full((5, 4), np.nan)}, r"weight_ih_l0: expected finite values, got nan at index \(0, 0\)"),
        ({"weight_ih_l0": np.ones((6, 4))}, r"weight_ih_l0: expected \(5, 4\) for RNN.*, got \(6, 4\)"),
        (
            {"weight_ih_l0": np.ones(4)},
            r"weights in .*: names: expected weight_ih_l0, weight_hh_l0, matrices, got weight_ih_l0 \(4,\), ",
        ),
        (
            {"weight_hh_l0": None},
            r"names: expected weight_ih_l0, weight_hh_l0, matrices, got weight_ih_l0 \(5, 4\), bias",
        ),
    ],
)
def test_weights_that_fit_no_model(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    written(tmp_path / "own.npz", spec_of("RNN"), **changes)
    with pytest.raises(InvalidInput, match=message):
        trace.require_example(examples.example(*examples.read_weights(tmp_path / "own.npz", "RNN"), steps=2, seed=0))


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    written(tmp_path / "whole.pt", spec_of("RNN"))
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-40])
    (tmp_path / "text.npz").write_text("weights")
    (tmp_path / "empty.npz").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": torch.nn.RNN(2, 3).state_dict()}, tmp_path / "nested.pt")
    torch.save(torch.nn.RNN(2, 3), tmp_path / "module.pt")
    torch.save({1: torch.ones(2)}, tmp_path / "number.pt")
    (tmp_path / "hello.pt").write_text("hello")
    np.savez(tmp_path / "none.npz")
    np.save(tmp_path / "single.npy", np.ones(3))
    np.savez(tmp_path / "words.npz", weight_ih_l0=np.array([["a"]]), weight_hh_l0=np.ones((1, 1)))
    np.savez(tmp_path / "complex.npz", weight_ih_l0=np.ones((1, 1)), weight_hh_l0=1j * np.ones((1, 1)))
    for name, message in (
        (
            "no-such.npz",
            r"--weights: expected an .npz file, or torch's .*, got .*no-such.npz \(No such file or directory\)",
        ),
        ("text.npz", "--weights: expected an .npz file, or torch's .*, got .*text.npz"),
        ("single.npy", r"--weights: expected an .npz file, or torch's .*, got .*single.npy \(a single array\)"),
        ("words.npz", r"weights in .*words.npz: weight_ih_l0: expected float64 for RNN\(hidden_size=1\), got <U1"),
        (
            "complex.npz",
            r"weights in .*complex.npz: weight_hh_l0: expected float64 for RNN\(hidden_size=1\), got complex128",
        ),
        ("number.pt", "--weights: expected a state_dict, .* got .*number.pt with 1: Tensor"),
        ("hello.pt", "--weights: expected a state_dict, .* got .*hello.pt"),
        ("empty.npz", "--weights: expected an .npz file, or torch's .*, got .*empty.npz"),
        ("", r"--weights: expected an .npz file, or torch's .*\(Is a directory\)"),
        ("none.npz", "weights in .*none.npz: names: expected weight_ih_l0, weight_hh_l0, matrices, got nothing"),
        (
            "no-such.pt",
            r"expected a state_dict, .* that torch.save wrote, got .*no-such.pt \(No such file or directory\)",
        ),
        ("cut.pt", "--weights: expected a state_dict, .* that torch.save wrote, got .*cut.pt"),
        ("module.pt", "--weights: expected a state_dict, .* that torch.save wrote, got .*module.pt; a whole module"),
        ("list.pt", "--weights: expected a state_dict, .* got .*list.pt, which holds a list"),
        ("nested.pt", "--weights: expected a state_dict, .* got .*nested.pt with 'state_dict': OrderedDict"),
    ):
        with pytest.raises((InvalidInput, InvalidType), match=message) as error:
            examples.read_weights(tmp_path / name, "RNN")
        assert "\n" not in str(error.value)


def test_what_was_trained_tells_its_nonlinearity_and_is_no_decoder(tmp_path: Path) -> None:
    data = datasets.load("sine")
    network = data.network("RNN", hidden_size=5, nonlinearity="relu")
    about = {"task": "sine", "reading": "", "options": {}, "symbols": [], "output_symbols": [], "data": ""}
    save(tmp_path / "relu.npz", network, initial_network(network, 0), about)
    spec, params = examples.read_weights(tmp_path / "relu.npz", "RNN")
    assert spec == network.model
    assert set(params) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    with pytest.raises(InvalidInput, match=r"--nonlinearity: expected relu, as .*relu.npz tells it, got tanh"):
        examples.read_weights(tmp_path / "relu.npz", "RNN", "tanh")
    with pytest.raises(InvalidInput, match=r"model in .*: expected one layer of LSTM in one direction, got RNN relu"):
        examples.read_weights(tmp_path / "relu.npz", "LSTM")
    network = datasets.load("kana").network("LSTM", hidden_size=5)
    save(tmp_path / "kana.npz", network, initial_network(network, 0), about | {"task": "kana"})
    with pytest.raises(InvalidInput, match=r"one layer of LSTM in one direction, got LSTM with a decoder"):
        examples.read_weights(tmp_path / "kana.npz", "LSTM")


def test_an_example(tmp_path: Path) -> None:
    """It is seeded, and its initial state and every weight are not zero."""
    first, again, other = (examples.example(spec_of("LSTM"), steps=3, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.x, again.x)
    assert not np.isin(first.x, other.x).any()
    assert not np.isin(first.params["weight_hh_l0"], other.params["weight_hh_l0"]).any()
    assert all(part.all() for part in (*first.state0, *first.params.values()))
    assert abs(first.target).max() <= 0.8
    assert first.counted.tolist() == [1, 1, 1]
    trace.require_example(first)
    for numbers in ((0,), (1, 1), (4,), ()):
        with pytest.raises(InvalidInput, match=r"--units: expected different numbers from 1 to 3, got "):
            examples.require_numbers("--units", numbers, 3)
    examples.require_numbers("--units", (3, 1), 3)

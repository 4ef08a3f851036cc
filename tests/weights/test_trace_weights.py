"""The one layer in a file of weights: which model it is, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import datasets
from common.backend import registry
from common.errors import BackendBroken, BackendMissing, InvalidInput, InvalidType
from common.model.initial import initial_network, initial_parameters
from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.tracing import backends, examples
from common.tracing.trace import require_example
from common.weights import files
from common.weights.layer import single_layer
from tests.refusals import assert_refusal


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


def read(file: Path, cell: str | None = None, nonlinearity: str | None = None) -> tuple[ModelSpec, Parameters]:
    spec, params, _ = single_layer(files.read(file), cell, nonlinearity)
    return spec, params


@pytest.mark.parametrize("file", ["own.npz", "own.pt", "own.pth", "own.bin"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cell", "asked"),
    [("RNN", "RNN"), ("LSTM", "LSTM"), ("RNNCell", "RNNCell"), ("RNNCell", "RNN"), ("LSTM", "LSTMCell")],
)
def test_the_shapes_decide_the_model(cell: str, asked: str, bias: bool, file: str, tmp_path: Path) -> None:
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
    with pytest.raises(
        InvalidType, match=r"weight_ih_l0: expected float64 for LSTM\(hidden_size=5\), got (float|longd)"
    ):
        read(tmp_path / "own.npz", "LSTM")


@pytest.mark.parametrize("cell", ["RNN", "LSTMCell"])
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


def refused(path: Path, cell: str | None = None, nonlinearity: str | None = None) -> str:
    """What is said of a file that is refused, its path as FILE."""
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        read(path, cell, nonlinearity)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("file", ["own.npz", "own.pt"])
@pytest.mark.parametrize(
    ("spec", "asked", "got"),
    [
        (spec_of("RNN"), "LSTM", "RNN"),
        (spec_of("LSTM"), "RNN", "LSTM"),
        (spec_of("LSTMCell"), "RNN", "LSTMCell"),
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
    assert_refusal(refused(tmp_path / file, asked), "model in FILE", expected, got)


def test_a_gru_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.GRU(4, 5).state_dict(), tmp_path / "gru.pt")
    for asked in ("RNN", None):
        text = refused(tmp_path / "gru.pt", asked)
        assert_refusal(text, "weights in FILE: weight_hh_l0", "1 for RNN, 4 for LSTM", "(15, 5)", "a GRU's?")


@pytest.mark.parametrize(
    ("changes", "argument", "expected", "got"),
    [
        ({"bias_hh_l0": None}, "parameters of RNN", "bias_hh_l0", "missing bias_hh_l0"),
        ({"bias_ih_l0": None}, "parameters of RNN no bias", "weight_hh_l0", "extra bias_hh_l0"),
        ({"weight_hr_l0": np.ones((2, 5))}, "proj_size", "0 for RNN", "2"),
        ({"weight_hr_l0": np.ones(5)}, "parameters of RNN", "weight_hh_l0", "extra weight_hr_l0"),
        ({"more": np.ones(3)}, "parameters of RNN", "weight_hh_l0", "extra more"),
        (
            {f"weight_hh_l{'9' * 5000}": np.ones(3)},
            "parameters of RNN",
            "weight_hh_l0",
            "extra weight_hh_l9",
        ),
        ({"weight_ih_l0": np.full((5, 4), np.nan)}, "weight_ih_l0", "finite values", "nan at index (0, 0)"),
        ({"weight_ih_l0": np.ones((6, 4))}, "weight_ih_l0", "(5, 4) for RNN", "(6, 4)"),
        ({"weight_hh_l0": np.ones((7, 5))}, "weight_hh_l0", "(G*H, H)", "(7, 5)"),
        ({"weight_hh_l0": np.ones((0, 0))}, "weight_hh_l0", "(G*H, H)", "(0, 0)"),
        ({"weight_ih_l0": np.ones((5, 0))}, "input_size", "at least 1", "0"),
        ({"weight_ih_l0": np.ones(4)}, "names", "matrices weight_ih_l0 and weight_hh_l0", "weight_ih_l0 (4,), "),
        ({"weight_hh_l0": None}, "names", "matrices weight_ih_l0 and weight_hh_l0", "weight_ih_l0 (5, 4), bias"),
    ],
)
def test_weights_that_fit_no_model(
    changes: dict[str, Any], argument: str, expected: str, got: str, tmp_path: Path
) -> None:
    written(tmp_path / "own.npz", spec_of("RNN"), **changes)
    assert_refusal(refused(tmp_path / "own.npz"), f"weights in FILE: {argument}", expected, got)


def test_the_layer_of_a_larger_module_is_found_with_a_note(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.ModuleDict({"rnn": torch.nn.RNN(4, 5)}), torch.nn.Linear(5, 2))
    torch.save(network.state_dict(), tmp_path / "own.pt")
    spec, params, notes = single_layer(files.read(tmp_path / "own.pt"), None, "tanh")
    assert spec == spec_of("RNN")
    assert set(params) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert notes == (f"{tmp_path / 'own.pt'}: using 0.rnn.*, leaving out 1.weight, 1.bias",)
    twice = torch.nn.Sequential(torch.nn.RNN(4, 5), torch.nn.RNN(5, 5))
    torch.save(twice.state_dict(), tmp_path / "own.pt")
    assert_refusal(refused(tmp_path / "own.pt"), "recurrent modules in FILE", "one", "0, 1")


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
    files.write(path, network, initial_network(network, 0), ABOUT)
    file = files.read(path)
    assert (file.format, file.network, file.about["task"], file.notes) == ("rosetta train", network, "sine", ())


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    written(tmp_path / "whole.pt", spec_of("RNN"))
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-40])
    (tmp_path / "text.npz").write_text("weights")
    (tmp_path / "empty.npz").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": torch.nn.RNN(2, 3).state_dict()}, tmp_path / "nested.pt")
    torch.save(torch.nn.RNN(2, 3), tmp_path / "module.pt")
    torch.save({1: torch.ones(2)}, tmp_path / "number.pt")
    torch.save({"weight": torch.ones(2, 2).to_sparse()}, tmp_path / "sparse.pt")
    (tmp_path / "hello.pt").write_text("hello")
    np.save(tmp_path / "single.npy", np.ones(3))
    expected = "an .npz file of arrays, or a state_dict (names and tensors) that torch.save wrote"
    for name, reason in (
        ("no-such.npz", "No such file or directory"),
        ("no-such.pt", "No such file or directory"),
        ("", "Is a directory"),
        ("text.npz", "not a zip file"),
        ("empty.npz", "not a zip file"),
        ("single.npy", "a single array"),
        ("cut.pt", "no end record at its end"),
        ("hello.pt", "a whole module, or not a file of PyTorch's"),
        ("module.pt", "a whole module, or not a file of PyTorch's"),
        ("list.pt", "it holds a list"),
        ("number.pt", "its 1 is a Tensor"),
        ("sparse.pt", "its 'weight' is a sparse tensor"),
        ("nested.pt", "its 'state_dict' is a OrderedDict; a checkpoint? save its ['state_dict'] alone"),
    ):
        assert_refusal(refused(tmp_path / name), "weights", expected, f"FILE ({reason}")


def test_arrays_that_are_no_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz")
    np.savez(tmp_path / "words.npz", weight_ih_l0=np.array([["a"]]), weight_hh_l0=np.ones((1, 1)))
    np.savez(tmp_path / "complex.npz", weight_ih_l0=np.ones((1, 1)), weight_hh_l0=1j * np.ones((1, 1)))
    for name, argument, expected, got in (
        ("none.npz", "names", "weight_ih_l0 and weight_hh_l0", "nothing"),
        ("words.npz", "weight_ih_l0", "float64 for RNN(hidden_size=1)", "<U1"),
        ("complex.npz", "weight_hh_l0", "float64 for RNN(hidden_size=1)", "complex128"),
    ):
        assert_refusal(refused(tmp_path / name), f"weights in FILE: {argument}", expected, got)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')", BackendMissing),
        ("raise OSError('libcudart.so.13: cannot open shared object file')", BackendBroken),
    ],
)
def test_without_pytorch_only_its_own_files_cannot_be_read(
    source: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "own.pt", spec_of("RNN"))
    wanted = written(tmp_path / "own.npz", spec_of("RNN"))
    (tmp_path / "torch.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(error, match=r"own\.pt is a file of PyTorch's, which is "):
        files.read(tmp_path / "own.pt")
    assert files.read(tmp_path / "own.npz").params.keys() == wanted.keys()


ABOUT = {"task": "sine", "reading": "", "options": {}, "symbols": [], "output_symbols": [], "data": ""}


def test_what_was_trained_records_its_nonlinearity_and_is_no_decoder(tmp_path: Path) -> None:
    network = datasets.load("sine").network("RNN", hidden_size=5, nonlinearity="relu")
    path = tmp_path / "relu.npz"
    files.write(path, network, initial_network(network, 0), ABOUT)
    for given in (None, "relu"):
        spec, params, notes = single_layer(files.read(path), "RNN", given)
        assert (spec, notes) == (network.model, ())
        assert set(params) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert_refusal(refused(path, "RNN", "tanh"), "--nonlinearity", "relu, which FILE records", "tanh")
    assert_refusal(refused(path, "LSTM"), "model in FILE", "one layer of LSTM in one direction", "RNN relu")
    network = datasets.load("kana").network("LSTM", hidden_size=5)
    files.write(path, network, initial_network(network, 0), ABOUT | {"task": "kana"})
    assert_refusal(refused(path), "model in FILE", "one layer in one direction", "LSTM with a decoder")


def test_a_trained_network_in_float32_is_widened(tmp_path: Path) -> None:
    network = datasets.load("sine", None, "float32").network("LSTM", hidden_size=5)
    params = initial_network(network, 0)
    files.write(tmp_path / "own.npz", network, params, ABOUT)
    spec, found = read(tmp_path / "own.npz")
    assert spec == network.model.with_dtype("float64")
    for name, value in found.items():
        assert value.dtype == np.dtype("float64")
        assert np.array_equal(value, params[f"rnn.{name}"])


def test_an_example(tmp_path: Path) -> None:
    """It is seeded, and its initial state and every weight are not zero."""
    first, again, other = (examples.example(spec_of("LSTM"), steps=3, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.x, again.x)
    assert not np.isin(first.x, other.x).any()
    assert not np.isin(first.params["weight_hh_l0"], other.params["weight_hh_l0"]).any()
    assert all(part.all() for part in (*first.state0, *first.params.values()))
    assert abs(first.target).max() <= 0.8
    assert first.counted.tolist() == [1, 1, 1]
    require_example(first)

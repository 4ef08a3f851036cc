"""What is written for PyTorch is loaded by PyTorch itself, and computes what the NumPy implementation computes."""

import importlib
import json
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from common.backend import registry
from common.errors import BackendMissing, InvalidInput
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.layer import select
from common.weights.schemes.layers import file_gradients
from common.weights.targets import TARGETS
from common.weights.writing import written
from tests.weights.formats.pytorch.torch_containers import with_entries
from tests.weights.formats.pytorch.torch_models import tagger

T, B = 4, 6
PYTORCH = ("npz", "torch", "torch-checkpoint", "torchscript", "safetensors")
SPECS = {
    "LSTM": {"num_layers": 2, "bidirectional": True, "proj_size": 2},
    "GRU": {"num_layers": 2, "bidirectional": True},
    "RNN": {"nonlinearity": "relu", "num_layers": 2, "bias": False},
    "LSTMCell": {},
    "GRUCell": {"bias": False},
    "RNNCell": {"nonlinearity": "relu"},
    "LSTM1997": {"bidirectional": True},
}
TOLERANCES = {"float64": 1e-12, "float32": 2e-5}


def spec_of(cell: str, dtype: str = "float64") -> ModelSpec:
    return ModelSpec(cell=cell, input_size=3, hidden_size=5, dtype=dtype, **SPECS[cell])


def params_of(spec: ModelSpec) -> dict[str, np.ndarray]:
    drawn = initial_parameters(spec, 2)
    rng = np.random.default_rng(1)
    return {name: value + 0.3 * rng.normal(size=value.shape).astype(value.dtype) for name, value in drawn.items()}


def loaded_by_the_library(path: Path, target: str) -> dict[str, Any]:
    """The arrays, by the means that the documentation of each library shows."""
    if target == "npz":
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    if target == "safetensors":
        return {k: v.numpy() for k, v in importlib.import_module("safetensors.torch").load_file(path).items()}
    if target == "torchscript":
        return {k: v.detach().numpy() for k, v in torch.jit.load(path).rnn.named_parameters()}
    state = torch.load(path, weights_only=True)
    return {name: value.numpy() for name, value in state.get("state_dict", state).items()}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("cell", SPECS)
@pytest.mark.parametrize("target", PYTORCH)
def test_what_is_written_is_loaded_and_run(target: str, cell: str, dtype: str, tmp_path: Path) -> None:
    spec = spec_of(cell, dtype)
    params, path = params_of(spec), tmp_path / f"own{TARGETS[target].suffix}"
    if target.startswith("torch") and cell == "LSTM1997":
        with (
            pytest.raises(InvalidInput, match=r"model: expected one that torch\.nn has, got LSTM1997"),
            written(path, target, spec, params),
        ):
            pass
        return
    with written(path, target, spec, params) as made:
        found = loaded_by_the_library(made.path, target)
        assert {name: value.tobytes() for name, value in found.items()} == {k: v.tobytes() for k, v in params.items()}
        if spec.layer.in_torch:
            module = getattr(torch.nn, cell)(3, 5, dtype=getattr(torch, dtype), **SPECS[cell])
            module.load_state_dict({name: torch.tensor(value) for name, value in found.items()})
        peer = peers.load(TARGETS[target].peer)
        for lengths in (None, np.array([1, 4, 2, 4, 3, 1])):
            assert_alike(spec, made.layer, params, peer.load(made.path, made.layer), lengths, TOLERANCES[dtype])


def assert_alike(spec: ModelSpec, layer: Any, params: Any, loaded: Any, lengths: Any, tolerance: float) -> None:
    """Outputs, final states and all gradients of the peer are those of the NumPy implementation."""
    rng, dtype = np.random.default_rng(5), spec.dtype
    x = rng.normal(size=(T, B, 3)).astype(dtype)
    states = tuple(rng.normal(size=shape).astype(dtype) for shape in spec.state_shapes(B))
    dy = rng.normal(size=(T, B, spec.output_size)).astype(dtype)
    dstate = tuple(rng.normal(size=part.shape).astype(dtype) for part in states)
    ours = registry.load("numpy")
    y, last = ours.forward(spec, params, x, states, lengths=lengths)
    grads = ours.vjp(spec, params, x, states, dy, dstate, lengths=lengths)
    their_y, their_last = loaded.forward(x, states, lengths)
    theirs = loaded.vjp(x, states, dy, dstate, lengths)
    wanted = file_gradients(layer, grads.params)
    assert set(theirs.arrays) == set(wanted) == set(layer.names)
    pairs = [(y, their_y), *zip(last, their_last, strict=True), (grads.x, theirs.x)]
    pairs += [*zip(grads.state0, theirs.state0, strict=True), *((wanted[name], theirs.arrays[name]) for name in wanted)]
    for mine, his in pairs:
        assert mine.shape == his.shape
        assert his.dtype == dtype
        assert np.abs(mine - his).max() <= tolerance * max(1, np.abs(mine).max())
        assert np.abs(mine).max() > 1e-3


def test_a_layer_deep_in_a_checkpoint_is_run_under_the_names_of_the_file(tmp_path: Path) -> None:
    model = tagger()
    torch.save({"epoch": 1, "nets": [{"state_dict": model.state_dict()}]}, tmp_path / "own.pt")
    layer = select(files.read(tmp_path / "own.pt"), "nets.0.state_dict.encoder.gru")
    loaded = peers.load("torch").load(tmp_path / "own.pt", layer)
    assert layer.spec is not None
    x, state = np.ones((T, B, 4)), (np.ones((4, B, 5)),)
    y, _ = loaded.forward(x, state)
    wanted, _ = model.encoder["gru"](torch.tensor(x), torch.tensor(state[0]))
    assert np.array_equal(y, wanted.detach().numpy())
    grads = loaded.vjp(x, state, np.ones((T, B, 10)), state)
    assert set(grads.arrays) == {f"nets.0.state_dict.encoder.gru.{name}" for name in model.encoder["gru"].state_dict()}


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_peer_runs_no_code_of_a_file(tmp_path: Path) -> None:
    """A module that was pickled whole, a pickle, and TorchScript with other code than torch.nn's are not loaded."""
    module, peer = torch.nn.LSTM(3, 5), peers.load("torch")
    torch.save(module, tmp_path / "whole.pt")
    for name, is_zip in (("hyper.ckpt", True), ("old.ckpt", False)):
        held = {"hyper": Fraction(1, 2), "state_dict": module.state_dict()}
        torch.save(held, tmp_path / name, _use_new_zipfile_serialization=is_zip)
    (tmp_path / "own.pkl").write_bytes(pickle.dumps({name: v.numpy() for name, v in module.state_dict().items()}))
    arrays = {f"rnn.{name}": value.numpy() for name, value in module.state_dict().items()}
    spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=5, dtype="float32")
    TARGETS["torchscript"].write(tmp_path / "script.pt", spec, arrays)
    code = "code/__torch__/torch/nn/modules/rnn.py"
    changed = with_entries(tmp_path / "script.pt", {code: b"class LSTM(Module):\n  pass\n"})
    (tmp_path / "changed.pt").write_bytes(changed)
    torch.jit.script(torch.nn.ModuleDict({"rnn": module})).save(tmp_path / "other.pt")
    for name, reason in (
        (
            "whole.pt",
            r"alone, got objects of torch\.nn\.modules\.rnn\.LSTM; torch loads such a file only by running",
        ),
        (
            "hyper.ckpt",
            r"alone, got objects of fractions\.Fraction; torch loads such a file only by running code$",
        ),
        (
            "old.ckpt",
            r"alone, got objects of fractions\.Fraction; torch loads such a file only by running code$",
        ),
        ("own.pkl", r"for torch.load with weights_only: expected tensors alone, got Unsupported operand \d+$"),
        ("changed.pt", "expected that of torch.nn, got other code; which is not run"),
        ("other.pt", "expected that of torch.nn, got other code; which is not run"),
    ):
        (layer,) = tuple(files.read(tmp_path / name).layers or ())
        with pytest.raises(InvalidInput, match=reason):
            peer.load(tmp_path / name, layer)
    (layer,) = tuple(files.read(tmp_path / "script.pt").layers or ())
    peer.load(tmp_path / "script.pt", layer)


def test_what_torch_cannot_run_is_said_so(tmp_path: Path) -> None:
    spec = ModelSpec(cell="GRU", input_size=3, hidden_size=5, reset_after=False)
    np.savez(tmp_path / "own.npz", **params_of(spec))  # type: ignore[arg-type]
    (layer,) = tuple(files.read(tmp_path / "own.npz").layers or ())
    with pytest.raises(InvalidInput, match=r"layer: expected one that torch\.nn can run, got GRU reset before"):
        peers.load("torch").load(tmp_path / "own.npz", layer._replace(spec=spec))
    missing = layer._replace(where={"_l0": {"weight_ih": "elsewhere"}})
    with pytest.raises(InvalidInput, match="expected elsewhere, got no elsewhere"):
        peers.load("torch").load(tmp_path / "own.npz", missing)


@pytest.mark.parametrize("target", ["torch", "torch-checkpoint", "torchscript"])
@pytest.mark.parametrize(
    ("cell", "options", "cause"),
    [
        ("GRU", {"reset_after": False}, "applies r after the product; this GRU applies it before"),
        ("LSTM1997", {}, "would load its arrays as those of a GRU"),
        ("LSTM1997Cell", {}, "would load its arrays as those of a GRU"),
    ],
)
def test_what_torch_would_load_as_another_model_is_never_written(
    target: str, cell: str, options: Any, cause: str, tmp_path: Path
) -> None:
    """Shapes and names fit, so that ``load_state_dict`` would take it."""
    spec = ModelSpec(cell=cell, input_size=3, hidden_size=5, **options)
    with (
        pytest.raises(InvalidInput, match=rf"model: expected one that torch\.nn has, got .*{cause}"),
        written(tmp_path / "own.pt", target, spec, params_of(spec)),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_without_safetensors_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("RNN")
    with written(tmp_path / "own.safetensors", "safetensors", spec, params_of(spec)) as made:
        monkeypatch.setitem(importlib.import_module("sys").modules, "safetensors.torch", None)
        with pytest.raises(BackendMissing, match=r"pip install -e '\.\[safetensors\]'"):
            peers.load("torch").load(made.path, made.layer)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_safetensors_of_the_library_are_read_to_the_bit(dtype: str, tmp_path: Path) -> None:
    """Of every type; names that are not ASCII, metadata, arrays of no elements and scalars."""
    save = importlib.import_module("safetensors.torch").save_file
    model = tagger(dtype=getattr(torch, dtype))
    state = {f"módulo.{name}": value for name, value in model.state_dict().items()}
    state |= {"none": torch.ones(0, 3), "one": torch.tensor(7), "flags": torch.tensor([True, False])}
    save(state, tmp_path / "own.anything", metadata={"made by": "a test"})
    file = files.read(tmp_path / "own.anything")
    assert file.format == "safetensors"
    assert file.about == {"made by": "a test"}
    assert file.params.keys() == state.keys()
    for name, value in state.items():
        raw = value.contiguous().reshape(-1).view(torch.uint8).numpy()
        assert file.params[name].tobytes() == raw.tobytes()
        assert str(value.dtype) == f"torch.{file.params[name].dtype.name}"
        assert file.params[name].shape == tuple(value.shape)


def container(header: Any, data: bytes = bytes(24)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: Any = (6,), offsets: Any = (0, 24), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


SAFETENSORS = {
    "a header of 40 GiB": ((40 * 2**30).to_bytes(8, "little") + b"{}", "its header claims 40 GiB"),
    "cut": (container({"a": entry()})[:-1], "is not where the array before it ends"),
    "longer": (container({"a": entry()}) + b"\0", "longer or shorter than its arrays"),
    "nested deep": (container(b"{" + b'"a":[' * 100_000 + b"]" * 100_000 + b"}"), "damaged"),
    "no JSON": (container(b"{'a'}"), "damaged"),
    "not a number": (container(b'{"a":NaN}'), "damaged"),
    "digits": (container(b'{"a":' + b"9" * 5000 + b"}"), "damaged"),
    "a name twice": (container(b'{"a":{},"a":{}}'), "damaged"),
    "overlapping": (container({"a": entry(), "b": entry()}), "is not where the array before it ends"),
    "a gap": (container({"a": entry((3,), (12, 24))}), "is not where the array before it ends"),
    "claims 40 GiB": (container({"a": entry((10 * 2**30,))}), "24 bytes, which do not fit its shape"),
    "claims it in its place": (
        container({"a": entry((10 * 2**30,), (0, 40 * 2**30))}),
        "is not where the array before it ends",
    ),
    "negative": (container({"a": entry((-6,), (0, 24))}), "described in an unknown way"),
    "backwards": (container({"a": entry((6,), (24, 0))}), "described in an unknown way"),
    "true": (container({"a": entry((True,), (0, 4))}), "described in an unknown way"),
    "metadata": (container({"__metadata__": {"a": 1}, "b": entry()}), "no dictionary of texts"),
    "another type": (container({"a": entry(dtype=7)}), "described in an unknown way"),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_hostile_safetensors_are_refused(name: str, tmp_path: Path) -> None:
    data, reason = SAFETENSORS[name]
    (tmp_path / "own.safetensors").write_bytes(data)
    with pytest.raises(InvalidInput, match=reason):
        files.read(tmp_path / "own.safetensors")
    with pytest.raises(Exception, match=r".*"):  # the library refuses it, too
        importlib.import_module("safetensors.numpy").load_file(tmp_path / "own.safetensors")


def test_an_array_of_an_unknown_type_is_left_out(tmp_path: Path) -> None:
    header = {"a": entry((3,), (0, 12)), "b": entry((2,), (12, 24), "F6_E3M2")}
    (tmp_path / "own.safetensors").write_bytes(container(header))
    file = files.read(tmp_path / "own.safetensors")
    assert (list(file.params), file.skipped) == (["a"], {"b": "an array of F6_E3M2"})


@pytest.mark.parametrize("length", [640, 896, 1408, 0x280280, 0x4B50])
def test_a_header_of_safetensors_may_begin_as_a_pickle_or_a_zip_file(length: int, tmp_path: Path) -> None:
    """Its length stands before it, and 640 is ``80 02``."""
    arrays = {name: value.numpy() for name, value in torch.nn.RNN(3, 5, bias=False).state_dict().items()}
    save_file(arrays, tmp_path / "own.safetensors")
    data = (tmp_path / "own.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    (tmp_path / "own.safetensors").write_bytes(length.to_bytes(8, "little") + data[8:end].ljust(length) + data[end:])
    file = files.read(tmp_path / "own.safetensors")
    assert file.format == "safetensors"
    assert {name: value.tobytes() for name, value in file.params.items()} == {
        name: value.tobytes() for name, value in arrays.items()
    }

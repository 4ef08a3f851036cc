"""Layers are read out of whatever PyTorch's users save, and compute what the saved module computes."""

import argparse
import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.serialization import LoadEndianness

from common.errors import InvalidInput
from common.weights import files
from tests.weights.formats.pytorch.torch_containers import tar, with_entries
from tests.weights.formats.pytorch.torch_models import (
    LAYERS,
    by_path,
    labels,
    read,
    runs_as,
    same_arrays,
    tagger,
    trained,
)

LEGACY = {"_use_new_zipfile_serialization": False}
containers = pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])


@containers
def test_the_layers_of_a_whole_model_run_as_it_does(options: dict[str, Any], tmp_path: Path) -> None:
    """Outputs, final states and every gradient, of two layers in both directions with and without a projection."""
    model = tagger()
    file = read(tmp_path, model.state_dict(), **options)
    assert same_arrays(file.params, model.state_dict())
    layers = by_path(file)
    assert labels(file) == {**LAYERS, "encoder.rnn": "RNN bidirectional"}  # a state_dict does not record relu
    assert file.others == ("embedding.weight", "head.weight", "head.bias")
    for path in ("encoder.lstm", "encoder.gru", "cell"):
        for quantity, distance in runs_as(model.get_submodule(path), layers[path]):
            assert distance < 1e-12, (path, quantity, distance)


@containers
def test_modules_that_were_pickled_whole(options: dict[str, Any], tmp_path: Path) -> None:
    """Their arrays are named as in the state_dict, and what the modules record is read too."""
    model = tagger()
    file = read(tmp_path, {"epoch": 3, "model": model, "optimizer": trained(model)}, **options)
    assert file.format == "PyTorch's checkpoint with whole modules"
    assert same_arrays(file.params, model.state_dict(), "model.")
    assert labels(file) == {f"model.{path}": label for path, label in LAYERS.items()}
    assert file.skipped == {"optimizer": "the state of an optimiser", "epoch": "a value (int)"}
    layer = by_path(file)["model.encoder.rnn"]
    assert layer.recorded == {"cell", "nonlinearity", "reset_after"}
    for quantity, distance in runs_as(model.encoder["rnn"], layer):
        assert distance < 1e-12, (quantity, distance)


class Arguments:
    """As hyperparameters of a training script are: a class that nobody else has."""

    def __init__(self, **values: Any) -> None:
        self.__dict__ |= values


def nested(model: torch.nn.Module, state: Any) -> dict[str, tuple[Any, str]]:
    """What a file holds -> and the name before those of the state_dict in it."""
    optimizer = trained(model).state_dict()
    history = collections.defaultdict(list, {"loss": [0.5, 0.25]})
    return {
        "checkpoint": ({"epoch": 7, "state_dict": state, "optimizer": optimizer, "best": 0.1}, "state_dict."),
        "lightning": (
            {
                "state_dict": state,
                "optimizer_states": [optimizer],
                "hyper_parameters": argparse.Namespace(lr=0.1, path=Path("a")),
                "callbacks": {Arguments: {"best": Arguments(score=np.float64(1))}},
            },
            "state_dict.",
        ),
        "deep": ({"a": [{"b": (history, {"net": {3: state}})}, None]}, "a.0.b.1.net.3."),
        "list": ([7, state, "text"], "1."),
        "tuple": ((optimizer, state), "1."),
        "object": (Arguments(model=state, log=history, device=torch.device("cpu"), type=torch.float32), "model."),
    }


@containers
@pytest.mark.parametrize("name", ["checkpoint", "lightning", "deep", "list", "tuple", "object"])
def test_a_state_dict_is_found_wherever_it_stands(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = tagger()
    value, prefix = nested(model, model.state_dict())[name]
    file = read(tmp_path, value, "any.thing", **options)
    assert same_arrays(file.params, model.state_dict(), prefix)
    assert set(labels(file)) == {prefix + path for path in LAYERS}


def test_moments_are_no_layers_even_under_the_names_of_weights(tmp_path: Path) -> None:
    state = torch.nn.LSTM(3, 5).state_dict()
    by_name = {name: {"step": 1, "exp_avg": value, "exp_avg_sq": value} for name, value in state.items()}
    value = {
        "net": state,
        "a": {"state": by_name, "param_groups": []},
        "b": {"exp_avg": state, "step": 3},
        "c": by_name,
    }
    file = read(tmp_path, value)
    assert same_arrays(file.params, state, "net.")
    assert list(labels(file)) == ["net"]
    assert file.skipped["a"] == file.skipped["b.exp_avg"] == "the state of an optimiser"
    assert file.skipped["c.weight_ih_l0.exp_avg"] == "the state of an optimiser"


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_orig_mod.module.", "module.encoder.lstm."])
def test_prefixes_of_wrappers_stand_in_the_path(prefix: str, tmp_path: Path) -> None:
    module = torch.nn.LSTM(3, 5, 2, dtype=torch.float64)
    state = {prefix + name: value for name, value in module.state_dict().items()} | {"head.bias": torch.ones(2)}
    (layer,) = tuple(read(tmp_path, state).layers or ())
    assert layer.path == prefix.removesuffix(".")
    assert max(distance for _, distance in runs_as(module, layer)) < 1e-12


@containers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype_is_read_to_the_bit(dtype: torch.dtype, options: dict[str, Any], tmp_path: Path) -> None:
    model = tagger(dtype=dtype)
    file = read(tmp_path, model.state_dict(), **options)
    assert same_arrays(file.params, model.state_dict())
    assert {layer.spec.dtype for layer in file.layers or () if layer.spec} == {str(dtype).removeprefix("torch.")}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@containers
def test_tensors_of_every_kind(options: dict[str, Any], tmp_path: Path) -> None:
    """Views, transposed, expanded, of no elements, scalars, parameters, other types; and what is no dense array."""
    base = torch.arange(24.0).reshape(4, 6)
    value = {
        "view": base[1:3, 2:5],
        "transposed": base.t(),
        "expanded": torch.tensor([2.5]).expand(3, 4),
        "empty": torch.ones(0, 3),
        "scalar": torch.tensor(7),
        "bool": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]),
        "uint16": torch.tensor([65535], dtype=torch.uint16),
        "float8": torch.tensor([1.5]).to(torch.float8_e4m3fn),
        "parameter": torch.nn.Parameter(base[0]),
        "buffer": torch.nn.Buffer(base[1]),
        "array": np.arange(6.0).reshape(2, 3).T,
    }
    with_words = torch.nn.Parameter(torch.ones(2))
    with_words.words = {"left": "right"}  # type: ignore[attr-defined]
    odd = {
        "sparse": base.to_sparse(),
        "quantised": torch.quantize_per_tensor(base, 0.1, 0, torch.qint8),
        "meta": torch.ones(2, device="meta"),
        "objects": np.array([None]),
    }
    file = read(tmp_path, value | {"with_words": with_words} | odd, **options)
    wanted = {k: torch.tensor(v.copy()) if isinstance(v, np.ndarray) else v for k, v in value.items()}
    assert same_arrays(file.params, wanted | {"with_words": with_words})
    assert file.skipped == {
        "sparse": "a sparse tensor",
        "quantised": "a quantised tensor",
        "meta": "a tensor without values (on the device meta)",
        "objects": "an array of objects or of another type than numbers",
    }


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_python_in_every_protocol(protocol: int, tmp_path: Path) -> None:
    """Dictionaries of arrays, and tensors and modules that ``pickle`` wrote and not ``torch.save``."""
    model = tagger()
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    arrays["by columns"] = np.asfortranarray(arrays["head.weight"])
    arrays["big"] = arrays["head.bias"].astype(">f8")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"weights": arrays}, protocol))
    file = files.read(tmp_path / "a.pkl")
    assert same_arrays(
        file.params, {name: torch.tensor(value.astype(float)) for name, value in arrays.items()}, "weights."
    )
    assert file.format == "a pickle"
    assert file.notes[0].endswith("is in Python's pickle format, which has no checksums: damage goes unnoticed")
    for value, prefix in ((model, ""), ({"state": model.state_dict()}, "state.")):
        (tmp_path / "b.pkl").write_bytes(pickle.dumps(value, protocol))
        assert same_arrays(files.read(tmp_path / "b.pkl").params, model.state_dict(), prefix)


def test_other_orders_of_bytes(tmp_path: Path) -> None:
    state = torch.nn.GRU(3, 5).state_dict()
    swapped = {name: value.clone().numpy().byteswap() for name, value in state.items()}
    torch.save({name: torch.tensor(value) for name, value in swapped.items()}, tmp_path / "own.pt")
    (tmp_path / "own.pt").write_bytes(with_entries(tmp_path / "own.pt", {"byteorder": b"big"}))
    torch.serialization.set_default_load_endianness(LoadEndianness.NATIVE)
    try:
        theirs = torch.load(tmp_path / "own.pt", weights_only=True)
    finally:
        torch.serialization.set_default_load_endianness(None)
    assert all(torch.equal(theirs[name], value) for name, value in state.items())
    assert same_arrays(files.read(tmp_path / "own.pt").params, state)


def test_a_container_that_stands_twice_is_named_by_the_first(tmp_path: Path) -> None:
    state = torch.nn.RNN(3, 5).state_dict()
    file = read(tmp_path, {"model": state, "again": state, "tied": [state["weight_ih_l0"]] * 2})
    assert list(labels(file)) == ["model"]
    assert [name for name in file.params if not name.startswith("model.")] == ["tied.0", "tied.1"]


def test_what_holds_no_arrays_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for value in (trained(tagger()), [1, "text"], Arguments(a=1), torch.float32):
        with pytest.raises(
            InvalidInput, match=r"no arrays can be read from it.*; load it where it was made and save its "
        ):
            read(tmp_path, value)


def test_tar_files_of_the_first_versions(tmp_path: Path) -> None:
    state = {name: value.double() for name, value in torch.nn.LSTM(3, 5, 2).state_dict().items()}
    (tmp_path / "old.pt").write_bytes(tar(state))
    theirs = torch.load(tmp_path / "old.pt", weights_only=False)  # ours, so nothing happens
    assert all(torch.equal(theirs[name], value) for name, value in state.items())
    file = files.read(tmp_path / "old.pt")
    assert same_arrays(file.params, state)
    assert labels(file) == {"": "LSTM 2 layers"}
    assert "the format used before PyTorch 0.1.10, which has no checksums" in file.notes[0]


class Scripted(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.cell = model.encoder, model.cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder["lstm"](x)[0]
        x = self.encoder["gru"](x)[0]
        return self.cell(self.encoder["rnn"](x)[0][-1])[0]


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("how", ["scripted", "traced"])
def test_torchscript_is_read_without_its_code(how: str, tmp_path: Path) -> None:
    """Which also records, by the operator that it calls, that an Elman network has relu."""
    model = tagger()
    if how == "traced":
        script: Any = torch.jit.trace(model, torch.ones(4, 6, dtype=torch.long))
    else:
        script = torch.jit.script(Scripted(model))
    script.save(tmp_path / "own.pt")
    (tmp_path / "own.pt").write_bytes(with_entries(tmp_path / "own.pt", {}))  # by another writer of zip files
    file = files.read(tmp_path / "own.pt")
    assert file.format == "a TorchScript archive"
    state = model.state_dict()
    assert {name: value.tolist() for name, value in file.params.items() if name in state} == {
        name: value.tolist() for name, value in state.items() if name in file.params
    }
    assert labels(file) == LAYERS
    assert {"cell", "nonlinearity"} <= by_path(file)["encoder.rnn"].recorded


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_frozen_torchscript_has_no_names(tmp_path: Path) -> None:
    """Its weights are constants."""
    script: Any = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()).eval())
    torch.jit.freeze(script).save(tmp_path / "frozen.pt")
    file = files.read(tmp_path / "frozen.pt")
    assert {name: value.shape for name, value in file.params.items()} == {"constants.0": (3, 2), "constants.1": (3,)}
    assert file.notes[0].endswith("has lost the names of its weights; save it before torch.jit.freeze")


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::torch.jit.TracerWarning")
def test_torchscript_s_own_files_and_constants(tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.tensor([2.0, 3.0])
            self.rnn = torch.nn.RNN(2, 3, dtype=torch.float32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x * torch.tensor([2.0, 3.0]))[0]

    script: Any = torch.jit.trace(Scaled(), torch.ones(2, 1, 2))
    torch.jit.save(script, tmp_path / "own.pt", _extra_files={"vocabulary.txt": "a b"})
    file = files.read(tmp_path / "own.pt")
    assert file.params["constants.0"].tolist() == [2, 3]
    assert labels(file) == {"rnn": "RNN"}

"""One layer of a file is chosen by its path: whole, above another, or one direction of one layer."""

from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import torch

from common.backend import registry
from common.errors import InvalidInput
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.layer import is_whole, select, single_layer
from common.weights.source import Found, WeightsFile
from tests.refusals import refused
from tests.weights.choice.models import H, I, inputs, network, read, saved

ENCODER = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2, bidirectional=True, dtype="float32")


def run(layer: Found, x: torch.Tensor, name: str = "numpy") -> np.ndarray:
    """The outputs of a layer that was read, in float64, from zero states."""
    assert layer.spec is not None
    spec = layer.spec.with_dtype("float64")
    params = {name: value.astype("float64") for name, value in layer.params.items()}
    state0 = tuple(np.zeros(shape) for shape in spec.state_shapes(x.shape[1]))
    y, _ = registry.load(name).forward(spec, params, x.detach().double().numpy(), state0)
    return y


def close(found: np.ndarray, wanted: torch.Tensor) -> None:
    assert found.shape == tuple(wanted.shape)
    assert np.ptp(found) > 0.1
    np.testing.assert_allclose(found, wanted.detach().double().numpy(), rtol=0, atol=1e-6)


def test_every_module_is_found_by_its_path(tmp_path: Path) -> None:
    model, file = network(), read(tmp_path)
    assert [layer.path for layer in file.layers or ()] == ["encoder", "lower", "upper", "wide", "step"]
    layer = select(file, "encoder")
    assert layer.spec == ENCODER
    assert is_whole(file, layer)
    x = inputs()
    close(run(layer, x), model["encoder"](x)[0])
    for name, value in model["encoder"].state_dict().items():
        assert np.array_equal(layer.params[name], value.numpy())


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
def test_one_direction_of_one_layer_is_that_of_the_whole(level: int, reverse: bool, tmp_path: Path) -> None:
    """With torch's own output of the layer below as input, and its columns of the output as what is wanted."""
    model = network()["encoder"]
    torch.save(model.state_dict(), tmp_path / "model.pt")
    x = inputs()
    lower = torch.nn.LSTM(I, H, bidirectional=True)
    lower.load_state_dict({name: value for name, value in model.state_dict().items() if "_l0" in name})
    below, y = lower(x)[0], model(x)[0]
    given, whole = (below, y) if level else (x, below)
    file = files.read(tmp_path / "model.pt")
    layer = select(file, f".:l{level}{'_reverse' if reverse else ''}")
    columns = 2 * H if level else I
    assert layer.spec == ModelSpec(cell="LSTM", input_size=columns, hidden_size=H, dtype="float32")
    assert set(layer.params) == {f"{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    assert layer.where == {"_l0": select(file).where[f"_l{level}{'_reverse' if reverse else ''}"]}
    assert not is_whole(file, layer)
    wanted = whole[..., H:].flip(0) if reverse else whole[..., :H]
    close(run(layer, given.flip(0) if reverse else given), wanted)


def test_modules_that_stand_above_one_another(tmp_path: Path) -> None:
    model, file = network(), read(tmp_path)
    layer = select(file, "lower+upper", nonlinearity="tanh")
    spec = ModelSpec(cell="RNN", input_size=2 * H, hidden_size=3, num_layers=2, dtype="float32")
    assert layer.spec == spec
    assert layer.where["_l1"]["bias_hh"] == "upper.bias_hh_l0"
    assert not is_whole(file, layer)
    x = inputs(width=2 * H)
    close(run(layer, x), model["upper"](model["lower"](x)[0])[0])
    upper = select(file, "lower+upper:l1")
    assert upper.spec == replace(spec, input_size=3, num_layers=1)
    close(run(upper, inputs(width=3)), model["upper"](inputs(width=3))[0])
    assert select(file, "lower:l0+upper").where == layer.where


def test_deep_modules_and_steps_are_stacked_too(tmp_path: Path) -> None:
    torch.manual_seed(4)
    options: dict[str, Any] = {"bidirectional": True, "num_layers": 2}
    deep = torch.nn.ModuleDict({"a": torch.nn.GRU(I, H, **options), "b": torch.nn.GRU(2 * H, H, **options)})
    layer = select(read(tmp_path, deep), "a+b", cell="GRU", reset_after=True)
    assert layer.spec is not None
    assert (layer.spec.num_layers, layer.notes) == (4, ())
    close(run(layer, inputs()), deep["b"](deep["a"](inputs())[0])[0])
    steps = torch.nn.ModuleList([torch.nn.GRUCell(I, H), torch.nn.GRUCell(H, H)])
    layer = select(read(tmp_path, steps), "0+1")
    assert layer.spec == ModelSpec(cell="GRU", input_size=I, hidden_size=H, num_layers=2, dtype="float32")
    first, second = (torch.zeros(3, H), torch.zeros(3, H))
    outputs = []
    for x in inputs():
        first = steps[0](x, first)
        second = steps[1](first, second)
        outputs.append(second)
    close(run(layer, inputs()), torch.stack(outputs))


@pytest.mark.parametrize(
    ("path", "argument", "expected", "got", "cause"),
    [
        (
            "encodr",
            "layer in FILE",
            "encoder (LSTM 2 layers bidirectional, 4 -> 10)",
            "'encodr'",
            "did you mean encoder?",
        ),
        ("encoder:l2", "direction of encoder in FILE", "one of l0, l0_reverse, l1, l1_reverse", "l2", ""),
        ("step:l0", "direction of step in FILE", "none, as it is one step", "l0", ""),
        ("nothing:l0", "layer in FILE", "step (GRUCell, 3 -> 6)", "'nothing'", ""),
        ("upper+lower", "lower above upper", "input size 3", "10: RNN, 10 -> 3", ""),
        ("lower+wide", "wide above lower", "bias True", "with bias False", ""),
        ("encoder+lower", "lower above encoder", "a layer of torch LSTM", "torch RNN", ""),
        ("lower+", "layer in FILE", "lower", "''", ""),
        (None, "recurrent layers in FILE", "one", "upper (RNN, 3 -> 3)", "choose one by its path: --layer PATH"),
    ],
)
def test_what_is_no_layer(
    path: str | None,
    argument: str,
    expected: str,
    got: str,
    cause: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved(tmp_path, name="FILE")
    monkeypatch.chdir(tmp_path)
    file = files.read(Path("FILE"))
    with refused(argument, expected, got=got, cause=cause):
        select(file, path)


def test_a_direction_without_its_path_is_suggested(tmp_path: Path) -> None:
    file = read(tmp_path, torch.nn.GRU(I, H, num_layers=2))
    with refused(f"layer in {file.path}", got="'l1'", cause="did you mean .:l1?"):
        select(file, "l1")
    assert select(file, ":l1").path == select(file, ".:l1").path == ".:l1"


def test_a_layer_that_cannot_be_used_is_refused_with_its_problem(tmp_path: Path) -> None:
    params = network().state_dict()
    params["encoder.bias_hh_l1"] = params["encoder.bias_hh_l1"][:7]
    torch.save(params, tmp_path / "model.pt")
    file = files.read(tmp_path / "model.pt")
    for path in ("encoder", "encoder:l0", "encoder+lower"):
        with refused(f"weights in {file.path}, encoder: encoder.bias_hh_l1", "4H", got="(7,)"):
            select(file, path)
    torch.save({name: value for name, value in params.items() if "encoder" in name or "wide" in name}, file.path)
    layer = select(files.read(file.path), nonlinearity="tanh")
    assert layer.path == "wide"
    assert layer.notes == (f"{file.path}: using wide, leaving out encoder",)
    torch.save({name: value for name, value in params.items() if "encoder" in name}, file.path)
    with refused(f"weights in {file.path}, encoder: encoder.bias_hh_l1", "4H", got="(7,)"):
        select(files.read(file.path))


def test_a_name_may_hold_what_paths_are_put_together_with(tmp_path: Path) -> None:
    one, two = torch.nn.RNN(2, 3).state_dict(), torch.nn.RNN(3, 3).state_dict()
    arrays = {f"a+b.{name}": value for name, value in one.items()} | {f"c:l0.{name}": two[name] for name in two}
    torch.save(arrays, tmp_path / "model.pt")
    file = files.read(tmp_path / "model.pt")
    assert select(file, "a+b").spec == ModelSpec(cell="RNN", input_size=2, hidden_size=3, dtype="float32")
    assert select(file, "c:l0").path == "c:l0"
    both = select(file, "a+b+c:l0")
    assert both.where["_l1"]["bias_hh"] == "c:l0.bias_hh_l0"
    assert select(file, "c:l0:l0").where["_l0"] == select(file, "c:l0").where["_l0"]


def test_two_modules_are_the_directions_of_one_layer(tmp_path: Path) -> None:
    """With torch's own outputs of the two, the second of which reads the sequence from its end."""
    torch.manual_seed(5)
    parts = {"a,b": torch.nn.GRU(I, H), "back": torch.nn.GRU(I, H), "top": torch.nn.GRU(2 * H, H)}
    parts["up"] = torch.nn.GRU(2 * H, H)
    file, x = read(tmp_path, torch.nn.ModuleDict(parts)), inputs()
    both = select(file, "a,b,back")
    assert both.spec == ModelSpec(cell="GRU", input_size=I, hidden_size=H, bidirectional=True, dtype="float32")
    assert any("concatenated" in note for note in both.notes)
    assert not is_whole(file, both)
    below = torch.cat([parts["a,b"](x)[0], parts["back"](x.flip(0))[0].flip(0)], 2)
    close(run(both, x), below)
    stack = select(file, "a,b,back+top,up")
    close(run(stack, x), torch.cat([parts["top"](below)[0], parts["up"](below.flip(0))[0].flip(0)], 2))
    assert select(file, "a,b,back:l0_reverse").where["_l0"] == select(file, "back").where["_l0"]
    assert select(file, "a,b").path == "a,b"
    for path, expected, got in (("a,b,top", "of the same sizes", "10 -> 5"), ("a,b,back,top", "two", "3")):
        with refused(f"directions of {path}", expected, got=got):
            select(file, path)


@pytest.mark.parametrize("path", ["encoder:l1_reverse", "lower+upper:l1"])
def test_a_trace_takes_one_direction_and_no_more(path: str, tmp_path: Path) -> None:
    file = read(tmp_path)
    layer = single_layer(file, path=path)
    assert layer.spec.dtype == "float64"
    assert all(value.dtype == np.dtype("float64") for value in layer.params.values())
    whole = path.partition(":")[0]
    with refused(f"model in {file.path}, {whole}", "one layer in one direction", cause=f"--layer {path}"):
        single_layer(file, path=whole)


def test_a_path_of_many_parts_takes_time_in_proportion() -> None:
    begun = process_time()
    with pytest.raises(InvalidInput, match=r"layer in a.npz: expected none"):
        select(WeightsFile(Path("a.npz"), "", {}), "b+" * 3000)
    assert process_time() - begun < 3

"""``weights.write`` from Python: of layers, modules and mappings; and what is said of what could not be kept."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jax_impl
import numpy_impl
import torch_impl
from common import weights
from common.errors import InvalidInput, InvalidType, NotEquivalent
from common.weights import targets
from common.weights.formats import npz
from common.weights.writing import require_same

MERGED = "two biases were merged into one"


def modules() -> dict[str, Any]:
    from flax import nnx

    return {
        "numpy_impl": numpy_impl.LSTM(3, 5, seed=1),
        "torch_impl": torch_impl.LSTM(3, 5, dtype=torch.float64),
        "jax_impl": jax_impl.LSTM(3, 5, rngs=nnx.Rngs(0)),
        "torch.nn": torch.nn.LSTM(3, 5).state_dict(),
    }


@pytest.mark.parametrize("name", ["numpy_impl", "torch_impl", "jax_impl", "torch.nn"])
def test_a_module_of_any_kind_is_written(name: str, tmp_path: Path) -> None:
    module = modules()[name]
    assert weights.write(tmp_path / "own.npz", "npz", module) == ()
    params = module if isinstance(module, dict) else module.state_dict()
    with np.load(tmp_path / "own.npz") as found:
        for key, value in weights.to_arrays(params).items():
            assert found[key].dtype == value.dtype
            assert found[key].tobytes() == np.ascontiguousarray(value).tobytes()


def test_a_layer_of_a_file_is_written_and_read_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", str(tmp_path / "second.npz")
    arrays: Any = {f"model.{k}": v for k, v in numpy_impl.GRU(3, 5, num_layers=2).state_dict().items()}
    np.savez(first, **arrays)
    (layer,) = tuple(weights.read(first).layers or ())
    assert weights.write(second, "npz", layer) == ()
    (again,) = tuple(weights.read(second).layers or ())
    assert (again.path, again.spec) == ("", layer.spec)
    assert all(np.array_equal(again.params[name], value) for name, value in layer.params.items())
    assert sorted(os.listdir(tmp_path)) == ["first.npz", "second.npz"]


@pytest.mark.parametrize("name", ["n" * 300 + ".npz", "n\0.npz", "n" * 300 + "/own.npz"])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"output file: expected .*, got "):
        weights.write(tmp_path / name, "npz", numpy_impl.RNN(3, 5))
    assert not os.listdir(tmp_path)


def test_what_was_merged_or_added_is_said_and_nothing_else(tmp_path: Path) -> None:
    module = numpy_impl.LSTM(3, 5)
    merged, added = weights.write(tmp_path / "own.npz", "cellar", module)
    assert merged.startswith(MERGED)
    assert added == "1 was subtracted from the bias of f, as Cellar adds 1 when it runs; this rounds it"
    alone = module.params["bias_hh_l0"] * 0
    module.params["bias_hh_l0"] = alone
    assert weights.write(tmp_path / "own.npz", "cellar", module) == (added,)
    module.params["bias_ih_l0"] = np.round(module.params["bias_ih_l0"] * 64) / 64
    assert weights.write(tmp_path / "own.npz", "cellar", module) == (added.removesuffix("; this rounds it"),)
    assert len(weights.write(tmp_path / "own.npz", "cellar", numpy_impl.LSTM(3, 5, bias=False))) == 2


def test_what_a_file_does_not_record_is_said(tmp_path: Path) -> None:
    for module, said in [
        (numpy_impl.RNN(3, 5, nonlinearity="relu"), "nonlinearity: give relu"),
        (
            numpy_impl.GRU(3, 5, reset_after=False),
            "reset_after: give False when you load it; torch.nn.GRU, which applies r after",
        ),
        (numpy_impl.LSTM1997(3, 5), "cell: give LSTM1997 when you load it; torch.nn would take it for a GRU"),
    ]:
        (note,) = weights.write(tmp_path / "own.npz", "npz", module)
        assert said in note


def test_a_step_is_written_as_a_layer_where_there_are_no_steps(tmp_path: Path) -> None:
    cell = numpy_impl.LSTMCell(3, 5)
    assert weights.write(tmp_path / "own.npz", "npz", cell) == ()
    assert [layer.spec for layer in weights.read(tmp_path / "own.npz").layers or ()] == [cell.spec]
    assert weights.write(tmp_path / "own.npz", "cellar", cell)[0] == "the one-step cell is written as a layer"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (torch.nn.LSTM(3, 5), InvalidType),
        ({"weight": np.ones((3, 3))}, InvalidInput),
        (
            {f"{part}.{name}": value for part in "ab" for name, value in torch.nn.RNN(3, 5).state_dict().items()},
            InvalidInput,
        ),
        ({"weight_ih_l0": np.full((5, 3), np.nan), "weight_hh_l0": np.ones((5, 5))}, InvalidInput),
    ],
    ids=["a module of torch.nn", "no layer", "two layers", "not finite"],
)
def test_what_is_no_layer_is_refused(model: Any, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        weights.write(tmp_path / "own.npz", "npz", model)
    assert not os.listdir(tmp_path)


def test_a_faulty_writer_is_noticed_without_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.npz").write_text("precious")

    def write(path: Path, spec: Any, arrays: Any) -> None:
        npz.write(path, spec, arrays | {"bias_ih_l0": arrays["bias_ih_l0"][::-1]})

    monkeypatch.setitem(targets.TARGETS, "npz", targets.TARGETS["npz"]._replace(write=write))
    with pytest.raises(NotEquivalent, match="bias_ih_l0 read back"):
        weights.write(tmp_path / "own.npz", "npz", numpy_impl.LSTM(3, 5))
    assert (tmp_path / "own.npz").read_text() == "precious"
    assert os.listdir(tmp_path) == ["own.npz"]


def test_biases_may_move_between_the_two_and_nothing_more() -> None:
    rng = np.random.default_rng(0)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    original = {name: rng.standard_normal(4).astype("float32") for name in names}
    total = original["bias_ih_l0"] + original["bias_hh_l0"]
    moved = original | {"bias_ih_l0": total, "bias_hh_l0": total * 0}
    require_same(moved, moved, original)
    for name in ("weight_hh_l0", "bias_hh_l0"):
        wrong = moved | {name: moved[name] + np.float32(1e-5)}
        with pytest.raises(NotEquivalent, match=r"element \(0,\)"):
            require_same(wrong, wrong, original)
        with pytest.raises(NotEquivalent, match=f"{name} read back"):
            require_same(wrong, moved, original)
    none = {name: value for name, value in original.items() if name.startswith("weight")}
    require_same(
        none | {"bias_ih_l0": total * 0, "bias_hh_l0": total * 0},
        none | {"bias_ih_l0": total * 0, "bias_hh_l0": total * 0},
        none,
    )


def test_an_option_that_a_file_records_wrongly_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = targets.TARGETS["onnx"]
    module = numpy_impl.RNN(3, 5, nonlinearity="relu", dtype="float32")
    assert weights.write(tmp_path / "own.onnx", "onnx", module) == ()

    def write(path: Path, spec: Any, arrays: Any) -> None:
        right.write(path, replace(spec, nonlinearity="tanh"), arrays)

    monkeypatch.setitem(targets.TARGETS, "onnx", right._replace(write=write))
    with pytest.raises(NotEquivalent, match="model in the file that was written"):
        weights.write(tmp_path / "wrong.onnx", "onnx", module)
    assert os.listdir(tmp_path) == ["own.onnx"]

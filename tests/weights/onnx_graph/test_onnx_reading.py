"""Models of random weights that onnxruntime runs are read, and give the same outputs in the three implementations."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from common.backend import registry
from common.weights import files
from common.weights.schemes.layers import file_gradients
from common.weights.source import Found
from tests.weights.onnx_graph.models import (
    B,
    H,
    I,
    T,
    feeds,
    network,
    only_layer,
    read,
    run,
    saved,
    tensor,
)

LENGTHS = (5, 1, 3, 4)
CASES: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "LSTM": ("LSTM", 2, 2, {}),
    "GRU, linear_before_reset=1": ("GRU", 2, 2, {"linear_before_reset": 1}),
    "GRU, linear_before_reset=0": ("GRU", 2, 1, {}),
    "relu": ("RNN", 2, 2, {"activations": ["Relu", "Relu"]}),
    "tanh": ("RNN", 1, 1, {"activations": ["Tanh"]}),
}


def states(layer: Found, given: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    assert layer.spec is not None
    return tuple(
        np.concatenate([given[f"{state}0_{level}"] for level in range(layer.spec.num_layers)])
        for state in "hc"[: len(layer.spec.state_sizes)]
    )


def errors(layer: Found, given: dict[str, np.ndarray], wanted: dict[str, np.ndarray], backend: str) -> list[float]:
    """The differences of y and of every final state between a backend and what onnxruntime computed."""
    assert layer.spec is not None
    levels = layer.spec.num_layers
    y, last = registry.load(backend).forward(
        layer.spec, layer.params, given["x"], states(layer, given), lengths=given["lengths"]
    )
    found = [y, *last]
    finals = [np.concatenate([wanted[f"{s}_{k}"] for k in range(levels)]) for s in "hc"[: len(last)]]
    return [abs(a - b).max() for a, b in zip(found, [wanted[f"x_{levels}"], *finals], strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_the_layers_of_a_model_compute_what_onnxruntime_computes(case: str, tmp_path: Path) -> None:
    cell, layers, directions, attributes = CASES[case]
    graph = network(cell, layers, directions, **attributes)
    model, given = graph.model(), feeds(graph, LENGTHS)
    layer = only_layer(tmp_path / "model.onnx", model)
    spec = layer.spec
    assert spec is not None
    assert layer.path == "node_0"
    assert layer.notes == ()
    assert (spec.cell, spec.input_size, spec.hidden_size) == (cell, I, H)
    assert (spec.num_layers, spec.num_directions, spec.dtype) == (layers, directions, "float32")
    wanted = run(model, given)
    for backend in ("numpy", "jax", "torch"):
        assert max(errors(layer, given, wanted, backend)) < 3e-6
    mixed = {name: value[::-1].copy() for name, value in layer.params.items()}
    assert max(errors(layer._replace(params=mixed), given, wanted, "numpy")) > 0.01


def test_gradients_have_the_names_of_the_file(tmp_path: Path) -> None:
    """Those of onnxruntime's own numbers: its outputs, moved by a small step of one weight of the file."""
    graph = network("LSTM", 1, 2)
    given, layer = feeds(graph, LENGTHS), only_layer(tmp_path / "model.onnx", graph.model())
    assert layer.spec is not None
    dy = np.random.default_rng(1).normal(size=(T, B, 2 * H)).astype("float32")
    zeros = tuple(np.zeros_like(state) for state in states(layer, given))
    grads = registry.load("numpy").vjp(
        layer.spec, layer.params, given["x"], states(layer, given), dy, zeros, lengths=given["lengths"]
    )
    found = file_gradients(layer, grads.params)
    assert list(found) == ["W_0[0]", "R_0[0]", "B_0[0]", "W_0[1]", "R_0[1]", "B_0[1]"]
    for place, part in enumerate("WRB"):
        values = onnx.numpy_helper.to_array(graph.initializers[place]).astype("float64")
        index = (1, 2 * H + 1, 2)[: values.ndim] if part != "B" else (1, 2 * H + 1)
        moved = []
        for step in (-0.01, 0.01):
            changed = values.copy()
            changed[index] += step
            graph.initializers[place].CopyFrom(tensor(f"{part}_0", changed.astype("float32")))
            moved.append((run(graph.model(), given)["x_1"].astype("float64") * dy).sum())
        graph.initializers[place].CopyFrom(tensor(f"{part}_0", values.astype("float32")))
        expected = (moved[1] - moved[0]) / 0.02
        assert abs(found[f"{part}_0[1]"][index[1:]] - expected) < 2e-3 * max(1, abs(expected))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_are_read_as_they_are(dtype: str, tmp_path: Path) -> None:
    graph = network("GRU", 1, 1, dtype="float64" if dtype == "float64" else "float32")
    kept = onnx.numpy_helper.to_array(graph.initializers[0])[0]
    if dtype != "float64":
        kind = onnx.TensorProto.FLOAT16 if dtype == "float16" else onnx.TensorProto.BFLOAT16
        halved = kept.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        for place in range(3):
            value = onnx.numpy_helper.to_array(graph.initializers[place]).astype(halved.dtype)
            graph.initializers[place].CopyFrom(onnx.numpy_helper.from_array(value, graph.initializers[place].name))
        kept = halved
    layer = only_layer(tmp_path / "model.onnx", graph.model())
    assert layer.spec is not None
    assert layer.spec.dtype == dtype
    z, r, n = np.split(kept, 3)
    assert (layer.params["weight_ih_l0"] == np.concatenate([r, z, n])).all()


def test_numbers_without_raw_data_are_read(tmp_path: Path) -> None:
    """As helper.make_tensor stores them: in fields of their own, half precision as the integers of its bits."""
    graph = network("RNN", 1, 1)
    for kind in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        for place in range(3):
            value = onnx.numpy_helper.to_array(graph.initializers[place])
            name = graph.initializers[place].name
            made = onnx.helper.make_tensor(name, kind, value.shape, value.reshape(-1).astype("float32"))
            assert not made.raw_data
            graph.initializers[place].CopyFrom(made)
        layer = only_layer(tmp_path / "model.onnx", graph.model())
        value = onnx.numpy_helper.to_array(graph.initializers[0])
        assert (layer.params["weight_ih_l0"] == value[0]).all()


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", network("LSTM").model())
    path.rename(tmp_path / "weights.bin2")
    file = files.read(tmp_path / "weights.bin2")
    assert file.format == "ONNX"
    assert len(file.layers or []) == 1


def test_what_is_not_recurrent_is_counted(tmp_path: Path) -> None:
    graph = network("LSTM")
    graph.constant("head.weight", np.ones((4, H), "float32"))
    words = onnx.TensorProto(name="words", data_type=onnx.TensorProto.STRING, dims=[2], string_data=[b"a", b"b"])
    graph.initializers.append(words)
    file = read(tmp_path / "model.onnx", graph.model())
    assert file.others == ("head.weight",)
    assert file.skipped == {"words": "it is of type STRING"}


@pytest.mark.parametrize("constant", [True, False])
def test_torch_s_exporter_is_read(constant: bool, tmp_path: Path) -> None:
    """``dynamo=False``, with weights folded into constants or left as chains of operators, beside a head."""

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.GRU(I, H, num_layers=2, bidirectional=True, batch_first=True)
            self.head = torch.nn.Linear(2 * H, 2)

        def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x, h)[0])

    torch.manual_seed(0)
    module = Tagger().eval()
    path = tmp_path / "tagger.onnx"
    options = {"dynamo": False, "do_constant_folding": constant, "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is an old one, and that a GRU has a fixed batch size
        torch.onnx.export(module, (torch.zeros(B, T, I), torch.zeros(4, B, H)), str(path), **options)
    file = files.read(path)
    (layer,) = file.layers or []
    assert layer.path == "/rnn/GRU"
    assert len(file.others) == 2
    for name, value in module.rnn.state_dict().items():
        assert (layer.params[name] == value.numpy()).all()

"""The files that the target writes are valid, hold the weights to the bit, and compute the same in ONNX's runtimes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from common.backend import registry
from common.errors import InvalidInput
from common.model.layout import parameter_shapes
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.source import Found
from common.weights.writing import write
from tests.weights.onnx_graph.models import Graph, H, I, network, only_layer, saved, tensor, weights

T, B = 5, 4
LENGTHS = np.array([5, 1, 3, 4])
PEER = peers.load("onnxruntime")
CELLS: list[dict[str, Any]] = [
    {"cell": "LSTM"},
    {"cell": "GRU"},
    {"cell": "GRU", "reset_after": False},
    {"cell": "RNN"},
    {"cell": "RNN", "nonlinearity": "relu"},
]
SHAPES: list[dict[str, Any]] = [
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "bias": False},
    {"bidirectional": True},
    {},
]


def specification(**options: Any) -> ModelSpec:
    return ModelSpec(**{"input_size": I, "hidden_size": H, "dtype": "float32"} | options)


def drawn(spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: 0.4 * rng.normal(size=shape).astype(spec.dtype) for name, shape in parameter_shapes(spec).items()}


def problem(spec: ModelSpec) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(T, B, spec.input_size)).astype(spec.dtype)
    return x, tuple(rng.normal(size=shape).astype(spec.dtype) for shape in spec.state_shapes(B))


def written(path: Path, spec: ModelSpec) -> tuple[Found, dict[str, np.ndarray]]:
    """A file of random weights, and the layer that is read from it."""
    params = drawn(spec)
    layer = Found("", "torch", {}, spec, params, ())
    assert write(path, "onnx", layer) == ()
    file = files.read(path)
    (found,) = file.layers or []
    assert file.others == ()
    return found, params


def difference(found: Any, expected: Any) -> float:
    return max(float(abs(a - b).max()) for a, b in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_file_holds_the_weights_and_computes_the_same(
    cell: dict[str, Any], shape: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    spec = specification(**cell, **shape, dtype=dtype)
    found, params = written(tmp_path / "layer.onnx", spec)
    assert found.spec == spec
    assert all((found.params[name] == value).all() for name, value in params.items())
    onnx.checker.check_model(onnx.load(tmp_path / "layer.onnx"), full_check=True)
    loaded, (x, state0) = PEER.load(tmp_path / "layer.onnx", found), problem(spec)
    for lengths in (None, LENGTHS):
        expected = registry.load("numpy").forward(spec, params, x, state0, lengths=lengths)
        assert difference(loaded.forward(x, state0, lengths), expected) < (3e-6 if dtype == "float32" else 1e-13)


def test_the_model_is_one_that_a_user_can_run(tmp_path: Path) -> None:
    """Its own inputs and outputs, with lengths and without them."""
    spec = specification(cell="LSTM", num_layers=2, bidirectional=True)
    _, params = written(tmp_path / "layer.onnx", spec)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of a default that can be overridden
    session: Any = onnxruntime.InferenceSession(tmp_path / "layer.onnx", options)
    assert [item.name for item in session.get_inputs()] == ["X", "initial_h", "initial_c"]
    assert [item.name for item in session.get_overridable_initializers()] == ["sequence_lens"]
    assert [item.name for item in session.get_outputs()] == ["Y", "Y_h", "Y_c"]
    assert session.get_outputs()[0].shape == ["steps", "batch", 2 * H]
    x, (h0, c0) = problem(spec)
    for lengths in (None, LENGTHS):
        given = {"X": x, "initial_h": h0, "initial_c": c0}
        given |= {} if lengths is None else {"sequence_lens": lengths.astype("int32")}
        y, *last = session.run(None, given)
        expected = registry.load("numpy").forward(spec, params, x, (h0, c0), lengths=lengths)
        assert difference((y, last), expected) < 3e-6


CANNOT = [
    ({"cell": "LSTM", "proj_size": 2}, "ONNX's LSTM has no projection"),
    ({"cell": "LSTM1997"}, "ONNX has no LSTM without a forget gate"),
]


@pytest.mark.parametrize(("options", "cause"), CANNOT)
def test_what_onnx_cannot_hold_is_refused(options: dict[str, Any], cause: str, tmp_path: Path) -> None:
    spec = specification(**options)
    with pytest.raises(InvalidInput, match=cause):
        write(tmp_path / "layer.onnx", "onnx", Found("", "torch", {}, spec, drawn(spec), ()))
    assert list(tmp_path.iterdir()) == []


def test_a_cell_is_written_as_a_layer(tmp_path: Path) -> None:
    spec = specification(cell="GRUCell")
    notes = write(tmp_path / "cell.onnx", "onnx", Found("", "torch", {}, spec, drawn(spec), ()))
    assert notes == ("the one-step cell is written as a layer",)
    found = files.read(tmp_path / "cell.onnx").layers or []
    assert (found[0].params["weight_hh_l0"] == drawn(spec)["weight_hh"]).all()


def compared(path: Path, layer: Found) -> float:
    """The difference between the peer, which loads the file, and NumPy on what our reader found."""
    assert layer.spec is not None
    x, state0 = problem(layer.spec)
    expected = registry.load("numpy").forward(layer.spec, layer.params, x, state0, lengths=LENGTHS)
    return difference(PEER.load(path, layer).forward(x, state0, LENGTHS), expected)


def test_the_peer_loads_the_file_and_not_what_was_read(tmp_path: Path) -> None:
    """It runs the operators between two layers too, where the file has them for any T and B."""
    graph = network("GRU", 2, 2)
    path = saved(tmp_path / "model.onnx", graph.model())
    layer = files.read(path).layers or []
    assert compared(path, layer[0]) < 3e-6
    for place in (0, 1, 2):
        other, value = network("GRU", 2, 2), onnx.numpy_helper.to_array(graph.initializers[place])
        other.initializers[place].CopyFrom(tensor(other.initializers[place].name, value + np.float32(0.1)))
        saved(path, other.model())
        assert compared(path, layer[0]) > 0.01


def test_the_peer_takes_weights_from_where_they_are(tmp_path: Path) -> None:
    """Half a layer in a function, whose weights the caller makes with an operator."""
    graph = Graph()
    graph.input("x", TensorProto.FLOAT, 3)
    names = [graph.constant(name, value) for name, value in weights("LSTM", 0, I, 1).items()]
    turned = graph.constant("turned", np.ascontiguousarray(weights("LSTM", 0, I, 1)["W_0"].transpose(0, 2, 1)))
    names[0] = graph.add("Transpose", [turned], ["W"], perm=[0, 2, 1])
    inner = helper.make_node("LSTM", ["a", "w", "r", "b"], ["y"], name="inner", hidden_size=H)
    opsets = [helper.make_opsetid("", 17)]
    graph.functions = [helper.make_function("here", "Encoder", ["a", "w", "r", "b"], ["y"], [inner], opsets)]
    graph.add("Encoder", ["x", *names], ["y"], name="call", domain="here")
    graph.output("y")
    model = graph.model(imports=[helper.make_opsetid("here", 1)])
    layer = only_layer(tmp_path / "model.onnx", model)
    assert compared(tmp_path / "model.onnx", layer) < 3e-6


@pytest.mark.parametrize("what", ["batch first", "fixed sizes"])
def test_the_peer_runs_layers_apart_where_it_must(what: str, tmp_path: Path) -> None:
    """onnxruntime refuses layout=1; and a file may join its layers for one T and B alone."""
    graph = network("GRU", 2, 2, layout=int(what == "batch first"))
    graph.initializers = [one for one in graph.initializers if one.name != "joined_0"]
    graph.constant("joined_0", np.array([0, 0, -1] if what == "batch first" else [9, 2, 2 * H]))
    if what == "batch first":
        next(one for one in graph.nodes[1].attribute if one.name == "perm").ints[:] = [0, 1, 2, 3]
    layer = only_layer(tmp_path / "model.onnx", graph.model())
    assert layer.spec is not None
    assert layer.spec.num_layers == 2
    assert compared(tmp_path / "model.onnx", layer) < 3e-6


def test_the_peer_refuses_what_has_no_operator(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", network("GRU").model())
    (layer,) = files.read(path).layers or []
    with pytest.raises(InvalidInput, match="layer: expected a recurrent operator of the file, got 'other'"):
        PEER.load(path, layer._replace(path="other"))
    x, state0 = problem(specification(cell="GRU", num_layers=2, bidirectional=True))
    with pytest.raises(InvalidInput, match="computes none"):
        PEER.load(path, layer).vjp(x, state0, x, state0)
    assert not PEER.has_gradients
    assert set(PEER.versions()) == {"onnx", "onnxruntime"}

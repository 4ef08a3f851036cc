"""Operators in inner graphs and functions, weights that are made of constants, and which operators form a stack."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from common.errors import InvalidInput
from common.weights import files
from tests.weights.onnx_graph.models import Graph, H, I, feeds, network, only_layer, read, run, tensor, weights

FLOAT = TensorProto.FLOAT


def paths(path: Path, graph: Graph, **options: Any) -> dict[str, int]:
    """Path -> number of layers of everything that can be used."""
    file = read(path / "model.onnx", graph.model(**options))
    return {layer.path: layer.spec.num_layers for layer in file.layers or [] if layer.spec}


def branch(name: str, level: int) -> Any:
    """A graph without inputs, with an RNN on the x around it."""
    arrays = weights("RNN", level, I, 1)
    names = [f"{part}_own" for part in "WRB"]
    node = helper.make_node("RNN", ["x", *names], [f"y_{name}"], name="inner", hidden_size=H)
    initializers = [tensor(new, value) for new, value in zip(names, arrays.values(), strict=True)]
    output = helper.make_tensor_value_info(f"y_{name}", FLOAT, None)
    return helper.make_graph([node], name, [], [output], initializers)


@pytest.mark.parametrize("levels", [(0, 1), (0, 0)])
def test_both_branches_of_an_if_are_read(levels: tuple[int, int], tmp_path: Path) -> None:
    """They have the same names; and where they have the same weights, they are one layer."""
    graph = Graph()
    graph.input("x", FLOAT, 3)
    graph.input("which", TensorProto.BOOL, 0)
    other, then = (branch(name, level) for name, level in zip(("else", "then"), levels, strict=True))
    graph.add("If", ["which"], ["y"], name="choice", then_branch=then, else_branch=other)
    graph.output("y")
    layers = read(tmp_path / "model.onnx", graph.model()).layers or []
    assert [layer.path for layer in layers] == ["inner", "choice/then_branch/inner"][: len(set(levels))]
    for layer, level in zip(layers, dict.fromkeys(levels), strict=True):
        assert (layer.params["weight_ih_l0"] == weights("RNN", level, I, 1)[f"W_{level}"][0]).all()
    notes = () if levels[0] != levels[1] else ("choice/then_branch/inner has the same weights",)
    assert layers[0].notes == notes


def test_a_function_is_read_where_it_is_called(tmp_path: Path) -> None:
    """Its weights, and an attribute, are those of the call."""
    graph = Graph()
    graph.input("x", FLOAT, 3)
    inner = helper.make_node("GRU", ["a", "w", "r", "b"], ["y"], name="inner", hidden_size=H)
    reference = inner.attribute.add(name="linear_before_reset", type=onnx.AttributeProto.INT)
    reference.ref_attr_name = "after"
    opsets = [helper.make_opsetid("", 17)]
    graph.functions = [helper.make_function("here", "Encoder", ["a", "w", "r", "b"], ["y"], [inner], opsets, ["after"])]
    for level in range(2):
        names = [graph.constant(name, value) for name, value in weights("GRU", level, I, 1).items()]
        graph.add("Encoder", ["x", *names], [f"y_{level}"], name=f"call_{level}", domain="here", after=level)
        graph.output(f"y_{level}")
    model = graph.model(imports=[helper.make_opsetid("here", 1)])
    layers = read(tmp_path / "model.onnx", model).layers or []
    assert [layer.path for layer in layers] == ["inner", "call_1/inner"]
    assert [layer.spec and layer.spec.reset_after for layer in layers] == [False, True]
    for level, layer in enumerate(layers):
        z, r, n = np.split(weights("GRU", level, I, 1)[f"W_{level}"][0], 3)
        assert (layer.params["weight_ih_l0"] == np.concatenate([r, z, n])).all()


def test_a_loop_s_body_sees_the_constants_around_it(tmp_path: Path) -> None:
    graph = Graph()
    names = [graph.constant(name, value) for name, value in weights("LSTM", 0, I, 1).items()]
    graph.input("x", FLOAT, 3)
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("LSTM", ["x", *names], ["y"], hidden_size=H), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [info("count", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])],
        [info("on", TensorProto.BOOL, []), info("y", FLOAT, None)],
    )
    graph.constant("times", np.array(2))
    graph.add("Loop", ["times", ""], ["every"], body=body)
    graph.output("every")
    assert paths(tmp_path, graph) == {"y": 1}


def in_pieces(graph: Graph, name: str, value: np.ndarray) -> str:
    """An array of two directions as chains of operators: of flat constants, in another type, axes and pieces."""
    pieces, rows = [], value.shape[1] // 2
    zero = graph.constant(f"{name} zero", np.array([0]))
    for d, one in enumerate(value):
        flat = graph.constant(f"{name} {d}", np.ascontiguousarray(one.T).astype("float64").reshape(-1))
        shape = graph.constant(f"{name} shape {d}", np.array([*one.shape[1:], -1]))
        shaped = graph.add("Reshape", [flat, shape], [f"{name} shaped {d}"])
        turned = graph.add("Transpose", [shaped], [f"{name} turned {d}"])
        middle, end = (graph.constant(f"{name} {k} of {d}", np.array([k * rows])) for k in (1, 2))
        first = graph.add("Slice", [turned, zero, middle, zero], [f"{name} first {d}"])
        second = graph.add("Slice", [turned, middle, end, zero], [f"{name} second {d}"])
        whole = graph.add("Concat", [first, second], [f"{name} whole {d}"], axis=0)
        single = graph.add("Cast", [whole], [f"{name} single {d}"], to=FLOAT)
        pieces.append(graph.add("Unsqueeze", [single, zero], [f"{name} part {d}"]))
    return graph.add("Identity", [graph.add("Concat", pieces, [f"{name} joined"], axis=0)], [f"{name} made"])


def test_weights_are_computed_as_the_file_says(tmp_path: Path) -> None:
    """onnxruntime computes the same from the same chains."""
    plain, graph = network("LSTM", 1, 2), network("LSTM", 1, 2)
    (recurrent, *after), graph.nodes, graph.initializers = graph.nodes, [], graph.initializers[3:]
    for place, (name, value) in enumerate(weights("LSTM", 0, I, 2).items()):
        recurrent.input[place + 1] = in_pieces(graph, name, value)
    graph.nodes += [recurrent, *after]
    given = feeds(plain, (5, 1, 3, 4))
    wanted, computed = run(plain.model(), given), run(graph.model(), given)
    assert all((wanted[name] == computed[name]).all() for name in wanted)
    layer = only_layer(tmp_path / "model.onnx", graph.model())
    expected = only_layer(tmp_path / "plain.onnx", plain.model())
    assert all((layer.params[name] == value).all() for name, value in expected.params.items())
    assert layer.notes == ("W, R, B: cast to another type as the file says (Cast); the file stores other numbers",)
    assert files.read(tmp_path / "model.onnx").others == ()


def squeezed(graph: Graph) -> str:
    return graph.add("Squeeze", ["y_0", graph.constant("one", np.array([1]))], ["s"])


def as_keras(graph: Graph) -> str:
    """Batch first and back, as tf2onnx writes between two layers of Keras."""
    turned = graph.add("Transpose", [squeezed(graph)], ["batch_first"], perm=[1, 0, 2])
    return graph.add("Transpose", [turned], ["time_first"], perm=[1, 0, 2])


def with_computed_sizes(graph: Graph) -> str:
    """As torch.onnx.export with dynamo=True writes for sizes that are not known."""
    turned = graph.add("Transpose", ["y_0"], ["t"], perm=[0, 2, 1, 3])
    shape = graph.add("Shape", [turned], ["shape"])
    ends = [graph.constant(f"end_{k}", np.array([k])) for k in range(5)]
    sizes = [graph.add("Slice", [shape, ends[k], ends[k + 1]], [f"size_{k}"]) for k in range(4)]
    wide = graph.add("Mul", sizes[2:], ["wide"])
    return graph.add("Reshape", [turned, graph.add("Concat", [*sizes[:2], wide], ["target"], axis=0)], ["r"])


def with_fixed_sizes(graph: Graph) -> str:
    turned = graph.add("Transpose", ["y_0"], ["t"], perm=[0, 2, 1, 3])
    return graph.add("Reshape", [turned, graph.constant("target", np.array([7, 2, H]))], ["r"])


def final(graph: Graph) -> str:
    """The final state as a sequence of one step."""
    return "h_0"


def turned(graph: Graph) -> str:
    """Time and batch exchanged."""
    return graph.add("Transpose", [squeezed(graph)], ["t"], perm=[1, 0, 2])


def scaled(graph: Graph) -> str:
    return graph.add("Relu", [squeezed(graph)], ["relu"])


ONE, TWO = {"node_0": 2}, {"node_0": 1, "node_1": 1}
BETWEEN = [(squeezed, ONE), (as_keras, ONE), (with_computed_sizes, ONE), (with_fixed_sizes, ONE)]
BETWEEN += [(final, TWO), (turned, TWO), (scaled, TWO)]


@pytest.mark.parametrize(("between", "expected"), BETWEEN, ids=lambda value: getattr(value, "__name__", ""))
def test_operators_that_pass_their_output_on_are_layers(
    between: Callable[[Graph], str], expected: dict[str, int], tmp_path: Path
) -> None:
    graph = network("RNN", 2, 1)
    second = graph.nodes[2]
    graph.nodes = graph.nodes[:1]
    second.input[0] = between(graph)
    graph.nodes.append(second)
    graph.outputs = graph.outputs[:2]
    assert paths(tmp_path, graph) == expected


def test_directions_that_are_joined_otherwise_are_no_stack(tmp_path: Path) -> None:
    """The shapes are right and the numbers are in other places: directions before the batch, or interleaved."""
    for perm, expected in ([0, 2, 1, 3], ONE), ([0, 1, 2, 3], TWO), ([0, 2, 3, 1], TWO):
        graph = network("RNN", 2, 2)
        graph.nodes[1].attribute[0].ints[:] = perm
        graph.initializers[3].CopyFrom(tensor("joined_0", np.array([0, -1, 2 * H])))
        assert paths(tmp_path, graph) == expected


DIFFERENT = {
    "activations": lambda node: node.attribute.append(helper.make_attribute("activations", ["Relu"])),
    "no bias": lambda node: node.input.__setitem__(3, ""),
    "no lengths": lambda node: node.input.__setitem__(4, ""),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_operators_that_differ_are_no_stack(what: str, tmp_path: Path) -> None:
    graph = network("RNN", 2, 1)
    assert paths(tmp_path, graph) == ONE
    DIFFERENT[what](graph.nodes[2])
    assert paths(tmp_path, graph) == TWO


def test_two_operators_above_one_are_no_stack(tmp_path: Path) -> None:
    graph = network("RNN", 2, 1)
    again = helper.make_node("RNN", list(graph.nodes[2].input), ["other"], name="other", hidden_size=H)
    again.input[1] = graph.constant("W_other", weights("RNN", 5, H, 1)["W_5"])
    graph.nodes.append(again)
    assert paths(tmp_path, graph) == {**TWO, "other": 1}


def test_layers_of_other_sizes_stand_alone(tmp_path: Path) -> None:
    graph = network("RNN", 2, 1)
    wide = {"W_1": np.ones((1, 7, H)), "R_1": np.ones((1, 7, 7)), "B_1": np.ones((1, 14))}
    graph.initializers = [one for one in graph.initializers if one.name not in wide]
    graph.initializers += [tensor(name, value.astype("float32")) for name, value in wide.items()]
    next(one for one in graph.nodes[2].attribute if one.name == "hidden_size").i = 7
    assert paths(tmp_path, graph) == TWO


def test_cells_that_were_written_as_products_are_found_by_name(tmp_path: Path) -> None:
    graph, rng = Graph(), np.random.default_rng(0)
    for name, shape in {"weight_ih": (4 * H, I), "weight_hh": (4 * H, H)}.items():
        graph.constant(f"decoder.rnn.{name}", rng.normal(size=shape).astype("float32"))
    graph.input("x", FLOAT, 2)
    graph.add("Identity", ["x"], ["y"])
    graph.output("y")
    layer = only_layer(tmp_path / "model.onnx", graph.model())
    assert (layer.path, layer.spec and layer.spec.cell) == ("decoder.rnn", "LSTMCell")
    assert layer.notes[-1].startswith("found by the names of its arrays: the graph has no recurrent operator")
    graph.initializers.clear()
    (note,) = read(tmp_path / "model.onnx", graph.model()).notes
    assert note.startswith("the graph has no operator RNN, LSTM or GRU")


def external(folder: Path, **changes: str) -> Path:
    """A model whose R lies in another file."""
    graph = network("RNN", 1, 1)
    value = onnx.numpy_helper.to_array(graph.initializers[1])
    (folder / "model").mkdir()
    (folder / "model" / "weights.data").write_bytes(b"01234567" + value.tobytes())
    (folder / "outside.data").write_bytes(b"01234567" + value.tobytes())
    entry = graph.initializers[1]
    entry.ClearField("raw_data")
    entry.data_location = TensorProto.EXTERNAL
    about = {"location": "weights.data", "offset": "8", "length": str(value.nbytes)} | changes
    for key, text in about.items():
        entry.external_data.add(key=key, value=text)
    path = folder / "model" / "model.onnx"
    path.write_bytes(graph.model().SerializeToString())
    return path


def test_weights_in_another_file_are_read(tmp_path: Path) -> None:
    (layer,) = files.read(external(tmp_path)).layers or []
    assert (layer.params["weight_hh_l0"] == weights("RNN", 0, I, 1)["R_0"][0]).all()


OUTSIDE = [
    ({"location": "../outside.data"}, "outside the folder of the model"),
    ({"location": "/etc/passwd"}, "outside the folder of the model"),
    ({"location": "link"}, "outside the folder of the model"),
    ({"location": ""}, "outside the folder of the model"),
    ({"location": "other.data"}, "No such file"),
    ({"location": "."}, "no file"),
    ({"location": "pipe"}, "no file"),
    ({"offset": "9"}, "needs 144 bytes at 9 of weights.data, which has 143"),
    ({"offset": "99999999999"}, "which has 0"),
    ({"offset": "-4"}, "the offset '-4'"),
    ({"length": "40000000000"}, "need 144 bytes, and has 40000000000"),
]


@pytest.mark.parametrize(("changes", "text"), OUTSIDE)
def test_other_files_are_read_only_where_they_belong(changes: dict[str, str], text: str, tmp_path: Path) -> None:
    path = external(tmp_path, **changes)
    (path.parent / "link").symlink_to(tmp_path / "outside.data")
    os.mkfifo(path.parent / "pipe")
    with pytest.raises(InvalidInput, match=text):
        files.read(path)

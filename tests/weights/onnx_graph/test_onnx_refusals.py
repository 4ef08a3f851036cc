"""What an operator of ONNX does and a network here does not is refused by name; what changes nothing is noted."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from common.weights.source import Found
from tests.weights.onnx_graph.models import B, Graph, H, feeds, network, only_layer, read, run, tensor


def changed(cell: str, **attributes: Any) -> Graph:
    return network(cell, 1, 1, **attributes)


def problem(path: Path, graph: Graph, **options: Any) -> str:
    (layer,) = read(path / "model.onnx", graph.model(**options)).layers or []
    assert layer.spec is None
    assert layer.params == {}
    return layer.problem


ATTRIBUTES = [
    ("LSTM", {"clip": 3.0}, "clip=3: the gates' inputs are clipped"),
    ("RNN", {"clip": 0.0}, "clip=0: the gates' inputs are clipped"),
    ("LSTM", {"input_forget": 1}, "input_forget=1: "),
    ("GRU", {"activations": ["HardSigmoid", "Tanh"]}, "activations=HardSigmoid, Tanh: those of a network here are sig"),
    ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "activations=Sigmoid, Tanh, Relu: "),
    ("LSTM", {"activations": ["Tanh", "Sigmoid", "Tanh"]}, "activations=Tanh, Sigmoid, Tanh: "),
    ("LSTM", {"activations": ["Sigmoid", "Tanh"]}, "activations=Sigmoid, Tanh: "),
    ("RNN", {"activations": ["Sigmoid"]}, "activations=Sigmoid: those of a network here are tanh, or Relu"),
    ("GRU", {"activation_alpha": [0.2, 1.0]}, "activation_alpha="),
    ("GRU", {"activation_beta": [0.5]}, r"activation_beta=\[0.5\]"),
    ("RNN", {"direction": "reverse"}, "direction=reverse: .* reversed in time"),
    ("RNN", {"direction": "sideways"}, "direction: expected forward, reverse or bidirectional, got 'sideways'"),
    ("GRU", {"hidden_size": H + 1}, f"hidden_size: expected {H}, as R has it, got {H + 1}"),
    ("LSTM", {"direction": "bidirectional"}, r"W: expected 3 axes, the first of 2, none of 0, got \(1, 24, 3\)"),
]


@pytest.mark.parametrize(("cell", "attributes", "text"), ATTRIBUTES, ids=lambda value: str(value)[:30])
def test_options_of_operators_are_refused_by_name(
    cell: str, attributes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    found = problem(tmp_path, changed(cell, **attributes))
    assert re.match(text, found), found


def test_a_clip_of_zero_clips_to_zero() -> None:
    """ONNX clips nothing only where the attribute is absent; onnxruntime's LSTM and GRU take no clip of 0."""
    graph = changed("RNN", clip=0.0)
    outputs = run(graph.model(), feeds(graph, [5, 3, 2, 1]))
    assert all((value == 0).all() for value in outputs.values())


@pytest.mark.parametrize("names", [["Tanh", "Relu"], ["Relu", "Tanh"]])
def test_directions_of_different_activations_are_refused(names: list[str], tmp_path: Path) -> None:
    graph = network("RNN", 1, 2, activations=names)
    assert problem(tmp_path, graph).startswith(f"activations={', '.join(names)}: ")


def peepholes(value: float) -> Graph:
    graph = changed("LSTM")
    graph.nodes[0].input.append(graph.constant("P", np.full((1, 3 * H), value, "float32")))
    return graph


def test_peepholes_are_refused_unless_they_are_zero(tmp_path: Path) -> None:
    assert problem(tmp_path, peepholes(0.1)) == "it has peepholes (P): no LSTM here sees c in its gates"
    assert only_layer(tmp_path / "model.onnx", peepholes(0).model()).notes == (
        "its peepholes (P) are zeros: they are left out",
    )


def without_weights(graph: Graph) -> None:
    """R becomes an input of the graph."""
    graph.initializers = [one for one in graph.initializers if one.name != "R_0"]
    graph.input("R_0", TensorProto.FLOAT, 3)


def computed(graph: Graph) -> None:
    """R is what an operator makes that is not computed here."""
    graph.nodes.insert(0, helper.make_node("Sin", ["R_0"], ["sin"], name="wave"))
    graph.nodes[1].input[2] = "sin"


def missing(graph: Graph) -> None:
    graph.nodes[0].input[2] = ""


def not_finite(graph: Graph) -> None:
    value = onnx.numpy_helper.to_array(graph.initializers[1]).copy()
    value[0, 0, 0] = np.nan
    graph.initializers[1].CopyFrom(tensor("R_0", value))


def too_narrow(graph: Graph) -> None:
    graph.initializers[2].CopyFrom(tensor("B_0", np.ones((1, 7), "float32")))


def mixed(graph: Graph) -> None:
    graph.initializers[0].CopyFrom(tensor("W_0", np.ones((1, 3 * H, 2), "float64")))


CHANGES: list[tuple[Callable[[Graph], None], str]] = [
    (without_weights, "its R is not a constant of the file: 'R_0' is an input of the graph"),
    (computed, "its R is not a constant of the file: 'sin' is computed by Sin 'wave'"),
    (missing, "it has no R"),
    (not_finite, "weight_hh_l0: expected finite"),
    (too_narrow, "B_0[0]: expected (6H,)"),
    (mixed, "R_0[0]: expected float64"),
]


@pytest.mark.parametrize(("change", "text"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_weights_that_cannot_be_had_are_refused(change: Callable[[Graph], None], text: str, tmp_path: Path) -> None:
    graph = changed("GRU")
    change(graph)
    assert text in problem(tmp_path, graph)


def test_operators_of_other_domains_are_refused_by_name(tmp_path: Path) -> None:
    graph = changed("LSTM")
    graph.nodes[0].op_type, graph.nodes[0].domain = "DynamicQuantizeLSTM", "com.microsoft"
    imports = [helper.make_opsetid("com.microsoft", 1)]
    text = "DynamicQuantizeLSTM is an operator of 'com.microsoft': it computes with integers"
    assert problem(tmp_path, graph, imports=imports).startswith(text)
    graph.nodes[0].op_type = "PhasedLSTM"
    assert "only RNN, LSTM and GRU of ONNX" in problem(tmp_path, graph, imports=imports)


def quantised() -> tuple[Graph, np.ndarray]:
    """R as int8, with a scale and a zero point for each row."""
    graph, rng = changed("RNN"), np.random.default_rng(0)
    stored = rng.integers(-128, 128, (1, H, H)).astype("int8")
    scale, zero = rng.uniform(0.01, 0.02, H).astype("float32"), rng.integers(-9, 9, H).astype("int8")
    graph.initializers[1].CopyFrom(tensor("R_0", stored))
    inputs = ["R_0", graph.constant("scale", scale), graph.constant("zero", zero)]
    graph.nodes.insert(0, helper.make_node("DequantizeLinear", inputs, ["R"], axis=1))
    graph.nodes[1].input[2] = "R"
    wanted = (stored[0].astype("float32") - zero[:, None].astype("float32")) * scale[:, None]
    return graph, wanted


def test_weights_that_are_dequantised_are_read_and_noted(tmp_path: Path) -> None:
    graph, wanted = quantised()
    layer: Found = only_layer(tmp_path / "model.onnx", graph.model())
    assert (layer.params["weight_hh_l0"] == wanted).all()
    (note,) = layer.notes
    assert note.startswith("R: dequantised as the file says (DequantizeLinear)")


def test_constant_states_and_lengths_are_noted(tmp_path: Path) -> None:
    graph = changed("GRU")
    graph.initializers.append(tensor("h0_0", np.ones((1, B, H), "float32")))
    graph.initializers.append(tensor("lengths", np.full(B, 2, "int32")))
    graph.inputs = graph.inputs[:1]
    notes = only_layer(tmp_path / "model.onnx", graph.model()).notes
    assert [note.partition(" is a constant")[0] for note in notes] == ["initial_h", "sequence_lens"]
    graph.initializers[-2].CopyFrom(tensor("h0_0", np.zeros((1, B, H), "float32")))
    assert len(only_layer(tmp_path / "model.onnx", graph.model()).notes) == 1


def test_the_batch_may_come_first(tmp_path: Path) -> None:
    layer = only_layer(tmp_path / "model.onnx", changed("GRU", layout=1).model())
    assert layer.notes == ("layout=1: in the file, x, y and the states have the batch first",)


ATTRIBUTE = onnx.AttributeProto
OTHER_TYPES: list[dict[str, Any]] = [
    {"name": "clip", "type": ATTRIBUTE.STRING, "s": b"3"},
    {"name": "direction", "type": ATTRIBUTE.INTS, "ints": [1]},
    {"name": "activations", "type": ATTRIBUTE.INTS, "ints": [1]},
    {"name": "activation_alpha", "type": ATTRIBUTE.FLOAT, "f": 1.0},
    {"name": "hidden_size", "type": ATTRIBUTE.TENSOR},
]


@pytest.mark.parametrize("attribute", OTHER_TYPES, ids=lambda value: value["name"])
def test_attributes_of_another_type_are_refused(attribute: dict[str, Any], tmp_path: Path) -> None:
    graph = changed("GRU")
    del graph.nodes[0].attribute[:]
    graph.nodes[0].attribute.append(ATTRIBUTE(**attribute))
    assert problem(tmp_path, graph) == f"its {attribute['name']} is of another type than ONNX gives it"


def constants(graph: Graph) -> list[dict[str, Any]]:
    """The initializers as nodes instead, each with another attribute; and what is none of numbers."""
    made = [{"value": graph.initializers[0]}]
    made += [{"value_string": "text"}, {"value_floats": [1.0]}, {"value_int": 1}]
    return made


def test_constants_are_nodes_too(tmp_path: Path) -> None:
    texts = ["", "W is not a constant", "W: expected 3 axes", "W: expected 3 axes"]
    for place, text in enumerate(texts):
        graph = changed("RNN")
        options = constants(graph)[place]
        graph.nodes.insert(0, helper.make_node("Constant", [], ["W"], **options))
        graph.nodes[1].input[1] = "W"
        graph.initializers = graph.initializers[1:]
        (layer,) = read(tmp_path / "model.onnx", graph.model()).layers or []
        assert text in layer.problem
        assert bool(text) == bool(layer.problem)


def test_operators_with_nonsense_are_refused(tmp_path: Path) -> None:
    """Too many outputs, too few inputs, attributes that are missing or of no sense."""
    nonsense: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Identity", ["R_0"], {}),
        ("Transpose", ["R_0"], {"perm": [0, 0, 9]}),
        ("Transpose", ["R_0"], {"perm": "text"}),
        ("Concat", ["R_0", "R_0"], {}),
        ("Concat", ["R_0", "W_0"], {"axis": 0}),
        ("Concat", ["R_0", ""], {"axis": 0}),
        ("Reshape", ["R_0"], {"shape": [-1, -1]}),
        ("Reshape", ["R_0", "R_0"], {}),
        ("Slice", ["R_0"], {"starts": [0], "ends": [1, 2]}),
        ("Split", ["R_0"], {"axis": 7}),
        ("Gather", ["R_0", "R_0"], {}),
        ("Cast", ["R_0"], {"to": 8}),
        ("ConstantOfShape", ["R_0"], {}),
        ("Expand", ["R_0", "W_0"], {}),
        ("Add", ["R_0"], {}),
        ("Mul", ["R_0", "B_0"], {}),
        ("DequantizeLinear", ["R_0", "B_0"], {}),
        ("Unsqueeze", ["R_0"], {"axes": [99]}),
    ]
    for op, inputs, attributes in nonsense:
        graph = changed("RNN")
        outputs = ["first", "R"] if op == "Identity" else ["R"]
        graph.nodes.insert(0, helper.make_node(op, inputs, outputs, **attributes))
        graph.nodes[1].input[2] = "R"
        assert problem(tmp_path, graph).startswith("its R is not a constant of the file: "), op

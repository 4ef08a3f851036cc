"""ONNX models that the tests build with ``onnx.helper`` from random weights of their own, and run by onnxruntime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from common.weights import files
from common.weights.source import Found, WeightsFile

T, B, I, H = 5, 4, 3, 6
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def tensor(name: str, value: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)


def weights(cell: str, level: int, columns: int, directions: int, dtype: str = "float32") -> dict[str, np.ndarray]:
    """W, R and B of one operator, each number of them distinct."""
    rng, rows = np.random.default_rng([level, len(cell)]), GATES[cell] * H
    shapes = {"W": (directions, rows, columns), "R": (directions, rows, H), "B": (directions, 2 * rows)}
    return {f"{part}_{level}": (0.5 * rng.normal(size=shape)).astype(dtype) for part, shape in shapes.items()}


class Graph:
    """A graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.functions: list[Any] = []

    def add(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), **attributes))
        return outputs[0]

    def constant(self, name: str, value: Any) -> str:
        self.initializers.append(tensor(name, value))
        return name

    def input(self, name: str, kind: int, rank: int) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, [None] * rank))
        return name

    def output(self, name: str, kind: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def model(self, opset: int = 17, imports: Sequence[Any] = ()) -> Any:
        graph = helper.make_graph(self.nodes, "test", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", opset), *imports]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=self.functions)


def joined(graph: Graph, y: str, level: int, directions: int) -> str:
    """(T, D, B, H) -> (T, B, D*H), as torch.onnx.export writes it for two directions and for one."""
    if directions == 1:
        return graph.add("Squeeze", [y, graph.constant(f"axis_{level}", np.array([1]))], [f"x_{level + 1}"])
    turned = graph.add("Transpose", [y], [f"turned_{level}"], perm=[0, 2, 1, 3])
    return graph.add("Reshape", [turned, graph.constant(f"joined_{level}", np.array([0, 0, -1]))], [f"x_{level + 1}"])


def network(cell: str, layers: int = 2, directions: int = 2, dtype: str = "float32", **attributes: Any) -> Graph:
    """A stack with lengths and initial states as inputs; outputs are Y of the last layer and every final state."""
    graph, kind = Graph(), TYPES[dtype]
    x, states = graph.input("x", kind, 3), "hc" if cell == "LSTM" else "h"
    graph.input("lengths", TensorProto.INT32, 1)
    for level in range(layers):
        columns = I if level == 0 else directions * H
        arrays = weights(cell, level, columns, directions, dtype)
        names = [graph.constant(name, value) for name, value in arrays.items()]
        initial = [graph.input(f"{state}0_{level}", kind, 3) for state in states]
        outputs = [f"y_{level}", *(f"{state}_{level}" for state in states)]
        options = {"hidden_size": H, "direction": "bidirectional" if directions == 2 else "forward"} | attributes
        graph.add(cell, [x, *names, "lengths", *initial], outputs, name=f"node_{level}", **options)
        for name in outputs[1:]:
            graph.output(name, kind)
        x = joined(graph, f"y_{level}", level, directions)
    graph.output(x, kind)
    return graph


def feeds(graph: Graph, lengths: Sequence[int], seed: int = 0) -> dict[str, np.ndarray]:
    rng, given = np.random.default_rng(seed), {}
    for item in graph.inputs:
        rows = len(graph.initializers[0].dims) and graph.initializers[0].dims[0]
        shape = (T, B, I) if item.name == "x" else (rows, B, H)
        given[item.name] = rng.normal(size=shape).astype("float32")
    return given | {"lengths": np.array(lengths, "int32")}


def run(model: Any, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by name, by onnxruntime."""
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(given)), strict=True))


def saved(path: Path, model: Any) -> Path:
    onnx.save(model, path)
    return path


def read(path: Path, model: Any) -> WeightsFile:
    return files.read(saved(path, model))


def only_layer(path: Path, model: Any) -> Found:
    """The one layer of a model, which can be used."""
    (layer,) = read(path, model).layers or []
    assert not layer.problem, layer.problem
    return layer

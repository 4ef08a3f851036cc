"""ONNX models: the layers are the operators RNN, LSTM and GRU of the graph, wherever they stand in it.

Nothing of the model is run. A weight may be an initializer, a Constant, or what follows from them
(``onnx_graph.folding``). Operators of which each passes its Y on to the next are the layers of one network. Arrays that
no operator takes are looked through by their names, as exporters that write a cell as products and sums keep PyTorch's.

A weight holds its directions along its first axis; the arrays here are those of one direction, ``NAME[0]`` and
``NAME[1]``. ONNX has no checksums, so damage to a number goes unnoticed.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.model.layout import Parameters
from common.weights import schemes
from common.weights.onnx_graph import model as onnx_model
from common.weights.onnx_graph import wire
from common.weights.onnx_graph.model import Model
from common.weights.onnx_graph.operators import NotConstant
from common.weights.onnx_graph.scopes import DOMAINS, Scope
from common.weights.onnx_graph.stacks import Stack
from common.weights.onnx_graph.tensors import Unsupported
from common.weights.schemes.layers import found
from common.weights.source import Found, Source, WeightsFile, Where

SUFFIX = ".onnx"
NO_OPERATOR = (
    "found by the names of its arrays: the graph has no recurrent operator for them (torch.onnx.export writes cells, "
    "and with dynamo=True an RNN, as products and sums), and what it computes from them was not compared"
)
NOTHING = (
    "the graph has no operator RNN, LSTM or GRU, and no arrays with the names of one; as products and sums, "
    "torch.onnx.export writes cells, and with dynamo=True an RNN, and tf2onnx the GRU and SimpleRNN of Keras: "
    "take the file of weights that the model was exported from"
)


def fits(source: Source) -> bool:
    if source.entries is not None:
        return False
    return source.path.suffix.lower() == SUFFIX or wire.looks_like_a_model(source.data)


def read(source: Source) -> WeightsFile:
    """The recurrent layers, and all arrays of numbers. Raises ``Unusable``, ``BackendMissing``, ``BackendBroken``."""
    reading = _Reading(onnx_model.opened(source.path, source.data))
    reading.arrays()
    for stack in reading.model.stacks:
        reading.layer(stack)
    by_name = schemes.find({name: reading.params[name] for name in reading.params if name not in reading.taken})
    layers = *reading.layers, *(layer._replace(notes=(*layer.notes, NO_OPERATOR)) for layer in by_name)
    return WeightsFile(
        path=source.path,
        format="ONNX",
        params=reading.params,
        notes=() if layers else (NOTHING,),
        layers=layers,
        skipped=reading.skipped,
    )


class _Reading:
    """What has been found in a model so far."""

    def __init__(self, model: Model):
        self.model = model
        self.params: Parameters = {}
        self.skipped: dict[str, str] = {}
        self.layers: list[Found] = []
        self.taken: set[str] = set()
        self._names: dict[tuple[int, str], str] = {}
        self._owners: dict[str, int] = {}
        self._twins: dict[tuple[Any, bytes], int] = {}

    def name(self, scope: Scope, name: str) -> str:
        """The name of a value in ``params``: as it is in its graph, after the path of the graph where two have it."""
        scope, name = scope.resolved(name) or (scope, name)
        key = (id(scope.graph), name)
        if key not in self._names:
            unique = name if name not in self._owners else f"{scope.path}{name}"
            while unique in self._owners:
                self._owners[name] += 1
                unique = f"{scope.path}{name}#{self._owners[name]}"
            self._owners[unique] = 1
            self._names[key] = unique
        return self._names[key]

    def arrays(self) -> None:
        """Every initializer and constant of floating-point numbers, and of integers where they fill a matrix."""
        graphs = set()
        for scope in self.model.scopes:
            if id(scope.graph) in graphs:
                continue
            graphs.add(id(scope.graph))
            for name, tensor in self._tensors(scope):
                try:
                    array = self.model.tensors.array(tensor)
                except Unsupported as reason:
                    self.skipped[self.name(scope, name)] = str(reason)
                    continue
                if array.ndim > 1 or (array.ndim and array.dtype.kind not in "iub"):
                    self.params[self.name(scope, name)] = array
            for sparse in getattr(scope.graph, "sparse_initializer", ()):
                self.skipped[sparse.values.name] = "it is sparse"

    def _tensors(self, scope: Scope) -> Iterator[tuple[str, Any]]:
        yield from scope.initializers.items()
        for node in scope.graph.node:
            if node.op_type == "Constant" and node.domain in DOMAINS and len(node.output):
                for attribute in node.attribute:
                    if attribute.name == "value" and attribute.HasField("t"):
                        yield node.output[0], attribute.t

    def layer(self, stack: Stack) -> None:
        """Add the layers of one network; operators in two branches with the same weights are one."""
        first = stack.layers[0]
        where: Where = {}
        arrays: Parameters = {}
        for level, operator in enumerate(stack.layers):
            for direction, ending in enumerate(operator.directions):
                names = where.setdefault(f"_l{level}{ending}", {})
                for part, weight in operator.weights.items():
                    names[part] = f"{self.name(operator.scope, operator.names[part])}[{direction}]"
                    try:
                        self.model.folding.budget.spend((3, *weight.array.shape[1:]), weight.array.dtype)
                    except NotConstant as reason:
                        self.layers.append(Found(first.path, first.layout, {}, None, {}, (), str(reason)))
                        return
                    arrays[names[part]] = np.array(weight.array[direction])
        notes = tuple(dict.fromkeys(note for operator in stack.layers for note in operator.notes))
        if first.problem:
            here = {part: self.name(first.scope, name) for part, name in first.names.items()}
            where = {"_l0": {part: name for part, name in here.items() if name in self.params}}
            result = Found(first.path, first.layout, where, None, {}, (), first.problem)
            self.taken |= set(result.names)
        else:
            with np.errstate(all="ignore"):  # numbers that are not finite are refused below
                result = found(first.path, first.layout, where, arrays, **first.options)
            result = result._replace(notes=(*result.notes, *notes))
        self._take(stack, arrays)
        twin = self._twin(result)
        if twin is not None:
            same = f"{result.path} has the same weights"
            self.layers[twin] = self.layers[twin]._replace(notes=(*self.layers[twin].notes, same))
            return
        self.layers.append(result)
        self.params |= arrays
        self.taken |= set(arrays)

    def _take(self, stack: Stack, arrays: Parameters) -> None:
        """The constants that the weights are made of count as the layer's, not as arrays of their own."""
        for operator in stack.layers:
            for weight in operator.weights.values():
                for scope, name in weight.sources:
                    self.params.pop(self.name(scope, name), None)

    def _twin(self, layer: Found) -> int | None:
        """The place of a layer with the same specification and weights; that of this one is remembered."""
        if layer.problem:
            return None
        digest = hashlib.blake2b()
        for value in layer.params.values():
            digest.update(value.tobytes())
        place = self._twins.setdefault((layer.spec, digest.digest()), len(self.layers))
        return place if place < len(self.layers) else None

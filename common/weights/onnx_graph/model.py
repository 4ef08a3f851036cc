"""An ONNX model opened: parsed, its scopes, and its recurrent operators as the layers of networks."""

from pathlib import Path
from typing import Any, NamedTuple

from common.weights import limits
from common.weights.onnx_graph import nodes, stacks, wire
from common.weights.onnx_graph.folding import Folding
from common.weights.onnx_graph.scopes import Scope, scopes
from common.weights.onnx_graph.stacks import Stack
from common.weights.onnx_graph.tensors import Tensors

# Constants may take this many times the bytes of the file, and a little more for small files; and where they lie in
# another file, this many bytes.
TIMES, MORE, EXTERNAL = limits.RATIO, limits.MiB, limits.MAX_FILE


class Model(NamedTuple):
    proto: Any
    tensors: Tensors
    scopes: tuple[Scope, ...]
    folding: Folding
    stacks: tuple[Stack, ...]


def opened(path: Path, data: bytes) -> Model:
    """A model of these bytes, whose other files lie beside ``path``. Raises ``Unusable``."""
    onnx = wire.import_onnx(path)
    proto = wire.parse(onnx, data)
    tensors = Tensors(onnx, path.parent)
    every = tuple(scopes(proto))
    outside = any(
        tensor.data_location == onnx.TensorProto.EXTERNAL for scope in every for tensor in scope.initializers.values()
    )
    folding = Folding(tensors, EXTERNAL if outside else TIMES * len(data) + MORE)
    calls = frozenset((function.domain, function.name) for function in proto.functions)
    read = [nodes.read(folding, *place) for place in nodes.located(every, calls)]
    return Model(proto, tensors, every, folding, tuple(stacks.stacks(tensors, read)))

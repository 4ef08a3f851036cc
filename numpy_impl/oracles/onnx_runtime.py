"""The recurrent operators of an ONNX file, run by onnxruntime, or in float64 by ONNX's own reference implementation.

The operators of one layer path are cut out of the file as they stand there, with the constants and operators from
which the file makes their weights and, between two layers, those that join the directions: they are computed by the
library, not by this package's reader, which only says where the operators are. What is replaced are X, the lengths and
the initial states, which become inputs. An operator that has the batch first (``layout=1``, which onnxruntime refuses)
or that its file joins to the next for one T and B only runs alone, and NumPy passes its output on.

onnxruntime computes these operators in float32. ONNX's ``ReferenceEvaluator`` computes float64, and ignores
``sequence_lens`` without a word (as of onnx 1.23), so it is given one sequence at a time; it has no Relu for its RNN,
which is added. Neither differentiates them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx.external_data_helper import load_external_data_for_tensor
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops import op_rnn

from common.errors import InvalidInput, mismatch
from common.weights.onnx_graph.model import Model, opened
from common.weights.onnx_graph.nodes import B, Recurrent
from common.weights.onnx_graph.scopes import DOMAINS, Scope
from common.weights.onnx_graph.stacks import Stack
from common.weights.peers import PeerGradients, State
from common.weights.source import Found

TYPES = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}
# Versions that every release of onnxruntime since 1.18 knows; older files get the first.
IR_VERSIONS = (8, 10)

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


class _Cut:
    """A new graph of what some operators of a model need; a name in it is that in the file after its scope's number."""

    def __init__(self, model: Model, folder: Path):
        self.model, self.folder = model, folder
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.made: set[str] = set()

    def named(self, scope: Scope, name: str) -> str:
        number = next(k for k, one in enumerate(self.model.scopes) if one is scope)
        return f"{number}/{name}"

    def value(self, scope: Scope, name: str) -> str:
        """Take over whatever makes a value, and return its name here."""
        place = scope.resolved(name)
        if place is None:
            raise InvalidInput(mismatch("what an operator needs", "constants of the file", f"{name}, an input"))
        scope, name = place
        new = self.named(scope, name)
        if new in self.made:
            return new
        self.made.add(new)
        if name in scope.initializers:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(scope.initializers[name])
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                load_external_data_for_tensor(tensor, str(self.folder))
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
            tensor.name = new
            self.initializers.append(tensor)
            return new
        node = scope.producers[name]
        outputs = [self.named(scope, one) if one else "" for one in node.output]
        self.made |= set(outputs)
        self.add(scope, node, [self.value(scope, one) if one else "" for one in node.input], outputs)
        return new

    def add(self, scope: Scope, node: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """A copy of a node with other names; of its attributes, ``layout`` falls away."""
        copy = onnx.helper.make_node(node.op_type, inputs, outputs, domain=node.domain)
        for name, attribute in scope.attributes(node).items():
            if name != "layout":
                copy.attribute.add().CopyFrom(attribute)
                copy.attribute[-1].name = name
        self.nodes.append(copy)

    def operator(self, layer: Recurrent, level: int, x: str, states: int, with_lengths: bool) -> list[str]:
        """A recurrent operator; what it is given are inputs of the new graph. Returns the names of its outputs."""
        weights = [self.value(layer.scope, name) if name else "" for name in layer.node.input[1 : B + 1]]
        weights += [""] * (B - len(weights))
        given = ["sequence_lens" if with_lengths else "", *(f"initial_{name}_{level}" for name in "hc"[:states])]
        y = layer.node.output[0]
        outputs = [self.named(layer.scope, y) if y else f"Y_{level}", *(f"Y_{name}_{level}" for name in "hc"[:states])]
        self.made.add(outputs[0])
        self.add(layer.scope, layer.node, [x, *weights, *given], outputs)
        return outputs

    def proto(self, inputs: Sequence[str], outputs: Sequence[str], dtype: str) -> Any:
        info, int32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.INT32
        types = {name: int32 if name == "sequence_lens" else TYPES[dtype] for name in (*inputs, *outputs)}
        graph = onnx.helper.make_graph(
            self.nodes,
            "layer",
            [info(name, types[name], [None] * (1 if name == "sequence_lens" else 3)) for name in inputs],
            [info(name, types[name], None) for name in outputs],
            self.initializers,
        )
        version = min(max(self.model.proto.ir_version, IR_VERSIONS[0]), IR_VERSIONS[1])
        imports = [one for one in self.model.proto.opset_import if one.domain in DOMAINS]
        return onnx.helper.make_model(graph, opset_imports=imports, ir_version=version)


class _Part(NamedTuple):
    """Operators that run together, from ``start`` on."""

    run: Run
    start: int
    layers: int


class OnnxLayer:
    """The operators of one layer path (``peers.Loaded``)."""

    def __init__(self, path: Path, layer: Found):
        if layer.spec is None or layer.spec.dtype not in TYPES:
            raise InvalidInput(
                mismatch(f"layer {layer.path}", f"one of {' or '.join(TYPES)}", layer.problem or "another")
            )
        self.dtype = layer.spec.dtype
        model = opened(path, path.read_bytes())
        stack = next((stack for stack in model.stacks if stack.layers[0].path == layer.path), None)
        if stack is None:
            cause = "found by the names of its arrays?"
            raise InvalidInput(mismatch("layer", "a recurrent operator of the file", repr(layer.path), cause))
        first = stack.layers[0]
        self.directions, self.states = len(first.directions), 2 if "LSTM" in first.layout else 1
        self.parts = self._parts(model, path.parent, stack)

    def _parts(self, model: Model, folder: Path, stack: Stack) -> list[_Part]:
        layers = stack.layers
        if not stack.sizes and not layers[0].batch_first:
            return [self._part(model, folder, layers, 0)]
        return [self._part(model, folder, layers[k : k + 1], k) for k in range(len(layers))]

    def _part(self, model: Model, folder: Path, layers: Sequence[Recurrent], start: int) -> _Part:
        cut, with_lengths = _Cut(model, folder), self.dtype == "float32"
        inputs, outputs, y = ["X", *(["sequence_lens"] if with_lengths else [])], [], ""
        for level, layer in enumerate(layers):
            x = cut.value(layer.scope, layer.node.input[0]) if level else "X"
            y, *last = cut.operator(layer, start + level, x, self.states, with_lengths)
            inputs += [f"initial_{name}_{start + level}" for name in "hc"[: self.states]]
            outputs += last
        proto = cut.proto(inputs, [y, *outputs], self.dtype)
        return _Part(_session(proto) if with_lengths else _reference(proto), start, len(layers))

    def forward(self, x: np.ndarray, state0: State, lengths: np.ndarray | None = None) -> tuple[np.ndarray, State]:
        """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state."""
        if self.dtype == "float32" or lengths is None:
            return self._forward(x, state0, lengths)
        y = np.zeros((*x.shape[:2], state0[0].shape[2] * self.directions), self.dtype)
        last = tuple(np.empty(part.shape, self.dtype) for part in state0)
        for b, end in enumerate(lengths):
            one = slice(b, b + 1)
            y[:end, one], ends = self._forward(x[:end, one], tuple(part[:, one] for part in state0), None)
            for part, value in zip(last, ends, strict=True):
                part[:, one] = value
        return y, last

    def _forward(self, x: np.ndarray, state0: State, lengths: np.ndarray | None) -> tuple[np.ndarray, State]:
        (T, B_), D, y = x.shape[:2], self.directions, np.ascontiguousarray(x, self.dtype)
        finals: list[list[np.ndarray]] = [[] for _ in state0]
        for part in self.parts:
            feeds = {"X": y}
            for level in range(part.start, part.start + part.layers):
                for name, value in zip("hc", state0, strict=False):
                    feeds[f"initial_{name}_{level}"] = np.ascontiguousarray(
                        value[level * D : (level + 1) * D], self.dtype
                    )
            if self.dtype == "float32":
                feeds["sequence_lens"] = np.full(B_, T, "int32") if lengths is None else lengths.astype("int32")
            out, *last = part.run(feeds)
            y = np.ascontiguousarray(out.transpose(0, 2, 1, 3)).reshape(T, B_, -1)
            for k, value in enumerate(last):
                finals[k % self.states].append(value)
        return y, tuple(np.concatenate(values) for values in finals)

    def vjp(
        self, x: np.ndarray, state0: State, dy: np.ndarray, dstate: State, lengths: np.ndarray | None = None
    ) -> PeerGradients:
        raise InvalidInput(mismatch("gradients of onnxruntime", "another peer", "onnxruntime, which computes none"))


def _session(proto: Any) -> Run:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    try:
        session: Any = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an error of its own for each of its codes
        text = " ".join(str(error).split())[:300]
        raise InvalidInput(mismatch("the layer's operators", "some that onnxruntime runs", text)) from error
    return lambda feeds: session.run(None, dict(feeds))


class RNN(op_rnn.RNN_14):
    """The reference's RNN with the activation that it lacks; its recurrence is its own."""

    op_domain = ""

    def choose_act(self, name: str, alpha: Any, beta: Any) -> Any:
        if name.lower() == "relu":
            return lambda x: np.maximum(x, 0)
        return super().choose_act(name, alpha, beta)


def _reference(proto: Any) -> Run:
    try:
        evaluator = ReferenceEvaluator(proto, new_ops=[RNN])
    except (RuntimeError, NotImplementedError) as error:
        cause = "onnxruntime runs these operators in float32 only"
        raise InvalidInput(
            mismatch("the layer's operators", "some that ONNX's reference runs", error, cause)
        ) from error

    def run(feeds: Mapping[str, np.ndarray]) -> Any:
        return evaluator.run(None, dict(feeds))

    return run


class OnnxRuntimePeer:
    """See ``peers.Peer``."""

    name = "onnxruntime"
    dtypes = frozenset(TYPES)
    options = frozenset({"num_layers", "bidirectional", "lengths", "reset_before"})
    has_gradients = False

    def versions(self) -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}

    def load(self, path: Path, layer: Found) -> OnnxLayer:
        return OnnxLayer(path, layer)


PEER = OnnxRuntimePeer()

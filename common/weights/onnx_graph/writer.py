"""A new ONNX model of one recurrent network.

Its inputs are X (T, B, I), the initial states (D*L, B, H) and ``sequence_lens`` (B,), which may be left out: -1, its
default, stands for all T steps. Its outputs are Y (T, B, D*H), zero past the end of a sequence, and the final states
(D*L, B, H). The form is that of opset 17, which every runtime of recent years reads.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.model.spec import ModelSpec
from common.weights.onnx_graph import wire

OPSET, IR_VERSION = 17, 8
# Names of the final states' inputs and outputs.
STATES = {"h": ("initial_h", "Y_h"), "c": ("initial_c", "Y_c")}


def write(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays under the names of ``schemes.onnx_operators``; both directions become one initializer."""
    onnx = wire.import_onnx(path)
    stacked: dict[str, list[np.ndarray]] = {}
    for name in sorted(arrays):
        stacked.setdefault(name.partition("[")[0], []).append(arrays[name])
    tensors = {name: np.stack(parts) for name, parts in stacked.items()}
    model = onnx.helper.make_model(
        _graph(onnx, spec, tensors),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rnn-rosetta",
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _graph(onnx: Any, spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> Any:
    node, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    states, D, L = STATES if len(spec.state_sizes) > 1 else {"h": STATES["h"]}, spec.num_directions, spec.num_layers
    constants = {"join": np.array([0, 0, -1]), "zero": np.array(0, "int32"), "sequence_lens": np.array([-1], "int32")}
    constants |= {"sizes": np.full(L, D)} if L > 1 else {}
    nodes = [
        node("Shape", ["X"], ["T_size"], start=0, end=1),
        node("Shape", ["X"], ["B_size"], start=1, end=2),
        node("Cast", ["T_size"], ["T"], to=onnx.TensorProto.INT32),
        node("Less", ["sequence_lens", "zero"], ["is_whole"]),
        node("Where", ["is_whole", "T", "sequence_lens"], ["given"]),
        node("Expand", ["given", "B_size"], ["lengths"]),
    ]
    parts: dict[str, list[str]] = {}
    for state, (given, _) in states.items():
        parts[state] = [f"{given}_l{level}" for level in range(L)] if L > 1 else [given]
        nodes += [node("Split", [given, "sizes"], parts[state], axis=0)] if L > 1 else []
    kind, x, finals = spec.kind.layer, "X", {state: [] for state in states}
    options = _attributes(spec)
    for level in range(L):
        bias = f"B_l{level}" if f"B_l{level}" in tensors else ""
        inputs = [x, f"W_l{level}", f"R_l{level}", bias, "lengths", *(parts[state][level] for state in states)]
        ends = {state: f"{final}_l{level}" if L > 1 else final for state, (_, final) in states.items()}
        name = kind if L == 1 else f"{kind}_l{level}"
        nodes.append(node(kind, inputs, [f"directions_l{level}", *ends.values()], name=name, **options))
        x = "Y" if level == L - 1 else f"Y_l{level}"
        nodes.append(node("Transpose", [f"directions_l{level}"], [f"steps_l{level}"], perm=[0, 2, 1, 3]))
        nodes.append(node("Reshape", [f"steps_l{level}", "join"], [x]))
        for state, end in ends.items():
            finals[state].append(end)
    if L > 1:
        nodes += [node("Concat", finals[state], [states[state][1]], axis=0) for state in states]
    inputs, outputs = _ends(onnx, spec, states)
    initializers = [tensor(value, name) for name, value in (constants | dict(tensors)).items()]
    return onnx.helper.make_graph(nodes, spec.label, inputs, outputs, initializers)


def _ends(onnx: Any, spec: ModelSpec, states: Mapping[str, tuple[str, str]]) -> tuple[list[Any], list[Any]]:
    """The inputs and the outputs, with their sizes by name where a caller chooses them."""
    kind, info = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), onnx.helper.make_tensor_value_info
    rows = [spec.num_directions * spec.num_layers, "batch", spec.hidden_size]
    inputs = [info("X", kind, ["steps", "batch", spec.input_size])]
    inputs += [info(given, kind, rows) for given, _ in states.values()]
    inputs.append(info("sequence_lens", onnx.TensorProto.INT32, ["batch or 1"]))
    outputs = [info("Y", kind, ["steps", "batch", spec.output_size])]
    return inputs, outputs + [info(final, kind, rows) for _, final in states.values()]


def _attributes(spec: ModelSpec) -> dict[str, Any]:
    options: dict[str, Any] = {"hidden_size": spec.hidden_size}
    options["direction"] = "bidirectional" if spec.bidirectional else "forward"
    if spec.kind.layer == "GRU":
        options["linear_before_reset"] = int(spec.reset_after)
    if spec.kind.layer == "RNN":
        options["activations"] = [spec.nonlinearity.capitalize()] * spec.num_directions
    return options

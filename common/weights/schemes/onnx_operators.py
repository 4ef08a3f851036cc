"""The inputs of ONNX's operators in a new model: ``W_l0``, ``R_l0``, ``B_l0`` of each layer, one for both directions.

Layers are read by the graph (``formats.onnx_files``), not by names, so nothing is found here.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.source import Found, Where


def find(arrays: Mapping[str, np.ndarray]) -> Iterable[Found]:
    return ()


def places(spec: ModelSpec) -> tuple[str, Where]:
    """Raises ``InvalidInput`` for one step, an LSTM without a forget gate, and a projection."""
    layer = spec.kind.layer
    if spec.is_cell:
        raise InvalidInput(mismatch("cell", "a layer", spec.cell, "ONNX has no operator for one step"))
    if layer == "LSTM1997":
        raise InvalidInput(mismatch("cell", "RNN, LSTM or GRU", spec.cell, "ONNX has no LSTM without a forget gate"))
    if spec.proj_size:
        raise InvalidInput(mismatch("proj_size", "0", spec.proj_size, "ONNX's LSTM has no projection"))
    layout = f"onnx {layer}" if spec.reset_after else f"onnx {layer}, linear_before_reset=0"
    parts = ["W", "R", *(["B"] if spec.bias else [])]
    where: Where = {}
    for suffix in layer_suffixes(spec):
        level = suffix.removesuffix("_reverse")
        where[suffix] = {part: f"{part}{level}[{int(suffix.endswith('_reverse'))}]" for part in parts}
    return layout, where

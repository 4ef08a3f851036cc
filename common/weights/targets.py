"""The kinds of files that ``write`` makes, by the name that ``--to`` takes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.model.spec import ModelSpec
from common.weights.onnx_graph import writer
from common.weights.schemes import onnx_operators, torch_names
from common.weights.source import Target


def _npz(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **dict(arrays))  # pyright: ignore


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("npz", ".npz", "NumPy arrays under PyTorch's names", torch_names, _npz, "torch"),
        Target("onnx", ".onnx", "an ONNX model of the layer", onnx_operators, writer.write, "onnxruntime"),
    )
}

"""The kinds of files that ``write`` makes, by the name that ``--to`` takes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.model.spec import ModelSpec
from common.weights.formats import leaves
from common.weights.schemes import equinox_names, haiku_names, tf1_names, torch_names
from common.weights.source import Target


def _npz(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **dict(arrays))  # pyright: ignore


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("npz", ".npz", "NumPy arrays under PyTorch's names", torch_names, _npz, "torch"),
        Target("haiku", ".npz", "Haiku's parameters, as NumPy arrays", haiku_names, _npz, "haiku"),
        Target("equinox", ".eqx", "the leaves of Equinox's cells", equinox_names, leaves.write, "equinox"),
        Target("tf1", ".npz", "TensorFlow 1's variables, as NumPy arrays", tf1_names, _npz, "tf1"),
    )
}

"""Whole models in files, made and run by PyTorch, in which one layer is chosen."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.conversions.layouts import to_layout
from common.conversions.systems import LAYOUTS
from common.model.initial import initial_parameters
from common.model.layout import layer_suffixes, layer_weights
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.schemes.layers import found
from common.weights.source import Found, WeightsFile

I, H = 4, 5


def network() -> torch.nn.ModuleDict:
    """A deep encoder in both directions, two modules that fit above one another, a step, and layers that do not recur.

    Every weight and both biases are random and different.
    """
    torch.manual_seed(3)
    return torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(7, I),
            "encoder": torch.nn.LSTM(I, H, num_layers=2, bidirectional=True),
            "lower": torch.nn.RNN(2 * H, 3),
            "upper": torch.nn.RNN(3, 3),
            "wide": torch.nn.RNN(2 * H, 3, bias=False),
            "step": torch.nn.GRUCell(3, 6),
            "head": torch.nn.Linear(6, 2),
        }
    )


def saved(folder: Path, model: Any = None, name: str = "model.pt") -> Path:
    torch.save((network() if model is None else model).state_dict(), folder / name)
    return folder / name


def read(folder: Path, model: Any = None) -> WeightsFile:
    return files.read(saved(folder, model))


def inputs(steps: int = 6, batch: int = 3, width: int = I) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(8).standard_normal((steps, batch, width)).astype("float32"))


def single(path: str, layout: str, seed: int, suffix: str = "_l0", **options: Any) -> Found:
    """A module of one layer with random weights in a layout."""
    spec = ModelSpec(**{"cell": LAYOUTS[layout].cell, "input_size": I, "hidden_size": H} | options)
    params = initial_parameters(spec, seed)
    arrays: dict[str, np.ndarray] = {}
    where: dict[str, dict[str, str]] = {}
    for own in layer_suffixes(spec):
        converted = to_layout(LAYOUTS[layout], layer_weights(params, own)).params
        names = {part: f"{path}{own.removeprefix('_l0')}/{part}" for part in converted}
        where[own.replace("_l0", suffix)] = names
        arrays |= {names[part]: value for part, value in converted.items()}
    return found(path, layout, where, arrays)

"""Files of one layer's weights, how the tests read them, and what is said where they are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torch_impl
from common.errors import InvalidInput, InvalidType
from common.model.initial import initial_parameters
from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.layer import single_layer


def spec_of(cell: str, **options: Any) -> ModelSpec:
    return ModelSpec(**{"cell": cell, "input_size": 4, "hidden_size": 5} | options)


def written(file: Path, spec: ModelSpec, **changes: Any) -> Parameters:
    """Weights in a file of float32; of torch's own module where it has one, if that is what the name says."""
    params = initial_parameters(spec, 6)
    if file.suffix == ".npz":
        arrays: dict[str, Any] = params | changes
        np.savez(file, **{name: value.astype("float32") for name, value in arrays.items() if value is not None})
    else:
        options = {"bias": spec.bias} | {name: getattr(spec, name) for name in spec.options}
        package = torch.nn if hasattr(torch.nn, spec.cell) else torch_impl
        module = getattr(package, spec.cell)(spec.input_size, spec.hidden_size, **options)
        module.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in params.items()})
        torch.save(module.state_dict(), file)
    return {name: value.astype("float32").astype("float64") for name, value in params.items()}


def read(file: Path, *asked: Any) -> tuple[ModelSpec, Parameters]:
    """``asked`` are the cell, the nonlinearity and ``reset_after``, as the caller gives them."""
    spec, params, _ = single_layer(files.read(file), *asked)
    return spec, params


def refused(path: Path, *asked: Any) -> str:
    """What is said of a file that is refused, its path as FILE."""
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        read(path, *asked)
    return str(caught.value).replace(str(path), "FILE")


ABOUT = {"task": "sine", "reading": "", "options": {}, "symbols": [], "output_symbols": [], "data": ""}

"""Examples to trace: random data for a cell with random weights, or with those of a file."""

import importlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import registry, saved
from common.errors import InvalidInput, mismatch
from common.layout import Parameters, initial_parameters, layer_suffixes
from common.spec import ModelSpec, check_positive_int, check_seed
from common.tracing import Example

TORCH_FILES = (".pt", ".pth", ".bin")


def example(spec: ModelSpec, params: Parameters | None = None, *, steps: int, seed: int) -> Example:
    """One sequence of standard normal inputs, targets within +-0.8, and an initial state that is not zero.

    Without ``params`` the weights are ``layout.initial_parameters`` of the seed. The loss counts every step.
    """
    check_positive_int("steps", steps)
    check_seed(seed)
    rng = np.random.default_rng([seed, 7])
    x = rng.standard_normal((steps, 1, spec.input_size))
    target = rng.uniform(-0.8, 0.8, (steps, 1, spec.hidden_size))
    state0: Any = tuple(0.5 * rng.standard_normal(shape) for shape in spec.state_shapes(1))
    return Example(spec, params or initial_parameters(spec, seed), x, target, state0, np.ones(steps))


def read_weights(path: Path, cell: str, nonlinearity: str = "tanh") -> tuple[ModelSpec, Parameters]:
    """The model of this cell whose weights are in a file, and the weights, in float64.

    The file is one that ``rosetta train`` wrote, an ``.npz`` of arrays under torch's names, or a state_dict of
    ``torch.save``. It holds one layer in one direction.
    """
    if path.suffix in TORCH_FILES:
        registry.load("torch")  # for its errors, where torch is missing
        params = importlib.import_module("torch_impl.files").state_dict(path)
    else:
        params = _from_npz(path, cell)
    params = {name: np.asarray(value, dtype="float64") for name, value in params.items()}
    spec = _spec(path, cell, nonlinearity, params)
    return spec, params


def _from_npz(path: Path, cell: str) -> Parameters:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        wanted = f"an .npz file, or torch's ({', '.join(TORCH_FILES)})"
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(mismatch("--weights", wanted, f"{path} ({reason})")) from error
    if "about" not in arrays:
        return arrays
    network, params, _ = saved.load(path)
    own = network.model
    if own.is_lstm != cell.startswith("LSTM") or own.options:
        raise InvalidInput(mismatch(f"model in {path}", f"one layer of {cell} in one direction", own.label))
    return {name.removeprefix("rnn."): value for name, value in params.items() if name.startswith("rnn.")}


def _spec(path: Path, cell: str, nonlinearity: str, params: Mapping[str, np.ndarray]) -> ModelSpec:
    """What the shapes tell; a cell's names have no suffix, a layer's end in ``_l0``."""
    cell = cell.removesuffix("Cell") + ("Cell" if "weight_ih" in params else "")
    (suffix,) = layer_suffixes(ModelSpec(cell=cell, input_size=1, hidden_size=1))
    wanted = [name + suffix for name in ("weight_ih", "weight_hh")]
    for name in wanted:
        if name not in params or params[name].ndim != 2:
            raise InvalidInput(
                mismatch(f"names in {path}", f"{', '.join(wanted)}, matrices", ", ".join(params) or "none")
            )
    rows, columns = params[wanted[1]].shape
    gates = 4 if cell.startswith("LSTM") else 1
    if rows != gates * columns:
        cause = {4: "an LSTM's?", 3: "a GRU's?", 1: "an RNN's?"}.get(rows // columns, "")
        raise InvalidInput(mismatch(f"{wanted[1]} for {cell}", (gates * columns, columns), (rows, columns), cause))
    options: dict[str, Any] = {"bias": "bias_ih" + suffix in params, "nonlinearity": nonlinearity}
    sizes = {"input_size": params[wanted[0]].shape[1], "hidden_size": columns}
    return ModelSpec(cell=cell, **sizes, **options)


def check_numbers(what: str, numbers: tuple[int, ...], size: int) -> None:
    """Raise unless these are different numbers from 1 to ``size``."""
    if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= size for number in numbers):
        raise InvalidInput(mismatch(what, f"different numbers from 1 to {size}", ",".join(map(str, numbers)) or "none"))

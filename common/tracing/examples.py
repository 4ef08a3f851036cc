"""Examples to trace: random data for a cell with random weights, or with those of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.backend import registry
from common.cli import console
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.dtypes import widened
from common.model.initial import initial_parameters
from common.model.layout import CELL_OF_GATES, Parameters, layer_suffixes, require_parameters, split_network
from common.model.spec import ModelSpec
from common.model.validate import require_positive_int, require_seed
from common.tracing.trace import Example
from common.weights import saved, torch_files
from common.weights.npz import read_npz

TORCH_FILES = (".pt", ".pth", ".bin")


def example(spec: ModelSpec, params: Parameters | None = None, *, steps: int, seed: int) -> Example:
    """One sequence of standard normal inputs, targets within +-0.8, and an initial state that is not zero.

    Without ``params`` the weights are ``layout.initial_parameters`` of the seed. The loss counts every step.
    """
    require_positive_int("steps", steps)
    require_seed(seed)
    rng = np.random.default_rng([seed, 7])
    x = rng.standard_normal((steps, 1, spec.input_size))
    target = rng.uniform(-0.8, 0.8, (steps, 1, spec.hidden_size))
    state0: Any = tuple(0.5 * rng.standard_normal(shape) for shape in spec.state_shapes(1))
    return Example(spec, params or initial_parameters(spec, seed), x, target, state0, np.ones(steps))


def read_weights(path: Path, cell: str | None, nonlinearity: str | None = None) -> tuple[ModelSpec, Parameters]:
    """The model of this cell (None: whatever it is) whose weights are in a file, and the weights, in float64.

    The file is one that ``rosetta train`` wrote, an ``.npz`` of arrays under torch's names, or a state_dict of
    ``torch.save``. It holds one layer in one direction. Only the first tells the nonlinearity; without it
    None is tanh, said on stderr. Traces are computed in float64, in which every dtype that is taken is exact
    (``common.model.dtypes``); any other is refused.
    """
    told = None
    if path.suffix.lower() in TORCH_FILES:
        registry.load("torch")  # for its errors, where torch is missing
        params = torch_files.state_dict(path)
    else:
        params = read_npz(path, "--weights", f"an .npz file, or torch's ({', '.join(TORCH_FILES)})")
        if "about" in params:
            own, params = _trained(path, cell)
            told = own.nonlinearity
    params = _own_part(path, params)
    if nonlinearity and told and nonlinearity != told:
        raise InvalidInput(mismatch("--nonlinearity", f"{told}, as {path} tells it", nonlinearity))
    try:
        spec = _spec(cell or _likely_cell(params), told or nonlinearity or "tanh", params)
        params = {name: widened(value, np.dtype("float64")) for name, value in params.items()}
        require_parameters(spec, params)
    except (InvalidInput, InvalidType) as error:
        raise type(error)(f"weights in {path}: {error}") from error
    if not spec.is_lstm and not nonlinearity and not told:
        console.message(
            f"{path} does not tell the nonlinearity: it is taken for tanh; --nonlinearity relu is the other"
        )
    return spec, params


def _own_part(path: Path, params: Parameters) -> Parameters:
    """Of a larger module's parameters those of its one recurrent layer, as ``rnn.weight_ih_l0``, without the prefix."""
    prefixes = {name.rpartition(".")[0] for name in params if name.rpartition(".")[2].startswith("weight_hh")}
    if len(prefixes) > 1:
        raise InvalidInput(mismatch(f"recurrent layers in {path}", "one", ", ".join(sorted(prefixes))))
    prefix = next(iter(prefixes), "")
    if not prefix:
        return params
    left = [name for name in params if not name.startswith(f"{prefix}.")]
    console.message(f"{path}: {prefix}.* is taken" + f", {', '.join(left)} left out" * bool(left))
    return {name.removeprefix(f"{prefix}."): value for name, value in params.items() if name not in left}


def _likely_cell(params: Mapping[str, np.ndarray]) -> str:
    """By the rows of W_hh; what is neither is refused as an RNN."""
    shapes = [value.shape for name, value in params.items() if name.startswith("weight_hh")]
    return "LSTM" if any(len(shape) == 2 and shape[0] == 4 * shape[1] for shape in shapes) else "RNN"


def _trained(path: Path, cell: str | None) -> tuple[ModelSpec, Parameters]:
    """The recurrent model of a file that ``rosetta train`` wrote."""
    network, params, _ = saved.load(path)
    own = network.model
    other = cell is not None and own.is_lstm != cell.startswith("LSTM")
    if other or own.options or network.has_decoder:
        got = own.label + " with a decoder" * network.has_decoder
        raise InvalidInput(mismatch(f"model in {path}", f"one layer of {cell or 'a cell'} in one direction", got))
    return own, split_network(params)["rnn"]


def _spec(cell: str, nonlinearity: str, params: Mapping[str, np.ndarray]) -> ModelSpec:
    """What the shapes tell; a cell's names have no suffix, a layer's end in ``_l0``."""
    cell = cell.removesuffix("Cell") + ("Cell" if "weight_ih" in params else "")
    (suffix,) = layer_suffixes(ModelSpec(cell=cell, input_size=1, hidden_size=1))
    wanted = [name + suffix for name in ("weight_ih", "weight_hh")]
    if any(name not in params or params[name].ndim != 2 for name in wanted):
        got = ", ".join(f"{name} {value.shape}" for name, value in params.items()) or "nothing"
        raise InvalidInput(mismatch("names", f"{', '.join(wanted)}, matrices", got))
    gates, (rows, columns) = 4 if cell.startswith("LSTM") else 1, params[wanted[1]].shape
    if rows != gates * columns:
        cause = CELL_OF_GATES.get(rows // columns, "")
        cause = "a proj_size, which is not traced?" if "weight_hr" + suffix in params else cause
        raise InvalidInput(mismatch(f"{wanted[1]} for {cell}", (gates * columns, columns), (rows, columns), cause))
    options: dict[str, Any] = {"bias": "bias_ih" + suffix in params, "nonlinearity": nonlinearity}
    return ModelSpec(cell=cell, input_size=params[wanted[0]].shape[1], hidden_size=columns, **options)


def require_numbers(what: str, numbers: tuple[int, ...], size: int) -> None:
    """Raise unless these are different numbers from 1 to ``size``."""
    if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= size for number in numbers):
        raise InvalidInput(mismatch(what, f"different numbers from 1 to {size}", ",".join(map(str, numbers)) or "none"))

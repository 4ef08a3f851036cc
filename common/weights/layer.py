"""The one recurrent layer in a file of weights, as traces need it: which model it is, and its parameters in float64."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.cells import CELL_OF_BLOCKS, TABLE
from common.model.dtypes import widened
from common.model.layout import Parameters, require_parameters, split_network
from common.model.spec import ModelSpec
from common.weights.source import WeightsFile


class Layer(NamedTuple):
    """A model of one layer in one direction, its parameters, and the notes of the file and of how it was read."""

    spec: ModelSpec
    params: Parameters
    notes: tuple[str, ...]


def single_layer(file: WeightsFile, cell: str | None = None, nonlinearity: str | None = None) -> Layer:
    """The one recurrent layer of a file: of the network that ``rosetta train`` saved, or of a module of any kind.

    The names and shapes decide the model where the file does not record it; with ``cell``, any other is refused. A
    nonlinearity that neither the file nor the caller gives is tanh, with a note. Raises ``InvalidInput`` for more than
    one layer in one direction, and ``InvalidType`` for dtypes that are not exact in float64 (``common.model.dtypes``).
    """
    if file.network is None:
        part, params, notes = _recurrent_part(file)
        try:
            model = recognised(params, nonlinearity or "tanh")
        except InvalidInput as error:
            raise type(error)(f"weights in {file.path}: {error}") from error
        if "nonlinearity" in model.kind.options and nonlinearity is None:
            assumed = "assuming tanh (use --nonlinearity relu otherwise)"
            notes += (f"{file.path} does not record the nonlinearity; {assumed}",)
    else:
        model, notes = file.network.model.with_dtype("float64"), ()
        part, params = "", split_network(file.params)["rnn"]
        if nonlinearity not in (None, model.nonlinearity):
            recorded = f"{model.nonlinearity}, which {file.path} records"
            raise InvalidInput(mismatch("--nonlinearity", recorded, nonlinearity))
    has_decoder = file.network is not None and file.network.has_decoder
    if has_decoder or not model.is_single or (cell is not None and TABLE[cell].layer != model.kind.layer):
        wanted = f"one layer{f' of {cell}' if cell else ''} in one direction, without a projection"
        got = f"{model.label} with a decoder" if has_decoder else model.label
        raise InvalidInput(mismatch(f"model in {file.path}{f', {part}' if part else ''}", wanted, got))
    params = {name: widened(value, np.dtype("float64")) for name, value in params.items()}
    try:
        require_parameters(model, params)
    except (InvalidInput, InvalidType) as error:
        raise type(error)(f"weights in {file.path}: {error}") from error
    return Layer(model, params, file.notes + notes)


def _recurrent_part(file: WeightsFile) -> tuple[str, Parameters, tuple[str, ...]]:
    """The prefix of the one recurrent module in a larger one, its parameters without the prefix, and a note."""
    params = file.params
    prefixes = {name.rpartition(".")[0] for name in params if name.rpartition(".")[2].startswith("weight_hh")}
    if len(prefixes) > 1:
        raise InvalidInput(mismatch(f"recurrent modules in {file.path}", "one", ", ".join(sorted(prefixes))))
    prefix = next(iter(prefixes), "")
    if not prefix:
        return "", params, ()
    left = [name for name in params if not name.startswith(f"{prefix}.")]
    note = f"{file.path}: using {prefix}.*" + (f", leaving out {', '.join(left)}" if left else "")
    return prefix, {name.removeprefix(f"{prefix}."): params[name] for name in params if name not in left}, (note,)


def recognised(params: Mapping[str, np.ndarray], nonlinearity: str = "tanh") -> ModelSpec:
    """The model, in float64, that has parameters of these names and shapes in torch's layout.

    What no model has, such as a bias without its twin, is left for ``layout.require_parameters`` to refuse. Raises
    ``InvalidInput`` where there is no first layer, or its shapes are those of no cell.
    """
    suffix = "" if "weight_hh" in params else "_l0"
    ih, hh, hr = (f"{name}{suffix}" for name in ("weight_ih", "weight_hh", "weight_hr"))
    if any(name not in params or params[name].ndim != 2 for name in (ih, hh)):
        got = ", ".join(f"{name} {value.shape}" for name, value in params.items()) or "nothing"
        raise InvalidInput(mismatch("names", f"matrices {ih} and {hh} among others", got))
    rows, width = params[hh].shape
    projected = hr in params and params[hr].ndim == 2
    hidden_size = params[hr].shape[1] if projected else width
    blocks, rest = divmod(rows, hidden_size) if hidden_size else (0, 0)
    cells = [cell for cell in TABLE.values() if cell.is_step != bool(suffix) and cell.num_blocks == blocks]
    if not cells or rest:
        known = ", ".join(f"{cell.num_blocks} for {cell.name}" for cell in TABLE.values() if not cell.is_step)
        wanted = f"(G*H, H) with G one of {known}"
        raise InvalidInput(mismatch(hh, wanted, params[hh].shape, "" if rest else CELL_OF_BLOCKS.get(blocks, "")))
    layers = [int(match[1]) for name in params if (match := re.fullmatch(r"weight_hh_l(\d{1,6})(_reverse)?", name))]
    return ModelSpec(
        cell=cells[0].name,
        input_size=params[ih].shape[1],
        hidden_size=hidden_size,
        num_layers=max(layers, default=0) + 1,
        nonlinearity=nonlinearity,
        bias=f"bias_ih{suffix}" in params,
        bidirectional=f"weight_hh{suffix}_reverse" in params,
        proj_size=params[hr].shape[0] if projected else 0,
    )

"""The one recurrent layer in a file of weights, as traces need it: which model it is, and its parameters in float64."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.cells import TABLE, with_blocks
from common.model.dtypes import widened
from common.model.layout import Parameters, recurrent_sizes, require_parameters, split_network
from common.model.spec import ModelSpec
from common.weights.source import Found, WeightsFile


class Layer(NamedTuple):
    """A model of one layer in one direction, its parameters, and the notes of the file and of how it was read."""

    spec: ModelSpec
    params: Parameters
    notes: tuple[str, ...]


def single_layer(
    file: WeightsFile, cell: str | None = None, nonlinearity: str | None = None, reset_after: bool | None = None
) -> Layer:
    """The one recurrent layer of a file: of the network that ``rosetta train`` saved, or of a module of any kind.

    The names and shapes decide the model where the file does not record it; with ``cell``, any other is refused. What
    they leave open, and the caller too, is assumed with a note: a nonlinearity is tanh, three blocks are a GRU's and
    not those of an LSTM without a forget gate, and the reset gate of a GRU acts where it does in torch.nn. Raises
    ``InvalidInput`` for more than one layer in one direction, and ``InvalidType`` for dtypes that are not exact in
    float64 (``common.model.dtypes``).
    """
    given = {"nonlinearity": nonlinearity, "reset_after": reset_after}
    options = {name: value for name, value in given.items() if value is not None}
    if file.network is None:
        part, params, notes = _recurrent_part(file)
        try:
            model = recognised(params, cell, **options)
        except InvalidInput as error:
            raise type(error)(f"weights in {file.path}: {error}") from error
        notes += _assumptions(file.path, model, [*options, *(["cell"] if cell else [])])
    else:
        model, notes = file.network.model.with_dtype("float64"), ()
        part, params = "", split_network(file.params)["rnn"]
        for name, value in options.items():
            recorded = getattr(model, name)
            if value != recorded:
                raise InvalidInput(mismatch(name, f"{recorded}, which {file.path} records", value))
    has_decoder = file.network is not None and file.network.has_decoder
    model = replace(model, dropout=0.0, input_dropout=0.0, recurrent_dropout=0.0)  # which act in training only
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


def _assumptions(path: Path, model: ModelSpec, given: Iterable[str]) -> tuple[str, ...]:
    """A note for whatever about the model neither the names and shapes nor the caller decide."""
    alike = [cell for cell in with_blocks(model.num_blocks, model.is_cell) if cell != model.cell]
    others = " or ".join(f"--cell {cell}" for cell in alike)
    options = model.kind.options - set(given)
    assumed = {
        f"the cell; assuming {model.cell} (use {others} otherwise)": bool(alike) and "cell" not in given,
        "the nonlinearity; assuming tanh (use --nonlinearity relu otherwise)": "nonlinearity" in options,
        "reset_after; assuming that r acts after the product, as in torch.nn (use --no-reset-after otherwise)": (
            "reset_after" in options
        ),
    }
    return tuple(f"{path} does not record {text}" for text, applies in assumed.items() if applies)


def recognised(params: Mapping[str, np.ndarray], cell: str | None = None, **options: Any) -> ModelSpec:
    """The model, in float64, that has parameters of these names and shapes in torch's layout.

    Where these are alike in several cells, it is that of the layer of ``cell``, or else the first in the table.
    ``options`` are those of the specification that parameters do not show. What no model has, such as a bias without
    its twin, is left for ``layout.require_parameters`` to refuse. Raises ``InvalidInput`` where there is no first
    layer, or its shapes are those of no cell.
    """
    suffix = "" if "weight_hh" in params else "_l0"
    ih, hh, hr = (f"{name}{suffix}" for name in ("weight_ih", "weight_hh", "weight_hr"))
    if any(name not in params or params[name].ndim != 2 for name in (ih, hh)):
        got = ", ".join(f"{name} {value.shape}" for name, value in params.items()) or "nothing"
        raise InvalidInput(mismatch("names", f"matrices {ih} and {hh} among others", got))
    blocks, hidden_size = recurrent_sizes(params) or (0, 0)
    cells = with_blocks(blocks, not suffix)
    if not cells:
        known = ", ".join(f"{kind.num_blocks} for {kind.name}" for kind in TABLE.values() if not kind.is_step)
        raise InvalidInput(mismatch(hh, f"(G*H, H) with G one of {known}", params[hh].shape))
    asked = [name for name in cells if cell is not None and TABLE[name].layer == TABLE[cell].layer]
    layers = [int(match[1]) for name in params if (match := re.fullmatch(r"weight_hh_l(\d{1,6})(_reverse)?", name))]
    return ModelSpec(
        cell=(asked or cells)[0],
        input_size=params[ih].shape[1],
        hidden_size=hidden_size,
        num_layers=max(layers, default=0) + 1,
        bias=f"bias_ih{suffix}" in params,
        bidirectional=f"weight_hh{suffix}_reverse" in params,
        proj_size=params[hr].shape[0] if hr in params and params[hr].ndim == 2 else 0,
        **options,
    )


def select(
    file: WeightsFile,
    path: str | None = None,
    *,
    cell: str | None = None,
    nonlinearity: str | None = None,
    reset_after: bool | None = None,
) -> Found:
    """One recurrent layer of a file, by its path, or the only one."""
    layers = [layer for layer in file.layers or () if path in (None, layer.path or ".")]
    if len(layers) != 1:
        known = ", ".join(layer.path or "." for layer in file.layers or ()) or "none"
        raise InvalidInput(mismatch(f"recurrent layers in {file.path}", "one", known, "choose one: --layer PATH"))
    (layer,) = layers
    if layer.spec is None:
        raise InvalidInput(f"{layer.path} in {file.path}: {layer.problem}")
    given = {"nonlinearity": nonlinearity, "reset_after": reset_after}
    options = {name: value for name, value in given.items() if value is not None}
    if cell is not None and TABLE[cell].num_blocks == layer.spec.num_blocks:
        options["cell"] = TABLE[cell].layer + "Cell" * layer.spec.is_cell
    spec = replace(layer.spec, **options)
    if cell is not None and TABLE[cell].layer != spec.kind.layer:
        raise InvalidInput(mismatch(f"{layer.path} in {file.path}", cell, spec.label))
    notes = _assumptions(file.path, spec, [*options, *(["cell"] if cell else [])])
    return layer._replace(spec=spec, notes=layer.notes + notes)

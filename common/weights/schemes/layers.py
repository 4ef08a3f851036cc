"""From arrays that belong together to a model, and from a model to the arrays of a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.conversions import layouts
from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.dtypes import dtype_label
from common.model.layout import Parameters, layer_suffixes, layer_weights, named_weights, require_parameters
from common.model.spec import ModelSpec
from common.weights.source import Found, Scheme, Where


def found(path: str, layout: str, where: Where, arrays: Mapping[str, np.ndarray], **options: Any) -> Found:
    """The layer that these arrays of a file make up, with the specification that their shapes show.

    ``options`` are those of the specification that shapes do not show, such as the nonlinearity. Arrays that do not fit
    together make a layer with a ``problem``, which says what was expected.
    """
    try:
        spec, params = model(layout, where, arrays, **options)
    except (InvalidInput, InvalidType) as error:
        return Found(path, layout, where, None, {}, (), str(error))
    return Found(path, layout, where, spec, params, reading_notes(layout))


def model(layout: str, where: Where, arrays: Mapping[str, np.ndarray], **options: Any) -> tuple[ModelSpec, Parameters]:
    """The specification and the neutral parameters of arrays in a layout. Raises ``InvalidInput``, ``InvalidType``."""
    form = LAYOUTS[layout]
    weights = {
        suffix: layouts.from_layout(form, {part: arrays[name] for part, name in parts.items()})
        for suffix, parts in where.items()
    }
    first = next(iter(weights.values()))
    is_cell = "" in where
    levels = {suffix.removesuffix("_reverse") for suffix in where}
    spec = ModelSpec(
        **{
            "cell": f"{form.cell}Cell" if is_cell else form.cell,
            "input_size": first.weight_ih.shape[1],
            "hidden_size": first.weight_ih.shape[0] // len(layouts.letters(form.cell)),
            "num_layers": len(levels),
            "bias": first.bias_ih is not None,
            "bidirectional": any(suffix.endswith("_reverse") for suffix in where),
            "proj_size": 0 if first.weight_hr is None else first.weight_hr.shape[0],
            "dtype": dtype_label(first.weight_ih.dtype),
        }
        | dict(form.options)
        | options
    )
    if set(where) != set(layer_suffixes(spec)):
        wanted = ", ".join(suffix or "one step" for suffix in layer_suffixes(spec))
        raise InvalidInput(mismatch("layers and directions", wanted, ", ".join(where)))
    params = {name: value for suffix, w in weights.items() for name, value in named_weights(w, suffix).items()}
    require_parameters(spec, params)
    return spec, params


def reading_notes(layout: str) -> tuple[str, ...]:
    """What a layout does when it runs that is taken into the weights."""
    form = LAYOUTS[layout]
    added = {gate: amount for part in form.parts for gate, amount in part.added.items()}
    negated = "".join(dict.fromkeys(gate for part in form.parts for gate in part.negated))
    notes = [
        f"{form.system} adds {amount:g} to the bias of {gate} when it runs: it is taken into bias_hh"
        for gate, amount in added.items()
    ]
    notes += [f"{form.system} computes 1 - {gate}: the sign of its weights and biases is changed" for gate in negated]
    return tuple(notes)


def written(scheme: Scheme, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> tuple[Parameters, tuple[str, ...]]:
    """The arrays of a model under the names of a system, and what could not be kept as it was."""
    layout, where = scheme.places(spec)
    arrays: Parameters = {}
    notes: list[str] = []
    for suffix, names in where.items():
        converted = layouts.to_layout(LAYOUTS[layout], layer_weights(params, suffix))
        arrays |= {names[part]: np.ascontiguousarray(value) for part, value in converted.params.items()}
        notes += converted.notes
    return arrays, tuple(dict.fromkeys(notes))


def file_gradients(layer: Found, grads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradients of the arrays of a file, from those of the neutral parameters of one of its layers."""
    result = {}
    for suffix, names in layer.where.items():
        parts = layouts.gradients(LAYOUTS[layer.layout], layer_weights(grads, suffix))
        result |= {names[part]: value for part, value in parts.items() if part in names}
    return result

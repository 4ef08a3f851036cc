"""From arrays that belong together to a model, from separate modules to one stack, and back to the arrays of a file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from common.conversions import layouts
from common.conversions.blocks import letters
from common.conversions.parts import Layout
from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, InvalidType, located, mismatch
from common.model.dtypes import dtype_label
from common.model.layout import (
    Parameters,
    Weights,
    layer_suffixes,
    layer_weights,
    named_weights,
    require_parameters,
)
from common.model.spec import ModelSpec
from common.weights.source import Found, Scheme, Where

# A module of a stack: the path of the stack, the number of the layer, and whether it is the reverse direction.
NUMBERED = re.compile(r"(.*)_l(\d{1,6})(_reverse)?", re.DOTALL)
# What the layers of a stack have in common.
SHARED = ("hidden_size", "bidirectional", "proj_size", "bias", "nonlinearity", "reset_after", "dtype")


def found(path: str, layout: str, where: Where, arrays: Mapping[str, np.ndarray], **options: Any) -> Found:
    """The layer that these arrays of a file make up, with the specification that their shapes show.

    ``options`` are those of the specification that shapes do not show and that the file records, such as the
    nonlinearity. Arrays that do not fit together make a layer with a ``problem``, which says what was expected.
    """
    try:
        spec, params = model(layout, where, arrays, **options)
    except (InvalidInput, InvalidType) as error:
        return Found(path, layout, where, None, {}, (), str(error))
    recorded = frozenset(options) | frozenset(LAYOUTS[layout].options)
    return Found(path, layout, where, spec, params, reading_notes(layout), recorded=recorded)


def model(layout: str, where: Where, arrays: Mapping[str, np.ndarray], **options: Any) -> tuple[ModelSpec, Parameters]:
    """The specification and the neutral parameters of arrays in a layout. Raises ``InvalidInput``, ``InvalidType``."""
    form = LAYOUTS[layout]
    weights = {suffix: _weights(form, suffix, names, arrays) for suffix, names in where.items()}
    first = weights[min(weights, key=lambda suffix: (len(suffix), suffix))]
    is_cell = "" in where
    levels = {suffix.removesuffix("_reverse") for suffix in where}
    spec = ModelSpec(
        **{
            "cell": f"{form.cell}Cell" if is_cell else form.cell,
            "input_size": first.weight_ih.shape[1],
            "hidden_size": first.weight_ih.shape[0] // len(letters(form.cell)),
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


def _weights(form: Layout, suffix: str, names: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Weights:
    """One direction of one layer; a refusal calls an array by its name in the file."""
    try:
        return layouts.from_layout(form, {part: arrays[name] for part, name in names.items()})
    except (InvalidInput, InvalidType) as error:
        argument, colon, reason = str(error).partition(":")
        at = f", {suffix.removeprefix('_')}" if len(suffix) > 1 else ""
        raise type(error)(f"{names.get(argument, argument + at)}{colon}{reason}") from error


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


def stacked(modules: Iterable[Found]) -> tuple[Found, ...]:
    """Modules of one layer each, with those that are named as layers of one stack put together.

    A system whose modules have one layer is written as ``NAME_l0``, ``NAME_l1``, ...: these become one layer with the
    path ``NAME`` (without a separator before ``_l0``) if all from 0 on are there and their sizes fit. A direction may
    be a module of its own, ``NAME_l0_reverse`` beside ``NAME_l0``. What does not fit is left as it is. The result
    stands in the order of the modules, a stack in the place of its first.

    >>> from common.conversions.layouts import to_layout
    >>> from common.conversions.systems import LAYOUTS
    >>> from common.model.initial import initial_parameters
    >>> from common.model.layout import layer_weights
    >>> from common.model.spec import ModelSpec
    >>> from common.weights.schemes.layers import found, stacked
    >>> spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=5, num_layers=2)
    >>> params, modules = initial_parameters(spec, seed=0), []
    >>> for k in range(2):
    ...     arrays = to_layout(LAYOUTS["tf1 LSTM"], layer_weights(params, f"_l{k}")).params
    ...     named = {f"rnn_l{k}/{name}": array for name, array in arrays.items()}
    ...     where = {"_l0": {name: f"rnn_l{k}/{name}" for name in arrays}}
    ...     modules.append(found(f"rnn_l{k}", "tf1 LSTM", where, named))
    >>> [layer] = stacked(modules)
    >>> layer.path, layer.spec == spec, layer.where["_l1"]["bias"]
    ('rnn', True, 'rnn_l1/bias')
    """
    modules = tuple(modules)
    groups: dict[str, dict[tuple[int, bool], Found]] = {}
    for module in modules:
        if match := NUMBERED.fullmatch(module.path):
            path = match[1].rstrip("./")
            groups.setdefault(path, {})[int(match[2]), bool(match[3])] = module
    stack_of: dict[str, Found] = {}
    taken = {module.path for module in modules}
    for path, group in groups.items():
        if len(group) == 1 or path in taken:
            continue
        try:
            layers = _layers(path, group)
            whole = stack(path, layers) if len(layers) > 1 else layers[0]
        except InvalidInput:
            continue
        stack_of |= {module.path: whole for module in group.values()}
    return tuple({id(layer): layer for layer in (stack_of.get(m.path, m) for m in modules)}.values())


def _layers(path: str, group: Mapping[tuple[int, bool], Found]) -> list[Found]:
    """The layers of a group of modules in their order, the two directions of each put together."""
    levels = {level for level, _ in group}
    if levels != set(range(len(levels))) or any((level, False) not in group for level in levels):
        raise InvalidInput(mismatch(f"layers of {path}", "all from 0 on", ", ".join(map(str, sorted(levels)))))
    return [
        paired(path, group[level, False], group[level, True]) if (level, True) in group else group[level, False]
        for level in sorted(levels)
    ]


def stack(path: str, modules: Sequence[Found]) -> Found:
    """One layer made of modules that stand above one another, the first at the input; steps become layers.

    Raises ``InvalidInput`` where the sizes of two of them do not fit, or where they differ in what the layers of one
    model share.
    """
    first = _usable(modules[0])
    layout, where, params, num_layers = modules[0].layout, {}, {}, 0
    for below, module in zip([None, *modules], modules, strict=False):
        spec = _usable(module)
        if below is not None:
            _require_fit(below, module)
        suffixes = {old: f"_l{num_layers + level}{reverse}" for old, level, reverse in _places(spec)}
        moved = renamed(module, suffixes)
        where, params, num_layers = where | moved[0], params | moved[1], num_layers + spec.num_layers
    notes = tuple(dict.fromkeys(note for module in modules for note in module.notes))
    recorded = frozenset.intersection(*(module.recorded for module in modules))
    spec = replace(first, cell=first.kind.layer, num_layers=num_layers)
    return Found(path, layout, where, spec, params, notes, recorded=recorded)


def paired(path: str, forward: Found, reverse: Found) -> Found:
    """Both directions of one layer as one. Raises ``InvalidInput`` unless they are alike, of one direction each."""
    spec, other = _usable(forward), _usable(reverse)
    if spec != other or forward.layout != reverse.layout or spec.state_rows > 1:
        got = f"{_sizes(forward)} and {_sizes(reverse)}"
        raise InvalidInput(mismatch(f"directions of {path}", "two single layers of the same sizes", got))
    (suffix, _, _), *_ = _places(spec)
    (where, params), (above, more) = renamed(forward, {suffix: "_l0"}), renamed(reverse, {suffix: "_l0_reverse"})
    spec = replace(spec, cell=spec.kind.layer, bidirectional=True)
    notes = tuple(dict.fromkeys(forward.notes + reverse.notes))
    recorded = forward.recorded & reverse.recorded
    return Found(path, forward.layout, where | above, spec, params | more, notes, recorded=recorded)


def renamed(layer: Found, suffixes: Mapping[str, str]) -> tuple[Where, Parameters]:
    """The arrays and the parameters of some layers and directions, under other suffixes (old -> new)."""
    where = {new: dict(layer.where[old]) for old, new in suffixes.items() if old in layer.where}
    params: Parameters = {}
    for old, new in suffixes.items():
        params |= named_weights(layer_weights(layer.params, old), new)
    return where, params


def _places(spec: ModelSpec) -> list[tuple[str, int, str]]:
    """The suffix, the number of the layer and the end of the suffix of every layer and direction."""
    suffixes, directions = layer_suffixes(spec), ("", "_reverse")
    return [
        (suffix, row // spec.num_directions, directions[row % spec.num_directions])
        for row, suffix in enumerate(suffixes)
    ]


def _usable(module: Found) -> ModelSpec:
    if module.spec is None:
        raise InvalidInput(located(module.path, module.problem))
    return module.spec


def _require_fit(below: Found, module: Found) -> None:
    """Raise unless a module can stand above another in one model."""
    lower, upper = _usable(below), _usable(module)
    what = f"{module.path} above {below.path}"
    if module.layout != below.layout or lower.kind.layer != upper.kind.layer:
        raise InvalidInput(mismatch(what, f"a layer of {below.layout}", f"one of {module.layout}"))
    for name in SHARED:
        if getattr(lower, name) != getattr(upper, name):
            got = f"{_sizes(module)}, with {name} {getattr(upper, name)}"
            raise InvalidInput(mismatch(what, f"{name} {getattr(lower, name)}, as in {_sizes(below)}", got))
    if upper.input_size != lower.output_size:
        wanted = f"input size {lower.output_size}, the width of the output of {_sizes(below)}"
        raise InvalidInput(mismatch(what, wanted, f"{upper.input_size}: {_sizes(module)}"))


def _sizes(module: Found) -> str:
    spec = _usable(module)
    return f"{spec.label}, {spec.input_size} -> {spec.output_size}"

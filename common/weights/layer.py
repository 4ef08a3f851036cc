"""The choice of one recurrent layer of a file: which of those in it, and as which model."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from common.conversions.layouts import table
from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, closest, located, mismatch
from common.model.cells import TABLE
from common.model.dtypes import widened
from common.model.layout import Parameters, layer_suffixes
from common.model.spec import ModelSpec
from common.weights.candidates import candidates
from common.weights.schemes.layers import found, paired, renamed, stack
from common.weights.source import Found, WeightsFile

# What stands for the path of a layer whose arrays have no path before their names.
ROOT = "."
DIRECTION = re.compile(r"(.*):(l\d{1,6}(?:_reverse)?)", re.DOTALL)
SHOWN = 12
HOW = "choose one by its path: --layer PATH (layer= in Python)"


class Assumption(NamedTuple):
    """What is assumed, the option and the argument that say otherwise, and whether the names are those of torch.nn.

    Under these names torch.nn's own reading ``is_natural``, unless torch.nn itself has two, as of the nonlinearity.
    """

    text: str
    option: str
    argument: str
    is_natural: bool

    @property
    def on_the_command_line(self) -> str:
        return f"{self.text} (use {self.option} otherwise)"

    @property
    def in_python(self) -> str:
        return f"{self.text} (pass {self.argument} otherwise)"


class Layer(NamedTuple):
    """A model of one layer in one direction, its parameters, and the notes of the file and of how it was read."""

    spec: ModelSpec
    params: Parameters
    notes: tuple[str, ...]


def select(
    file: WeightsFile,
    path: str | None = None,
    *,
    cell: str | None = None,
    nonlinearity: str | None = None,
    reset_after: bool | None = None,
) -> Found:
    """One recurrent layer of a file.

    ``path`` is that of a layer, ``.`` where it has none; ``a,b`` for two modules that are the directions of one layer,
    ``a`` forward and ``b`` reverse; ``a+b`` for layers that stand above one another, ``a`` at the input, each of which
    may be two directions; or any of these with ``:l1`` or ``:l1_reverse`` after it, for one layer in one direction as a
    model of its own, which reads a sequence in the order in which it is given. Without a path it is the only layer that
    can be used.

    What the file does not record and the caller does not say is assumed with a note: a nonlinearity is tanh, three
    blocks are a GRU's and not those of an LSTM without a forget gate, and the reset gate of a GRU acts where it does in
    torch.nn. ``cell`` refuses every other, a step being its layer's.

    Raises ``InvalidInput`` where there is no such layer or several, where it cannot be used, and for options that
    contradict the file.
    """
    layer, notes = _only(file, cell) if path is None else (_composed(file, path, cell), ())
    spec = _require_usable(file, layer)
    if cell is not None and TABLE[cell].layer != spec.kind.layer:
        raise InvalidInput(mismatch(_model_in(file, layer), f"a layer of {cell}", spec.label))
    given = {"nonlinearity": nonlinearity, "reset_after": reset_after}
    options = {name: value for name, value in given.items() if value is not None}
    for name, value in options.items():
        if name in layer.recorded and value != getattr(spec, name):
            raise InvalidInput(mismatch(name, f"{getattr(spec, name)}, which {file.path} records", value))
    try:
        spec = replace(spec, **options)
    except InvalidInput as error:
        raise type(error)(f"weights in {file.path}: {error}") from error
    known = layer.recorded | set(options) | ({"cell"} if cell else set())
    layer = layer._replace(spec=spec, notes=layer.notes + notes, recorded=known)
    return layer._replace(
        notes=layer.notes + tuple(assumed.on_the_command_line for assumed in assumptions(file, layer))
    )


def single_layer(
    file: WeightsFile,
    cell: str | None = None,
    nonlinearity: str | None = None,
    reset_after: bool | None = None,
    path: str | None = None,
) -> Layer:
    """A layer in one direction without a projection, as traces need it, in float64: ``select`` with these options.

    Raises ``InvalidInput`` for any other layer; its directions are then named.
    """
    layer = select(file, path, cell=cell, nonlinearity=nonlinearity, reset_after=reset_after)
    spec = _require_usable(file, layer)
    if not spec.is_single:
        wanted = f"one layer{f' of {cell}' if cell else ''} in one direction, without a projection"
        raise InvalidInput(mismatch(_model_in(file, layer), wanted, spec.label, _ways_out(layer)))
    params = {name: widened(value, np.dtype("float64")) for name, value in layer.params.items()}
    return Layer(spec.with_dtype("float64"), params, file.notes + layer.notes)


def is_whole(file: WeightsFile, layer: Found) -> bool:
    """Whether this layer stands in the file as it is, and is neither a stack of the caller's nor one direction."""
    return any(layer.path == whole.path and layer.where == whole.where for whole in file.layers or ())


def path_text(path: str) -> str:
    """The path as a user types and sees it."""
    return path or ROOT


def directions(layer: Found) -> tuple[str, ...]:
    """What stands after the path of a layer to choose one layer and direction of it: ``l0``, ``l0_reverse``, ..."""
    suffixes = () if layer.spec is None else layer_suffixes(layer.spec)
    return tuple(suffix.removeprefix("_") for suffix in suffixes if suffix)


def _only(file: WeightsFile, cell: str | None) -> tuple[Found, tuple[str, ...]]:
    """The only layer of a file that can be used, or the only one at all, and a note on what is left out."""
    layers = file.layers or ()
    if not layers:
        names = _listed(list(file.params))
        got = f"none among {len(file.params)} arrays: {names}" if names else "nothing"
        way = (
            "rosetta inspect shows under which names to save them" if candidates(file.params, list(file.params)) else ""
        )
        raise InvalidInput(mismatch(f"recurrent layers in {file.path}", "one", got, way))
    usable = [layer for layer in layers if layer.spec is not None] or list(layers)
    if len(usable) > 1:
        got = _listed([_label(layer) for layer in usable])
        raise InvalidInput(mismatch(f"recurrent layers in {file.path}", "one", got, HOW))
    layer = usable[0]
    left = [] if file.network else [path_text(other.path) for other in layers if other is not layer] + list(file.others)
    notes = (f"{file.path}: using {path_text(layer.path)}, leaving out {_listed(left, 3)}",) if left else ()
    return _as_cell(file, layer, cell), notes


def _composed(file: WeightsFile, path: str, cell: str | None) -> Found:
    """The layer at a path, the stack of several, or one layer in one direction."""
    by_path = {path_text(layer.path): layer for layer in file.layers or ()}
    whole, direction = split(file, path)
    if direction:
        return _direction(file, _composed(file, whole, cell), direction)
    if path in by_path:
        return _as_cell(file, by_path[path], cell)
    for separator, together in (("+", stack), (",", _both_directions)):
        if len(parts := _parts(path, by_path, separator)) > 1:
            modules = [_composed(file, part, cell) for part in parts]
            for module in modules:
                _require_usable(file, module)
            return together(path, modules)
    cause = closest(path, list(by_path))
    if ROOT in by_path and path in directions(by_path[ROOT]):
        cause = f"did you mean {ROOT}:{path}?"
    expected = f"one of {_listed(list(map(_label, by_path.values())))}" if by_path else "none, as it has no layer"
    raise InvalidInput(mismatch(f"layer in {file.path}", expected, repr(path), cause))


def split(file: WeightsFile, path: str) -> tuple[str, str]:
    """The path of a layer or of a stack, and the layer and direction that is chosen of it, or "" for all of it.

    >>> from pathlib import Path
    >>> from common.weights.layer import split
    >>> from common.weights.source import WeightsFile
    >>> split(WeightsFile(Path("model.pt"), "", {}), "lower+upper:l1_reverse")
    ('lower+upper', 'l1_reverse')
    """
    known = {path_text(layer.path) for layer in file.layers or ()}
    last = _parts(_parts(path, known)[-1], known, ",")[-1]
    match = None if last in known else DIRECTION.fullmatch(path)
    return (match[1] or ROOT, match[2]) if match else (path, "")


def _parts(path: str, known: Collection[str], separator: str = "+") -> list[str]:
    """What stands between the separators of a path, where a path of the file may hold one itself."""
    parts: list[str] = []
    words, start = path.split(separator), 0
    longest = max((name.count(separator) + 1 for name in known), default=1)
    while start < len(words):
        lengths = range(min(longest, len(words) - start), 0, -1)
        count = next((n for n in lengths if separator.join(words[start : start + n]) in known), 1)
        parts.append(separator.join(words[start : start + count]))
        start += count
    return parts


def _both_directions(path: str, modules: Sequence[Found]) -> Found:
    """Two modules as the directions of one layer, whose outputs are concatenated."""
    if len(modules) != 2:
        raise InvalidInput(mismatch(f"directions of {path}", "two", len(modules)))
    both = paired(path, *modules)
    merged = f"the outputs of {modules[0].path} and of {modules[1].path}, which reads from the end, are concatenated"
    return both._replace(notes=(*both.notes, merged))


def _direction(file: WeightsFile, layer: Found, name: str) -> Found:
    """One layer in one direction of a module as a model of its own."""
    spec, suffix = _require_usable(file, layer), f"_{name}"
    if suffix not in layer_suffixes(spec):
        expected = f"one of {', '.join(directions(layer)) or 'none, as it is one step'}"
        raise InvalidInput(mismatch(f"direction of {path_text(layer.path)} in {file.path}", expected, name))
    where, params = renamed(layer, {suffix: "_l0"})
    columns = params["weight_ih_l0"].shape[1]
    own = replace(spec, input_size=columns, num_layers=1, bidirectional=False)
    return layer._replace(path=f"{path_text(layer.path)}:{name}", where=where, spec=own, params=params)


def _as_cell(file: WeightsFile, layer: Found, cell: str | None) -> Found:
    """The same arrays as those of another cell, where names and shapes leave it open and the caller says so."""
    if layer.spec is None or cell is None or TABLE[cell].layer == layer.spec.kind.layer:
        return layer
    for other in _alike(layer):
        if LAYOUTS[other].cell == TABLE[cell].layer:
            return found(layer.path, other, layer.where, file.params)
    return layer


def _alike(layer: Found) -> list[str]:
    """The layouts of other cells that have the names and shapes of a layer whose file does not record its cell."""
    own = LAYOUTS[layer.layout]
    if "cell" in layer.recorded:
        return []
    shapes = table(own).shapes
    return [name for name, form in LAYOUTS.items() if form.cell != own.cell and table(form).shapes == shapes]


def assumptions(file: WeightsFile, layer: Found) -> tuple[Assumption, ...]:
    """Whatever about a layer that ``select`` gave neither the file nor the caller decides."""
    spec = _require_usable(file, layer)
    step = "Cell" if spec.is_cell else ""
    others = [f"{LAYOUTS[name].cell}{step}" for name in _alike(layer)]
    options = spec.kind.options - layer.recorded
    text, is_natural, assumed = f"{file.path} does not record", layer.layout.startswith("torch "), []
    if others:
        option, argument = (" or ".join(form.format(name) for name in others) for form in ("--cell {}", 'cell="{}"'))
        assumed.append(Assumption(f"{text} the cell; assuming {spec.cell}", option, argument, is_natural))
    if "nonlinearity" in options:
        text_of = f"{text} the nonlinearity; assuming tanh"
        assumed.append(Assumption(text_of, "--nonlinearity relu", 'nonlinearity="relu"', is_natural=False))
    if "reset_after" in options:
        text_of = f"{text} reset_after; assuming that r acts after the product, as in torch.nn"
        assumed.append(Assumption(text_of, "--no-reset-after", "reset_after=False", is_natural))
    return tuple(assumed)


def _require_usable(file: WeightsFile, layer: Found) -> ModelSpec:
    if layer.spec is None:
        name = f"weights in {file.path}" + (f", {layer.path}" if layer.path else "")
        raise InvalidInput(located(name, layer.problem))
    return layer.spec


def _model_in(file: WeightsFile, layer: Found) -> str:
    return f"model in {file.path}{f', {layer.path}' if layer.path else ''}"


def _ways_out(layer: Found) -> str:
    """How one direction of a layer is chosen, where that is all it takes."""
    spec = layer.spec
    if spec is None or spec.proj_size or not directions(layer):
        return ""
    return f"one of it is --layer {path_text(layer.path)}:{directions(layer)[-1]}"


def _label(layer: Found) -> str:
    """The path and the model of a layer, in a few words."""
    return f"{path_text(layer.path)} ({layer.sizes})"


def _listed(names: Sequence[str], most: int = SHOWN) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

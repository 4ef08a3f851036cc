"""What a file of weights holds, as plain data: every recurrent layer, and whatever else is in it.

>>> from pathlib import Path
>>> import numpy as np
>>> import numpy_impl
>>> from common.weights.contents import contents
>>> from common.weights.files import read
>>> np.savez("model.npz", **{f"lower.{name}": value for name, value in numpy_impl.GRU(3, 5).state_dict().items()})
>>> (layer,) = contents(read(Path("model.npz")))["layers"]
>>> layer["path"], layer["cell"], layer["input_size"], layer["hidden_size"], layer["biases"]
('lower', 'GRU', 3, 5, 'two')
"""

import re
from collections.abc import Sequence
from typing import Any, TypedDict

from common.conversions.systems import LAYOUTS
from common.conversions.words import biases, conventions
from common.errors import InvalidInput
from common.model.spec import STEP_OPTIONS, ModelSpec
from common.weights.candidates import candidates
from common.weights.layer import path_text, select
from common.weights.schemes import flax_trees
from common.weights.schemes.layers import stack
from common.weights.source import Found, WeightsFile, Where

# Words in the names of arrays that probably belong to a recurrent layer.
RECURRENT = re.compile(r"(?i)lstm|gru|rnn|recurrent|(?:weight|bias)_[ih]h|_l\d+(?:_reverse)?$|hidden_to_hidden")

# The names of the states of random generators in a tree.
RANDOM = re.compile(r"(?i)(?:\w+_)?rngs?(?:_(?:keys?|counts?|states?))?")


class LayerFacts(TypedDict):
    """A recurrent layer. Sizes are 0, and ``dtype`` is "", where there is a ``problem``: why it cannot be used.

    ``owner`` is the class whose conventions it has; ``conventions`` are these in words. ``arrays`` are its names in the
    file, by layer and direction and by what they are in the layout. ``options`` are those of the model that the shapes
    do not show, and ``notes`` say what was assumed or taken into the weights.
    """

    path: str
    cell: str
    input_size: int
    hidden_size: int
    output_size: int
    num_layers: int
    directions: int
    proj_size: int
    biases: str
    dtype: str
    options: dict[str, Any]
    layout: str
    owner: str
    conventions: list[str]
    arrays: Where
    notes: list[str]
    problem: str


class Others(TypedDict):
    """Arrays that belong to no recurrent layer: their number and that of their values, and their names."""

    count: int
    values: int
    names: list[str]


class Contents(TypedDict):
    """A file. ``arrays`` and ``values`` count all, and every array is of a layer or in one of four lists: ``optimiser``
    and ``random`` hold its state and that of random generators, ``unrecognised`` the arrays that a recurrent layer may
    have by their names, or by names and shapes (``candidates``), and that fit none, and ``others`` the rest.
    ``skipped`` is what was not read, each with the reason. ``stacks`` are the paths of layers that may stand above one
    another by their sizes, and ``pairs`` those of two that may be the directions of one layer.
    """

    file: str
    format: str
    arrays: int
    values: int
    layers: list[LayerFacts]
    others: Others
    optimiser: Others
    random: Others
    unrecognised: list[str]
    candidates: list[dict[str, Any]]
    skipped: dict[str, str]
    stacks: list[list[str]]
    pairs: list[list[str]]
    notes: list[str]


def contents(file: WeightsFile, **options: Any) -> Contents:
    """Describe a file; ``options`` are those of ``select``, for what the file does not record about its layers."""
    optimiser, random, rest = _states(file)
    possible = candidates(file.params, rest)
    of_layers = {name for candidate in possible for name in candidate.arrays}
    unrecognised = [name for name in rest if name in of_layers or RECURRENT.search(name)]
    rest = [name for name in rest if name not in set(unrecognised)]
    return Contents(
        file=str(file.path),
        format=file.format,
        arrays=len(file.params),
        values=sum(value.size for value in file.params.values()),
        layers=[layer_facts(file, layer, **options) for layer in file.layers or ()],
        others=_listed(file, rest),
        optimiser=_listed(file, optimiser),
        random=_listed(file, random),
        unrecognised=unrecognised,
        candidates=[layer._asdict() for layer in possible],
        skipped=dict(file.skipped),
        stacks=stacks(file.layers or ()),
        pairs=pairs(file.layers or ()),
        notes=list(file.notes),
    )


def _states(file: WeightsFile) -> tuple[list[str], list[str], list[str]]:
    """The arrays of no layer: those of the state of an optimiser, the states of random generators, and the rest."""
    path_of = {name: flax_trees.split(name) for name in file.params}
    moments = flax_trees.of_optimiser(set(path_of.values()))
    kinds: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name in file.others:
        is_random = any(RANDOM.fullmatch(part) for part in path_of[name])
        kinds[0 if path_of[name] in moments else 1 if is_random else 2].append(name)
    return kinds


def _listed(file: WeightsFile, names: Sequence[str]) -> Others:
    values = sum(file.params[name].size for name in names)
    return Others(count=len(names), values=values, names=list(map(str, names)))


def layer_facts(file: WeightsFile, layer: Found, **options: Any) -> LayerFacts:
    """One layer of a file, whole or a part of one (``select``)."""
    path, problem = path_text(layer.path), layer.problem
    if layer.spec is not None and any(layer is own for own in file.layers or ()):
        try:
            layer = select(file, path, **options)
        except InvalidInput as error:
            layer, problem = layer._replace(spec=None), str(error)
    spec, form = layer.spec, LAYOUTS.get(layer.layout)
    projected = spec is not None and spec.proj_size > 0
    words = conventions(form, has_bias=spec is None or spec.bias, has_projection=projected) if form else ()
    return LayerFacts(
        path=path,
        cell=spec.cell if spec else form.cell if form else "",
        input_size=spec.input_size if spec else 0,
        hidden_size=spec.hidden_size if spec else 0,
        output_size=spec.output_size if spec else 0,
        num_layers=spec.num_layers if spec else 0,
        directions=spec.num_directions if spec else 0,
        proj_size=spec.proj_size if spec else 0,
        biases="" if spec is None or form is None else biases(form) if spec.bias else "none",
        dtype=spec.dtype if spec else "",
        options={name: getattr(spec, name) for name in STEP_OPTIONS if spec and name in spec.kind.options},
        layout=layer.layout,
        owner=form.owner if form else layer.layout,
        conventions=list(words),
        arrays=layer.where,
        notes=list(layer.notes),
        problem=problem,
    )


def stacks(layers: Sequence[Found]) -> list[list[str]]:
    """The paths of layers that may stand above one another, two or more each.

    They follow one another in one module, and their sizes fit. A graph, as in an ONNX model, says itself which layers
    do.
    """
    chains: list[list[Found]] = []
    for layer in layers:
        if layer.spec is None or layer.layout.startswith("onnx"):
            continue
        if chains and _parent(chains[-1][-1]) == _parent(layer) and _fits(chains[-1][-1], layer):
            chains[-1].append(layer)
        else:
            chains.append([layer])
    return [[path_text(layer.path) for layer in chain] for chain in chains if len(chain) > 1]


def pairs(layers: Sequence[Found]) -> list[list[str]]:
    """The paths of two layers of equal sizes in one module, of which there is no third: they may be two directions."""
    alike: dict[tuple[str, str, ModelSpec], list[str]] = {}
    for layer in layers:
        if layer.spec is not None and layer.spec.state_rows == 1 and not layer.layout.startswith("onnx"):
            alike.setdefault((_parent(layer), layer.layout, layer.spec), []).append(path_text(layer.path))
    return [paths for paths in alike.values() if len(paths) == 2]


def _parent(layer: Found) -> str:
    """The path of the module that holds the layer."""
    return re.split("[./]", layer.path[::-1], maxsplit=1)[-1] if re.search("[./]", layer.path) else ""


def _fits(below: Found, layer: Found) -> bool:
    try:
        stack("", [below, layer])
    except InvalidInput:
        return False
    return True

"""The recurrent layers that the configuration of a Keras model records, with where their arrays stand.

The JSON text is read as data: no class that it names is looked up, and no Lambda is run. Both spellings are read, that
of Keras 3 (and of the archives of Keras 2.12 to 2.15) and that of the older HDF5 files.

A file of weights of Keras 3 has a group for each object, named after its attribute, or after its class where it stands
in a list (``saving_lib._save_container_state`` in Keras' source): ``layers/bidirectional/forward_layer/cell``.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from common.weights.formats.keras.cells import CELLS, config_of, described, name_of
from common.weights.formats.keras.graph import followers
from common.weights.source import Unusable

MAX_TEXT, MAX_DEPTH = 1 << 26, 64
OTHER_CELLS = ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "ConvLSTM2DCell")


class Slot(NamedTuple):
    """One cell of a layer.

    ``suffix`` is that of its level and direction, ``group`` where its arrays stand in a file of Keras 3. In a file of
    Keras 2, they are those of the cell with this ``number`` among the cells of ``top``, a layer of the whole model.
    """

    suffix: str
    group: str
    top: str
    number: int


class Recorded(NamedTuple):
    """A recurrent layer, all its cells alike.

    ``name`` is its name in Keras, after those of the models it stands in; ``units`` is the size of its state as the
    configuration has it. ``layout`` and ``options`` are what ``layers.found`` takes.
    """

    name: str
    units: str
    layout: str
    slots: tuple[Slot, ...]
    options: Mapping[str, Any]
    notes: tuple[str, ...]
    problem: str

    @property
    def is_bidirectional(self) -> bool:
        return any(slot.suffix.endswith("_reverse") for slot in self.slots)


class _Walk(NamedTuple):
    """What the walk through a model has seen: sentences about the model, and the cells of each layer of it so far."""

    notes: list[str]
    cells: dict[str, int]


class Configuration(NamedTuple):
    """The recurrent layers of a model, successive ones as one, and sentences about the model.

    ``cells`` are the numbers of cells of its layers.
    """

    layers: tuple[Recorded, ...]
    notes: tuple[str, ...]
    cells: Mapping[str, int]


def parse(text: str | bytes) -> Configuration:
    """Raises ``Unusable`` for what is not JSON of a model, or nested too deep."""
    if len(text) > MAX_TEXT:
        raise Unusable(f"its configuration is longer than {MAX_TEXT >> 20} MiB")
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable("its configuration is not JSON, or is nested too deep") from error
    if not _is_object(model):
        raise Unusable("its configuration is not that of a model")
    walk = _Walk([], {})
    found = tuple(_within(model, "", "", "", walk, 0))
    return Configuration(found, tuple(dict.fromkeys(walk.notes)), walk.cells)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and isinstance(value.get("class_name"), str)


def snake_case(name: str) -> str:
    """Keras' name for an object of a class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def in_list(classes: Sequence[str]) -> list[str]:
    """Keras' names for the objects of a list: those after the first of a class are numbered.

    >>> from common.weights.formats.keras.configuration import in_list
    >>> in_list(["LSTM", "SimpleRNN", "LSTM"])
    ['lstm', 'simple_rnn', 'lstm_1']
    """
    counts: dict[str, int] = {}
    names = []
    for one in map(snake_case, classes):
        counts[one] = counts.get(one, -1) + 1
        names.append(f"{one}_{counts[one]}" if counts[one] else one)
    return names


def is_recurrent(class_name: str) -> bool:
    kind = class_name.rpartition(">")[2]
    return kind in CELLS or kind in ("RNN", "Bidirectional")


def _within(one: Mapping[str, Any], path: str, place: str, top: str, walk: _Walk, depth: int) -> Iterator[Recorded]:
    """The recurrent layers of a layer or model: itself, those it wraps, or its layers."""
    if depth > MAX_DEPTH:
        raise Unusable(f"its configuration nests models deeper than {MAX_DEPTH}")
    kind, config = one["class_name"].rpartition(">")[2], config_of(one)
    children = one["config"] if isinstance(one.get("config"), list) else config.get("layers")
    if kind == "Bidirectional":
        yield from _bidirectional(one, path, place, top or path, walk)
    elif kind in CELLS or kind == "RNN" or kind in OTHER_CELLS:
        yield from _recurrent(one, path, place, top or path, walk)
    elif isinstance(children, list) and all(_is_object(child) for child in children):
        yield from _model(children, path, f"{place}/layers".lstrip("/"), top, walk, depth)
    elif _is_object(config.get("layer")):
        inner = _within(config["layer"], path, f"{place}/layer", top, walk, depth + 1)
        note = f"{kind} applies it to each part of a longer sequence"
        yield from (layer._replace(notes=(*layer.notes, note)) for layer in inner)
    masks = kind == "Masking" or (kind == "Embedding" and config.get("mask_zero") is True)
    if masks:
        walk.notes.append(f"{name_of(one) or kind} masks padding in this model: pass the lengths of the sequences")


def _model(
    children: Sequence[Mapping[str, Any]], path: str, place: str, top: str, walk: _Walk, depth: int
) -> Iterator[Recorded]:
    places = in_list([child["class_name"] for child in children])
    of_child: dict[str, list[Recorded]] = {}
    plain: set[str] = set()  # not a model or a wrapper, in which something else may follow
    for child, child_place in zip(children, places, strict=True):
        name = name_of(child) or child_place
        below = f"{path}/{name}" if path else name
        found = _within(child, below, f"{place}/{child_place}", top or name, walk, depth + 1)
        of_child[name] = list(found)
        if is_recurrent(child["class_name"]):
            plain.add(name)
    following = {name: after for name, after in followers(children).items() if {name, after} <= plain}
    yield from _stacked(of_child, following)


def _stacked(of_child: Mapping[str, list[Recorded]], followers: Mapping[str, str]) -> Iterator[Recorded]:
    """The layers in their order, where each chain of layers that are alike is one layer of several levels."""
    taken: set[str] = set()
    for name, found in of_child.items():
        if name in taken:
            continue
        chain = list(found)
        following = followers.get(name)
        while len(found) == 1 and following and following not in taken and _continues(chain, of_child.get(following)):
            chain += of_child[following]
            taken.add(following)
            following = followers.get(following)
        taken.add(name)
        yield from [_as_one(chain)] if len(found) == 1 and len(chain) > 1 else chain


def _continues(chain: Sequence[Recorded], following: Sequence[Recorded] | None) -> bool:
    if following is None or len(following) != 1:
        return False
    last, one = chain[-1], following[0]
    is_plain = len(one.slots) == len(last.slots) == 1 + one.is_bidirectional and not (last.problem or one.problem)
    forms = [(each.units, each.layout, each.options, each.is_bidirectional) for each in (last, one)]
    return is_plain and forms[0] == forms[1]


def _as_one(chain: Sequence[Recorded]) -> Recorded:
    slots = [
        slot._replace(suffix=slot.suffix.replace("_l0", f"_l{level}"))
        for level, layer in enumerate(chain)
        for slot in layer.slots
    ]
    notes = tuple(dict.fromkeys(note for layer in chain for note in layer.notes))
    return chain[-1]._replace(name=joint_name([layer.name for layer in chain]), slots=tuple(slots), notes=notes)


def joint_name(names: Sequence[str]) -> str:
    """The name of a stack: what stands before ``_l0``, ``_l1``, ..., or all names with "+" between them."""
    stem = names[0].removesuffix("_l0")
    return stem if list(names) == [f"{stem}_l{level}" for level in range(len(names))] else "+".join(names)


def _bidirectional(one: Mapping[str, Any], path: str, place: str, top: str, walk: _Walk) -> Iterator[Recorded]:
    config = config_of(one)
    forward = config.get("layer")
    if not _is_object(forward):
        return
    backward = config.get("backward_layer")
    directions = [forward, backward if _is_object(backward) else forward]
    halves = []
    for layer, side in zip(directions, ("forward_layer", "backward_layer"), strict=True):
        halves.append(list(_recurrent(layer, path, f"{place}/{side}", top, walk, is_half=True)))
    first, second = halves[0], halves[1]
    mode = config.get("merge_mode", "concat")
    problems = {
        "a layer that Keras does not have": not first or len(first) != len(second),
        f"merge_mode={mode!r} (only 'concat' is supported)": mode != "concat",
        "both directions of stacked cells, each a stack by itself": len(first) > 1 or len(first[0].slots) > 1,
        "two directions that differ": [(a.units, a.layout, a.options) for a in first]
        != [(a.units, a.layout, a.options) for a in second],
        "a forward layer that runs backwards": config_of(directions[0]).get("go_backwards") is True,
    }
    problem = next((text for text, applies in problems.items() if applies), "")
    for a, b in zip(first, second, strict=False):
        slots = a.slots + tuple(slot._replace(suffix=f"{slot.suffix}_reverse") for slot in b.slots)
        worst = a.problem or b.problem or (f"Bidirectional with {problem}" if problem else "")
        yield a._replace(slots=slots, problem=worst, notes=tuple(dict.fromkeys(a.notes + b.notes)))


def _recurrent(
    one: Mapping[str, Any], path: str, place: str, top: str, walk: _Walk, is_half: bool = False
) -> Iterator[Recorded]:
    """One layer, or where its cells are not alike, one for each cell."""
    kind, config = one["class_name"].rpartition(">")[2], config_of(one)
    place = f"{place}/cell"
    cells: list[tuple[str, Mapping[str, Any], str]] = [(kind, config, place)]
    if kind == "RNN":
        cell = config.get("cell")
        cell = {"class_name": "StackedRNNCells", "config": {"cells": cell}} if isinstance(cell, list) else cell
        if not isinstance(cell, dict) or not _is_object(cell):
            return
        inner = config_of(cell).get("cells") if cell["class_name"].endswith("StackedRNNCells") else None
        if isinstance(inner, list) and inner and all(_is_object(each) for each in inner):
            names = in_list([each["class_name"] for each in inner])
            pairs = zip(inner, names, strict=True)
            cells = [(each["class_name"], config_of(each), f"{place}/cells/{name}") for each, name in pairs]
        else:
            cells = [(cell["class_name"], config_of(cell), place)]
    found = [described(kind, cell, config, is_half) for kind, cell, _ in cells]
    number = walk.cells.get(top, 0)
    walk.cells[top] = number + len(cells)
    slots = [Slot(f"_l{k}", group, top, number + k) for k, (_, _, group) in enumerate(cells)]
    if len({(each.layout, tuple(each.options.items()), each.units) for each in found}) == 1:
        notes = tuple(dict.fromkeys(note for each in found for note in each.notes))
        problem = next((each.problem for each in found if each.problem), "")
        yield Recorded(path, found[0].units, found[0].layout, tuple(slots), found[0].options, notes, problem)
        return
    for slot, each in zip(slots, found, strict=True):
        name = f"{path}/{slot.group.rpartition('/')[2]}"
        alone = (slot._replace(suffix="_l0"),)
        yield Recorded(name, each.units, each.layout, alone, each.options, each.notes, each.problem)

"""The arrays of a tree of nodes, named by where they stand in it.

``checkpoint["model"]["encoder.weight"]`` is named ``model.encoder.weight``, an attribute of an object stands under its
name, and a value in a list under its number. Names in modules of PyTorch that were pickled whole are those of their
``state_dict``. An optimiser's tensors are left out, as they have the shapes of weights and are none.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from common.weights import limits
from common.weights.pickles.machine import Built, Global, Node, Pairs, Persistent
from common.weights.pickles.tensors import Storages, Unreadable, array

MAX_DEPTH, MAX_NAME, MAX_REMARKS = 64, 1000, 100
# Attributes of a module whose content is named without them; what it holds twice; and what optimisers hold.
TRANSPARENT = {"_parameters", "_buffers", "_modules"}
TWICE = {"_flat_weights", "_flat_weight_refs", "_all_weights", "_data_ptrs", "_metadata"}
OPTIMISER = {"state", "param_groups"}
MOMENTS = {
    "exp_avg",
    "exp_avg_sq",
    "exp_inf",
    "max_exp_avg_sq",
    "momentum_buffer",
    "square_avg",
    "grad_avg",
    "acc_delta",
}
# The layers and cells themselves, whose names TorchScript may number.
RECURRENT = re.compile(
    r"(?:__torch__\.)?torch\.nn\.modules\.rnn\.(?:___torch_mangle_\d+\.)?((?:RNN|LSTM|GRU)(?:Cell)?)"
)
CONTAINERS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "collections.deque")


class Contents(NamedTuple):
    """The arrays of a tree by name, and what else stands in it or could not be read, each with the reason.

    ``classes`` are the first of the classes whose objects were met, and ``modules`` the recurrent layers of PyTorch
    that were pickled whole or are TorchScript, by where they stand.
    """

    arrays: dict[str, np.ndarray]
    skipped: dict[str, str]
    classes: tuple[str, ...]
    modules: dict[str, Built]


class TooLarge(ValueError):
    """Arrays that are together larger than a file of this size can reasonably hold."""


class SameName(ValueError):
    """Two arrays that would have the same name."""


def contents(root: Any, storages: Storages, limit: int) -> Contents:
    """The arrays of a tree, in the order in which they stand; together they have at most ``limit`` bytes.

    A container that stands in several places is named by the first of them.
    """
    arrays: dict[str, np.ndarray] = {}
    skipped: dict[str, str] = {}
    classes: dict[str, None] = {}
    modules: dict[str, Built] = {}
    seen: set[int] = set()
    full: set[Any] = set()  # the parts of the tree, by number, in which something was found
    total = 0
    todo: list[tuple[str, Any, int, Any]] = [("", root, 0, None)]
    while todo:
        path, node, depth, part = todo.pop()
        try:
            value = array(node, storages)
        except Unreadable as error:
            _remark(skipped, path, str(error))
            full.add(part)
            continue
        if value is not None:
            total += value.nbytes
            if total > limit:
                raise TooLarge(f"its arrays take more than {limits.in_words(limit)} together")
            if path in arrays:
                raise SameName(f"two arrays are named {path}")
            arrays[path] = _own(value)
            full.add(part)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Built) and len(classes) < MAX_REMARKS:
            classes[node.name] = None
        if isinstance(node, Built) and RECURRENT.fullmatch(node.name):
            modules[path] = node
        if depth > MAX_DEPTH or _is_optimiser(node):
            reason = "the state of an optimiser" if depth <= MAX_DEPTH else f"nested more than {MAX_DEPTH} deep"
            _remark(skipped, path, reason)
            full.add(part)
            continue
        below = [
            (name, child, depth + 1, number if depth == 0 else part)
            for number, (name, child) in enumerate(_children(path, node, skipped))
            if isinstance(child, Node | list | tuple) and not isinstance(child, Global)
        ]
        todo += reversed(below)
    if isinstance(root, Pairs | list) or (isinstance(root, Built) and root.name in CONTAINERS):
        for number, (name, child) in enumerate(_children("", root, {})):
            if number not in full and len(skipped) < MAX_REMARKS:
                _remark(skipped, name, described(child))
    return Contents(arrays, skipped, tuple(classes), modules)


def _own(value: np.ndarray) -> np.ndarray:
    """A copy in one piece, in the machine's order of bytes; any value but 0 is true."""
    if value.dtype == bool:
        return value.view("uint8") != 0
    return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _remark(skipped: dict[str, str], path: str, reason: str) -> None:
    if len(skipped) < MAX_REMARKS:
        skipped[path or "the file"] = reason


def _is_optimiser(node: Any) -> bool:
    pairs = node.pairs if isinstance(node, Pairs) else state_pairs(node)
    return {key for key, _ in pairs[:1000] if isinstance(key, str)} >= OPTIMISER


def state_pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.state.pairs if isinstance(node, Built) and isinstance(node.state, Pairs) else []


def _children(path: str, node: Any, skipped: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The values in a container or an object, each with its name."""
    for key, child in _values(node):
        label = _label(key)
        if label in MOMENTS:
            _remark(skipped, _joined(path, label), "the state of an optimiser")
        elif label is None or len(path) + len(label) > MAX_NAME:
            _remark(skipped, path, "names that are no text, or too long")
        elif not (isinstance(node, Built) and label in TWICE):
            yield _joined(path, label), child


def _joined(path: str, label: str) -> str:
    return f"{path}.{label}" if path and label else path or label


def _label(key: Any) -> str | None:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and abs(key) < 2**64:
        return str(key)
    return str(key) if isinstance(key, float) or key is None else None


def _values(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, Pairs):
        yield from node.pairs
    elif isinstance(node, list | tuple) and not isinstance(node, Global):
        yield from enumerate(node)
    elif isinstance(node, Built):
        if node.name in CONTAINERS:
            yield from _items(node.args)
        else:
            yield from enumerate(node.args)
        for state in node.state if isinstance(node.state, tuple) else (node.state,):
            for key, child in state.pairs if isinstance(state, Pairs) else [("", state)]:
                yield "" if isinstance(key, str) and key in TRANSPARENT else key, child
        yield from enumerate(node.items)
        yield from node.pairs


def _items(args: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """What a container of the module ``collections`` is made with: a dictionary, or a list of pairs or of values."""
    for arg in args:
        if isinstance(arg, Pairs):
            yield from arg.pairs
        for number, item in enumerate(arg) if isinstance(arg, list | tuple) and not isinstance(arg, Global) else ():
            if isinstance(item, list | tuple) and len(item) == 2:
                yield item[0], item[1]
            else:
                yield number, item


def described(node: Any) -> str:
    """What a node is that holds no array, in a few words."""
    if isinstance(node, Built):
        return f"an object of {node.name}" if node.name else "an object"
    if isinstance(node, Persistent):
        return "a storage without a tensor"
    names = {Pairs: "a dictionary", list: "a list", tuple: "a tuple", Global: "a class or function"}
    for kind, words in names.items():
        if type(node) is kind:
            return f"{words} without arrays" if kind is not Global else f"{words} ({node})"
    return "nothing" if node is None else f"a value ({type(node).__name__})"

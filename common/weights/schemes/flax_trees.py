"""The recurrent layers in a tree of Flax's parameters: what the schemes of ``flax.linen`` and ``flax.nnx`` share.

A cell is a node with a Dense for each side or gate (``ii/kernel``, ``dense_h/bias``). ``RNN`` holds its cell under
``cell``, ``Bidirectional`` its layers under ``forward_rnn`` and ``backward_rnn``. Modules ``X_l0``, ``X_l1``, ...
beside one another are one stack. A cell that stands at the root is a cell; anywhere else it is taken for a layer, as
linen puts the parameters of a cell that is made inside a module beside those of the module, whether an ``RNN`` runs it
or not.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.schemes.layers import found
from common.weights.source import Found, Where

Path = tuple[str, ...]
DIRECTIONS = ("forward_rnn", "backward_rnn")
LEAVES = ("kernel", "bias", "scale", "embedding")
# What nnx.State adds to the name of each of its variables.
VALUES = ("value", "raw_value")
# Collections at the root that are no module.
ROOTS = ((), ("params",))
# Names under which the state of an optimiser is kept; inside it, the moments have the names of the parameters.
OPTIMISERS = ("opt_state", "opt_states", "optimizer_state", "optimizer", "optim", "opt", "optimiser")
MOMENTS = ("mu", "nu")
LEVEL = re.compile(r"(.*)_l(\d{1,4})")
MERGED = "the file does not record how the directions are merged; assuming that they are concatenated"


class Node(NamedTuple):
    """A node of the tree that may be a cell: where it stands, and its arrays, part -> name in the file."""

    path: Path
    parts: dict[str, str]

    @property
    def children(self) -> set[str]:
        return {part.partition("/")[0] for part in self.parts}


class Cell(NamedTuple):
    """Which cell a node is: a key of ``systems.LAYOUTS``, or why it is none that can be used; and what is assumed."""

    layout: str
    problem: str = ""
    notes: tuple[str, ...] = ()


class Module(NamedTuple):
    """A layer, by the suffix of its direction."""

    cell: Cell
    directions: Mapping[str, dict[str, str]]
    is_bare: bool

    @property
    def form(self) -> tuple[object, ...]:
        return self.cell.layout, tuple(self.directions), self.is_bare


Recognise = Callable[[Node, Mapping[str, np.ndarray]], Cell | None]


def split(name: str) -> Path:
    """The path of an array: its name at "/", or at "." where it has none, without what ``nnx.State`` adds."""
    path = tuple(name.split("/" if "/" in name else "."))
    return path[:-1] if path[-1] in VALUES else path


def of_optimiser(paths: set[Path]) -> set[Path]:
    """The paths among these that belong to the state of an optimiser."""
    result = set()
    for path in paths:
        twins = [
            path[:place] + (other,) + path[place + 1 :]
            for place, part in enumerate(path)
            for other in MOMENTS
            if part in MOMENTS and part != other
        ]
        if not set(path).isdisjoint(OPTIMISERS) or not paths.isdisjoint(twins):
            result.add(path)
    return result


def find(arrays: Mapping[str, np.ndarray], recognise: Recognise) -> Iterator[Found]:
    """Every layer whose cells ``recognise`` knows."""
    modules: dict[Path, Module] = {}
    cells = {node.path: (cell, node) for node in _nodes(arrays) if (cell := recognise(node, arrays))}
    for path, (cell, node) in cells.items():
        base, is_held = (path[:-1], True) if path[-1:] == ("cell",) else (path, False)
        if cell.problem:
            yield _refused(base, cell, node)
        elif not is_held or base[-1:] not in [(name,) for name in DIRECTIONS]:
            modules[base] = Module(cell, {"": node.parts}, path in ROOTS)
        elif base[-1] == DIRECTIONS[0]:
            other = cells.get((*base[:-1], DIRECTIONS[1], "cell"))
            if other is None or other[0].layout != cell.layout:
                modules[base] = Module(cell, {"": node.parts}, False)
            else:
                both = cell._replace(notes=(*cell.notes, MERGED))
                modules[base[:-1]] = Module(both, {"": node.parts, "_reverse": other[1].parts}, False)
        elif (twin := cells.get((*base[:-1], DIRECTIONS[0], "cell"))) is None or twin[0].layout != cell.layout:
            modules[base] = Module(cell, {"": node.parts}, False)
    stacks, alone = _stacks(modules)
    for path, levels in stacks.items():
        where = {
            f"_l{level}{suffix}": parts for level, m in enumerate(levels) for suffix, parts in m.directions.items()
        }
        layer = _layer(path, levels[0], where, arrays)
        if layer.problem:  # they are named like a stack, and are none
            alone |= {(*path[:-1], f"{path[-1]}_l{level}"): module for level, module in enumerate(levels)}
        else:
            yield layer
    for path, module in alone.items():
        first = "" if module.is_bare else "_l0"
        where = {f"{first}{suffix}": parts for suffix, parts in module.directions.items()}
        yield _layer(path, module, where, arrays)


def _nodes(arrays: Mapping[str, np.ndarray]) -> Iterator[Node]:
    """The nodes that have children with a kernel, except for those of an optimiser."""
    paths = {name: split(name) for name in arrays}
    left = of_optimiser(set(paths.values()))
    nodes: dict[Path, dict[str, str]] = {}
    for name, path in paths.items():
        if len(path) > 1 and path[-1] in LEAVES and path not in left:
            nodes.setdefault(path[:-2], {})["/".join(path[-2:])] = name
    return (Node(path, parts) for path, parts in nodes.items())


def _stacks(modules: Mapping[Path, Module]) -> tuple[dict[Path, list[Module]], dict[Path, Module]]:
    """Path -> the modules of each stack, lowest first; and the modules that are in none."""
    levels: dict[Path, dict[int, Module]] = {}
    for path, module in modules.items():
        if path and (match := LEVEL.fullmatch(path[-1])) and match[2] == str(int(match[2])):
            levels.setdefault((*path[:-1], match[1]), {})[int(match[2])] = module
    stacks = {}
    for path, level in levels.items():
        if len(level) > 1 and set(level) == set(range(len(level))) and len({m.form for m in level.values()}) == 1:
            stacks[path] = [level[k] for k in range(len(level))]
    taken = {(*path[:-1], f"{path[-1]}_l{k}") for path, stack in stacks.items() for k in range(len(stack))}
    return stacks, {path: module for path, module in modules.items() if path not in taken}


def _layer(path: Path, module: Module, where: Where, arrays: Mapping[str, np.ndarray]) -> Found:
    layer = found("/".join(path), module.cell.layout, where, arrays)
    return layer._replace(notes=(*layer.notes, *module.cell.notes))


def _refused(path: Path, cell: Cell, node: Node) -> Found:
    return Found("/".join(path), cell.layout, {"_l0": node.parts}, None, {}, (), cell.problem)


def prefixes(spec: ModelSpec, system: str) -> dict[str, str]:
    """Suffix -> the path of its cell in a new file, below the root.

    One layer is at the root, as ``RNN`` and ``Bidirectional`` have it; several are the attributes ``rnn_l0``,
    ``rnn_l1``, ... of one module. Raises ``InvalidInput`` for what Flax does not have.
    """
    if not spec.kind.in_torch:
        cause = "an LSTM whose forget gate is held open computes the same; convert it with common.conversions first"
        raise InvalidInput(mismatch("cell", f"one of {system}: RNN, LSTM or GRU", spec.kind.layer, cause))
    if spec.proj_size:
        raise InvalidInput(mismatch("proj_size", f"0, as {system} has no projection", spec.proj_size))
    if not spec.reset_after:
        raise InvalidInput(mismatch("reset_after", f"True, as in {system}'s GRU", False))
    paths = {}
    for suffix in layer_suffixes(spec):
        level, reverse = (suffix.removesuffix("_reverse"), suffix.endswith("_reverse"))
        parts = [f"rnn{level}"] if spec.num_layers > 1 else []
        parts += [DIRECTIONS[reverse]] if spec.bidirectional else []
        paths[suffix] = "".join(f"{part}/" for part in [*parts, *([] if spec.is_cell else ["cell"])])
    return paths

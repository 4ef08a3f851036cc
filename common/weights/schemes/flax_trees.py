"""The recurrent layers in a tree of Flax's parameters: what the schemes of ``flax.linen`` and ``flax.nnx`` share.

A cell is a node with a Dense for each side or gate (``ii/kernel``, ``dense_h/bias``). ``RNN`` holds its cell under
``cell``, ``Bidirectional`` its layers under ``forward_rnn`` and ``backward_rnn``. Modules ``X_l0``, ``X_l1``, ...
beside one another are one stack. A cell that stands at the root is a cell; anywhere else it is taken for a layer, as
linen puts the parameters of a cell that is made inside a module beside those of the module, whether an ``RNN`` runs it
or not.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.schemes.layers import found, paired, stacked
from common.weights.source import Found

Path = tuple[str, ...]
CELL, FORWARD, BACKWARD = "cell", "forward_rnn", "backward_rnn"
LEAVES = ("kernel", "bias", "scale", "embedding")
# What nnx.State adds to the name of each of its variables.
VALUES = ("value", "raw_value")
# Where a cell is a cell: at the root, or in linen's collection of parameters.
ROOTS = ((), ("params",))
# Names under which the state of an optimiser is kept; inside it, the moments have the names of the parameters.
OPTIMISERS = ("opt_state", "opt_states", "optimizer_state", "optimizer", "optim", "opt", "optimiser")
MOMENTS = ("mu", "nu")
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


def find(arrays: Mapping[str, np.ndarray], recognise: Recognise) -> tuple[Found, ...]:
    """Every layer whose cells ``recognise`` knows."""
    cells: dict[Path, Found] = {}
    for node in _nodes(arrays):
        if cell := recognise(node, arrays):
            cells[node.path] = _layer(node, cell, arrays)
    for path in list(cells):
        if path[-2:] == (FORWARD, CELL) and (twin := (*path[:-2], BACKWARD, CELL)) in cells:
            try:
                both = paired("/".join(path[:-2]), cells[path], cells[twin])
            except InvalidInput:  # of two sizes, or two cells: each is a layer by itself
                continue
            cells[path] = both._replace(notes=(*both.notes, MERGED))
            del cells[twin]
    return stacked(cells.values())


def _nodes(arrays: Mapping[str, np.ndarray]) -> Iterator[Node]:
    """The nodes that have children with a kernel, except for those of an optimiser."""
    paths = {name: split(name) for name in arrays}
    left = of_optimiser(set(paths.values()))
    nodes: dict[Path, dict[str, str]] = {}
    for name, path in paths.items():
        if len(path) > 1 and path[-1] in LEAVES and path not in left:
            nodes.setdefault(path[:-2], {})["/".join(path[-2:])] = name
    return (Node(path, parts) for path, parts in nodes.items())


def _layer(node: Node, cell: Cell, arrays: Mapping[str, np.ndarray]) -> Found:
    """One cell as a layer; the path is that of the ``RNN`` around it."""
    path = "/".join(node.path[:-1] if node.path[-1:] == (CELL,) else node.path)
    where = {"" if node.path in ROOTS else "_l0": node.parts}
    if cell.problem:
        return Found(path, cell.layout, where, None, {}, (), cell.problem)
    options = {"reset_after": True} if LAYOUTS[cell.layout].cell == "GRU" else {}
    layer = found(path, cell.layout, where, arrays, **options)
    return layer._replace(notes=(*layer.notes, *cell.notes))


def prefixes(spec: ModelSpec, system: str) -> dict[str, str]:
    """Suffix -> the path of its cell in a new file, below the root.

    One layer is at the root, as ``RNN`` and ``Bidirectional`` have it; several are the attributes ``rnn_l0``,
    ``rnn_l1``, ... of one module. Raises ``InvalidInput`` for what Flax does not have.
    """
    if not spec.kind.in_torch:
        cause = "an LSTM whose forget gate is held open computes the same; common.conversions makes one"
        raise InvalidInput(mismatch("cell", f"one of {system}: RNN, LSTM or GRU", spec.kind.layer, cause))
    if spec.proj_size:
        raise InvalidInput(mismatch("proj_size", f"0, as {system} has no projection", spec.proj_size))
    if not spec.reset_after:
        raise InvalidInput(mismatch("reset_after", f"True, as in {system}'s GRU", False))
    paths = {}
    for suffix in layer_suffixes(spec):
        parts = [f"rnn{suffix.removesuffix('_reverse')}"] if spec.num_layers > 1 else []
        parts += [BACKWARD if suffix.endswith("_reverse") else FORWARD] if spec.bidirectional else []
        parts += [] if spec.is_cell else [CELL]
        paths[suffix] = "".join(f"{part}/" for part in parts)
    return paths

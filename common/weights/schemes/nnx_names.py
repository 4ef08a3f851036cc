"""The names of ``flax.nnx``: ``dense_i`` and ``dense_h`` with all gates side by side, or ``ii``, ``if_``, ..., ``ho``.

``OptimizedLSTMCell``, ``GRUCell`` and ``SimpleCell`` have the same names; they differ in the number of blocks.
``places`` writes the state of the parameters of one ``nnx.RNN`` or ``nnx.Bidirectional``, of a cell, or, for several
layers, of

    class Stack(nnx.Module):
        def __init__(self, rngs):
            self.rnn_l0 = nnx.RNN(nnx.OptimizedLSTMCell(3, 5, rngs=rngs))
            self.rnn_l1 = nnx.RNN(nnx.OptimizedLSTMCell(5, 5, rngs=rngs))

        def __call__(self, x):
            return self.rnn_l1(self.rnn_l0(x))

which Orbax restores as it is:

    graph, params, rest = nnx.split(Stack(nnx.Rngs(0)), nnx.Param, ...)
    model = nnx.merge(graph, StandardCheckpointer().restore(path, params), rest)
"""

from collections.abc import Mapping

import numpy as np

from common.conversions.systems import LAYOUTS
from common.model.spec import ModelSpec
from common.weights.schemes import flax_trees
from common.weights.schemes.flax_names import RESIDUAL
from common.weights.schemes.flax_trees import Cell, Node
from common.weights.source import Found, Where

# Blocks in a kernel -> its cell.
BY_BLOCKS = {1: "nnx RNN", 3: "nnx GRU", 4: "nnx optimized LSTM"}


def find(arrays: Mapping[str, np.ndarray]) -> tuple[Found, ...]:
    return flax_trees.find(arrays, recognise)


def recognise(node: Node, arrays: Mapping[str, np.ndarray]) -> Cell | None:
    """The cell of a node by the names of its children and the shape of its kernel; None if it is none of nnx's."""
    if {"ii", "if_", "hi"} <= node.children:
        return Cell("nnx LSTM")
    if node.children != {"dense_i", "dense_h"} or not {"dense_i/kernel", "dense_h/kernel"} <= node.parts.keys():
        return None
    shape = arrays[node.parts["dense_h/kernel"]].shape
    blocks, rest = divmod(shape[1], shape[0]) if len(shape) == 2 and shape[0] else (0, 0)
    if rest or blocks not in BY_BLOCKS:
        problem = f"dense_h/kernel has the shape {shape}: expected (H, H), (H, 3H) or (H, 4H)"
        return Cell("nnx optimized LSTM", problem)
    layout = LAYOUTS[BY_BLOCKS[blocks]]
    biases = {part.name for part in layout.parts if part.is_bias}
    if wrong := sorted({"dense_i/bias", "dense_h/bias"} & node.parts.keys() - biases):
        own = next(iter(biases)).partition("/")[0]
        problem = f"{layout.owner} has its bias at {own}, and this has {wrong[0]}: another cell with {blocks} blocks"
        return Cell(BY_BLOCKS[blocks], problem)
    return Cell(BY_BLOCKS[blocks], notes=(RESIDUAL,) if blocks == 1 else ())


def places(spec: ModelSpec) -> tuple[str, Where]:
    """An LSTM is an ``OptimizedLSTMCell``."""
    paths = flax_trees.prefixes(spec, "flax.nnx")
    layout = {"RNN": "nnx RNN", "LSTM": "nnx optimized LSTM", "GRU": "nnx GRU"}[spec.kind.layer]
    parts = [part.name for part in LAYOUTS[layout].parts]
    return layout, {suffix: {part: f"{path}{part}" for part in parts} for suffix, path in paths.items()}

"""The names of ``flax.linen``: a Dense for each gate and side, ``ii``, ``if``, ..., ``ho``; ``hn``; or ``i`` and ``h``.

``LSTMCell`` and ``OptimizedLSTMCell`` have the same names. ``places`` writes the variables that a module takes as they
are: one layer is those of ``nn.RNN`` or ``nn.Bidirectional``, a cell those of the cell, and several layers are those of

    class Stack(nn.Module):
        def setup(self):
            self.rnn_l0 = nn.RNN(nn.OptimizedLSTMCell(5))
            self.rnn_l1 = nn.RNN(nn.OptimizedLSTMCell(5))

        def __call__(self, x):
            return self.rnn_l1(self.rnn_l0(x))

with ``nn.Bidirectional(nn.RNN(...), nn.RNN(...))`` in the place of each ``nn.RNN`` for both directions; then
``Stack().apply(variables, x)`` is the model.
"""

from collections.abc import Mapping

import numpy as np

from common.conversions.systems import LAYOUTS
from common.model.spec import ModelSpec
from common.weights.schemes import flax_trees
from common.weights.schemes.flax_trees import Cell, Node
from common.weights.source import Found, Where

RESIDUAL = "the file does not record whether a SimpleCell is `residual`; assuming that it is not"
UNSUPPORTED = (
    "{} has equations that no layer here has; supported are SimpleCell, LSTMCell, OptimizedLSTMCell and GRUCell"
)


def find(arrays: Mapping[str, np.ndarray]) -> tuple[Found, ...]:
    return flax_trees.find(arrays, recognise)


def recognise(node: Node, arrays: Mapping[str, np.ndarray]) -> Cell | None:
    """The cell of a node by the names of its children; None if it is none of linen's."""
    children = node.children
    if {"ii", "hi"} <= children and "if_" not in children:
        return Cell("linen LSTM")
    if {"ir", "hr"} <= children or {"iz", "hz"} <= children:
        return Cell("linen GRU")
    if children == {"if", "in", "hf", "hn"}:
        return Cell("linen GRU", UNSUPPORTED.format("flax.linen.MGUCell"))
    shapes = [arrays[node.parts[part]].shape for part in ("ih/kernel", "hh/kernel") if part in node.parts]
    if children == {"ih", "hh"} and len(shapes) == 2 and all(len(shape) > 2 for shape in shapes):
        return Cell("linen LSTM", UNSUPPORTED.format("flax.linen.ConvLSTMCell"))
    if children == {"i", "h"} and {"i/kernel", "h/kernel"} <= node.parts.keys():
        return Cell("linen RNN", notes=(RESIDUAL,))
    return None


def places(spec: ModelSpec) -> tuple[str, Where]:
    layout = f"linen {spec.kind.layer}"
    paths = flax_trees.prefixes(spec, "flax.linen")
    parts = [part.name for part in LAYOUTS[layout].parts]
    return layout, {suffix: {part: f"params/{path}{part}" for part in parts} for suffix, path in paths.items()}

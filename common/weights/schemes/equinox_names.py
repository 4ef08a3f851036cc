"""Equinox's names: ``weight_ih``, ``weight_hh``, ``bias`` and, in a GRU, ``bias_n`` after the path of the cell.

The names are the fields of ``equinox.nn.LSTMCell`` and ``GRUCell`` in their order, which is also that of their leaves
(a cell without a bias has only the first two). Equinox has neither layers nor directions, so a model is written as one
cell for each, ``rnn_l0``, ``rnn_l0_reverse``, ``rnn_l1`` and so on, in this order; how such a file is loaded is said in
``common.weights.formats.leaves``.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.schemes.flax_trees import of_optimiser
from common.weights.schemes.layers import found, stacked
from common.weights.source import Found, Where

FIELDS = ("weight_ih", "weight_hh", "bias", "bias_n")
NAME = re.compile(rf"(.*?)[./]?({'|'.join(FIELDS[::-1])})", re.DOTALL)
CELLS = {3: "GRU", 4: "LSTM"}


def find(arrays: Mapping[str, np.ndarray], needs_bias: bool = True) -> Iterator[Found]:
    """Every cell with a bias; one without has the names of PyTorch's, and is found where the file is Equinox's."""
    cells: dict[str, dict[str, str]] = {}
    for name in arrays:
        if match := NAME.fullmatch(name):
            cells.setdefault(match[1], {})[match[2]] = name
    wanted = set(FIELDS[: 3 if needs_bias else 2])
    paths = {path: tuple(re.split(r"[./]", path)) for path, parts in cells.items() if set(parts) >= wanted}
    moments = of_optimiser(set(paths.values()))
    yield from stacked(cell(path, cells[path], arrays) for path, steps in paths.items() if steps not in moments)


def cell(path: str, parts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Found:
    """The layer that a cell is when ``lax.scan`` runs it, with 3 or 4 blocks."""
    shape = arrays[parts["weight_hh"]].shape
    blocks = shape[0] // shape[1] if len(shape) == 2 and shape[1] else 0
    layer = "GRU" if "bias_n" in parts else CELLS.get(blocks, "LSTM")
    return found(path, f"equinox {layer}", {"_l0": dict(parts)}, arrays)


def places(spec: ModelSpec) -> tuple[str, Where]:
    """Raises ``InvalidInput`` for what Equinox has no cell for."""
    layer = spec.kind.layer
    if layer not in CELLS.values():
        raise InvalidInput(mismatch("cell", "LSTM or GRU, the only cells of equinox.nn", layer))
    if not spec.reset_after:
        cause = "equinox.nn.GRUCell resets after the product: no weights make them equal"
        raise InvalidInput(mismatch("reset_after", True, False, cause))
    if spec.proj_size:
        raise InvalidInput(mismatch("proj_size", "0, as equinox.nn.LSTMCell has no projection", spec.proj_size))
    layout = f"equinox {layer}"
    parts = [part.name for part in LAYOUTS[layout].parts if spec.bias or not part.is_bias]
    return layout, {s: {part: f"rnn{s}.{part}" for part in parts} for s in layer_suffixes(spec)}

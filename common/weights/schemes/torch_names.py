"""PyTorch's names: ``weight_ih_l0``, ``weight_hh_l0``, ... after the path of the module; a cell's have no ``_l0``.

The layers and directions of one module are found by their suffix (``common.model.layout``).
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.cells import TABLE, with_blocks
from common.model.layout import layer_suffixes, recurrent_sizes
from common.model.spec import ModelSpec
from common.weights.schemes.layers import found
from common.weights.source import Found, Where

NAME = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))((?:_l\d{1,6}(?:_reverse)?)?)", re.DOTALL)


def find(arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
    """Every module with a ``weight_hh``; three blocks are a GRU's, as torch.nn has no LSTM without a forget gate."""
    modules: dict[tuple[str, bool], Where] = {}
    for name in arrays:
        if match := NAME.fullmatch(name):
            path, part, suffix = match[1] or "", match[2], match[3]
            modules.setdefault((path, not suffix), {}).setdefault(suffix, {})[part] = name
    for (path, _), where in modules.items():
        first = min(where, key=lambda suffix: (len(suffix), suffix))
        if "weight_hh" not in where[first]:
            continue
        sizes = recurrent_sizes({f"{part}{first}": arrays[name] for part, name in where[first].items()})
        cells = with_blocks(sizes[0]) if sizes else ()
        yield found(path, f"torch {next(iter(cells), 'RNN')}", where, arrays)


def places(spec: ModelSpec) -> tuple[str, Where]:
    layer = spec.kind.layer
    layout = f"torch {layer}" if TABLE[layer].in_torch else f"rosetta {layer}"
    parts = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if spec.bias else [])]
    parts += ["weight_hr"] if spec.proj_size else []
    return layout, {suffix: {part: f"{part}{suffix}" for part in parts} for suffix in layer_suffixes(spec)}


class OfTorchNN:
    """The same for a file with a module of torch.nn under the name ``rnn``, which can be no other model."""

    @staticmethod
    def find(arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
        return find(arrays)

    @staticmethod
    def places(spec: ModelSpec) -> tuple[str, Where]:
        if not spec.layer.in_torch or not spec.reset_after:
            raise InvalidInput(mismatch("model", "one that torch.nn has", spec.label))
        layout, where = places(spec)
        named = {suffix: {part: f"rnn.{name}" for part, name in parts.items()} for suffix, parts in where.items()}
        return layout, named


TORCH_NN = OfTorchNN()

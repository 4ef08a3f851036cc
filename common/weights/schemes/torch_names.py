"""PyTorch's names: ``weight_ih_l0``, ``weight_hh_l0``, ... after the path of the module; a cell's have no ``_l0``.

The layers and directions of one module are found by their suffix (``common.model.layout``).
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

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


class OfTorchNN(NamedTuple):
    """The same for a file that PyTorch's own modules load, below ``prefix``; what none of them computes is refused.

    A GRU whose reset gate acts before the product has the names and shapes of ``torch.nn.GRU``, and an LSTM without a
    forget gate those of a GRU, so that either would be loaded in silence and compute something else.
    """

    prefix: str = ""

    def find(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
        return find(arrays)

    def places(self, spec: ModelSpec) -> tuple[str, Where]:
        if cause := foreign(spec):
            raise InvalidInput(mismatch("model", "one that torch.nn has", spec.label, cause))
        layout, where = places(spec)
        named = {suffix: {part: self.prefix + name for part, name in parts.items()} for suffix, parts in where.items()}
        return layout, named


def foreign(spec: ModelSpec) -> str:
    """Why no module of torch.nn computes this model, in a clause; "" if one does."""
    if not spec.layer.in_torch:
        return f"torch.nn has no {spec.kind.layer}, and would load its arrays as those of a GRU"
    return "" if spec.reset_after else "torch.nn.GRU applies r after the product; this GRU applies it before"


TORCH_NN = OfTorchNN()
TORCHSCRIPT = OfTorchNN("rnn.")

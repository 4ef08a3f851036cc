"""Keras' names: where the arrays of its layers stand in a file without a configuration.

A file of weights of Keras 3 numbers the variables of a cell (``layers/lstm/cell/vars/0``), HDF5 files of Keras 2 name
them (``model_weights/lstm/lstm/lstm_cell/kernel:0``). The order is kernel, recurrent kernel, bias in both.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.schemes.layers import found
from common.weights.source import Found, Where

PARTS = ("kernel", "recurrent_kernel", "bias")
NUMBERED = re.compile(r"(.+)/vars/([012])", re.DOTALL)
NAMED = re.compile(r"(?:(.+)/)?(kernel|recurrent_kernel|bias)((?:_\d{1,6})?)(?::\d{1,6})?", re.DOTALL)
LEVEL = re.compile(r"(.+)(_l\d{1,6})", re.DOTALL)
IN_LIST = re.compile(r"(.+/(?:cells|stacked_rnn_cells(?:_\d{1,6})?))/(.+?)(?:_(\d{1,6}))?", re.DOTALL)
# Words of which one stands in the name of a cell of Keras 3, or in the label of its layer.
WORDS = ("lstm", "gru", "rnn", "cell")
BLOCKS = {1: "RNN", 3: "GRU", 4: "LSTM"}
ASSUMED = "the file does not record the activations; assuming tanh and sigmoid, Keras' defaults"
HARD = "before 2.3, Keras' default was hard_sigmoid: compare an output that you have recorded"
# Keras' names for objects of its classes.
STEMS = {"LSTM": "lstm", "GRU": "gru", "RNN": "simple_rnn"}
NO_LABELS: Mapping[str, str] = MappingProxyType({})


def find(
    arrays: Mapping[str, np.ndarray], labels: Mapping[str, str] = NO_LABELS, is_old: bool = False
) -> Iterator[Found]:
    """The layers that names and shapes show; ``labels`` are the names of layers by their groups.

    ``is_old`` says that the file was written by a Keras before 2.3.
    """
    modules: dict[str, Where] = {}
    cells = _cells(arrays, labels)
    for place, parts in cells.items():
        name, level = _name(place, cells, labels, f"{place}/vars/0" in arrays)
        suffix = level + ("_reverse" if _is_backward(place) else "")
        if suffix in modules.get(name, {}):
            name, suffix = place, "_l0"
        modules.setdefault(name, {})[suffix] = parts
    for name, where in modules.items():
        for path, of_one in _stacks(name, where, arrays):
            parts = next(iter(of_one.values()))
            layout, is_certain = layout_of(parts, arrays)
            layer = found(path, layout, of_one, arrays)
            notes = () if is_certain or layout == "keras RNN" else (ASSUMED, *((HARD,) if is_old else ()))
            recorded = {"cell", "reset_after"} if "bias" in parts else {"cell"}
            yield layer._replace(notes=layer.notes + notes, recorded=frozenset(recorded))


def _cells(arrays: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Place of a cell -> part -> array, for those whose shapes are a cell's."""
    groups: dict[str, dict[str, str]] = {}
    for name in arrays:
        if name.startswith(("optimizer/", "optimizer_weights/")):
            continue
        if match := NUMBERED.fullmatch(name):
            last = f"{match[1].rpartition('/')[2]} {labels.get(match[1], '')}".lower()
            if any(word in last for word in WORDS):
                groups.setdefault(match[1], {})[PARTS[int(match[2])]] = name
        elif match := NAMED.fullmatch(name):
            groups.setdefault((match[1] or "") + match[3], {})[match[2]] = name
    return {place: parts for place, parts in groups.items() if _is_cell(parts, arrays)}


def _is_cell(parts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> bool:
    if "kernel" not in parts or "recurrent_kernel" not in parts:
        return False
    of_x, of_h = (arrays[parts[part]].shape for part in PARTS[:2])
    is_pair = len(of_x) == len(of_h) == 2 and of_x[1] == of_h[1] and min(of_x + of_h) > 0
    return is_pair and of_h[1] in [blocks * of_h[0] for blocks in BLOCKS]


def _is_backward(place: str) -> bool:
    return any(part.startswith("backward_") for part in place.split("/"))


def _name(place: str, cells: Mapping[str, object], labels: Mapping[str, str], is_numbered: bool) -> tuple[str, str]:
    """The name of the layer that a cell belongs to, and the suffix of its level."""
    name = _numbered_name(place, labels) if is_numbered else _named_name(place)
    if in_list := IN_LIST.fullmatch(place):
        lists = [match for other in cells if (match := IN_LIST.fullmatch(other)) and match[1] == in_list[1]]
        if len({match[2] for match in lists}) == 1:
            return name, f"_l{sorted(int(match[3] or 0) for match in lists).index(int(in_list[3] or 0))}"
        return f"{name}/{place.rpartition('/')[2]}", "_l0"
    level = LEVEL.fullmatch(name)
    return (level[1], level[2]) if level else (name, "_l0")


def _numbered_name(place: str, labels: Mapping[str, str]) -> str:
    parts, kept = place.split("/"), []
    for k, part in enumerate(parts):
        if part in ("forward_layer", "backward_layer") or part == "cell":
            break
        if part not in ("layers", "layer", "_layer_checkpoint_dependencies"):
            kept.append(labels.get("/".join(parts[: k + 1]), part))
    return "/".join(kept)


def _named_name(place: str) -> str:
    """Without what Keras puts before and after: the name twice, the model's between, that of the cell."""
    parts = place.removeprefix("model_weights/").split("/")
    if parts[0] in parts[1:]:
        parts = parts[parts.index(parts[0], 1) :]
    if len(parts) > 1 and parts[-1].rstrip("0123456789_").endswith("_cell"):
        parts.pop()
    inner = [k for k, part in enumerate(parts) if part.startswith(("forward_", "backward_", "stacked_rnn_cells"))]
    return "/".join(parts[: inner[0]] if inner and inner[0] else parts)


def _stacks(name: str, where: Where, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Where]]:
    """The levels as one layer if they make one stack, or else each by itself."""
    levels = sorted({suffix.removesuffix("_reverse") for suffix in where}, key=lambda suffix: int(suffix[2:]))
    of_level = {level: [s for s in (level, f"{level}_reverse") if s in where] for level in levels}
    kinds = {
        (len(of_one), arrays[where[suffix]["recurrent_kernel"]].shape, layout_of(where[suffix], arrays))
        for of_one in of_level.values()
        for suffix in of_one
    }
    if levels == [f"_l{k}" for k in range(len(levels))] and len(kinds) == 1:
        yield name, {suffix: where[suffix] for of_one in of_level.values() for suffix in of_one}
        return
    for level, of_one in of_level.items():
        path = name if level == "_l0" and len(levels) == 1 else f"{name}{level}"
        yield path, {suffix.replace(level, "_l0"): where[suffix] for suffix in of_one}


def layout_of(parts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> tuple[str, bool]:
    """The layout that the shapes of a cell show, as Keras 2 tells them apart on loading.

    And whether they are those of a layer over cuDNN, whose activations are certain.
    """
    hidden, width = arrays[parts["recurrent_kernel"]].shape
    cell = BLOCKS[width // hidden]
    bias = arrays[parts["bias"]].shape if "bias" in parts else None
    if cell != "RNN" and bias == (2 * width,):
        return f"keras CuDNN{cell}", True
    return ("keras GRU, reset_after=False" if cell == "GRU" and bias == (width,) else f"keras {cell}"), False


def layer_names(spec: ModelSpec) -> tuple[str, ...]:
    """The names that the layers of a model get in Keras, one for each level."""
    stem = STEMS[spec.kind.layer]
    return tuple(f"{stem}_l{level}" for level in range(spec.num_layers)) if spec.num_layers > 1 else (stem,)


def _levels(spec: ModelSpec) -> Iterator[tuple[str, int, str]]:
    """Suffix, level, and "forward", "backward" or "" of each cell. Raises ``InvalidInput`` for what Keras lacks."""
    if spec.cell not in STEMS:
        cause = "Keras' files hold layers" if spec.is_cell else "Keras has no other"
        raise InvalidInput(mismatch("cell", f"one of {', '.join(STEMS)}", spec.cell, cause))
    for suffix in layer_suffixes(spec):
        side = "backward" if suffix.endswith("_reverse") else "forward"
        yield suffix, int(suffix.removesuffix("_reverse")[2:]), side if spec.bidirectional else ""


def _layout(spec: ModelSpec) -> str:
    return f"keras {spec.kind.layer}" + (", reset_after=False" if not spec.reset_after else "")


class _Found:
    @staticmethod
    def find(arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
        return find(arrays)


class Keras3(_Found):
    """The arrays of an archive, or of a file of weights."""

    @staticmethod
    def places(spec: ModelSpec) -> tuple[str, Where]:
        where: Where = {}
        for suffix, level, side in _levels(spec):
            group = "bidirectional" if side else STEMS[spec.kind.layer]
            place = f"layers/{group}" + (f"_{level}" if level else "") + (f"/{side}_layer" if side else "")
            parts = PARTS if spec.bias else PARTS[:2]
            where[suffix] = {part: f"{place}/cell/vars/{k}" for k, part in enumerate(parts)}
        return _layout(spec), where


class Keras2(_Found):
    """The arrays of an HDF5 file, as TensorFlow 2 names them."""

    @staticmethod
    def places(spec: ModelSpec) -> tuple[str, Where]:
        cell = f"{STEMS.get(spec.kind.layer)}_cell/"
        return _layout(spec), _named(spec, cell, PARTS if spec.bias else PARTS[:2])


class CuDNN(_Found):
    """The arrays of layers over cuDNN, which always have biases."""

    @staticmethod
    def places(spec: ModelSpec) -> tuple[str, Where]:
        where = _named(spec, "", PARTS)
        if spec.kind.layer not in ("LSTM", "GRU") or not spec.reset_after:
            got = spec.label if spec.reset_after else "reset_after=False"
            cause = "" if spec.reset_after else "cuDNN applies r after the product; this GRU applies it before"
            wanted = "an LSTM or a GRU with reset_after, as cuDNN has in Keras"
            raise InvalidInput(mismatch("model", wanted, got, cause))
        return f"keras CuDNN{spec.kind.layer}", where


def _named(spec: ModelSpec, cell: str, parts: Sequence[str]) -> Where:
    where: Where = {}
    for suffix, level, side in _levels(spec):
        name = layer_names(spec)[level]
        place = f"model_weights/{name}/{name}/" + (f"{side}_{name}/" if side else "") + cell
        where[suffix] = {part: f"{place}{part}:0" for part in parts}
    return where

"""Arrays in NumPy's format one after another, as ``equinox.tree_serialise_leaves`` writes the leaves of a model.

Such a file (``.eqx``) has neither names nor a structure. Equinox's documentation puts one line of JSON before the
arrays, with the arguments that the model is built with; it is read and kept in ``WeightsFile.about``. What the leaves
are is found in one of two ways.

*By a description*: ``"leaves"``, a list with a name for each array, in that line or in a file beside it, ``FILE.json``
beside ``FILE``. It is made where the model is::

    leaves = jax.tree_util.tree_leaves_with_path(equinox.filter(model, equinox.is_array_like))
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    pathlib.Path("model.eqx.json").write_text(json.dumps({"leaves": names}))

The names are then read as in any file, so that Haiku's trees are found too, saved leaf after leaf with ``numpy.save``.

*By their shapes*: without a description, ``weight_ih`` (G*H, I) and ``weight_hh`` (G*H, H), with ``bias`` (G*H,) after
them and, in a GRU, ``bias_n`` (H,), are a cell of ``equinox.nn``, whose fields stand in this order. It is called by the
number of its first leaf: ``leaf0``.

``write`` makes one cell for each layer and direction, forward before reverse, after a line of JSON with the sizes and
the names, and this is how they are loaded::

    with open("model.eqx", "rb") as file:
        about = json.loads(file.readline())
        width = about["hidden_size"] * (2 if about["bidirectional"] else 1)
        inputs = [about["input_size"]] + [width] * (about["num_layers"] - 1)
        like = [
            equinox.nn.LSTMCell(size, about["hidden_size"], use_bias=about["bias"], dtype=about["dtype"], key=key)
            for size in inputs
            for direction in range(2 if about["bidirectional"] else 1)
        ]
        cells = equinox.tree_deserialise_leaves(file, like)

A cell is run with ``jax.lax.scan``, the reverse ones with ``reverse=True``; the outputs of both directions are
joined along the last axis and given to the next layer.
"""

import io
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.model.dtypes import numpy_dtype
from common.model.spec import ModelSpec
from common.weights import schemes
from common.weights.formats.npz import HEADER_ERRORS, header
from common.weights.limits import in_words
from common.weights.schemes import equinox_names
from common.weights.source import Found, Source, Unusable, WeightsFile

MAGIC = np.lib.format.MAGIC_PREFIX
# Bytes of a description, axes of an array, arrays of a file: what no model needs more of.
MAX_TEXT, MAX_AXES, MAX_LEAVES = 1 << 20, 32, 100_000
UNNAMED = (
    "{path} has no names: its cells were recognised by the order and the shapes of its arrays; "
    "to name them, list them as `leaves` in {path}.json"
)
WAY_OUT = "where you trust it, load it and save its arrays with np.savez"
UNCHECKED = "{path} is in a format without checksums: damage to its numbers goes unnoticed"


def fits(source: Source) -> bool:
    return source.entries is None and _start(source.data) is not None


def read(source: Source) -> WeightsFile:
    """The arrays under the names of the description, or under those that their shapes show."""
    start = _start(source.data)
    if start is None:
        raise Unusable("no arrays of NumPy's")
    about = _description(source.data[:start], "its first line") if start else {}
    names = about.get("leaves")
    beside = source.path.with_name(f"{source.path.name}.json")
    if names is None and beside.is_file():
        names = _beside(beside)
    leaves = _arrays(source.data, start)
    if len(leaves) == 1 and names is None and not start:
        raise Unusable(source.kind)
    params, layers = _named(leaves, names) if names is not None else _unnamed(leaves)
    notes = () if names is not None or not layers else (UNNAMED.format(path=source.path),)
    notes += (UNCHECKED.format(path=source.path),)
    return WeightsFile(source.path, "Equinox's leaves", params, about=about, notes=notes, layers=layers)


def _start(data: bytes) -> int | None:
    """Where the arrays begin: at once, or after a line of JSON; None where there are none."""
    if data.startswith(MAGIC):
        return 0
    start = data.find(b"\n", 0, MAX_TEXT) + 1 if data.startswith(b"{") else 0
    return start if start and data[start : start + len(MAGIC)] == MAGIC else None


def _description(text: bytes, what: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{what} is not JSON") from error
    if not isinstance(about, dict):
        raise Unusable(f"{what} is not an object of JSON")
    return about


def _beside(path: Path) -> Any:
    """The names that a file beside the arrays gives."""
    if path.stat().st_size > MAX_TEXT:
        raise Unusable(f"{path} is longer than {MAX_TEXT} bytes")
    about = _description(path.read_bytes(), str(path))
    if "leaves" not in about:
        raise Unusable(f"{path} has no list `leaves` of names")
    return about["leaves"]


def _arrays(data: bytes, position: int) -> list[np.ndarray]:
    """All arrays from a position to the end; sizes are compared with the bytes that are left before any is made."""
    stream, arrays = io.BytesIO(data), []
    stream.seek(position)
    while stream.tell() < len(data):
        if len(arrays) == MAX_LEAVES:
            raise Unusable(f"it holds more than {MAX_LEAVES} arrays")
        what = f"its array {len(arrays)}"
        shape, fortran, dtype = _header(stream, what)
        count, left = math.prod(shape), len(data) - stream.tell()
        if len(shape) > MAX_AXES or any(size < 0 for size in shape) or not dtype.itemsize:
            raise Unusable(f"{what} has the shape {shape} of {dtype}")
        if count * dtype.itemsize > left:
            raise Unusable(f"{what} claims {in_words(count * dtype.itemsize)}, and {in_words(left)} are left")
        flat = np.frombuffer(data, dtype, count, stream.tell())
        stream.seek(count * dtype.itemsize, io.SEEK_CUR)
        try:
            array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
        except ValueError as error:
            raise Unusable(f"{what} has the shape {shape}") from error
        is_bfloat16 = dtype == np.dtype("V2")  # which NumPy's format has no name for
        arrays.append(array.view(numpy_dtype("bfloat16")).copy() if is_bfloat16 else array.copy())
    return arrays


def _header(stream: io.BytesIO, what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # about headers that Python 2 wrote
            return header(stream)
    except (*HEADER_ERRORS, Warning) as error:
        raise Unusable(f"{what}: {error}") from error


def _named(leaves: Sequence[np.ndarray], names: Any) -> tuple[dict[str, np.ndarray], tuple[Found, ...]]:
    """The arrays under the names of a description, and the layers among them."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unusable("its `leaves` are not a list of names")
    names = [plain(name) for name in names]
    if len(names) != len(leaves) or len(set(names)) != len(names):
        raise Unusable(f"its `leaves` are {len(set(names))} different names for {len(leaves)} arrays")
    params = dict(zip(names, leaves, strict=True))
    cells = tuple(equinox_names.find(params, needs_bias=False))
    taken = {name for cell in cells for name in cell.names}
    return params, cells + schemes.find({name: value for name, value in params.items() if name not in taken})


def plain(name: str) -> str:
    """A name without the marks of ``jax.tree_util.keystr``: ``.cells[0].bias`` -> ``cells.0.bias``."""
    name = re.sub(r"\[(['\"])(.*?)\1\]", r"/\2", name)
    return re.sub(r"\[(\d+)\]", r".\1", name).lstrip("./")


def _unnamed(leaves: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[Found, ...]]:
    """The arrays under names that their shapes show, and the cells among them."""
    fields = cell_fields([(leaf.shape, leaf.dtype) for leaf in leaves])
    params = {leaf_name(place, fields): leaf for place, leaf in enumerate(leaves)}
    cells: dict[int, dict[str, str]] = {}
    for place, (first, field) in fields.items():
        cells.setdefault(first, {})[field] = leaf_name(place, fields)
    return params, tuple(equinox_names.cell(f"leaf{first}", parts, params) for first, parts in cells.items())


def leaf_name(place: int, fields: Mapping[int, tuple[int, str]]) -> str:
    return f"leaf{fields[place][0]}.{fields[place][1]}" if place in fields else f"leaf{place}"


def cell_fields(kinds: Sequence[tuple[tuple[int, ...], np.dtype]]) -> dict[int, tuple[int, str]]:
    """Place of a leaf -> the first leaf of its cell, and the field of the cell that it is."""
    fields: dict[int, tuple[int, str]] = {}
    place = 0
    while place < len(kinds):
        size = _cell_size(kinds[place : place + len(equinox_names.FIELDS)])
        fields |= {place + k: (place, equinox_names.FIELDS[k]) for k in range(size)}
        place += max(size, 1)
    return fields


def _cell_size(kinds: Sequence[tuple[tuple[int, ...], np.dtype]]) -> int:
    """How many of these leaves are a cell: 0 if they do not begin with one."""
    if len(kinds) < 2:
        return 0
    (ih, dtype), (hh, _), *biases = kinds
    if len(ih) != 2 or len(hh) != 2 or ih[0] != hh[0] or not hh[1]:
        return 0
    blocks, rest = divmod(hh[0], hh[1])
    if rest or blocks not in equinox_names.CELLS or numpy_kind(dtype) != "f":
        return 0
    wanted = [(ih[0],), (hh[1],)][: blocks == 4 or 2]
    has_bias = [shape for shape, _ in biases[: len(wanted)]] == wanted
    size = 2 + len(wanted) * has_bias
    return size if {kind for _, kind in kinds[:size]} == {dtype} else 0


def numpy_kind(dtype: np.dtype) -> str:
    """The kind of a dtype, bfloat16 being a floating-point one."""
    return "f" if dtype == numpy_dtype("bfloat16") else dtype.kind


def write(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """A line of JSON, then the arrays in their order, which is that of the fields of the cells."""
    names = ("input_size", "hidden_size", "num_layers", "bidirectional", "bias", "dtype")
    about = {"cell": spec.kind.layer} | {name: getattr(spec, name) for name in names} | {"leaves": list(arrays)}
    with path.open("wb") as file:
        file.write(json.dumps(about).encode() + b"\n")
        for array in arrays.values():
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)

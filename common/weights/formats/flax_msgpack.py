"""A tree that ``flax.serialization`` wrote (``to_bytes``, ``msgpack_serialize``): a map of names to maps and arrays.

Read without Flax, by the *MessagePack specification*: a map or an array announces a count of objects, and everything
else its size, none of which can be more than the bytes that are left. Flax adds types 1 and 3 for arrays and NumPy's
numbers (shape, name of the dtype, bytes in row-major order), 2 for complex numbers, and writes arrays above 1 GiB as a
map of parts (``__msgpack_chunked_array__``). The format has no checksums.
"""

import importlib
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import BackendMissing
from common.model.dtypes import numpy_dtype
from common.model.layout import Parameters
from common.model.spec import HALF_DTYPES, ModelSpec
from common.weights.source import Source, Unusable, WeightsFile

NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">L", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h"}
NUMBERS |= {0xD2: ">l", 0xD3: ">q"}
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# First byte -> the format of the size that follows it.
BINARY = {0xC4: ">B", 0xC5: ">H", 0xC6: ">L"}
TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">L"}
EXTENSION, FIXED_EXTENSION = {0xC7: ">B", 0xC8: ">H", 0xC9: ">L"}, {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
LISTS, MAPS = {0xDC: ">H", 0xDD: ">L"}, {0xDE: ">H", 0xDF: ">L"}
ARRAY, COMPLEX_NUMBER, NUMBER = 1, 2, 3
CHUNKED = "__msgpack_chunked_array__"
# A tree of a model has a few thousand objects, a few levels deep.
MOST_OBJECTS, DEEPEST, LONGEST_NAME = 1_000_000, 64, 4096
NOTE = "{} is in Flax's msgpack format, which has no checksums: damage goes unnoticed"


class Extension(NamedTuple):
    kind: int
    content: memoryview


class Reader:
    """The objects of a message, in their order."""

    def __init__(self, data: memoryview, objects: int = MOST_OBJECTS):
        self.data, self.at, self.objects = data, 0, objects

    def take(self, size: int) -> memoryview:
        part = self.data[self.at : self.at + size]
        if len(part) < size:
            raise Unusable("it is cut off")
        self.at += size
        return part

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, size: int) -> int:
        """A count of objects, each of which takes a byte at least."""
        if size > len(self.data) - self.at:
            raise Unusable("it is cut off")
        return size

    def text(self, size: int) -> str:
        try:
            return str(self.take(size), "utf-8")
        except UnicodeDecodeError as error:
            raise Unusable("a name in it is not text") from error

    def next(self, depth: int = 0) -> Any:
        self.objects -= 1
        if depth > DEEPEST or self.objects < 0:
            raise Unusable("it is nested too deeply" if depth > DEEPEST else f"it has more than {MOST_OBJECTS} objects")
        first = self.take(1)[0]
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 0x100
        if first <= 0x8F:
            return self.map(first & 0x0F, depth)
        if first <= 0x9F:
            return [self.next(depth + 1) for _ in range(self.count(first & 0x0F))]
        if first <= 0xBF:
            return self.text(first & 0x1F)
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in NUMBERS:
            return self.number(NUMBERS[first])
        if first in BINARY:
            return self.take(self.number(BINARY[first]))
        if first in TEXT:
            return self.text(self.number(TEXT[first]))
        if first in LISTS:
            return [self.next(depth + 1) for _ in range(self.count(self.number(LISTS[first])))]
        if first in MAPS:
            return self.map(self.number(MAPS[first]), depth)
        if first in EXTENSION or first in FIXED_EXTENSION:
            size = FIXED_EXTENSION[first] if first in FIXED_EXTENSION else self.number(EXTENSION[first])
            return Extension(self.number(">b"), self.take(size))
        raise Unusable(f"its byte {self.at - 1} begins no object of MessagePack")

    def map(self, size: int, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for _ in range(self.count(2 * size) // 2):
            name = self.next(depth + 1)
            if not isinstance(name, str) or len(name) > LONGEST_NAME or name in result:
                raise Unusable("a name in it is not text, too long, or there twice")
            result[name] = self.next(depth + 1)
        return result


def fits(source: Source) -> bool:
    """A map whose first name is text without control characters."""
    data = source.data[:256]
    at = {0xDE: 3, 0xDF: 5}.get(data[0], 1 if 0x81 <= data[0] <= 0x8F else 0) if data else 0
    if source.entries is not None or not at or len(data) <= at:
        return False
    first = data[at]
    size, start = first & 0x1F, at + 1
    if first in (0xD9, 0xDA):
        width = first - 0xD8
        size, start = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
    elif not 0xA0 <= first <= 0xBF:
        return False
    return data[start : start + size].decode("utf-8", errors="ignore").isprintable()


def read(source: Source) -> WeightsFile:
    """The arrays by their paths, joined by "/"."""
    reader = Reader(memoryview(source.data))
    tree = reader.next()
    if reader.at != len(source.data):
        raise Unusable("it is longer than its tree")
    if not isinstance(tree, dict):
        raise Unusable("it holds no tree of names")
    params: Parameters = {}
    skipped: dict[str, str] = {}
    for path, value in _leaves(tree):
        name = "/".join(path)
        if name in params or name in skipped:
            raise Unusable(f"two of its arrays are named {name}")
        if isinstance(value, np.ndarray):
            params[name] = value
        else:
            skipped[name] = f"not an array ({type(value).__name__})"
    return WeightsFile(
        path=source.path,
        format="Flax's msgpack",
        params=params,
        notes=(NOTE.format(source.path),),
        skipped=skipped,
    )


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        where = (*path, name)
        if isinstance(value, dict) and CHUNKED not in value:
            yield from _leaves(value, where)
        elif isinstance(value, list):
            yield from _leaves({str(place): part for place, part in enumerate(value)}, where)
        else:
            yield where, _leaf("/".join(where), value)


def _leaf(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return _joined(name, value)
    if not isinstance(value, Extension):
        return value
    if value.kind == COMPLEX_NUMBER:
        return 0j
    if value.kind not in (ARRAY, NUMBER):
        raise Unusable(f"its {name} has the type {value.kind}, which Flax does not write")
    return _array(name, value.content)


def _array(name: str, content: memoryview) -> np.ndarray:
    """An array from its shape, the name of its dtype and its bytes, of which there are as many as these say."""
    reader = Reader(content, objects=128)
    parts = reader.next()
    if reader.at != len(content) or not isinstance(parts, list) or len(parts) != 3:
        raise Unusable(f"its {name} is not an array as Flax writes it")
    shape, dtype, data = parts
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 32:
        raise Unusable(f"its {name} has no shape")
    kind = _dtype(name, dtype)
    if not isinstance(data, memoryview) or len(data) != math.prod(shape) * kind.itemsize:
        raise Unusable(f"its {name} does not have the bytes of {shape} numbers of {kind}")
    try:
        return np.array(np.frombuffer(data, kind).reshape(shape)) if data else np.zeros(shape, kind)
    except (ValueError, OverflowError, MemoryError) as error:  # sizes beside a 0 may be any
        raise Unusable(f"its {name} has no shape") from error


def _dtype(name: str, label: Any) -> np.dtype:
    if label in HALF_DTYPES:
        return numpy_dtype(label)
    try:
        if isinstance(label, str) and (kind := np.dtype(label)).kind in "biufc" and kind.name == label:
            return kind
    except (TypeError, ValueError, SyntaxError):
        pass
    raise Unusable(f"its {name} has no dtype of numbers")


def _joined(name: str, value: Mapping[str, Any]) -> np.ndarray:
    """An array that was written in parts."""
    shape, chunks = value.get("shape"), value.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict) or not chunks or len(value) != 3:
        raise Unusable(f"its {name} is not an array in parts as Flax writes it")
    sizes: list[Any] = [shape.get(str(place)) for place in range(len(shape))]
    parts = [_leaf(name, chunks.get(str(place))) for place in range(len(chunks))]
    if not all(type(size) is int and size >= 0 for size in sizes) or not all(isinstance(p, np.ndarray) for p in parts):
        raise Unusable(f"its {name} lacks sizes or parts")
    if len({part.dtype for part in parts}) > 1 or math.prod(sizes) != sum(part.size for part in parts):
        raise Unusable(f"the parts of its {name} do not fit {sizes}")
    return np.concatenate([part.reshape(-1) for part in parts]).reshape(sizes)


def write(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """What ``flax.serialization.to_bytes(variables)`` makes of the tree. Raises ``BackendMissing`` without Flax."""
    try:
        serialization = importlib.import_module("flax.serialization")
    except ModuleNotFoundError as error:
        if error.name not in ("flax", "jax", "msgpack"):
            raise
        text = f"Flax's msgpack needs {error.name}, which is not installed; run: pip install -e '.[jax]'"
        raise BackendMissing(text) from error
    path.write_bytes(serialization.msgpack_serialize(tree(arrays)))


def tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by their paths as nested dicts."""
    result: dict[str, Any] = {}
    for name, value in arrays.items():
        *path, leaf = name.split("/")
        node = result
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return result

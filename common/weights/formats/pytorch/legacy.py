"""The containers of PyTorch before zip files: pickles one after another with the storages behind them, and tar files.

From 0.1.10 to 1.5, and later on request, ``torch.save`` wrote five pickles (a number that marks the format, its
version, the machine, the object, the keys of the storages) and then each storage: its number of elements in 8 bytes,
and the elements. Before, it wrote a tar file of ``storages``, ``tensors`` and ``pickle``. Both are as the source of
``torch/serialization.py`` reads them.
"""

import struct
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from common.weights.pickles.machine import Built, Global, Machine, Malformed, Pairs, Persistent
from common.weights.pickles.tensors import STORAGES, Order, Storage, Unreadable, as_bytes, dtype_of, view

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
BLOCK = 512
Views = dict[str, Storage | np.ndarray]


class Loaded(NamedTuple):
    """Storages and tensors by key."""

    found: Views
    order: Order

    def find(self, identifier: Any) -> Storage | np.ndarray:
        if isinstance(identifier, str):  # of a tar file
            return self._at(identifier)
        _, key, _ = reference(identifier)
        storage = self._at(key)
        metadata = identifier[5] if len(identifier) > 5 else None
        if metadata is None or isinstance(storage, np.ndarray):
            return storage
        if not isinstance(metadata, tuple) or len(metadata) != 3:
            raise Unreadable("its storage is described in an unknown way")
        return part_of(storage, *metadata[1:])

    def _at(self, key: str) -> Storage | np.ndarray:
        if key not in self.found:
            raise Unreadable("its values are not in the file")
        return self.found[key]


class Inside:
    """The storages of a module or tensor that ``pickle`` wrote by itself: each is a file of its own in the pickle."""

    order: Order = "<"

    def __init__(self) -> None:
        self.made: dict[int, tuple[Any, Storage]] = {}

    def find(self, identifier: Any) -> Storage:
        if not isinstance(identifier, Built) or identifier.name != "torch.storage._load_from_bytes":
            raise Unreadable("its values are not in the file")
        if id(identifier) not in self.made:
            self.made[id(identifier)] = identifier, self._loaded(identifier)
        return self.made[id(identifier)][1]

    def _loaded(self, call: Built) -> Storage:
        data = as_bytes(call.args[0]) if len(call.args) == 1 else None
        try:
            machine = Machine(data or b"")
            mark = machine.load()
            root, loaded = stream(data or b"", machine) if mark == MAGIC else (None, None)
        except Malformed as error:
            raise Unreadable("its values are damaged") from error
        storage = loaded.find(root.id) if loaded and isinstance(root, Persistent) else None
        if loaded is None or loaded.order != self.order or not isinstance(storage, Storage):
            raise Unreadable("its values are described in an unknown way")
        return storage


def reference(identifier: Any) -> tuple[str, str, int]:
    """The class of a storage, its key and its number of elements, from what a pickle says of it."""
    if not isinstance(identifier, tuple) or len(identifier) < 5 or identifier[0] != "storage":
        raise Unreadable("its values are described in an unknown way")
    kind, key, _, size = identifier[1:5]
    if not isinstance(kind, Global) or kind.name not in STORAGES or not kind.module.startswith("torch"):
        name = kind if isinstance(kind, Global) else "an unknown class"
        raise Unreadable(f"its values are a storage of {name}, which holds no plain numbers")
    if not isinstance(key, str) or len(key) > 1000 or type(size) is not int or size < 0:
        raise Unreadable("its values are described in an unknown way")
    return kind.name, key, size


def bytes_of(kind: str) -> np.dtype:
    """The dtype of the elements of a class of storages."""
    return np.dtype(getattr(ml_dtypes, STORAGES[kind], STORAGES[kind]))


def part_of(storage: Storage, offset: Any, size: Any) -> Storage:
    """A storage that is a view of another, from an element on."""
    step = np.dtype(getattr(ml_dtypes, storage.dtype, storage.dtype)).itemsize
    if (
        type(offset) is not int
        or type(size) is not int
        or not 0 <= offset <= offset + size <= len(storage.data) // step
    ):
        raise Unreadable("its storage reaches beyond the one that it is a view of")
    return storage._replace(data=storage.data[offset * step : (offset + size) * step])


def stream(data: bytes, machine: Machine) -> tuple[Any, Loaded]:
    """The object in a file whose first pickle was the mark, and its storages; raises ``Malformed``."""
    version, system, root = machine.load(), machine.load(), machine.load()
    if version != VERSION:
        raise Malformed("another version of PyTorch's old format")
    kinds = _kinds(machine.persistent)
    keys = machine.load()
    order: Order = "<" if _is_little(system) else ">"
    position, found = machine.position, {}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Malformed("no list of storages behind the pickle")
    for key in keys:
        if key not in kinds or key in found:
            raise Malformed("a storage that the pickle does not name")
        kind, recorded = kinds[key]
        found[key], position = _storage(data, position, kind, order)
        if len(found[key].data) != recorded * bytes_of(kind).itemsize:
            raise Malformed("a storage of another size than the pickle records")
    if position != len(data):
        raise Malformed("longer than its storages")
    return root, Loaded(found, order)


def _kinds(references: list[Persistent]) -> dict[str, tuple[str, int]]:
    """Key of a storage -> its class and its number of elements."""
    kinds = {}
    for node in references:
        if isinstance(node.id, tuple) and node.id[:1] == ("storage",):
            try:
                kind, key, size = reference(node.id)
            except Unreadable as error:
                raise Malformed(str(error)) from error
            if kinds.setdefault(key, (kind, size)) != (kind, size):
                raise Malformed("a storage of two sizes or types")
    return kinds


def _is_little(system: Any) -> bool:
    pairs = system.pairs if isinstance(system, Pairs) else []
    return all(value is not False for key, value in pairs if key == "little_endian")


def _storage(data: bytes, position: int, kind: str, order: Order) -> tuple[Storage, int]:
    """A storage from its number of elements on, and where it ends."""
    if position + 8 > len(data):
        raise Malformed("cut off before a storage")
    (size,) = struct.unpack_from(f"{order}q", data, position)
    start = position + 8
    if not 0 <= size <= (len(data) - start) // bytes_of(kind).itemsize:
        raise Malformed(f"cut off: a storage of {size} elements is not there")
    stop = start + size * bytes_of(kind).itemsize
    return Storage(memoryview(data)[start:stop], STORAGES[kind]), stop


def is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def tar_file(data: bytes) -> tuple[Any, Loaded]:
    """The object in a tar file of PyTorch's, and its storages and tensors; raises ``Malformed``."""
    members = _members(data)
    missing = [name for name in ("pickle", "storages", "tensors") if name not in members]
    if missing:
        raise Malformed(f"a tar file without {' and '.join(missing)}, so not PyTorch's")
    order: Order = "<" if "sys_info" not in members or _is_little(Machine(members["sys_info"]).load()) else ">"
    found = _tar_storages(members["storages"], order)
    _tar_tensors(members["tensors"], found, order)
    return Machine(members["pickle"]).load(), Loaded(found, order)


def _members(data: bytes) -> dict[str, bytes]:
    """The files in a tar file, by name; every header has its checksum."""
    members, position = {}, 0
    while position + BLOCK <= len(data) and data[position : position + BLOCK].strip(b"\0"):
        header = data[position : position + BLOCK]
        checked = header[:148] + b" " * 8 + header[156:]
        size, checksum = (_octal(header[start:stop]) for start, stop in ((124, 136), (148, 156)))
        start = position + BLOCK
        if checksum != sum(checked) or start + size > len(data):
            raise Malformed("a damaged tar file")
        if header[156:157] in (b"0", b"\0"):
            members[header[:100].rstrip(b"\0").decode("latin-1")] = data[start : start + size]
        position = start + -(-size // BLOCK) * BLOCK
    return members


def _octal(digits: bytes) -> int:
    try:
        return int(digits.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise Malformed("a damaged tar file") from error


def _tar_storages(data: bytes, order: Order) -> Views:
    """How many there are, and for each a pickle of its key, place and class, and its elements; then which are views."""
    machine = Machine(data)
    found: Views = {}
    for _ in range(_count(machine.load())):
        key, _, kind = _fields(machine.load(), 3)
        name, key, _ = reference(("storage", kind, str(key), "cpu", 0))
        storage, position = _storage(data, machine.position, name, order)
        found[key] = storage
        machine.stream.seek(position)
    views = machine.load()
    for entry in views if isinstance(views, list) else ():
        target, root, offset, size = _fields(entry, 4)
        storage = found.get(str(root))
        if not isinstance(storage, Storage):
            raise Malformed("a view of a storage that is not there")
        found[str(target)] = part_of(storage, offset, size)
    return found


def _tar_tensors(data: bytes, found: Views, order: Order) -> None:
    """The tensors, added to ``found``: a pickle of key and storage each, then rank, shape, strides and offset."""
    machine = Machine(data)
    for _ in range(_count(machine.load())):
        key, storage_key, _ = _fields(machine.load(), 3)
        storage, start = found.get(str(storage_key)), machine.position
        header = data[start : start + 4]
        (rank,) = struct.unpack(f"{order}i", header) if len(header) == 4 else (-1,)
        stop = start + 8 + 16 * rank + 8  # the rank takes 8 bytes, of which 4 say something
        if not 0 <= rank <= 32 or stop > len(data) or not isinstance(storage, Storage):
            raise Malformed("a tensor that is cut off or has no storage")
        numbers = struct.unpack_from(f"{order}{2 * rank + 1}q", data, start + 8)
        size, stride, offset = numbers[:rank], numbers[rank:-1], numbers[-1]
        found[str(key)] = view(storage.data, dtype_of(storage.dtype, order), offset, size, stride)
        machine.stream.seek(stop)


def _count(node: Any) -> int:
    if type(node) is not int or not 0 <= node < 10**6:
        raise Malformed("a count that is none")
    return node


def _fields(node: Any, number: int) -> tuple[Any, ...]:
    """A tuple or list of so many values."""
    if not isinstance(node, tuple | list) or len(node) != number:
        raise Malformed("a storage or tensor that is described in an unknown way")
    if not all(type(value) in (int, str, Global) or value is None for value in node):
        raise Malformed("a storage or tensor that is described in an unknown way")
    return tuple(node)

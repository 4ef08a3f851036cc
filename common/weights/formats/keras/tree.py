"""What an HDF5 file holds, read by h5py within limits; ``hdf5`` runs this in a process of its own.

Nothing that a file refers to outside itself is opened: soft and external links, external storage, virtual datasets and
references are left out and reported. So are filters other than HDF5's own checksums, shuffling and gzip, which would
load plugins. Sizes are compared before anything is allocated.
"""

import importlib
import math
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from common.weights import limits
from common.weights.source import Unusable

MAX_DEPTH, MAX_OBJECTS = 64, 100_000
# Bytes of address space beyond those for the arrays, and seconds of processor time and for each byte.
MEMORY, SECONDS, SECONDS_PER_BYTE = 1 << 29, 10, 1e-7
# What is read: floating point, integers, truth values.
KINDS = "fiub"


class Tree(NamedTuple):
    """The arrays of an HDF5 file by path, the texts attached to its objects, and what was left out, with the reason.

    An attribute is a text or a list of texts. The path of the file itself is "".
    """

    arrays: dict[str, np.ndarray]
    attributes: dict[str, dict[str, str | list[str]]]
    skipped: dict[str, str]

    def listed(self, path: str, name: str) -> list[str]:
        """A list of names that Keras attaches to a group, in several parts where it is long."""
        texts = self.attributes.get(path, {})
        parts = [texts.get(name, []), *(texts.get(f"{name}{k}", []) for k in range(len(texts)))]
        return [one for part in parts if isinstance(part, list) for one in part]

    def in_order(self, top: str) -> "Tree":
        """The arrays in the order in which Keras lists the layers of a group and their weights; numbers count as such.

        HDF5 itself has them in the order of the alphabet.
        """
        place: dict[str, int] = {}
        for layer in self.listed(top, "layer_names"):
            group = f"{top}/{layer}".lstrip("/")
            for weight in self.listed(group, "weight_names"):
                place.setdefault(f"{group}/{weight}", len(place))

        def key(name: str) -> tuple[int, list[tuple[int, str]]]:
            pieces = re.split(r"([0-9]{1,9})", name)
            return place.get(name, len(place)), [(int(one), "") if k % 2 else (-1, one) for k, one in enumerate(pieces)]

        return self._replace(arrays={name: self.arrays[name] for name in sorted(self.arrays, key=key)})


def read(data: bytes) -> Tree:
    """The content of an HDF5 file, with limits on this process. Raises ``Unusable`` for a damaged one."""
    h5py = importlib.import_module("h5py")
    importlib.import_module("ml_dtypes")
    _limit(len(data))
    tree = Tree({}, {}, {})
    try:
        with h5py.File(h5py.h5f.open_file_image(data)) as file:
            _Reader(h5py, tree, limits.unpacked(len(data))).group("", file)
    except (Unusable, MemoryError) as error:
        raise Unusable(str(error) or "it claims more memory than it can need") from error
    except Exception as error:
        raise Unusable(f"damaged, or not HDF5: {' '.join(str(error).split())[:200]}") from error
    return tree


def _limit(size: int) -> None:
    """Bound the memory of this process, and the processor time from now on."""
    if sys.platform != "linux":
        return
    resource: Any = importlib.import_module("resource")
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(usage.ru_utime + usage.ru_stime + SECONDS + SECONDS_PER_BYTE * size)
    for kind, wanted in (
        (resource.RLIMIT_AS, now + MEMORY + 3 * limits.unpacked(size)),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


class _Reader:
    """Walks through a file and fills a tree."""

    def __init__(self, h5py: Any, tree: Tree, allowed: int):
        self.h5py, self.tree, self.allowed, self.budget = h5py, tree, allowed, allowed
        self.seen: set[Any] = set()
        self.filters = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}

    def group(self, path: str, group: Any, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise Unusable(f"its groups are nested deeper than {MAX_DEPTH}")
        self._enter(group)
        self._attributes(path, group)
        for name in self._names(group):
            below = f"{path}/{name}" if path else name
            kind = group.get(name, getclass=True, getlink=True)
            if kind is not self.h5py.HardLink:
                self.tree.skipped[below] = "a link to another place, which is not followed"
                continue
            one = group[name]
            if one.id in self.seen:
                self.tree.skipped[below] = "another name of what the file holds already"
            elif isinstance(one, self.h5py.Group):
                self.group(below, one, depth + 1)
            elif isinstance(one, self.h5py.Dataset):
                self._enter(one)
                self._attributes(below, one)
                self._dataset(below, one)
            else:
                self.tree.skipped[below] = "a named type"

    def _names(self, group: Any) -> Iterator[str]:
        for name in group:
            if len(self.seen) + len(self.tree.skipped) > MAX_OBJECTS:
                raise Unusable(f"it has more than {MAX_OBJECTS} objects")
            yield name

    def _enter(self, one: Any) -> None:
        self.seen.add(one.id)

    def _attributes(self, path: str, one: Any) -> None:
        texts: dict[str, str | list[str]] = {}
        for name in one.attrs:
            held = one.attrs.get_id(name)
            self._take(path, math.prod(held.shape or (0,)) * held.get_type().get_size())
            value = one.attrs[name]
            if isinstance(value, bytes | str | np.bytes_):
                texts[name] = _text(value)
            elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "SO":
                if all(isinstance(item, bytes | str) for item in value):
                    texts[name] = [_text(item) for item in value]
            elif isinstance(value, np.ndarray) and not value.size:
                texts[name] = []
        if texts:
            self.tree.attributes[path] = texts

    def _take(self, path: str, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Unusable(f"with {path}, it unpacks to more than {limits.in_words(self.allowed)}")

    def _dataset(self, path: str, dataset: Any) -> None:
        reason = self._unreadable(path, dataset)
        if reason:
            self.tree.skipped[path] = reason
            return
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        self._take(path, size)
        if dataset.chunks is not None:
            room = math.prod(dataset.chunks) * dataset.dtype.itemsize
            self._take(path, room)
            self.budget += room
        value = np.asarray(dataset[()])
        if dataset.dtype.kind == "V":
            value = value.view(np.dtype(importlib.import_module("ml_dtypes").bfloat16))
        self.tree.arrays[path] = value.astype(value.dtype.newbyteorder("="), copy=False)

    def _unreadable(self, path: str, dataset: Any) -> str:
        """Why an array is left out; "" for one that is read."""
        settings, dtype = dataset.id.get_create_plist(), dataset.dtype
        if dataset.shape is None:
            return "an empty dataset"
        if settings.get_layout() == self.h5py.h5d.VIRTUAL or settings.get_external_count():
            return "its numbers are in another file, which is not opened"
        used = {settings.get_filter(k)[0] for k in range(settings.get_nfilters())}
        if not used <= self.filters:
            return f"it is compressed by a filter other than gzip (number {max(used - self.filters)})"
        is_bfloat16 = dtype.str == "|V2" and self.tree.attributes.get(path, {}).get("dtype") == "bfloat16"
        if dtype.kind not in KINDS and not is_bfloat16:
            return "it holds something other than numbers"
        if dtype.kind == "f" and dtype.itemsize not in (2, 4, 8):
            return f"its numbers have {8 * dtype.itemsize} bits"
        return ""


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

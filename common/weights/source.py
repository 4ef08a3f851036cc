"""A file of weights before and after it is read, whatever its format, and what a format and a scheme of names are."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.spec import DTYPES, ModelSpec
from common.weights import archives, limits

# Suffix of a layer and direction (``layout.layer_suffixes``) -> part of the layout -> name of the array in the file.
Where = dict[str, dict[str, str]]
# Layers that stand in the short form of a file.
SHOWN = 6


class Unusable(ValueError):
    """Why a file cannot be read, in a few words; ``common.weights.files`` adds the file and what is expected."""


class Source(NamedTuple):
    """A file in memory: its bytes and, if it is a zip file, its undamaged entries by name.

    A directory has no bytes; the formats that are directories read what they need below ``path``.
    """

    path: Path
    data: bytes
    entries: dict[str, bytes] | None

    @property
    def kind(self) -> str:
        """What the bytes are, in a few words, if no format claims them."""
        if self.entries is not None:
            return "a zip file"
        if self.path.is_dir():
            return "a directory that is no checkpoint"
        is_array = self.data.startswith(np.lib.format.MAGIC_PREFIX)
        return "a single array" if is_array else "in none of the known formats" if self.data else "empty"


class Found(NamedTuple):
    """A recurrent layer in a file: one module with all its layers and directions.

    ``path`` is where it stands ("" for the file itself), ``layout`` a key of ``systems.LAYOUTS``, ``where`` the arrays
    of the file that it consists of. ``spec`` and ``params`` are the model, in the dtype of the file and under the
    neutral names; ``notes`` say what was assumed or merged. Where ``problem`` is not empty, it says why the layer
    cannot be used, and ``spec`` is None. ``recorded`` are the options of the specification that the file or its layout
    decides, such as the nonlinearity; the others are assumed where the layer is chosen (``common.weights.layer``).
    """

    path: str
    layout: str
    where: Where
    spec: ModelSpec | None
    params: Parameters
    notes: tuple[str, ...]
    problem: str = ""
    recorded: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """In a few words, without the arrays."""
        return f"<{self.path or '.'}: {self.layout}, {self.sizes}>"

    @property
    def sizes(self) -> str:
        """The model and its width, in a few words."""
        spec = self.spec
        return "cannot be used" if spec is None else f"{spec.label}, {spec.input_size} -> {spec.output_size}"

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays of the file that belong to the layer."""
        return tuple(name for parts in self.where.values() for name in parts.values())


class WeightsFile(NamedTuple):
    """What a file holds: ``params`` under the names and in the dtypes of the file, and the recurrent layers in them.

    ``format`` names the format. ``network`` is the network that the file records, None where it holds arrays alone;
    ``about`` is whatever else it records. ``notes`` are sentences that the user should see. ``layers`` are given by a
    format that records layers itself, and else found by the names of the arrays (``common.weights.schemes``).
    ``skipped`` are things in the file that are not arrays or could not be read, each with the reason.
    """

    path: Path
    format: str
    params: Parameters
    network: NetworkSpec | None = None
    about: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    layers: tuple[Found, ...] | None = None
    skipped: Mapping[str, str] = MappingProxyType({})

    def __repr__(self) -> str:
        """In a few words, without the arrays."""
        layers = ", ".join(f"{layer.path or '.'} ({layer.sizes})" for layer in (self.layers or ())[:SHOWN])
        more = f" and {len(self.layers) - SHOWN} more" if self.layers and len(self.layers) > SHOWN else ""
        return f"<{self.path}: {self.format}, {len(self.params)} arrays, layers: {layers or 'none'}{more}>"

    @property
    def others(self) -> tuple[str, ...]:
        """The arrays that belong to no recurrent layer."""
        taken = {name for layer in self.layers or () for name in layer.names}
        return tuple(name for name in self.params if name not in taken)


class Trained(NamedTuple):
    """A trained network, its parameters, and what the file records besides, as plain values."""

    network: NetworkSpec
    params: Parameters
    about: dict[str, Any]


class Format(Protocol):
    """What the module of a format provides. ``read`` raises ``Unusable`` or ``InvalidInput``."""

    @staticmethod
    def fits(source: Source) -> bool: ...

    @staticmethod
    def read(source: Source) -> WeightsFile: ...


class Scheme(Protocol):
    """How a system names the arrays of its layers in a tree of arrays: what the module of a scheme provides.

    ``find`` yields the layers among the arrays of a file, each made by ``schemes.found``; names are as the file has
    them, their parts separated by "." or "/". ``places`` is the inverse: the layout and the names that a model of this
    specification gets in a new file, and raises ``InvalidInput`` for one that the system cannot hold.
    """

    @staticmethod
    def find(arrays: Mapping[str, np.ndarray]) -> Iterable[Found]: ...

    @staticmethod
    def places(spec: ModelSpec) -> tuple[str, Where]: ...


class Target(NamedTuple):
    """A kind of file that ``write`` makes.

    ``write`` makes the file of the arrays under the names of the scheme's ``places``. ``peer`` is the library that owns
    the format (a name in ``peers.PEERS``), which proves what was written, or "" if there is none to ask.
    """

    name: str
    suffix: str
    summary: str
    scheme: Scheme
    write: Callable[[Path, ModelSpec, Mapping[str, np.ndarray]], None]
    peer: str
    dtypes: tuple[str, ...] = DTYPES


def open_source(path: Path) -> Source:
    """Read a file. Raises ``OSError``, and ``Unusable`` for what is too large, damaged or no file or directory."""
    data = b"" if path.is_dir() else content(path)
    if not archives.is_zip(data):
        return Source(path, data, None)
    try:
        return Source(path, data, archives.contents(data))
    except archives.Damaged as error:
        raise Unusable(str(error)) from error


def content(path: Path) -> bytes:
    """The bytes of a regular file. Raises ``OSError``, and ``Unusable`` for anything else and for a file too large.

    A pipe or a device is not read, as it may never end; nor is it waited for until somebody writes to a pipe.
    """
    if "\0" in str(path):
        raise Unusable("its name contains a null character")
    _require_regular(path.stat())
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        size = _require_regular(os.fstat(descriptor))
        return file.read(size)


def _require_regular(status: os.stat_result) -> int:
    """The size of a regular file that is not too large; raises ``Unusable`` for anything else."""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    if not stat.S_ISREG(status.st_mode):
        raise Unusable(f"{kinds.get(stat.S_IFMT(status.st_mode), 'something else')}, not a file")
    if status.st_size > limits.MAX_FILE:
        sizes = f"{limits.in_words(status.st_size)} long, of at most {limits.in_words(limits.MAX_FILE)}"
        raise Unusable(f"{sizes}; save the recurrent layer alone")
    return status.st_size

"""A file of weights before and after it is read, whatever its format."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.weights import archives


class Unusable(ValueError):
    """Why a file cannot be read, in a few words; ``common.weights.files`` adds the file and what is expected."""


class Source(NamedTuple):
    """A file in memory: its bytes and, if it is a zip file, its undamaged entries by name."""

    path: Path
    data: bytes
    entries: dict[str, bytes] | None

    @property
    def kind(self) -> str:
        """What the bytes are, in a few words, if no format claims them."""
        if self.entries is not None:
            return "a zip file"
        return "a single array" if self.data.startswith(np.lib.format.MAGIC_PREFIX) else "not a zip file"


class WeightsFile(NamedTuple):
    """What a file holds: ``params`` under the names and in the dtypes of the file.

    ``format`` names the format. ``network`` is the network that the file records, None where it holds arrays alone;
    ``about`` is whatever else it records. ``notes`` are sentences that the user should see.
    """

    path: Path
    format: str
    params: Parameters
    network: NetworkSpec | None
    about: dict[str, Any]
    notes: tuple[str, ...]


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


def open_source(path: Path) -> Source:
    """Read a file whole. Raises ``OSError``, and ``Unusable`` for a zip file that is damaged."""
    data = path.read_bytes()
    if not archives.is_zip(data):
        return Source(path, data, None)
    try:
        return Source(path, data, archives.contents(data))
    except archives.Damaged as error:
        raise Unusable(str(error)) from error

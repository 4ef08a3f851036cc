"""NumPy's ``.npz``: a zip file with an ``.npy`` entry for each array, read without running pickled code."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.weights.limits import in_words
from common.weights.source import Source, Unusable, WeightsFile

# What NumPy may raise for a malformed header.
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, TokenError, EOFError, OverflowError, MemoryError, RuntimeError)
WAY_OUT = (
    "save each array under a name of its own, as in "
    'np.savez("OUT.npz", **{f"{module}/{name}": x for module, tree in params.items() for name, x in tree.items()})'
)


def fits(source: Source) -> bool:
    return source.entries is not None


def read(source: Source) -> WeightsFile:
    """The arrays; the file records nothing else."""
    return WeightsFile(
        path=source.path,
        format="NumPy's .npz",
        params=arrays(source.entries or {}),
        network=None,
        about={},
        notes=(),
    )


def arrays(entries: Mapping[str, bytes]) -> Parameters:
    """The arrays of the entries, by name without ``.npy``. Raises ``Unusable``."""
    return {name.removesuffix(".npy"): _array(name, data) for name, data in entries.items()}


def _array(name: str, data: bytes) -> np.ndarray:
    if not name.endswith(".npy"):
        raise Unusable(f"its entry {name} is not an array")
    stream = io.BytesIO(data)
    try:
        _require_size(data)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except HEADER_ERRORS as error:
        raise Unusable(f"its entry {name}: {error}") from error
    if stream.read(1):
        raise Unusable(f"its entry {name} is longer than its array")
    return array


def _require_size(data: bytes) -> None:
    """Raise ``ValueError`` unless the array that the header describes is no longer than the data that follow it.

    NumPy makes room for what a header claims before it looks whether so much is there.
    """
    stream = io.BytesIO(data)
    shape, _, dtype = header(stream)
    claimed, there = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if claimed > there or not dtype.itemsize:
        raise ValueError(f"the header claims {in_words(claimed)}, and {in_words(there)} follow")


def header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether its axes are in Fortran's order, and dtype of the array whose data follow.

    Raises one of ``HEADER_ERRORS`` for a malformed header and for pickled objects.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format, which arrays of numbers do not need")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError(f"Object arrays cannot be loaded when allow_pickle=False; {WAY_OUT}")
    return shape, fortran, dtype


def write(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """Every array as an entry of its own, as ``numpy.savez`` has it."""
    named: dict[str, Any] = dict(arrays)
    with path.open("wb") as file:
        np.savez(file, **named)

"""NumPy's ``.npz``: a zip file with an ``.npy`` entry for each array, read without running pickled code."""

import io
from collections.abc import Mapping
from tokenize import TokenError

import numpy as np

from common.model.layout import Parameters
from common.weights.source import Source, Unusable, WeightsFile

# What NumPy may raise for a malformed header.
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, TokenError, EOFError, OverflowError, MemoryError, RuntimeError)


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
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except HEADER_ERRORS as error:
        raise Unusable(f"its entry {name}: {error}") from error
    if stream.read(1):
        raise Unusable(f"its entry {name} is longer than its array")
    return array

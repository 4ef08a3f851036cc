"""The one way in for files of weights: read whole, checked for damage, no code in them run."""

import io
from pathlib import Path
from tokenize import TokenError

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import Parameters
from common.weights import archives

# What NumPy's reader of a header may raise where the header is none of its own.
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, TokenError, EOFError, OverflowError, MemoryError, RuntimeError)


def read_bytes(path: Path, what: str, expected: str) -> bytes:
    """A whole file; raises ``InvalidInput``, which names ``what`` and ``expected``, where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(mismatch(what, expected, f"{path} ({error.strerror or error})")) from error


def read_npz(path: Path, what: str, expected: str) -> Parameters:
    """The arrays of a file of ``numpy.savez``, undamaged (``common.weights.archives``) and without pickled objects.

    Raises ``InvalidInput``, which names ``what`` and ``expected``.
    """
    data = read_bytes(path, what, expected)
    try:
        if data.startswith(np.lib.format.MAGIC_PREFIX):
            raise ValueError("a single array")
        return {name.removesuffix(".npy"): _array(name, part) for name, part in archives.contents(data).items()}
    except ValueError as error:
        raise InvalidInput(mismatch(what, expected, f"{path} ({error})")) from error


def _array(name: str, data: bytes) -> np.ndarray:
    if not name.endswith(".npy"):
        raise ValueError(f"{name} in it is no array; a file of torch's, but not named so?")
    stream = io.BytesIO(data)
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except HEADER_ERRORS as error:
        raise ValueError(f"{name} in it: {error}") from error
    if stream.read(1):
        raise ValueError(f"{name} in it is longer than its array")
    return array

"""The arrays of an Orbax checkpoint, read with TensorStore in a process of its own, which a damaged one may end.

What the arrays claim to be is compared with the limit before any is read, and the process is refused more memory.
"""

import importlib
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.weights import limits
from common.weights.source import Unusable

# What TensorStore may take beside the arrays: threads, caches, libraries.
OVERHEAD = 2 << 30
ERRORS = (ValueError, LookupError, TypeError, RuntimeError, OSError, ArithmeticError, MemoryError)


class Request(NamedTuple):
    """``names``: name -> key of each array in the folder. ``limit``: bytes of all arrays, and of their chunks."""

    folder: str
    names: dict[str, str]
    limit: int
    use_ocdbt: bool
    use_zarr3: bool


def read_arrays(request: Request) -> dict[str, np.ndarray]:
    """Name -> array. Raises ``Unusable``."""
    _limit_memory(OVERHEAD + 3 * request.limit)
    tensorstore = importlib.import_module("tensorstore")
    stores, left = {}, request.limit
    for name in request.names:
        store = _attempt(name, lambda name=name: tensorstore.open(_place(request, name), open=True, read=True).result())
        try:
            dtype = np.dtype(store.dtype.numpy_dtype)
            chunk = store.chunk_layout.read_chunk.shape or ()
            left -= max(math.prod(store.shape), math.prod(chunk)) * dtype.itemsize
        except (*ERRORS, AttributeError) as error:
            raise Unusable(f"its array {name} has no dtype of numbers") from error
        if left < 0:
            raise Unusable(
                f"its arrays claim more than {limits.in_words(request.limit)}, out of proportion to their files"
            )
        stores[name] = store
    return {name: _attempt(name, lambda store=store: store.read().result()) for name, store in stores.items()}


def _place(request: Request, name: str) -> dict[str, Any]:
    """What TensorStore opens. A part that is missing is an error, and not zeros."""
    root, key = Path(request.folder).resolve().as_posix(), request.names[name]
    store: dict[str, Any] = {"driver": "file", "path": f"{root}/{key}/"}
    if request.use_ocdbt:
        store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{root}/"}, "path": f"{key}/"}
    driver = "zarr3" if request.use_zarr3 else "zarr"
    return {"driver": driver, "kvstore": store, "fill_missing_data_reads": False}


def _attempt(name: str, call: Any) -> Any:
    try:
        return call()
    except ERRORS as error:
        reason = str(error).partition(" [")[0].partition("\n")[0][:200]
        raise Unusable(f"its array {name} cannot be read: {reason or type(error).__name__}") from error


def _limit_memory(size: int) -> None:
    """Refuse this process more memory, where the system can; what is mapped already counts."""
    with suppress(ImportError, ValueError, OSError):
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

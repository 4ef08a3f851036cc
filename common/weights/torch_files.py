"""Weights from files that PyTorch wrote; PyTorch is imported when one is read."""

import importlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np

from common.cli import console
from common.errors import InvalidInput, mismatch
from common.weights import archives
from common.weights.arrays import to_arrays
from common.weights.npz import read_bytes

WANTED = "a state_dict, names with tensors, that torch.save wrote"
# What torch.load may raise where the bytes are none of torch's, or damaged in the format without checksums.
LOADING_ERRORS = (RuntimeError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError, AssertionError)
LOADING_ERRORS += (EOFError, MemoryError, struct.error, pickle.UnpicklingError)


def state_dict(path: Path) -> dict[str, np.ndarray]:
    """What ``torch.save(module.state_dict(), path)`` wrote, each array in its own dtype; no code in the file is run.

    A zip file must be undamaged (``common.weights.archives``). The format before torch 1.6 has no checksums: it is read
    as it is, and a line on stderr says so.
    """
    torch = importlib.import_module("torch")
    data = read_bytes(path, "--weights", WANTED)
    checked = archives.is_zip(data)
    try:
        stream = archives.rewritten(archives.contents(data)) if checked else io.BytesIO(data)
    except archives.Damaged as error:
        raise InvalidInput(mismatch("--weights", WANTED, f"{path} ({error})")) from error
    try:
        loaded = torch.load(stream, map_location="cpu", weights_only=True)
    except LOADING_ERRORS as error:
        raise InvalidInput(mismatch("--weights", WANTED, path, "a whole module, or no file of torch's?")) from error
    if not isinstance(loaded, dict):
        raise InvalidInput(mismatch("--weights", WANTED, f"{path}, which holds a {type(loaded).__name__}"))
    for name, value in loaded.items():
        dense = isinstance(value, torch.Tensor) and value.layout is torch.strided
        if not isinstance(name, str) or not dense:
            kind = "sparse tensor" if isinstance(value, torch.Tensor) and not dense else type(value).__name__
            cause = f"a checkpoint? save its [{name!r}] alone" if isinstance(value, dict) else ""
            raise InvalidInput(mismatch("--weights", WANTED, f"{path} with {name!r}: {kind}", cause))
    if not checked:
        console.message(f"{path} has the format before torch 1.6, which carries no checksum: damage goes unnoticed")
    return to_arrays(loaded)

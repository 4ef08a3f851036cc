"""A ``state_dict`` that ``torch.save`` wrote; PyTorch is imported when such a file is read."""

import importlib
import io
import pickle
import struct
from typing import Any

from common.errors import BackendBroken, BackendMissing
from common.weights import archives
from common.weights.arrays import to_arrays
from common.weights.source import Source, Unusable, WeightsFile

SUFFIXES = (".pt", ".pth", ".bin")
# How files begin that PyTorch wrote before 1.6: its magic number, pickled.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What torch.load may raise for bytes that PyTorch did not write, or for damage in the format without checksums.
LOADING_ERRORS = (RuntimeError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError, AssertionError)
LOADING_ERRORS += (EOFError, MemoryError, struct.error, pickle.UnpicklingError)


def fits(source: Source) -> bool:
    """A zip file with PyTorch's pickle, or another file that begins as the old format does or has its suffix."""
    if source.entries is not None:
        return any(name.rpartition("/")[2] == "data.pkl" for name in source.entries)
    return source.data.startswith(LEGACY) or source.path.suffix.lower() in SUFFIXES


def read(source: Source) -> WeightsFile:
    """What ``torch.save(module.state_dict(), path)`` wrote, each array in its own dtype; no code in the file is run."""
    torch, checked = _import_torch(source), source.entries is not None
    stream = archives.rewritten(source.entries) if source.entries is not None else io.BytesIO(source.data)
    try:
        loaded = torch.load(stream, map_location="cpu", weights_only=True)
    except LOADING_ERRORS as error:
        raise Unusable("a whole module, or not a file of PyTorch's") from error
    if not isinstance(loaded, dict):
        raise Unusable(f"it holds a {type(loaded).__name__}")
    for name, value in loaded.items():
        _require_tensor(torch, name, value)
    note = f"{source.path} is in the format used before PyTorch 1.6, which has no checksums: damage goes unnoticed"
    return WeightsFile(
        path=source.path,
        format="PyTorch's state_dict",
        params=to_arrays(loaded),
        network=None,
        about={},
        notes=() if checked else (note,),
    )


def _require_tensor(torch: Any, name: Any, value: Any) -> None:
    """Raise ``Unusable`` unless this is a name and a dense tensor."""
    is_tensor = isinstance(value, torch.Tensor)
    if isinstance(name, str) and is_tensor and value.layout is torch.strided:
        return
    kind = "sparse tensor" if is_tensor and value.layout is not torch.strided else type(value).__name__
    cause = f"; a checkpoint? save its [{name!r}] alone" if isinstance(value, dict) else ""
    raise Unusable(f"its {name!r} is a {kind}{cause}")


def _import_torch(source: Source) -> Any:
    try:
        return importlib.import_module("torch")
    except Exception as error:
        where = f"{source.path} is a file of PyTorch's"
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            text = f"{where}, which is not installed; run: pip install -e '.[torch]'"
            raise BackendMissing(text) from error
        text = f"{where}, which is installed but fails on import: {type(error).__name__}: {error}"
        raise BackendBroken(text) from error

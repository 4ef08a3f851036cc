"""The tensors of an ONNX model as arrays; sizes are compared with the data before anything is made of them.

A tensor may have its data in another file beside the model's (``external_data``): that file is mapped into memory, not
read, and only if it lies in the folder of the model (specification: docs/ExternalData.md of ONNX).
"""

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.weights.source import Unusable

MAX_RANK = 32
KINDS = frozenset({"FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL"})
KINDS |= {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}


class Unsupported(Unusable):
    """A tensor of a type that no array here has, such as text or 4 bits."""


class Tensors(NamedTuple):
    """How tensors become arrays: ``onnx`` is the package, ``folder`` that of the model."""

    onnx: Any
    folder: Path

    def array(self, tensor: Any) -> np.ndarray:
        """The array of a TensorProto, read-only. Raises ``Unusable``."""
        name, shape = tensor.name or "a tensor", tuple(tensor.dims)
        dtype = self._dtype(tensor)
        if len(shape) > MAX_RANK or any(not 0 <= size < 2**62 for size in shape):
            raise Unusable(f"{name} has the sizes {shape}"[:200])
        count = math.prod(shape)
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            return self._external(tensor, name, shape, dtype)
        raw = tensor.raw_data
        if raw:
            _require_size(name, shape, count * dtype.itemsize, len(raw))
            return np.frombuffer(raw, dtype).reshape(shape)
        field = getattr(tensor, self._field(tensor))
        _require_size(name, shape, count, len(field), "numbers")
        return self._typed(tensor, dtype).reshape(shape)

    def _dtype(self, tensor: Any) -> np.dtype:
        numbers = dict(self.onnx.TensorProto.DataType.items())
        kind = next((name for name, number in numbers.items() if number == tensor.data_type), "")
        if kind not in KINDS:
            raise Unsupported(f"it is of type {kind or tensor.data_type}")
        return np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))

    def _field(self, tensor: Any) -> str:
        return self.onnx.helper.tensor_dtype_to_field(tensor.data_type)

    def _typed(self, tensor: Any, dtype: np.dtype) -> np.ndarray:
        """The numbers of a tensor without ``raw_data``; 16-bit floats are stored as the integers of their bits."""
        values = getattr(tensor, self._field(tensor))
        if dtype.itemsize == 2 and dtype.kind in "fV":
            return (np.fromiter(values, "int64", len(values)) & 0xFFFF).astype("uint16").view(dtype)
        read_as = dtype if dtype.kind == "f" else "uint64" if dtype.itemsize >= 4 and dtype.kind == "u" else "int64"
        return np.fromiter(values, read_as, len(values)).astype(dtype)

    def _external(self, tensor: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        about = {entry.key: entry.value for entry in tensor.external_data}
        path = self._beside(name, about.get("location", ""))
        offset, size = (_number(name, about, key) for key in ("offset", "length"))
        needed = math.prod(shape) * dtype.itemsize
        available = path.stat().st_size - (offset or 0)
        _require_size(name, shape, needed, size if size is not None else min(needed, available))
        if needed > available:
            raise Unusable(
                f"{name} needs {needed} bytes at {offset or 0} of {path.name}, which has {max(available, 0)}"
            )
        if not needed:
            return np.zeros(shape, dtype)
        mapped = np.memmap(path, np.uint8, mode="r", offset=offset or 0, shape=(needed,))
        return np.asarray(mapped).view(dtype).reshape(shape)

    def _beside(self, name: str, location: str) -> Path:
        """The file of a tensor, a regular one in the folder of the model or below it."""
        folder = os.path.realpath(self.folder)
        path = os.path.join(folder, location)
        outside = os.path.isabs(location) or "\0" in location or not location
        if outside or os.path.commonpath([folder, os.path.realpath(path)]) != folder:
            raise Unusable(f"{name} is said to lie in {location!r}, outside the folder of the model")
        try:
            is_file = stat.S_ISREG(os.stat(path).st_mode)
        except OSError as error:
            raise Unusable(f"{name} lies in {location!r} beside it: {error.strerror}") from error
        if not is_file:
            raise Unusable(f"{name} is said to lie in {location!r}, which is no file")
        return Path(path)


def _number(name: str, about: Mapping[str, str], key: str) -> int | None:
    text = about.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Unusable(f"{name} has the {key} {text[:40]!r} in its external data")
    return int(text)


def _require_size(name: str, shape: tuple[int, ...], needed: int, got: int, unit: str = "bytes") -> None:
    if needed != got:
        raise Unusable(f"{name} has the sizes {shape}, which need {needed} {unit}, and has {got}"[:300])

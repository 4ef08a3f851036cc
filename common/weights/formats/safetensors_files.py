"""The format of the library safetensors: a header in JSON with the type, shape and place of each array, then the data.

The layout is that of its README: 8 bytes with the size of the header, the header, and the data of the arrays, which
follow one another without gaps and in the order of C. It needs no library to read or to write; the one that owns the
format proves what was written. A file has no checksums.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.weights import limits
from common.weights.source import Source, Unusable, WeightsFile

# Of a header of JSON: far above what a hundred thousand arrays need.
MAX_HEADER = 16 * limits.MiB
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
METADATA = "__metadata__"
ALIGNMENT = 8


def fits(source: Source) -> bool:
    """The length of a header, which may begin as a zip file does, and a header of JSON."""
    data = source.data
    is_length = data[:2] != b"PK" or data[6:8] == b"\0\0"
    return source.entries is None and len(data) >= 10 and data[8:9] == b"{" and is_length


def read(source: Source) -> WeightsFile:
    """Every array under its name. Raises ``Unusable``."""
    data = source.data
    header, start = _header(data)
    about = header.pop(METADATA, {})
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise Unusable(f"its {METADATA} is no dictionary of texts")
    arrays: Parameters = {}
    skipped: dict[str, str] = {}
    position = 0
    places = {name: _place(name, entry) for name, entry in header.items()}
    for name, (dtype, shape, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != position or end > len(data) - start:
            raise Unusable(f"its {name[:100]!r} is not where the array before it ends, or passes the end of the file")
        position = end
        if dtype not in DTYPES:
            skipped[name] = f"an array of {dtype[:20]}"
            continue
        kind = np.dtype(getattr(ml_dtypes, DTYPES[dtype], DTYPES[dtype]))
        if math.prod(shape) * kind.itemsize != end - begin:
            raise Unusable(f"its {name[:100]!r} takes {end - begin} bytes, which do not fit its shape")
        try:
            arrays[name] = _array(data[start + begin : start + end], kind, shape)
        except ValueError as error:  # no values, and an axis that is longer than any array
            raise Unusable(f"its {name[:100]!r} has an axis that is too long") from error
    if position != len(data) - start:
        raise Unusable("longer or shorter than its arrays")
    return WeightsFile(
        path=source.path,
        format="safetensors",
        params={name: arrays[name] for name in header if name in arrays},
        about=about,
        skipped=skipped,
    )


def _array(data: bytes, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.frombuffer(data, "uint8") != 0 if kind.kind == "b" else np.frombuffer(data, kind).copy()
    return flat.reshape(shape)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the data begin."""
    (size,) = struct.unpack_from("<Q", data)
    if size > min(MAX_HEADER, len(data) - 8):
        raise Unusable(f"not safetensors, or cut off: its header claims {limits.in_words(size)}")
    try:
        header = json.loads(data[8 : 8 + size].decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unusable("the header of safetensors is damaged") from error
    if not isinstance(header, dict):
        raise Unusable("the header of safetensors is no dictionary")
    return header, 8 + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands twice")
    return result


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _place(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """The type, the shape, and the first and the last byte but one of an array."""
    problem = Unusable(f"its {name[:100]!r} is described in an unknown way")
    if not isinstance(entry, dict) or not entry.keys() >= {"dtype", "shape", "data_offsets"}:
        raise problem
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [None]
    if not isinstance(dtype, str) or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise problem
    if len(offsets) != 2 or offsets[0] > offsets[1] or len(shape) > 32:
        raise problem
    return dtype, tuple(shape), offsets[0], offsets[1]


def write(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays one after another, each in one piece; the data begin at a multiple of 8 bytes, as the library's."""
    labels = {name: label for label, name in DTYPES.items()}
    pieces = {name: np.ascontiguousarray(value, value.dtype.newbyteorder("<")) for name, value in arrays.items()}
    header: dict[str, Any] = {METADATA: {"format": "pt"}}
    position = 0
    for name, value in pieces.items():
        offsets = [position, position + value.nbytes]
        header[name] = {"dtype": labels[arrays[name].dtype.name], "shape": list(value.shape), "data_offsets": offsets}
        position = offsets[1]
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in pieces.values():
            file.write(value.tobytes())

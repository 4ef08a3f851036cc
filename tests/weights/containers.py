"""One layer's weights in every kind of file, and how the tests read such a file whole or damaged."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import InvalidInput, InvalidType
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import archives, files
from common.weights.layer import Layer, single_layer

SPEC = ModelSpec(cell="LSTM", input_size=2, hidden_size=3)
PARAMS: dict[str, Any] = {name: value.astype("float32") for name, value in initial_parameters(SPEC, 4).items()}
CENTRAL, LOCAL, END, ZIP64_END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06"


class Unseekable(io.RawIOBase):
    """A stream as a pipe is: sizes and checksums can only follow the data."""

    def __init__(self) -> None:
        self.written = io.BytesIO()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.written.write(data)


def npz(save: Callable[..., None] = np.savez) -> bytes:
    stream = io.BytesIO()
    save(stream, **PARAMS)
    return stream.getvalue()


def piped() -> bytes:
    stream: Any = Unseekable()
    np.savez(stream, **PARAMS)
    return stream.written.getvalue()


def plain() -> bytes:
    """As programs write that know nothing of NumPy: no zip64 fields."""
    stream, parts = io.BytesIO(), np.load(io.BytesIO(npz()))
    with zipfile.ZipFile(stream, "w") as file:
        for name in PARAMS:
            file.writestr(f"{name}.npy", parts.zip.read(f"{name}.npy"))
    return stream.getvalue()


def pt(**options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save({name: torch.tensor(value) for name, value in PARAMS.items()}, stream, **options)
    return stream.getvalue()


FILES = {"savez.npz": npz(), "compressed.npz": npz(np.savez_compressed), "piped.npz": piped(), "plain.npz": plain()}
FILES |= {"torch.pt": pt()}
LEGACY = pt(_use_new_zipfile_serialization=False)
every_file = pytest.mark.parametrize("name", FILES)


def read_weights(path: Path, cell: str | None) -> Layer:
    return single_layer(files.read(path), cell)


def read(path: Path, data: bytes) -> dict[str, np.ndarray] | None:
    """The parameters of a file with these bytes; None where they are refused as the project refuses."""
    path.write_bytes(data)
    try:
        return read_weights(path, "LSTM").params
    except (InvalidInput, InvalidType):
        return None


def is_sound(data: bytes) -> bool:
    try:
        archives.contents(data)
    except archives.Damaged:
        return False
    return True


def same(params: dict[str, np.ndarray] | None) -> bool:
    wanted = {name: value.astype("float64").tobytes() for name, value in PARAMS.items()}
    return params is not None and {name: value.tobytes() for name, value in params.items()} == wanted


def places(data: bytes, signature: bytes) -> list[int]:
    found, place = [], data.find(signature)
    while place >= 0:
        found.append(place)
        place = data.find(signature, place + 1)
    return found


def unread(data: bytes) -> set[int]:
    """The bytes that nothing repeats: the version that made an entry, and its file attributes."""
    free = {place + offset for place in places(data, CENTRAL) for offset in (4, 5, *range(36, 42))}
    return free | {place + offset for place in places(data, ZIP64_END) for offset in range(12, 16)}

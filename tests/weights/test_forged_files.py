"""A file of weights put together otherwise, or with more than arrays in it, is refused, and nothing of it is run."""

import io
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput
from common.weights import archives
from tests.weights.containers import (
    CENTRAL,
    END,
    FILES,
    LOCAL,
    ZIP64_END,
    places,
    read_weights,
)


def counted(more: int) -> Callable[[bytes], bytes]:
    """The end record counts so many entries more, in both of its fields."""

    def change(data: bytes) -> bytes:
        at = data.rindex(END) + 8
        count = struct.unpack_from("<H", data, at)[0] + more
        data = data[:at] + struct.pack("<2H", count, count) + data[at + 4 :]
        for place in places(data, ZIP64_END):
            data = data[: place + 24] + struct.pack("<2Q", count, count) + data[place + 40 :]
        return data

    return change


def renamed(signatures: tuple[bytes, ...]) -> Callable[[bytes], bytes]:
    """The last entry of the data under another name, in the headers of these signatures."""

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        for signature, offset in ((LOCAL, 30), (CENTRAL, 46)):
            if signature in signatures:
                changed[places(data, signature)[-1] + offset] ^= 1
        return bytes(changed)

    return change


def shifted(at: int, filling: bytes) -> Callable[[bytes], bytes]:
    """Bytes between two entries (or before the first), every offset after them put right."""

    def change(data: bytes) -> bytes:
        start, size = places(data, LOCAL)[at], len(filling)
        changed = bytearray(data[:start] + filling + data[start:])
        spots = [place + 42 for place in places(bytes(changed), CENTRAL)] + [bytes(changed).rindex(END) + 16]
        for spot in spots:
            (offset,) = struct.unpack_from("<L", changed, spot)
            struct.pack_into("<L", changed, spot, offset + size * (offset >= start))
        return bytes(changed)

    return change


def twice(data: bytes) -> bytes:
    """The second entry of the directory stands for the first one's data, which then has two names."""
    first, second = places(data, CENTRAL)[:2]
    changed = bytearray(data)
    changed[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(changed)


def duplicated(data: bytes) -> bytes:
    """Every entry again, the same names twice."""
    stream, parts = io.BytesIO(), archives.contents(data)
    with zipfile.ZipFile(stream, "w") as file, warnings.catch_warnings(action="ignore"):
        for name, content in [*parts.items(), *parts.items()]:
            file.writestr(name, content)
    return stream.getvalue()


def encrypted(data: bytes) -> bytes:
    """The flag of an encrypted entry, in both headers of each."""
    changed = bytearray(data)
    for signature, offset in ((LOCAL, 6), (CENTRAL, 8)):
        for place in places(data, signature):
            changed[place + offset] |= 1
    return bytes(changed)


CHANGES = {
    "one entry less in the count": (counted(-1), "more entries than the end record counts"),
    "one entry more in the count": (counted(1), "fewer entries than the end record counts"),
    "renamed before its data": (renamed((LOCAL,)), "differs from the directory's"),
    "renamed in the directory": (renamed((CENTRAL,)), "differs from the directory's"),
    "something in front": (lambda data: b"#!" + data, "in none of the known formats"),
    "something after it": (lambda data: data + b"\0", "no end record at its end"),
    "a second file after it": (lambda data: data + data, "does not fit the directory|end record"),
    "a comment": (lambda data: data[:-2] + b"\2\0hi", "no end record at its end"),
    "a gap": (shifted(2, b"filling"), "begins at byte .*, where .* is expected|end record"),
    "a gap in front, offsets put right": (shifted(0, LOCAL), "begins at byte .*, where .* is expected|end record"),
    "two entries over one another": (twice, "begins at byte .*, where .* is expected"),
    "the names twice": (duplicated, "two entries are named"),
    "encrypted": (encrypted, "or is encrypted"),
}


@pytest.mark.parametrize("file", ["savez.npz", "piped.npz", "torch.pt"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_file_put_together_otherwise_is_refused(name: str, file: str, tmp_path: Path) -> None:
    change, message = CHANGES[name]
    (tmp_path / file).write_bytes(change(FILES[file]))
    with pytest.raises(InvalidInput, match=f"(?s)^weights: expected .*, got .*({message})"):
        read_weights(tmp_path / file, "LSTM")


def appended(data: bytes, name: str, content: bytes) -> bytes:
    """A sound zip file with one entry more."""
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as file, warnings.catch_warnings(action="ignore"):
        file.writestr(name, content)
    return stream.getvalue()


def test_entries_that_are_sound_and_no_arrays_are_refused(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.ones(3))
    one = array.getvalue()
    huge = one.replace(b"(3,), }         ", b"(3000000000000,),}")[: len(one)]
    for name, content, message in (
        ("more.txt", b"a text", "its entry more.txt is not an array"),
        ("more.npy", b"a longer text", "its entry more.npy: the magic string is not correct"),
        ("more.npy", one + b"\0", "its entry more.npy is longer than its array"),
        ("more.npy", one[:-1], "its entry more.npy: the header claims 24 bytes, and 23 bytes follow"),
        ("more.npy", huge, "its entry more.npy: the header claims 22351 GiB, and 24 bytes follow"),
        ("more.npy", one.replace(b"descr", b"((((("), "its entry more.npy: "),
        ("bias_ih_l0.npy", one, "two entries are named bias_ih_l0.npy"),
    ):
        (tmp_path / "own.npz").write_bytes(appended(FILES["savez.npz"], name, content))
        with pytest.raises(InvalidInput, match=f"expected .*{message}"):
            read_weights(tmp_path / "own.npz", "LSTM")


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    trap: Any = Trap(tmp_path / "sprung")
    np.savez(tmp_path / "own.npz", weight_hh_l0=np.array([trap], dtype=object))
    with pytest.raises(InvalidInput, match="Object arrays cannot be loaded"):
        read_weights(tmp_path / "own.npz", None)
    assert not (tmp_path / "sprung").exists()
    np.load(tmp_path / "own.npz", allow_pickle=True)["weight_hh_l0"]
    assert (tmp_path / "sprung").exists()  # it would have run

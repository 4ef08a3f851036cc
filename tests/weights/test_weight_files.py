"""Damage to a file of weights is noticed, or changes no array; what it holds besides arrays is refused and not run."""

import io
import os
import struct
import warnings
import zipfile
import zlib
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


@every_file
def test_a_whole_file_gives_its_arrays(name: str, tmp_path: Path) -> None:
    assert same(read(tmp_path / name, FILES[name]))


@every_file
def test_every_flipped_bit_is_refused_or_changes_nothing(name: str, tmp_path: Path) -> None:
    """Refused: every bit but those of ``unread`` and, in deflated data, the filling of a last byte.

    What the strict reader lets through is read as a user reads it, and a part of what it refuses too.
    """
    data, harmless = FILES[name], set()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        sound = is_sound(bytes(flipped))
        if not sound and bit % 13:
            continue
        params = read(tmp_path / name, bytes(flipped))
        assert same(params) if sound else params is None, f"bit {bit} changes what is read"
        if sound:
            harmless.add(bit)
    fillings = {bit for bit in harmless if bit // 8 not in unread(data)}
    assert harmless - fillings == {8 * byte + bit for byte in unread(data) for bit in range(8)}
    assert len(fillings) <= 7 * len(PARAMS) if name == "compressed.npz" else not fillings


@every_file
def test_every_cut_is_refused(name: str, tmp_path: Path) -> None:
    for size in range(len(FILES[name])):
        assert not is_sound(FILES[name][:size]), size
    for size in range(0, len(FILES[name]), 13):
        assert read(tmp_path / name, FILES[name][:size]) is None, size


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
    "something in front": (lambda data: b"#!" + data, "not a zip file|not a file of PyTorch's"),
    "something behind": (lambda data: data + b"\0", "no end record at its end"),
    "a second file behind": (lambda data: data + data, "does not fit the directory|end record"),
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
        ("more.npy", one, "got extra more"),
        ("more.txt", b"a text", "its entry more.txt is not an array"),
        ("more.npy", b"a longer text", "its entry more.npy: the magic string is not correct"),
        ("more.npy", one + b"\0", "its entry more.npy is longer than its array"),
        ("more.npy", one[:-1], "its entry more.npy: .*EOF"),
        ("more.npy", huge, "its entry more.npy: "),
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
    for file, options in (("new.pt", {}), ("old.pt", {"_use_new_zipfile_serialization": False})):
        torch.save({"weight_hh_l0": trap}, tmp_path / file, **options)
        with pytest.raises(InvalidInput, match="a whole module, or not a file of PyTorch's"):
            read_weights(tmp_path / file, None)
    assert not (tmp_path / "sprung").exists()
    np.load(tmp_path / "own.npz", allow_pickle=True)["weight_hh_l0"]
    assert (tmp_path / "sprung").exists()  # it would have run


def test_torch_s_old_format_is_read_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(LEGACY)
    _, params, notes = read_weights(tmp_path / "old.pt", "LSTM")
    assert same(params)
    (note,) = notes
    assert note.startswith(f"{tmp_path / 'old.pt'} is in the format used before PyTorch 1.6, which has no checksums")
    (tmp_path / "new.pt").write_bytes(FILES["torch.pt"])
    assert read_weights(tmp_path / "new.pt", "LSTM").notes == ()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damage_to_torch_s_old_format_raises_no_other_error(tmp_path: Path) -> None:
    """What is noticed at all is refused in the project's form."""
    for byte in range(len(LEGACY)):
        flipped = bytearray(LEGACY)
        flipped[byte] ^= 0xFF if byte % 2 else 0x08
        read(tmp_path / "old.pt", bytes(flipped))
        if byte % 3 == 0:
            read(tmp_path / "old.pt", LEGACY[:byte])


def test_a_file_of_torch_without_checksums_is_refused(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        (tmp_path / "bare.pt").write_bytes(pt())
    finally:
        torch.serialization.set_crc32_options(True)
    with pytest.raises(InvalidInput, match=r"carry no checksums; torch\.serialization\.set_crc32_options\(False\)\?"):
        read_weights(tmp_path / "bare.pt", "LSTM")


def test_numbers_of_64_bits() -> None:
    """As a file beyond 4 GiB has them: all ones in the short fields, the numbers in zip64 fields and after the data."""
    name, content = b"a", b"some data"
    crc, size = zlib.crc32(content), len(content)
    short = struct.pack("<5H3L2H", 45, 8, 0, 0, 0, 0, 0, 0, len(name), 20)
    local = LOCAL + short + name + struct.pack("<2H2Q", 1, 16, size, size)
    entry = local + content + b"PK\x07\x08" + struct.pack("<L2Q", crc, size, size)
    central = CENTRAL + struct.pack(
        "<6H3L5H2L", 45, 45, 8, 0, 0, 0, crc, *(2**32 - 1,) * 2, 1, 28, 0, 0, 0, 0, 2**32 - 1
    )
    central += name + struct.pack("<2H3Q", 1, 24, size, size, 0)
    end = ZIP64_END + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 1, 1, len(central), len(entry))
    end += b"PK\x06\x07" + struct.pack("<LQL", 0, len(entry) + len(central), 1)
    end += END + struct.pack("<4H2LH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    data = entry + central + end
    assert archives.contents(data) == {"a": content}
    for byte in set(range(len(data))) - unread(data):
        flipped = bytearray(data)
        flipped[byte] ^= 0x10
        with pytest.raises(archives.Damaged):
            archives.contents(bytes(flipped))

"""Damage to a file of weights is noticed, or changes no array: flipped bits, cuts, missing checksums."""

import struct
import zlib
from pathlib import Path

import pytest
import torch

from common.errors import InvalidInput
from common.weights import archives
from tests.weights.containers import (
    CENTRAL,
    END,
    FILES,
    LEGACY,
    LOCAL,
    PARAMS,
    ZIP64_END,
    every_file,
    is_sound,
    pt,
    read,
    read_weights,
    same,
    unread,
)


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

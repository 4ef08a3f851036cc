"""No regular file, or one that claims more than it holds: refused before anything is read or made room for."""

import io
import os
import socket
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from common.errors import InvalidInput
from common.weights import archives, files, limits
from common.weights.source import Unusable, open_source
from tests.weights.containers import CENTRAL, FILES, LOCAL, PARAMS, places


def refusal(path: Path) -> str:
    """What is said of a file, for which hardly any memory is taken."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as caught:
            files.read(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * limits.MiB
    finally:
        tracemalloc.stop()
    return str(caught.value)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.npz"))
        (tmp_path / "link.npz").symlink_to("/dev/zero")
        for path, kind in (
            (tmp_path / "pipe.pt", "a pipe"),
            (tmp_path / "socket.npz", "a socket"),
            (tmp_path / "link.npz", "a device"),
            (Path("/dev/zero"), "a device"),
        ):
            assert refusal(path).endswith(f"got {path} ({kind}, not a file)")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a\0b.pt").endswith("(its name contains a null character)")
    assert refusal(tmp_path / ("a" * 300)).endswith("(File name too long)")
    assert refusal(tmp_path / "none" / "x.pt").endswith("(No such file or directory)")
    (tmp_path / "text").write_text("")
    assert refusal(tmp_path / "text" / "x.pt").endswith("(Not a directory)")
    (tmp_path / "loop").symlink_to("loop")
    assert "(" in refusal(tmp_path / "loop")


def test_a_folder_is_a_source_without_bytes(tmp_path: Path) -> None:
    assert open_source(tmp_path) == (tmp_path, b"", None)
    assert refusal(tmp_path).endswith("(a directory that is no checkpoint)")


def test_a_file_larger_than_memory_may_be_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.pt").open("wb") as file:
        file.truncate(40 * limits.GiB)
    expected = "(40 GiB long, of at most 4 GiB; save the recurrent layer alone)"
    assert refusal(tmp_path / "sparse.pt").endswith(expected)


def deflated_zeros(size: int) -> bytes:
    """A zip file with an entry of so many zeros, made in pieces: about a thousandth of it."""
    deflater, crc, parts, piece = zlib.compressobj(9, wbits=-15), 0, [], bytes(16 * limits.MiB)
    for _ in range(size // len(piece)):
        crc = zlib.crc32(piece, crc)
        parts.append(deflater.compress(piece))
    data = b"".join([*parts, deflater.flush()])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.npy", data)
    changed = bytearray(stream.getvalue())
    for signature, offset in ((LOCAL, 8), (CENTRAL, 10)):
        at = places(bytes(changed), signature)[0] + offset
        struct.pack_into("<H", changed, at, archives.DEFLATED)
        struct.pack_into("<L", changed, at + 6, crc)
        struct.pack_into("<L", changed, at + 14, size)
    return bytes(changed)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    size = limits.ALWAYS + 16 * limits.MiB
    (tmp_path / "bomb.npz").write_bytes(deflated_zeros(size))
    with zipfile.ZipFile(tmp_path / "bomb.npz") as file:  # a sound file, which others unpack
        assert file.getinfo("a.npy").file_size == size
        assert file.testzip() is None
    assert "bytes that unpack to 272 MiB, of at most 256 MiB" in refusal(tmp_path / "bomb.npz")


def test_many_entries_count_together(tmp_path: Path) -> None:
    """A small file of many entries, each of a size that alone would be taken."""
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for k in range(3):
            file.writestr(f"{k}.npy", bytes(100 * limits.MiB))
    assert "that unpack to 300 MiB, of at most 256 MiB" in refusal(tmp_path / "bomb.npz")


def test_an_entry_that_unpacks_to_more_than_it_claims_is_cut_off(tmp_path: Path) -> None:
    data = bytearray(deflated_zeros(128 * limits.MiB))
    for signature, offset in ((LOCAL, 22), (CENTRAL, 24)):
        struct.pack_into("<L", data, places(bytes(data), signature)[0] + offset, 1000)
    (tmp_path / "more.npz").write_bytes(data)
    assert refusal(tmp_path / "more.npz").endswith("(a.npy is not as long as its header says)")


def test_a_header_that_claims_40_gib_takes_no_memory(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10 * 2**30,)})
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as file:
        file.writestr("weight_hh_l0.npy", stream.getvalue() + bytes(16))
    reason = "(its entry weight_hh_l0.npy: the header claims 40 GiB, and 16 bytes follow)"
    assert refusal(tmp_path / "claim.npz").endswith(reason)


def test_entries_in_another_order_than_the_directory_s_are_read(tmp_path: Path) -> None:
    """As some programs write that change a zip file: every byte is still accounted for."""
    data = FILES["plain.npz"]
    *first, second = places(data, CENTRAL)[:3]
    swapped = data[: first[0]] + data[first[1] : second] + data[first[0] : first[1]] + data[second:]
    assert archives.contents(swapped) == archives.contents(data)
    assert list(archives.contents(swapped)) != list(archives.contents(data))


def test_what_programs_add_that_pack_files_anew_is_passed_over(tmp_path: Path) -> None:
    """The program zip: entries for folders, and the time and owner of a file in extra fields."""
    with zipfile.ZipFile(io.BytesIO(FILES["torch.pt"])) as old, zipfile.ZipFile(tmp_path / "new.pt", "w") as new:
        new.mkdir(old.namelist()[0].partition("/")[0])
        for name in old.namelist():
            entry = zipfile.ZipInfo(name)
            entry.extra = struct.pack("<2HBl", 0x5455, 5, 1, 10**9) + struct.pack("<2H11s", 0x7875, 11, b"owner")
            new.writestr(entry, old.read(name), zipfile.ZIP_DEFLATED)
    assert files.read(tmp_path / "new.pt").params.keys() == PARAMS.keys()
    data = (tmp_path / "new.pt").read_bytes()
    (tmp_path / "new.pt").write_bytes(data.replace(struct.pack("<2H", 0x5455, 5), struct.pack("<2H", 0x5456, 5)))
    assert "an extra field is cut off, twice there, or of a kind" in refusal(tmp_path / "new.pt")


def test_limits_grow_with_the_file() -> None:
    assert limits.unpacked(1000) == 256 * limits.MiB
    assert limits.unpacked(100 * limits.MiB) == 1600 * limits.MiB
    assert limits.unpacked(2**40) == 4 * limits.GiB
    with pytest.raises(Unusable, match="a device, not a file"):
        open_source(Path("/dev/null"))

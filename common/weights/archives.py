"""Zip files read strictly: every byte of the file is accounted for, or the file is refused.

NumPy's ``.npz`` and PyTorch's ``.pt`` are zip files, and the usual readers trust much of what such a file says: a count
of entries that is too small hides entries, and PyTorch's reader does not compare the checksums. Here the end record,
the central directory and the headers before the data must agree with one another, the entries must fill the file
without gaps, and the data of each must have its checksum. All sizes are compared before anything is unpacked. The
layout is that of the *.ZIP File Format Specification* (PKWARE, APPNOTE 6.3), as far as NumPy and PyTorch write it:
stored or deflated entries, zip64 fields, data descriptors, and PyTorch's padding in the extra field (kind ``FB``,
content ``Z``).

What other programs add when they repack a file is passed over: times and owners in extra fields, and empty entries for
folders. The version that made an entry and its file attributes are not compared, as nothing else in the file repeats
them; nothing is read by them here.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from common.weights import limits

END, ZIP64_END, LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
CENTRAL, LOCAL, DESCRIPTOR = b"PK\x01\x02", b"PK\x03\x04", b"PK\x07\x08"
# Without their signatures: the records of the end, of the central directory, and the headers before the data.
END_RECORD, ZIP64_END_RECORD, LOCATOR_RECORD = struct.Struct("<4H2LH"), struct.Struct("<Q2H2L4Q"), struct.Struct("<LQL")
CENTRAL_RECORD, LOCAL_RECORD = struct.Struct("<6H3L5H2L"), struct.Struct("<5H3L2H")
STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR, UTF8, EFFORT = 0x0008, 0x0800, 0x0006  # EFFORT says nothing to a reader
ZIP64, PADDING = 0x0001, int.from_bytes(b"FB", "little")
# Times and owners of files, as the programs zip, 7-Zip and jar write them: they say nothing of the data.
STAMPS = {0x5455, 0x7875, 0x7855, 0x5855, 0x000A, 0xCAFE}
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF


class Damaged(ValueError):
    """A zip file whose parts contradict one another, or that holds what NumPy and PyTorch do not write."""


class Entry(NamedTuple):
    """What the central directory records about an entry; ``header`` is what the header before its data must repeat."""

    name: bytes
    header: tuple[int, ...]
    crc: int
    compressed: int
    size: int
    offset: int

    @property
    def flags(self) -> int:
        return self.header[1]


def is_zip(data: bytes) -> bool:
    """Whether this begins as a zip file of arrays, or as one without entries."""
    return data.startswith((LOCAL, END))


def contents(data: bytes) -> dict[str, bytes]:
    """The data of every entry of a zip file by name, each checked against its checksum; raises ``Damaged``."""
    if not is_zip(data):
        raise Damaged("not a zip file")
    count, directory, end = _ends(data)
    entries = tuple(_directory(data, count, directory, end))
    if any(entry.size for entry in entries) and not any(entry.crc for entry in entries):
        raise Damaged("its entries carry no checksums; torch.serialization.set_crc32_options(False)?")
    total, limit = sum(entry.size for entry in entries), limits.unpacked(len(data))
    if total > limit:
        sizes = f"{limits.in_words(len(data))} that unpack to {limits.in_words(total)}"
        raise Damaged(f"{sizes}, of at most {limits.in_words(limit)}")
    data_of = {_text(entry): b"" for entry in entries}  # in the order of the directory
    position, seen = 0, set()
    for entry in sorted(entries, key=lambda entry: entry.offset):
        name = _text(entry)
        if name in seen:
            raise Damaged(f"two entries are named {name}")
        if entry.offset != position:
            raise Damaged(f"{name} begins at byte {entry.offset}, where {position} is expected")
        start = position + _header(data, entry, name)
        stop = start + entry.compressed
        seen.add(name)
        data_of[name] = _inflated(data[start:stop], entry, name)
        position = stop + _descriptor(data, stop, entry, name)
    if position != directory:
        raise Damaged(f"the entries end at byte {position}, and the directory begins at {directory}")
    return {name: data for name, data in data_of.items() if data or not name.endswith("/")}


def _ends(data: bytes) -> tuple[int, int, int]:
    """The number of entries, and where the central directory begins and ends; everything after it is accounted for."""
    stop = len(data) - END_RECORD.size - 4
    if stop < 0 or data[stop : stop + 4] != END:
        raise Damaged("no end record at its end: cut off, or longer than it was written")
    disk, first, here, count, size, offset, comment = END_RECORD.unpack_from(data, stop + 4)
    if (disk, first, comment) != (0, 0, 0):
        raise Damaged("the end record has a disk number or a comment")
    numbers, stop = _zip64_end(data, stop, (here, count, size, offset))
    here, count, size, offset = numbers
    if here != count or offset + size != stop:
        raise Damaged("the end record does not fit the directory")
    return count, offset, stop


def _zip64_end(data: bytes, stop: int, numbers: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The numbers of the end record in 64 bits where a zip64 record stands before it, and where that begins."""
    locator = stop - LOCATOR_RECORD.size - 4
    if locator < 0 or data[locator : locator + 4] != LOCATOR:
        return numbers, stop
    start = locator - ZIP64_END_RECORD.size - 4
    if start < 0 or data[start : start + 4] != ZIP64_END:
        raise Damaged("no zip64 end record before its locator")
    size, _, _, disk, first, *wide = ZIP64_END_RECORD.unpack_from(data, start + 4)
    located = LOCATOR_RECORD.unpack_from(data, locator + 4)
    if (size, disk, first) != (ZIP64_END_RECORD.size - 8, 0, 0) or located != (0, start, 1):
        raise Damaged("the zip64 end record does not fit its locator")
    for narrow, number, marker in zip(numbers, wide, (MAX16, MAX16, MAX32, MAX32), strict=True):
        if narrow not in (number, marker):
            raise Damaged("the two end records differ")
    return tuple(wide), start


def _directory(data: bytes, count: int, position: int, stop: int) -> Iterator[Entry]:
    """The entries of the central directory, which fill it."""
    for _ in range(count):
        fields_at = position + 4
        if data[position:fields_at] != CENTRAL or fields_at + CENTRAL_RECORD.size > stop:
            raise Damaged("the directory has fewer entries than the end record counts")
        _, *header, crc, compressed, size, name_size, extra_size, comment, disk, _, _, offset = (
            CENTRAL_RECORD.unpack_from(data, fields_at)
        )
        name_at = fields_at + CENTRAL_RECORD.size
        extra_at = name_at + name_size
        position = extra_at + extra_size
        if comment or disk or position > stop:
            raise Damaged("an entry of the directory has a comment or a disk number, or passes its end")
        wide = _wide((size, compressed, offset), _extras(data[extra_at:position]).get(ZIP64, b""))
        yield Entry(data[name_at:extra_at], tuple(header), crc, wide[1], wide[0], wide[2])
    if position != stop:
        raise Damaged("the directory has more entries than the end record counts")


def _wide(numbers: tuple[int, ...], extra: bytes) -> tuple[int, ...]:
    """Numbers of 32 bits, where those that are all ones are replaced by the zip64 field's, all of which are used."""
    marked = [number == MAX32 for number in numbers]
    if len(extra) != 8 * sum(marked):
        raise Damaged("a zip64 field does not fit its entry")
    wide = iter(struct.unpack(f"<{sum(marked)}Q", extra))
    return tuple(next(wide) if mark else number for mark, number in zip(marked, numbers, strict=True))


def _extras(extra: bytes) -> dict[int, bytes]:
    """Kind -> content of the parts of an extra field, which fill it."""
    content_of, position = {}, 0
    while position < len(extra):
        if position + 4 > len(extra):
            raise Damaged("an extra field is cut off")
        kind, size = struct.unpack_from("<2H", extra, position)
        content = extra[position + 4 : position + 4 + size]
        if len(content) < size or kind in content_of or kind not in (ZIP64, PADDING, *STAMPS):
            raise Damaged("an extra field is cut off, twice there, or of a kind that weights do not need")
        if kind == PADDING and content.strip(b"Z"):
            raise Damaged("the padding of an entry is not padding")
        content_of[kind] = content
        position += 4 + size
    return content_of


def _header(data: bytes, entry: Entry, name: str) -> int:
    """The size of the header before an entry's data, which repeats what the directory says of it."""
    fields_at = entry.offset + 4
    if data[entry.offset : fields_at] != LOCAL or fields_at + LOCAL_RECORD.size > len(data):
        raise Damaged(f"no header before the data of {name}")
    *header, crc, compressed, size, name_size, extra_size = LOCAL_RECORD.unpack_from(data, fields_at)
    name_at = fields_at + LOCAL_RECORD.size
    extra_at = name_at + name_size
    extra = _extras(data[extra_at : extra_at + extra_size])
    if tuple(header) != entry.header or data[name_at:extra_at] != entry.name:
        raise Damaged(f"the header before the data of {name} differs from the directory's")
    if not entry.flags & HAS_DESCRIPTOR:
        crc_fits, wide = crc == entry.crc, _wide((size, compressed), extra.get(ZIP64, b""))
    else:  # the numbers follow the data; a zip64 field says that they have 64 bits, and may repeat the entry's own
        crc_fits, wide = crc == 0, (entry.size, entry.compressed)
        known = (b"\0" * 16, _packed(*wide), _packed(entry.offset), _packed(*wide, entry.offset), None)
        if (size, compressed) not in ((0, 0), (MAX32, MAX32)) or extra.get(ZIP64) not in known:
            raise Damaged(f"the header before the data of {name} has sizes, which should follow the data")
    if not crc_fits or wide != (entry.size, entry.compressed):
        raise Damaged(f"the header before the data of {name} differs from the directory's")
    return extra_at + extra_size - entry.offset


def _packed(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def _descriptor(data: bytes, position: int, entry: Entry, name: str) -> int:
    """The size of the numbers after an entry's data, which repeat the directory's; 0 where it has none."""
    if not entry.flags & HAS_DESCRIPTOR:
        return 0
    forms = ("<2Q",) if max(entry.compressed, entry.size) > MAX32 else ("<2L", "<2Q")
    for form in forms:
        expected = DESCRIPTOR + struct.pack("<L", entry.crc) + struct.pack(form, entry.compressed, entry.size)
        if data[position : position + len(expected)] == expected:
            return len(expected)
    raise Damaged(f"the numbers after the data of {name} differ from the directory's")


def _inflated(stored: bytes, entry: Entry, name: str) -> bytes:
    """The data of an entry, never longer than the directory says, with its checksum compared."""
    method = entry.header[2]
    if method not in (STORED, DEFLATED) or entry.flags & ~(HAS_DESCRIPTOR | UTF8 | EFFORT * (method == DEFLATED)):
        raise Damaged(f"{name} is neither stored nor deflated, or is encrypted")
    data = stored
    if method == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(stored, entry.size + 1)
        except zlib.error as error:
            raise Damaged(f"{name} cannot be inflated") from error
        if not inflater.eof or inflater.unused_data:
            raise Damaged(f"{name} is not as long as its header says")
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise Damaged(f"{name} does not fit its checksum")
    return data


def _text(entry: Entry) -> str:
    try:
        return entry.name.decode("utf-8" if entry.flags & UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise Damaged("the name of an entry is not text") from error

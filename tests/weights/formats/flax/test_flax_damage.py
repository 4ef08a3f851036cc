"""Flax's files when they are cut, flipped, or lie: refused in the project's form, within bounded memory."""

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import serialization

from common.errors import InvalidInput
from common.weights import files, limits
from common.weights.formats import flax_msgpack, orbax
from common.weights.formats.orbax_arrays import Request, read_arrays
from common.weights.source import Source, Unusable

RNG = np.random.default_rng(2)
TREE = {
    "i": {"kernel": RNG.normal(size=(2, 3)).astype("float32"), "bias": RNG.normal(size=3).astype("float32")},
    "h": {"kernel": RNG.normal(size=(3, 3)).astype("float32")},
}
NUMBERS = [16, 2.5, True, None, -3, -70_000, 2**40, 3 + 4j, np.float32(1.5), "text"]


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        files.read(path)
    assert str(caught.value).startswith("weights: expected")
    assert all(word in str(caught.value) for word in words), caught.value


def read(data: bytes) -> Mapping[str, np.ndarray]:
    return flax_msgpack.read(Source(Path("file"), data, None)).params


def test_every_kind_of_leaf_is_read() -> None:
    tree = {"a": TREE, "list": [np.ones(2), np.zeros((0, 3))], "rest": dict(enumerate_names(NUMBERS)), "half": half()}
    file = flax_msgpack.read(Source(Path("file"), serialization.msgpack_serialize(tree), None))
    assert (file.params["a/i/kernel"] == TREE["i"]["kernel"]).all()
    assert file.params["list/1"].shape == (0, 3)
    assert (file.params["rest/8"], file.params["rest/8"].dtype) == (1.5, "float32")
    assert file.params["half"].dtype == "bfloat16"
    assert len(file.skipped) == len(NUMBERS) - 1
    assert flax_msgpack.fits(Source(Path("file"), serialization.msgpack_serialize(tree), None))


def enumerate_names(values: list[Any]) -> Any:
    return ((str(place), value) for place, value in enumerate(values))


def half() -> np.ndarray:
    from ml_dtypes import bfloat16

    return np.ones(3, bfloat16)


def test_arrays_in_parts_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flax cuts arrays above 1 GiB; here above 16 bytes."""
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 16)
    data = serialization.msgpack_serialize({"a": TREE["i"]["kernel"], "b": {"c": TREE["h"]["kernel"]}})
    assert data.count(b"__msgpack_chunked_array__") == 2
    params = read(data)
    assert (params["a"] == TREE["i"]["kernel"]).all()
    assert (params["b/c"] == TREE["h"]["kernel"]).all()


def test_every_cut_is_refused_and_no_flip_raises_another_error(tmp_path: Path) -> None:
    """The format has no checksums, which a note says: a flip in a number changes it."""
    data = serialization.msgpack_serialize(TREE)
    assert len(data) < 400
    for size in range(len(data)):
        with pytest.raises(Unusable):
            read(data[:size])
    with pytest.raises(Unusable):
        read(data + b"\0")
    refusals = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read(bytes(flipped))
        except Unusable:
            refusals += 1
    assert refusals > 450
    (tmp_path / "file").write_bytes(data)
    assert "no checksums" in files.read(tmp_path / "file").notes[0]
    (tmp_path / "cut").write_bytes(data[:-1])
    refused(tmp_path / "cut", "cut off")


def extension(shape: list[int], dtype: str, data: bytes, kind: int = 1) -> bytes:
    """{"a": an array with this header}."""
    header = b"\x93" + bytes([0x90 + len(shape)]) + b"".join(b"\xcf" + struct.pack(">Q", size) for size in shape)
    content = header + bytes([0xA0 + len(dtype)]) + dtype.encode() + b"\xc6" + struct.pack(">L", len(data)) + data
    return b"\x81\xa1a\xc9" + struct.pack(">Lb", len(content), kind) + content


def test_headers_that_lie_are_refused_before_anything_is_allocated() -> None:
    assert (read(extension([2], "float32", np.ones(2, "float32").tobytes()))["a"] == 1).all()
    lies = {
        "more numbers than bytes": extension([2**40], "float64", bytes(8)),
        "a size of no number": extension([2**63, 0], "float64", b""),
        "objects": extension([1], "object", bytes(8)),
        "fields": extension([1], "f4,f4", bytes(8)),
        "another type": extension([1], "float64", bytes(8), kind=7),
        "a map of 4 billion": b"\xdf\xff\xff\xff\xff\xa1a\x00",
        "a list of 4 billion": b"\x81\xa1a\xdd\xff\xff\xff\xff\x00",
        "text of 4 GB": b"\x81\xa1a\xdb\xff\xff\xff\xff\x00",
        "bytes of 4 GB": b"\x81\xa1a\xc6\xff\xff\xff\xff\x00",
        "no text": b"\x81\xa1\xff\x00",
        "numbers as names": b"\x81\x01\x01",
        "the same name twice": b"\x82\xa1a\x01\xa1a\x02",
        "the same path twice": b"\x82\xa3a/b\x01\xa1a\x81\xa1b\x02",
        "a reserved byte": b"\x81\xa1a\xc1",
        "deep maps": b"\x81\xa1a" * 5000 + b"\x01",
        "deep lists": b"\x81\xa1a" + b"\x91" * 5000 + b"\x01",
        "parts without parts": serialization.msgpack_serialize({"a": {flax_msgpack.CHUNKED: True}}),
        "parts that do not fit": serialization.msgpack_serialize(
            {"a": {flax_msgpack.CHUNKED: True, "shape": {"0": 5}, "chunks": {"0": np.ones(4)}}}
        ),
    }
    for what, data in lies.items():
        with pytest.raises(Unusable):
            pytest.fail(f"{what}: {read(data)}")
    with pytest.raises(Unusable, match="objects"):
        read(b"\x81\xa1a\xdd" + struct.pack(">L", 2_000_000) + bytes(2_000_000))


@pytest.fixture(scope="module", name="checkpoint")
def checkpoint_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in folders, whose parts can be taken away."""
    import orbax.checkpoint as ocp

    path = tmp_path_factory.mktemp("orbax") / "tree"
    ocp.PyTreeCheckpointer(use_ocdbt=False).save(path, {"params": TREE})
    return path


@pytest.fixture(name="folder")
def folder_fixture(checkpoint: Path, tmp_path: Path) -> Path:
    for path in checkpoint.rglob("*"):
        if path.is_file():
            target = tmp_path / "tree" / path.relative_to(checkpoint)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "tree"


def changed(folder: Path, change: Callable[[Any], None], file: str = "_METADATA") -> None:
    content = json.loads((folder / file).read_text())
    change(content)
    (folder / file).write_text(json.dumps(content))


def arrays_in(folder: Path) -> dict[str, np.ndarray]:
    """As ``orbax`` reads them, but in this process, which is quicker; without its limit on memory."""
    names, _, settings = orbax._metadata(folder)
    limit = limits.unpacked(orbax._require_folder(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.weights.formats.orbax_arrays._limit_memory", lambda _: None)
        return read_arrays(Request(str(folder), names, limit, **settings))


def test_a_part_that_is_missing_is_not_read_as_zeros(folder: Path) -> None:
    assert (arrays_in(folder)["params/i/kernel"] == TREE["i"]["kernel"]).all()
    (folder / "params.i.kernel" / "0.0").unlink()
    with pytest.raises(Unusable, match="params/i/kernel"):
        arrays_in(folder)


def test_sizes_are_compared_before_an_array_is_read(folder: Path) -> None:
    """Shapes of terabytes, and chunks of them, which a few bytes can claim to be."""
    for name in ("shape", "chunks"):
        changed(folder, lambda content, name=name: content.update({name: [10**6, 10**6]}), "params.h.kernel/.zarray")
        refused(folder, "out of proportion")
        changed(folder, lambda content, name=name: content.update({name: [3, 3]}), "params.h.kernel/.zarray")
    assert (arrays_in(folder)["params/h/kernel"] == TREE["h"]["kernel"]).all()


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"tree_metadata": {"a": 3}}', '{"tree_metadata": []}'])
def test_metadata_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "_METADATA").write_text(text)
    refused(folder, "_METADATA")


def test_names_cannot_leave_the_folder(folder: Path) -> None:
    for key in ("../../tree/params", "/etc", "a/../b", "a\0b"):

        def change(content: Any, key: str = key) -> None:
            next(iter(content["tree_metadata"].values()))["key_metadata"][0]["key"] = key

        changed(folder, change)
        refused(folder, "name of an array")


def test_links_and_pipes_are_refused(folder: Path) -> None:
    part = folder / "params.i.kernel" / "0.0"
    part.rename(folder.parent / "elsewhere")
    part.symlink_to(folder.parent / "elsewhere")
    refused(folder, "neither a file nor a folder")
    part.unlink()
    os.mkfifo(part)
    refused(folder, "neither a file nor a folder")


def test_a_reader_that_dies_or_hangs_is_a_refusal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orbax, "read_arrays", dies)
    refused(folder, "ended the process")
    monkeypatch.setattr(orbax, "read_arrays", hangs)
    monkeypatch.setattr(orbax, "SECONDS", -limits.ALWAYS // orbax.BYTES_A_SECOND + 1)
    refused(folder, "takes longer")


def dies(_: Request) -> None:
    os.abort()


def hangs(_: Request) -> None:
    import time

    time.sleep(100)


def test_flips_in_a_checkpoint_raise_no_other_error(folder: Path) -> None:
    """A small part of what ``fuzz_flax`` does: in every file that is read."""
    files_of = [folder / "_METADATA", *sorted(folder.glob("params.*/*")), *sorted(folder.glob("params.*/.*"))]
    refusals = 0
    for file in files_of:
        data = file.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 6)):
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            file.write_bytes(flipped)
            try:
                arrays_in(folder)
            except Unusable:
                refusals += 1
        file.write_bytes(data)
    assert refusals > 20


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    refused(tmp_path, "no checkpoint")

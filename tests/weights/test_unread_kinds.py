"""A file of a kind that is not read is called by its name, with the way out."""

from pathlib import Path

import pytest

from common.errors import InvalidInput
from common.weights import files

# As each program begins (or ends) such a file, and what is said of it.
BEGINNINGS = {
    b"#Parameter# /birnn/vanilla-lstm-builder/_0 {8,3} 193 ZERO_GRAD\n+1.0e+00": "a model of DyNet; save its arrays",
    b"\x1c\x00\x00\x00TFL3\x14\x00 \x00": "a model of TensorFlow Lite; convert",
    b"\x00" * 40 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb": "the index of a checkpoint of TensorFlow; numpy.savez",
    b"\x12\x01\x00\x00\x00\x00\x00\x00" + b"\x00" * 8: "parameters of MXNet; save its arrays",
    b"\x1f\x8b\x08\x00" + b"\x00" * 20: "compressed by gzip: unpack it first",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "a pointer of Git LFS, not the file itself",
}


@pytest.mark.parametrize(("data", "text"), BEGINNINGS.items(), ids=lambda value: str(value)[:20])
def test_another_kind_is_called_by_its_name(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=rf"\({text}"):
        files.read(path)


def test_a_saved_model_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(InvalidInput, match="a SavedModel of TensorFlow; numpy"):
        files.read(tmp_path)

"""Names and shapes that no file of weights has: they are left out, or the file is refused."""

import json
import struct
from pathlib import Path

import pytest

from common.errors import InvalidInput
from common.weights import files


def safetensors(path: Path, **shapes: list[int]) -> Path:
    header = json.dumps(
        {name: {"dtype": "F32", "shape": size, "data_offsets": [0, 0]} for name, size in shapes.items()}
    )
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    return path


def test_an_axis_longer_than_any_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="its 'a' has an axis that is too long"):
        files.read(safetensors(tmp_path / "a.safetensors", a=[0, 2**61]))


def test_an_array_with_a_name_that_is_no_name_is_left_out(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "a.safetensors", **{"lstm_cell/" * 100_000 + "w_i": [0], "b": [0]})
    file = files.read(path)
    assert list(file.params) == ["b"]
    assert list(file.skipped.values()) == ["its name has 1,000,003 characters"]

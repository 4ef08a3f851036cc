"""``rosetta convert --dtype``: weights of half precision are cast where that is exact, and never rounded."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.weights import files
from tests.cli.commands import Run, run_fixture

__all__ = ["run_fixture"]


def saved(path: Path, dtype: str) -> dict[str, np.ndarray]:
    """An LSTM in a file, and its weights in float64."""
    torch.manual_seed(3)
    module = torch.nn.LSTM(3, 5).to(getattr(torch, dtype))
    torch.save(module.state_dict(), path)
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("source", "target"), [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float64")]
)
def test_weights_are_cast_where_that_is_exact(source: str, target: str, run: Run, tmp_path: Path) -> None:
    wanted = saved(tmp_path / "in.pt", source)
    code, out, err = run("convert", "in.pt", "--to", "npz", "--out", "out.npz", "--dtype", target, "--json")
    assert code == 0, err
    (layer,) = tuple(files.read("out.npz").layers or ())
    assert {name: value.dtype.name for name, value in layer.params.items()} == dict.fromkeys(wanted, target)
    for name, value in wanted.items():
        np.testing.assert_array_equal(layer.params[name], value)
    found: Any = json.loads(out)
    assert f"the weights were cast from {source} to {target}, in which they are exact" in found["notes"]
    assert found["layer"]["spec"]["dtype"] == source
    assert {row["a"] for row in found["comparisons"]} == {"numpy", "torch (out)"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_refusal_of_half_precision_names_the_way_out(dtype: str, run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "in.pt", dtype)
    code, _, err = run("convert", "in.pt", "--to", "npz", "--out", "out.npz")
    assert code == 2
    assert f"every {dtype} is exact in float32: --dtype float32" in err
    assert os.listdir() == ["in.pt"]


def test_no_weight_is_rounded(run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "in.pt", "float64")
    code, _, err = run("convert", "in.pt", "--to", "npz", "--out", "out.npz", "--dtype", "float32")
    assert code == 2
    assert "--dtype: expected one in which float64 is exact, got float32" in err
    assert os.listdir() == ["in.pt"]

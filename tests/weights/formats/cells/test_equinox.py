"""Equinox's leaves: models that Equinox makes and saves are read, run by our implementations, written and read back."""

import json
import struct
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import InvalidInput
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.layer import select
from common.weights.schemes import equinox_names, find
from tests.weights.formats.cells.jax_models import (
    LAYERS,
    SUFFIXES,
    assert_reproduced,
    equinox_cells,
    equinox_reference,
    precise,
)
from tests.weights.formats.cells.test_haiku import assert_peer_agrees, both_dtypes, rewritten

CELLS = ("LSTM", "GRU")


def names_of(model: Any) -> list[str]:
    """What the documentation tells the user to write beside the file."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_array_like))
    return [jax.tree_util.keystr(path) for path, _ in leaves]


class Net(eqx.Module):
    """A recurrent network beside other layers."""

    embedding: eqx.nn.Embedding
    dropout: eqx.nn.Dropout  # whose probability is a leaf, too
    cells: dict[str, Any]
    head: eqx.nn.Linear

    def __init__(self, cells: dict[str, Any]):
        self.embedding = eqx.nn.Embedding(11, 2, key=jax.random.key(1))
        self.dropout = eqx.nn.Dropout(0.5)
        self.cells = {f"rnn{suffix}": cell for suffix, cell in cells.items()}
        self.head = eqx.nn.Linear(10, 4, key=jax.random.key(2))


@both_dtypes
@pytest.mark.parametrize("cell", CELLS)
def test_a_described_model_of_equinoxs_is_reproduced(cell: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "model.eqx"
    with precise():
        cells = equinox_cells(cell, dtype)
        model = Net(cells)
        wanted = equinox_reference(cell, dtype, cells, {suffix: f"cells/rnn{suffix}" for suffix in cells})
        eqx.tree_serialise_leaves(path, model)
    (tmp_path / "model.eqx.json").write_text(json.dumps({"leaves": names_of(model)}))
    file = files.read(path)
    layer = select(file)
    assert (layer.path, layer.spec) == (
        "cells/rnn",
        ModelSpec(cell=cell, input_size=2, hidden_size=5, num_layers=LAYERS[dtype], bidirectional=True, dtype=dtype),
    )
    assert file.others == ("embedding.weight", "dropout.p", "dropout.inference", "head.weight", "head.bias")
    assert_reproduced(layer, wanted, ("numpy", "torch", *(["jax"] if (cell, dtype) == ("GRU", "float64") else [])))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_cells_are_recognised_by_the_order_of_their_shapes(cell: str, use_bias: bool, tmp_path: Path) -> None:
    """With a line of hyperparameters before the leaves, as Equinox's documentation writes it."""
    path, cells = tmp_path / "model.eqx", equinox_cells(cell, "float32", use_bias)
    size = 2 + use_bias * (1 if cell == "LSTM" else 2)
    with path.open("wb") as stream:
        stream.write(json.dumps({"net": {"hidden": 5}}).encode() + b"\n")
        eqx.tree_serialise_leaves(stream, Net(cells))
    file = files.read(path)
    assert [layer.path for layer in file.layers or ()] == ["leaf3", f"leaf{3 + size}"]
    assert file.about == {"net": {"hidden": 5}}
    assert file.others == ("leaf0", "leaf1", "leaf2", f"leaf{3 + 2 * size}", f"leaf{4 + 2 * size}")
    assert "recognised by the order and the shapes" in file.notes[0]
    for layer, own in zip(file.layers or (), cells.values(), strict=True):
        assert layer.spec == ModelSpec(cell=cell, input_size=2, hidden_size=5, bias=use_bias, dtype="float32")
        assert np.array_equal(layer.params["weight_hh_l0"], own.weight_hh)
    loaded = peers.load("equinox").load(path, select(file, f"leaf{3 + size}"))
    assert np.array_equal(loaded.modules["_l0"].weight_ih, cells["_l0_reverse"].weight_ih)  # pyright: ignore


@pytest.mark.parametrize(
    ("cell", "dtype", "options"),
    [
        ("LSTM", "float64", {"bidirectional": True}),
        ("GRU", "float32", {"num_layers": 2}),
        ("GRU", "float64", {"bidirectional": True, "bias": False}),
    ],
)
def test_the_peer_runs_a_file_with_lengths(cell: str, dtype: str, options: dict[str, Any], tmp_path: Path) -> None:
    spec = ModelSpec(cell=cell, input_size=3, hidden_size=4, dtype=dtype, **options)
    layer, path = rewritten(spec, tmp_path, "equinox")
    assert_peer_agrees("equinox", layer, path)


def test_what_we_write_is_loaded_as_the_documentation_says(tmp_path: Path) -> None:
    spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=4, num_layers=2, bidirectional=True, dtype="float32")
    layer, path = rewritten(spec, tmp_path, "equinox")
    with path.open("rb") as file:
        about = json.loads(file.readline())
        width = about["hidden_size"] * (2 if about["bidirectional"] else 1)
        inputs = [about["input_size"]] + [width] * (about["num_layers"] - 1)
        like = [
            eqx.nn.LSTMCell(size, about["hidden_size"], use_bias=about["bias"], dtype=about["dtype"], key=key)
            for size in inputs
            for key in jax.random.split(jax.random.key(0), 2 if about["bidirectional"] else 1)
        ]
        cells = eqx.tree_deserialise_leaves(file, like)
    for cell, suffix in zip(cells, SUFFIXES, strict=True):
        assert np.array_equal(cell.weight_ih, layer.params[f"weight_ih{suffix}"])
        assert np.array_equal(cell.bias, layer.params[f"bias_ih{suffix}"])


def test_cells_in_an_npz_are_found_by_their_names() -> None:
    """And are not taken for PyTorch's cells without a bias."""
    arrays = {"net.cell.weight_ih": np.ones((16, 3)), "net.cell.weight_hh": np.ones((16, 4))}
    named = arrays | {"net.cell.bias": np.ones(16)}
    (layer,) = find(named | {f"opt_state.mu.{name}": value for name, value in named.items()})
    assert (layer.path, layer.layout) == ("net.cell", "equinox LSTM")
    (layer,) = find(arrays)
    assert layer.layout == "torch LSTM"


def test_half_precision_is_read(tmp_path: Path) -> None:
    cell = eqx.nn.LSTMCell(3, 4, dtype=jnp.bfloat16, key=jax.random.key(0))
    eqx.tree_serialise_leaves(tmp_path / "half.eqx", cell)
    layer = select(files.read(tmp_path / "half.eqx"))
    assert layer.spec is not None
    assert layer.spec.dtype == "bfloat16"
    assert np.array_equal(layer.params["bias_ih_l0"], np.asarray(cell.bias))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ModelSpec(cell="RNN", input_size=3, hidden_size=4), "the only cells of equinox.nn"),
        (ModelSpec(cell="GRU", input_size=3, hidden_size=4, reset_after=False), "resets after the product"),
        (ModelSpec(cell="LSTM", input_size=3, hidden_size=4, proj_size=2), "has no projection"),
    ],
)
def test_what_equinox_cannot_hold_is_refused(spec: ModelSpec, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        equinox_names.places(spec)


def header(shape: str, descr: str = "'<f8'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return np.lib.format.MAGIC_PREFIX + version + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header("(5000000000,)") + b"1" * 80, "claims 37.3 GiB, and 80 bytes are left"),
        (header("(2, 99999999999999999999)") + b"1" * 80, "GiB, and 80 bytes are left"),
        (header("(-1,)") + b"1" * 80, "has the shape"),
        (header("(" + "1, " * 40 + ")") + b"1" * 8, "has the shape"),
        (header("(1,)", "'|O'") + b"1" * 8, r"Object arrays.*np\.savez"),
        (header("(1L,)") + b"1" * 8, "its array 0"),
        (header("(1,)", version=b"\x03\x00") + b"1" * 8, r"version 3\.0 of the format"),
        (header("()") + b"12345678" + b"junk", "its array 1"),
        (header("()") + b"12345678", "a single array"),
        (b"{" * 100_000 + b"\n" + header("()") + b"12345678", "its first line is not JSON"),
        (b'{"leaves": ["a", "b"]}\n' + header("()") + b"12345678", "2 different names for 1 arrays"),
        (b'{"leaves": 3}\n' + header("()") + b"12345678", "not a list of names"),
    ],
)
def test_hostile_leaves_are_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file.eqx").write_bytes(data)
    with pytest.raises(InvalidInput, match=reason):
        files.read(tmp_path / "file.eqx")


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", '{"names": []}', '{"leaves": ["a"]}', " " * (1 << 21)])
def test_a_wrong_description_is_refused(text: str, tmp_path: Path) -> None:
    eqx.tree_serialise_leaves(tmp_path / "m.eqx", eqx.nn.LSTMCell(3, 4, key=jax.random.key(0)))
    (tmp_path / "m.eqx.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"m\.eqx"):
        files.read(tmp_path / "m.eqx")


def test_every_cut_is_refused_and_flips_are_refused_or_read(tmp_path: Path) -> None:
    """Without checksums, a flip in the numbers goes unnoticed, which a note says: only nothing else may happen."""
    path = tmp_path / "m.eqx"
    eqx.tree_serialise_leaves(path, eqx.nn.GRUCell(2, 2, key=jax.random.key(0)))
    data = path.read_bytes()
    whole = files.read(path)
    assert "without checksums" in whole.notes[-1]
    starts = {place for place in range(len(data)) if data.startswith(np.lib.format.MAGIC_PREFIX, place)}
    for size in range(0, len(data), 3):
        path.write_bytes(data[:size])
        if size not in starts:
            with pytest.raises(InvalidInput):
                files.read(path)
    for bit in np.random.default_rng(0).choice(8 * len(data), 300, replace=False):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert files.read(path).params.keys() is not None
        except InvalidInput:
            continue

"""A saved network comes back bit for bit, and nothing but a saved network is taken for one."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput, InvalidType
from common.model.dtypes import numpy_dtype
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.formats.npz import WAY_OUT

ABOUT = {
    "task": "sine",
    "reading": "windows",
    "options": {"window": 5},
    "symbols": ["a", "語", "\n"],
    "output_symbols": [],
    "data": "",
    "score": 0.1 + 0.2,
}


def model(cell: str = "RNN", **options: Any) -> ModelSpec:
    return ModelSpec(cell=cell, **{"input_size": 3, "hidden_size": 4, **options})


NETWORKS = {
    "RNN": NetworkSpec(model=model(), readout_size=2),
    "relu, two layers, no bias": NetworkSpec(
        model=model(nonlinearity="relu", num_layers=2, dropout=0.25, bias=False), readout_size=2, readout="every_step"
    ),
    "LSTM with all": NetworkSpec(
        model=model("LSTM", num_layers=2, bidirectional=True, proj_size=2, forget_bias=1.0),
        readout_size=2,
        readout="final_state",
        loss="cross_entropy",
    ),
    "GRU of 2014": NetworkSpec(model=model("GRU", reset_after=False, num_layers=2, bidirectional=True), readout_size=2),
    "LSTM1997": NetworkSpec(model=model("LSTM1997"), readout_size=2, readout="every_step"),
    "RNNCell": NetworkSpec(model=model("RNNCell"), readout_size=1, readout="last_sequence"),
    "one-hot": NetworkSpec(
        model=model("LSTMCell"), readout_size=3, readout="every_step", inputs="one_hot", vocabulary=3
    ),
    "table": NetworkSpec(model=model(), readout_size=2, inputs="embedding", vocabulary=7),
    "decoder": NetworkSpec(
        model=model("LSTM"),
        readout_size=5,
        readout="encoder_decoder",
        loss="cross_entropy",
        inputs="embedding",
        vocabulary=7,
    ),
}
DTYPES = ("float64", "float32", "float16")


def written(folder: Path, network: NetworkSpec, seed: int = 1) -> tuple[Path, dict[str, np.ndarray]]:
    path, params = folder / "deep" / "er" / "net.npz", initial_network(network, seed)
    files.write_trained(path, network, params, ABOUT)
    return path, params


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_bit_for_bit(name: str, dtype: str, tmp_path: Path) -> None:
    network = replace(NETWORKS[name], model=NETWORKS[name].model.with_dtype(dtype))
    path, params = written(tmp_path, network)
    found = files.read_trained(path)
    assert found.network == network
    assert list(found.params) == list(params)
    for key, value in params.items():
        assert found.params[key].dtype == numpy_dtype(dtype)
        assert found.params[key].tobytes() == value.tobytes(), key
    assert {key: found.about[key] for key in ABOUT} == ABOUT
    assert os.listdir(path.parent) == ["net.npz"]


def test_arrays_in_any_memory_order_are_saved_as_they_read(tmp_path: Path) -> None:
    network = NETWORKS["RNN"]
    params = {name: np.asfortranarray(value) for name, value in initial_network(network, 1).items()}
    files.write_trained(tmp_path / "net.npz", network, params, ABOUT)
    found = files.read_trained(tmp_path / "net.npz").params
    assert all(np.array_equal(found[name], value) for name, value in params.items())


def test_every_flipped_byte_and_every_cut_is_seen_or_harmless(tmp_path: Path) -> None:
    """No damage gives another network; none raises anything but the error for a bad file."""
    path, params = written(tmp_path, NETWORKS["RNN"])
    whole, about = path.read_bytes(), files.read_trained(path).about
    rng = np.random.default_rng(0)
    damaged = [whole[:end] for end in range(0, len(whole), 17)]
    for place in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            found = files.read_trained(path)
        except InvalidInput:
            refused += 1
            continue
        assert found.network == NETWORKS["RNN"]
        assert found.about == about
        assert all(np.array_equal(found.params[name], value) for name, value in params.items())
    assert refused > 0.7 * len(damaged)


def test_a_size_that_was_damaged_is_seen_before_it_is_made_room_for(tmp_path: Path) -> None:
    path, _ = written(tmp_path, NETWORKS["RNN"])
    whole = path.read_bytes()
    at = whole.index(b"(4, 3), }")
    path.write_bytes(whole[:at] + b"(4, 300000000000), }" + whole[at + 20 :])
    with pytest.raises(InvalidInput, match="does not fit its checksum"):
        files.read_trained(path)


def change(path: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Edit the text and the arrays of a file, whose checksums hold again after that."""
    with np.load(path) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    about = json.loads(arrays.pop("about").tobytes())
    edit(about, arrays)
    np.savez(path, about=np.frombuffer(json.dumps(about).encode(), dtype="uint8"), **arrays)


def put(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda about, _: about.update({name: value})


def drop(name: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda about, arrays: (arrays if name in arrays else about).pop(name)


def edit_weight(change_of: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    name = "rnn.weight_ih_l0"
    return lambda _, arrays: arrays.update({name: change_of(arrays[name])})


CHANGES = [
    (put("format", 2), "format of FILE: expected 1, got 2; written by another version?"),
    (drop("format"), "format of FILE: expected 1, got None; written by another version?"),
    (drop("network"), "network in FILE: expected a NetworkSpec, got another ('network')"),
    (put("network", 3), "network in FILE: expected a NetworkSpec, got another ('int' object is not subscriptable)"),
    (put("network", {"model": {}}), "network in FILE: expected a NetworkSpec, got another ("),
    (
        put("network", asdict(NETWORKS["RNN"]) | {"readout": "third_step"}),
        "network in FILE: expected a NetworkSpec, got another (readout: expected one of ",
    ),
    (put("network", asdict(NETWORKS["table"])), "parameters of RNN: expected rnn.weight_ih_l0, "),
    (drop("task"), "task in FILE: expected a str, got none"),
    (put("reading", None), "reading in FILE: expected a str, got NoneType"),
    (put("options", [1]), "options in FILE: expected a dict, got list"),
    (drop("symbols"), "symbols in FILE: expected a list, got none"),
    (drop("readout.bias"), "parameters of RNN: expected rnn.weight_ih_l0, "),
    (edit_weight(np.transpose), "rnn.weight_ih_l0: expected (4, 3) for RNN(hidden_size=4), got (3, 4); transposed?"),
    (edit_weight(lambda a: a.astype("float32")), "rnn.weight_ih_l0: expected float64 for RNN(hidden_size=4), got flo"),
    (edit_weight(lambda a: a * np.inf), "rnn.weight_ih_l0: expected finite values, got "),
]


@pytest.mark.parametrize(("edit", "message"), CHANGES)
def test_a_file_that_is_whole_and_wrong_is_refused(edit: Any, message: str, tmp_path: Path) -> None:
    path, _ = written(tmp_path, NETWORKS["RNN"])
    change(path, lambda *_: None)
    files.read_trained(path)  # editing alone breaks nothing
    change(path, edit)
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        files.read_trained(path)
    assert str(caught.value).replace(str(path), "FILE").startswith(message)


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_a_file_from_before_a_field_was_added_has_its_default(cell: str, tmp_path: Path) -> None:
    network = replace(NETWORKS["RNN"], model=model(cell))
    path, params = written(tmp_path, network)

    def without_reset_after(about: dict[str, Any], _: Any) -> None:
        assert about["network"]["model"].pop("reset_after") is True

    change(path, without_reset_after)
    found = files.read_trained(path)
    assert found.network == network
    assert all(np.array_equal(found.params[name], value) for name, value in params.items())


def foreign_files(folder: Path) -> dict[str, str]:
    """Name -> what is said of it."""
    np.savez(folder / "foreign.npz", weights=np.zeros(3))
    np.save(folder / "foreign.npy", np.zeros(3))
    np.savez(folder / "pickled.npz", about=np.array([{}], dtype=object))
    np.savez(folder / "number.npz", about=np.array(3.0))
    (folder / "text.npz").write_text("a text")
    (folder / "empty.npz").write_bytes(b"")
    return {
        "foreign.npz": "a zip file without the entry `about`",
        "foreign.npy": "a single array",
        "pickled.npz": f"its entry about.npy: Object arrays cannot be loaded when allow_pickle=False; {WAY_OUT}",
        "number.npz": "its `about` is not JSON",
        "text.npz": "in none of the known formats",
        "empty.npz": "empty",
        "none.npz": "No such file or directory",
        ".": "a directory that is no checkpoint",
    }


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, problem in foreign_files(tmp_path).items():
        with pytest.raises(InvalidInput) as caught:
            files.read_trained(tmp_path / name)
        wanted = f"network file: expected one that `rosetta train` wrote, got {tmp_path / name} ({problem})"
        assert str(caught.value) == wanted


def test_a_file_is_written_whole_or_the_old_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, params = written(tmp_path, NETWORKS["RNN"])
    before = path.read_bytes()

    def full(file: Any, **_: Any) -> None:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InvalidInput) as caught:
        files.write_trained(path, NETWORKS["RNN"], params, ABOUT)
    assert str(caught.value) == f"output file: expected a writable path, got {path} (No space left on device)"
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["net.npz"]


def test_a_folder_is_made_or_refused_and_left_empty(tmp_path: Path) -> None:
    files.require_folder(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(InvalidInput) as caught:
            files.require_folder(wrong)
        assert str(caught.value).startswith(f"--out: expected a writable folder, got {wrong} (")
        with pytest.raises(InvalidInput, match="output file: expected a writable path, got "):
            files.write_trained(wrong / "net.npz", NETWORKS["RNN"], initial_network(NETWORKS["RNN"], 1), ABOUT)

"""Files of Keras that are damaged or forged: refused or left out in a few words; nothing is run, nothing opened."""

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from common.errors import InvalidInput
from common.model.layout import parameter_shapes
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.formats.keras import hdf5, tree
from common.weights.source import Unusable, WeightsFile
from common.weights.targets import TARGETS
from common.weights.writing import keep, written
from tests.weights.formats.keras.keras_models import found_in

RNG = np.random.default_rng(9)
KERNEL = RNG.normal(size=(3, 20)).astype("float32")


def sound(folder: Path, target: str, cell: str = "LSTM") -> Path:
    spec = ModelSpec(cell=cell, input_size=2, hidden_size=3, dtype="float32")
    params = {name: RNG.normal(size=shape).astype("float32") for name, shape in parameter_shapes(spec).items()}
    path = folder / f"{target}{TARGETS[target].suffix}"
    with written(path, target, spec, params, force=True) as made:
        keep(made, path)
    return path


def forged(path: Path, fill: Any, **options: Any) -> Path:
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        files.read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def left_out(path: Path, fill: Any, **options: Any) -> dict[str, str]:
    """The reasons for which the parts of a file were not read; the kernel beside them was."""

    def both(file: Any) -> None:
        file.create_dataset("kernel", data=KERNEL)
        fill(file)

    file = files.read(forged(path, both, **options))
    assert list(file.params) == ["kernel"]
    return dict(file.skipped)


def test_nothing_outside_the_file_is_opened(tmp_path: Path) -> None:
    secret = forged(tmp_path / "secret.h5", lambda file: file.create_dataset("kernel", data=KERNEL))
    numbers = tmp_path / "numbers"
    numbers.write_bytes(KERNEL.tobytes())

    def fill(file: Any) -> None:
        file["soft"] = h5py.SoftLink("/kernel")
        file["outside"] = h5py.ExternalLink(str(secret), "/kernel")
        file.create_dataset("external", (3, 20), "float32", external=[(str(numbers), 0, 240)])
        layout = h5py.VirtualLayout((3, 20), "float32")
        layout[:] = h5py.VirtualSource(secret, "kernel", (3, 20))
        file.create_virtual_dataset("virtual", layout)

    reasons = left_out(tmp_path / "file.h5", fill)
    link, elsewhere = "a link to another place, which is not followed", "its numbers are in another file"
    assert reasons.pop("soft") == reasons.pop("outside") == link
    assert len(reasons) == 2
    assert all(elsewhere in reason for reason in reasons.values())


def test_circles_and_second_names_are_not_followed(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("group")
        group["up"] = file["/"]
        group["self"] = group
        file["other"] = file["kernel"]

    reasons = left_out(tmp_path / "file.h5", fill)
    assert set(reasons) == {"group/up", "group/self", "other"}
    assert all("another name" in reason for reason in reasons.values())


def test_what_is_not_numbers_is_left_out(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file["text"] = "words"
        file["pairs"] = np.zeros(2, [("a", "f4"), ("b", "i8")])
        file["references"] = np.array([file["kernel"].ref], h5py.ref_dtype)
        file["wide"] = np.zeros(2, "longdouble")
        file["nothing"] = h5py.Empty("f4")
        file.create_dataset("filtered", data=np.zeros((4, 4)), chunks=(2, 2), compression="lzf")

    assert set(left_out(tmp_path / "file.h5", fill)) == {"text", "pairs", "references", "wide", "nothing", "filtered"}


def test_sizes_are_compared_before_anything_is_read(tmp_path: Path) -> None:
    """40 GB that were never written, a chunk of 2 GiB for a few numbers, and many arrays that are too much together."""
    cases: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        "claims": ((10**5, 10**5), (64, 64)),
        "one chunk": ((2**20,), (2**29,)),
    }
    for name, (shape, chunks) in cases.items():
        options: dict[str, Any] = {"chunks": chunks, "maxshape": (None,) * len(shape)}
        path = forged(
            tmp_path / name, lambda file, shape=shape, more=options: file.create_dataset("a", shape, "f4", **more)
        )
        assert path.stat().st_size < 10_000
        assert "unpacks to more than 256 MiB" in refused(path)

    def many(file: Any) -> None:
        for k in range(20):
            file.create_dataset(str(k), (2**22,), "f4", chunks=(2**12,))

    assert "unpacks to more than 256 MiB" in refused(forged(tmp_path / "many.h5", many))


def test_groups_nested_deep_are_refused(tmp_path: Path) -> None:
    deep = forged(tmp_path / "deep.h5", lambda file: file.create_group("/".join("g" * 200)))
    assert "nested deeper than 64" in refused(deep)


def archive(path: Path, config: str, data: bytes | None = None, **others: bytes) -> Path:
    if data is None:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            for k, shape in enumerate(((2, 12), (3, 12), (12,))):
                file.create_dataset(f"layers/lstm/cell/vars/{k}", data=np.ones(shape, "float32"))
        data = stream.getvalue()
    entries = {"metadata.json": b"{}", "config.json": config.encode(), "model.weights.h5": data, **others}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def read(path: Path) -> WeightsFile:
    return files.read(path)


def test_no_code_of_a_configuration_is_run(tmp_path: Path) -> None:
    """A Lambda as Keras 2 and Keras 3 write them, before a layer that is read."""
    code = {"class_name": "Lambda", "config": {"name": "f", "function": ["4wAAAA==", None, None], "module": "os"}}
    layer = {"class_name": "LSTM", "config": {"name": "one", "units": 3}}
    config = {"class_name": "Sequential", "config": {"layers": [code, layer]}}
    (found,) = found_in(archive(tmp_path / "model.keras", json.dumps(config)))
    assert (found.path, found.problem) == ("one", "")


@pytest.mark.parametrize(
    "config",
    ["", "[]", "null", '"text"', '{"class_name": 3}', "[" * 100_000, '{"a":' * 100_000, "{" + '"a": 1,' * 10],
    ids=["empty", "list", "null", "text", "number", "deep lists", "deep objects", "cut"],
)
def test_a_configuration_that_is_none_is_refused(config: str, tmp_path: Path) -> None:
    assert "its configuration is not" in refused(archive(tmp_path / "model.keras", config))


def test_models_nested_deep_are_refused(tmp_path: Path) -> None:
    inner: Any = {"class_name": "LSTM", "config": {"units": 3}}
    for _ in range(100):
        inner = {"class_name": "Sequential", "config": {"layers": [inner]}}
    assert "nests models deeper than 64" in refused(archive(tmp_path / "model.keras", json.dumps(inner)))


@pytest.mark.parametrize("value", [None, 3, [], {}, "x", [None], {"layers": [{"class_name": "LSTM", "config": 3}]}])
def test_odd_values_in_a_configuration_raise_nothing_else(value: Any, tmp_path: Path) -> None:
    """At each place of a configuration in turn."""
    layer = {"class_name": "Bidirectional", "config": {"layer": {"class_name": "LSTM", "config": {"units": value}}}}
    rnn = {"class_name": "RNN", "config": {"cell": value, "name": value}}
    stacked = {"class_name": "RNN", "config": {"cell": {"class_name": "StackedRNNCells", "config": {"cells": value}}}}
    node = {"class_name": "LSTM", "config": value, "inbound_nodes": value, "name": value}
    timed = {"class_name": "TimeDistributed", "config": {"layer": value}}
    odd = {"class_name": "LSTM", "config": {"activation": value, "dtype": value, "name": "odd"}}
    for one in (layer, rnn, stacked, node, timed, odd):
        for model in ({"class_name": "Functional", "config": {"layers": [one, node]}}, one | {"config": value}):
            read(archive(tmp_path / "model.keras", json.dumps(model)))


def test_archives_that_store_their_weights_otherwise_are_refused(tmp_path: Path) -> None:
    config = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
    assert "stored as .npz" in refused(archive(tmp_path / "a.keras", config, **{"model.weights.npz": b""}))
    assert "stored in several files" in refused(archive(tmp_path / "b.keras", config, **{"model.weights.json": b""}))


@pytest.mark.parametrize("target", ["keras", "keras-weights", "keras2", "cudnn"])
def test_cuts_and_flips_are_refused_or_read(target: str, tmp_path: Path) -> None:
    """The whole product runs in ``fuzz_keras``. An archive has checksums, so that nothing damaged is read from one."""
    path = sound(tmp_path, target)
    data, expected = path.read_bytes(), read(path).params
    for size in random.Random(0).sample(range(len(data)), 20):
        path.write_bytes(data[:size])
        refused(path)
    for bit in random.Random(1).sample(range(8 * len(data)), 60):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            params = read(path).params
        except InvalidInput:
            continue
        if target == "keras":
            assert all(np.array_equal(params[name], value) for name, value in expected.items())


def test_a_reader_that_dies_or_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sound(tmp_path, "keras-weights").read_bytes()
    hdf5.read(tmp_path, data)
    hdf5._serving[0][1].process.kill()
    with pytest.raises(Unusable, match="HDF5 fails on it"):
        hdf5.read(tmp_path, data)
    monkeypatch.setattr(hdf5, "PATIENCE", 0)
    with pytest.raises(Unusable, match="did not come to an end"):
        hdf5.read(tmp_path, data)
    monkeypatch.undo()
    assert hdf5.read(tmp_path, data).arrays


def test_the_limits_of_memory_and_time_are_set(tmp_path: Path) -> None:
    """In the process that reads, and not here."""
    resource = pytest.importorskip("resource")
    data = sound(tmp_path, "keras-weights").read_bytes()
    hdf5.read(tmp_path, data)
    pid = hdf5._serving[0][1].process.pid
    assert all(resource.prlimit(pid, kind)[0] > 0 for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU))
    assert resource.prlimit(pid, resource.RLIMIT_AS)[0] < resource.prlimit(0, resource.RLIMIT_AS)[0] % 2**64
    assert resource.prlimit(pid, resource.RLIMIT_CPU)[0] < 60 + tree.SECONDS

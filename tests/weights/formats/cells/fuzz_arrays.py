"""Thousands of flips and cuts in files of Haiku, Equinox and TensorFlow 1, which the suite has no time for:
``python -m tests.weights.formats.cells.fuzz_arrays``.

Each must be refused with ``InvalidInput`` or read; anything else ends the script with a traceback. An ``.npz`` has
checksums, so what is read there must be what was written. Leaves have none: what differs in them is counted.
"""

import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import InvalidInput
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.schemes.layers import written
from common.weights.targets import TARGETS

FLIPS, CUTS = 8000, 2000
SPECS = {
    "haiku": ModelSpec(cell="LSTM", input_size=2, hidden_size=2, num_layers=2, dtype="float32"),
    "equinox": ModelSpec(cell="GRU", input_size=2, hidden_size=2, num_layers=2, dtype="float32"),
    "tf1": ModelSpec(cell="LSTM", input_size=2, hidden_size=2, bidirectional=True, dtype="float32"),
}


def whole(folder: Path, target: str) -> Path:
    path = folder / f"{target}{TARGETS[target].suffix}"
    arrays, _ = written(TARGETS[target].scheme, SPECS[target], initial_parameters(SPECS[target], 3))
    TARGETS[target].write(path, SPECS[target], arrays)
    return path


def unnamed(folder: Path) -> Path:
    """The same leaves without a line of JSON."""
    data = whole(folder, "equinox").read_bytes()
    path = folder / "unnamed.eqx"
    path.write_bytes(data[data.index(b"\n") + 1 :])
    return path


def described(folder: Path) -> Path:
    """The same with a description beside it, which is what is damaged."""
    unnamed(folder).rename(folder / "described.eqx")
    names = [f".cells[{k // 4}].{('weight_ih', 'weight_hh', 'bias', 'bias_n')[k % 4]}" for k in range(8)]
    beside = folder / "described.eqx.json"
    beside.write_text(json.dumps({"leaves": names}))
    return beside


def outcome(path: Path, expected: Mapping[str, np.ndarray]) -> str:
    try:
        file = files.read(path)
    except InvalidInput:
        return "refused"
    same = file.params.keys() == expected.keys() and all(
        file.params[name].tobytes() == value.tobytes() and file.params[name].shape == value.shape
        for name, value in expected.items()
    )
    if same:
        return "read, the same"
    usable = any(layer.spec is not None for layer in file.layers or ())
    return f"read, different, {'with' if usable else 'without'} a usable layer"


def damaged(data: bytes) -> bytes:
    changed = bytearray(data)
    bit = random.randrange(8 * len(data))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def fuzz(name: str, path: Path, changed: Path | None = None) -> None:
    changed = changed or path
    expected, data, start = dict(files.read(path).params), changed.read_bytes(), time.perf_counter()
    flips, cuts, slowest = Counter[str](), Counter[str](), 0.0
    for number in range(FLIPS + CUTS):
        is_flip = number < FLIPS
        changed.write_bytes(damaged(data) if is_flip else data[: random.randrange(len(data))])
        before = time.perf_counter()
        (flips if is_flip else cuts)[outcome(path, expected)] += 1
        slowest = max(slowest, time.perf_counter() - before)
    changed.write_bytes(data)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = time.perf_counter() - start
    print(f"{name}, {len(data)} bytes: flips {dict(flips)}; cuts {dict(cuts)}; ", end="")
    print(f"{seconds:.0f} s, the slowest {slowest:.2f} s, at most {memory} MiB", flush=True)
    assert path.suffix != ".npz" or not any("different" in key for key in flips + cuts), "a checksum was passed over"


def main() -> None:
    random.seed(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for target in SPECS:
            fuzz(target, whole(folder, target))
        fuzz("leaves without names", unnamed(folder))
        beside = described(folder)
        fuzz("a description beside leaves", beside.with_suffix(""), beside)


if __name__ == "__main__":
    main()

"""Thousands of flips in Keras' files, which the suite has no time for.

``python -m tests.weights.formats.keras.fuzz_keras`` runs them.

One to eight bits of each file are flipped. It must be refused with ``InvalidInput`` or read; anything else ends the
script with a traceback. HDF5 has no checksums, so that damaged numbers are read. How often HDF5 crashed, or was stopped
because it did not come to an end, is counted, too.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from common.errors import InvalidInput
from common.weights import files
from tests.weights.formats.keras.test_keras_damage import KERNEL, sound

FLIPS = 6000


def chunked(folder: Path) -> Path:
    """Shuffled, compressed chunks with checksums, in the newest form of HDF5."""
    path = folder / "chunked.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for name, value in {"kernel": KERNEL, "recurrent_kernel": KERNEL[:, :12].T @ KERNEL, "bias": KERNEL[0]}.items():
            file.create_dataset(f"lstm/{name}", data=value, chunks=True, compression=9, shuffle=True, fletcher32=True)
    return path


def flips(path: Path, count: int) -> Counter[str]:
    data, found = path.read_bytes(), Counter[str]()
    expected = files.read(path).params
    for _ in range(count):
        flipped, start = bytearray(data), time.monotonic()
        for bit in random.choices(range(8 * len(data)), k=random.choice((1, 1, 1, 2, 8))):
            flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            params = files.read(path).params
        except InvalidInput as error:
            text = str(error)
            died, stopped = "HDF5 fails on it" in text, "SIGXCPU" in text or "come to an end" in text
            found["refused: stopped" if stopped else "refused: crashed" if died else "refused"] += 1
        else:
            names = params.keys() == expected.keys()
            alike = names and all(np.array_equal(params[name], expected[name], True) for name in expected)
            found["read, the same" if alike else "read, different"] += 1
        found["slowest, in ms"] = max(found["slowest, in ms"], round(1000 * (time.monotonic() - start)))
    path.write_bytes(data)
    return found


def main(count: int) -> None:
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        made = [sound(Path(name), target) for target in ("keras", "keras-weights", "keras2", "cudnn")]
        for path in (*made, chunked(Path(name))):
            print(path.name, dict(sorted(flips(path, count).items())), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FLIPS)

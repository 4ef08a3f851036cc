"""Thousands of flips in Flax's files, which the suite has no time for.

``python -m tests.weights.formats.flax.fuzz_flax`` runs them.

Each flip of one bit must be refused with ``Unusable`` or read; anything else ends the script with a traceback. What is
read and differs from what was written is counted: neither format has checksums of its numbers. Checkpoints are read in
a process of this script's own, which has the same limit on memory; if a flip ends it, that is counted, too.
"""

import multiprocessing
import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from common.weights import limits
from common.weights.formats import flax_msgpack, orbax
from common.weights.formats.orbax_arrays import Request, read_arrays
from common.weights.source import Source, Unusable
from tests.weights.formats.flax.test_flax_damage import TREE

FLIPS = 6000


def outcome(read: Any, expected: dict[str, np.ndarray]) -> str:
    try:
        arrays = read()
    except Unusable:
        return "refused"
    alike = arrays.keys() == expected.keys() and all(np.array_equal(arrays[one], expected[one]) for one in expected)
    return "read, the same" if alike else "read, different"


def flipped(data: bytes) -> bytes:
    bit = random.randrange(8 * len(data))
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data))


def of_msgpack() -> Counter[str]:
    from flax import serialization

    data = serialization.msgpack_serialize(TREE)

    def read(data: bytes) -> dict[str, np.ndarray]:
        return dict(flax_msgpack.read(Source(Path("file"), data, None)).params)

    expected = read(data)
    return Counter(outcome(lambda: read(flipped(data)), expected) for _ in range(FLIPS))


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    names, _, settings = orbax._metadata(folder)
    limit = limits.unpacked(orbax._require_folder(folder))
    return read_arrays(Request(str(folder), names, limit, **settings))


def serve(connection: Connection, folder: Path, expected: dict[str, np.ndarray]) -> None:
    with suppress(EOFError):  # this script has ended
        while connection.recv():
            connection.send(outcome(lambda: checkpoint(folder), expected))


def of_orbax(folder: Path) -> Counter[str]:
    """Flips in all files of a checkpoint that are read."""
    expected, counts = checkpoint(folder), Counter[str]()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and is_read(path)]
    sizes = [path.stat().st_size for path in files]
    context = multiprocessing.get_context("spawn")
    process: Any = None
    for _ in range(FLIPS):
        if process is None or not process.is_alive():
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, folder, expected), daemon=True)
            process.start()
            theirs.close()
        path = random.choices(files, sizes)[0]
        data = path.read_bytes()
        path.write_bytes(flipped(data))
        ours.send(True)  # pyright: ignore
        try:
            counts[ours.recv() if ours.poll(60) else "hung"] += 1  # pyright: ignore
        except EOFError:
            counts["ended the process"] += 1
            process.join()
        path.write_bytes(data)
    return counts


def is_read(path: Path) -> bool:
    unread = ("_CHECKPOINT_METADATA", "_sharding", "commit_success.txt", "process_0")
    return path.name not in unread and path.parent.name != "array_metadatas"


def main() -> None:
    import orbax.checkpoint as ocp

    random.seed(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print("msgpack", dict(of_msgpack()), flush=True)
    folder = Path(tempfile.mkdtemp())
    try:
        for name, options in {"database": {}, "folders": {"use_ocdbt": False}, "zarr3": {"use_zarr3": True}}.items():
            ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)).save(folder / name, TREE)
            print(f"orbax, {name}", dict(of_orbax(folder / name)), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

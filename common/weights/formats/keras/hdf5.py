"""HDF5 files, read in a process of its own with limits on memory and time.

The HDF5 library is written in C and was made for files that are trusted: damaged ones have crashed it, kept it busy
for ever, or made it ask for all memory there is. The process serves one file after another and ends with this one.
"""

import importlib.util
from multiprocessing.util import Finalize
from pathlib import Path
from threading import Lock

from common.errors import BackendMissing, WorkerDied
from common.parallel import ONE_THREAD
from common.weights.formats.keras import tree
from common.weights.formats.keras.tree import Tree
from common.weights.source import Unusable
from common.workers import Worker, Workers

MAGIC = b"\x89HDF\r\n\x1a\n"
# Seconds after which a process that does not answer is killed; its processor time is limited before that.
PATIENCE = 120
# HDF5 would load filters from files that these name.
VARIABLES: dict[str, str | None] = {**ONE_THREAD, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_PLUGIN_PATH": None}

_lock = Lock()
_serving: list[tuple[Workers, Worker]] = []


def read(path: Path, data: bytes) -> Tree:
    """The content of an HDF5 file, which errors call ``path``.

    Raises ``Unusable``, and ``BackendMissing`` without h5py.
    """
    if importlib.util.find_spec("h5py") is None:
        text = f"{path} is an HDF5 file, and h5py is not installed; run: pip install -e '.[keras]'"
        raise BackendMissing(text)
    with _lock:
        worker = _worker()
        is_sound = False
        try:
            worker.send(f"{path}", tree.read, data)
            if not worker.connection.poll(PATIENCE):
                raise Unusable(f"HDF5 did not come to an end within {PATIENCE} seconds: damaged?")
            answer = worker.receive()
            is_sound = True
        except WorkerDied as error:
            raise Unusable(f"HDF5 fails on it: damaged? ({error})") from error
        finally:
            if not is_sound:
                _kill()
    return answer.get()


def _worker() -> Worker:
    """The process that reads, which is started at the first file."""
    if not _serving:
        workers = Workers()
        _serving.append((workers, workers.start(VARIABLES)))
        Finalize(None, _close, exitpriority=100)  # before multiprocessing waits for its processes
    return _serving[0][1]


def _close() -> None:
    while _serving:
        workers, worker = _serving.pop()
        workers.end([worker])


def _kill() -> None:
    while _serving:
        workers, worker = _serving.pop()
        worker.process.kill()
        workers.end([worker])

"""Orbax's checkpoints, which Flax's users write: a folder with ``_METADATA``, which names the arrays of a tree.

The arrays are Zarr's, in a database of TensorStore's (OCDBT) or in a folder each. They are read in a process of its
own, which has a limit on memory and time (``orbax_arrays``), after the folder has been checked: files and folders only,
of bounded size, and sizes of arrays that fit them. The states of optimisers are left out.

A folder may also be that of one step of a ``CheckpointManager``, with a tree for each item, or of all its steps, of
which the last is read.
"""

import importlib
import importlib.util
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BackendMissing, InvalidInput, WorkerDied, mismatch
from common.model.spec import ModelSpec
from common.weights import limits
from common.weights.formats.flax_msgpack import tree
from common.weights.formats.orbax_arrays import Request, read_arrays
from common.weights.schemes.flax_trees import of_optimiser, split
from common.weights.source import Source, Unusable, WeightsFile
from common.workers import Workers

METADATA = "_METADATA"
# The item of a step that has one, whose name is not the user's.
DEFAULT = "default"
STEP = re.compile(r"(?:.*[^0-9])?(\d{1,18})")
# What a folder may hold, with the optimiser's arrays, which are not read; and its metadata.
MOST_FILES, DEEPEST, MOST_BYTES, MOST_METADATA = 100_000, 12, 64 << 30, 64 << 20
SECONDS, BYTES_A_SECOND = 60, 20 << 20
ARRAYS = ("jax.Array", "np.ndarray", "scalar")
NOTE = "{} is a checkpoint of Orbax, which has no checksums of the arrays: damage can go unnoticed"


def fits(source: Source) -> bool:
    return source.path.is_dir() and bool(_step(source.path)[1])


def read(source: Source) -> WeightsFile:
    """The arrays by their paths, joined by "/"; with several items, after the name of the item."""
    folder, items = _step(source.path)
    notes = [NOTE.format(source.path)]
    if folder != source.path and len(steps := _steps(source.path)) > 1:
        others = ", ".join(name for name in steps if name != folder.name)
        notes.append(
            f"{source.path} holds several steps: using {folder.name}; to use another, name its folder ({others})"
        )
    if importlib.util.find_spec("tensorstore") is None:
        text = f"{source.path} is a checkpoint of Orbax and needs tensorstore; run: pip install -e '.[jax]'"
        raise BackendMissing(text)
    params: dict[str, np.ndarray] = {}
    skipped: dict[str, str] = {}
    for item, path in items.items():
        prefix = f"{item}/" if len(items) > 1 else ""
        names, left, settings = _metadata(path)
        limit = limits.unpacked(_require_folder(path))
        arrays = _read(Request(str(path), names, limit, **settings))
        params |= {f"{prefix}{name}": value for name, value in arrays.items()}
        skipped |= {f"{prefix}{name}": reason for name, reason in left.items()}
    return WeightsFile(
        path=source.path,
        format="Orbax's checkpoint",
        params=params,
        notes=tuple(notes),
        skipped=skipped,
    )


def _items(folder: Path) -> dict[str, Path]:
    """Name -> folder of each tree in the folder of a checkpoint or of a step; "" is the folder itself."""
    if (folder / METADATA).is_file():
        return {"": folder}
    inner = {path.name: path for path in _folders(folder) if (path / METADATA).is_file()}
    return {"" if name == DEFAULT and len(inner) == 1 else name: path for name, path in inner.items()}


def _step(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The folder of the last step, where there are several, and the trees in it."""
    steps = _steps(folder)
    items = _items(folder)
    if items and not steps.keys() >= items.keys():
        return folder, items
    if not steps:
        return folder, {}
    last = steps[max(steps, key=lambda name: int(STEP.fullmatch(name)[1]))]  # pyright: ignore
    return last, _items(last)


def _steps(folder: Path) -> dict[str, Path]:
    """Name -> folder of each step, in their order."""
    numbered = {path.name: path for path in _folders(folder) if STEP.fullmatch(path.name) and _items(path)}
    return dict(sorted(numbered.items(), key=lambda pair: int(STEP.fullmatch(pair[0])[1])))  # pyright: ignore


def _folders(folder: Path) -> list[Path]:
    inner = []
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            inner.append(path)
        if len(inner) > MOST_FILES:
            raise Unusable("it holds too many folders")
    return sorted(inner)


def _require_folder(folder: Path) -> int:
    """The bytes of its files; raises ``Unusable`` for links, pipes and devices, and for too many files."""
    total, count, waiting = 0, 0, [(folder, 0)]
    while waiting:
        inner, depth = waiting.pop()
        for path in inner.iterdir():
            count += 1
            status = path.lstat()
            total += status.st_size
            if stat.S_ISDIR(status.st_mode):
                waiting.append((path, depth + 1))
            elif not stat.S_ISREG(status.st_mode):
                raise Unusable(f"its {path.relative_to(folder)} is neither a file nor a folder")
            if count > MOST_FILES or depth > DEEPEST or total > MOST_BYTES:
                raise Unusable(
                    f"it has more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB, or is nested too deeply"
                )
    return total


def _metadata(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """Name -> key of the arrays to read; name -> reason of what is left out; and how the arrays are stored."""
    path = folder / METADATA
    if path.stat().st_size > MOST_METADATA:
        raise Unusable(f"its {METADATA} has more than {MOST_METADATA >> 20} MiB")
    try:
        metadata = json.loads(path.read_bytes())
        leaves = [_leaf(entry) for entry in metadata["tree_metadata"].values()]
        settings = {name: metadata.get(name, False) for name in ("use_ocdbt", "use_zarr3")}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(f"its {METADATA} is not what Orbax writes") from error
    if not all(isinstance(value, bool) for value in settings.values()):
        raise Unusable(f"its {METADATA} is not what Orbax writes")
    names: dict[str, str] = {}
    skipped: dict[str, str] = {}
    moments = of_optimiser({split("/".join(path)) for path, _ in leaves})
    for path, kind in leaves:
        name, key = "/".join(path), ".".join(path)
        if name in names or name in skipped:
            raise Unusable(f"two of its arrays are named {name}")
        if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise Unusable("the name of an array is none of a file")
        if kind not in ARRAYS:
            skipped[name] = f"not an array ({kind[:80]})"
        elif split(name) in moments:
            skipped[name] = "the state of an optimiser"
        else:
            names[name] = key
    return names, skipped, settings


def _leaf(entry: Any) -> tuple[tuple[str, ...], str]:
    """The path of a leaf and what it is."""
    path = tuple(key["key"] for key in entry["key_metadata"])
    kind = entry["value_metadata"]["value_type"]
    if not path or not all(isinstance(part, str) for part in (*path, kind)):
        raise TypeError
    return path, kind


def _read(request: Request) -> Mapping[str, np.ndarray]:
    if not request.names:
        return {}
    with Workers() as workers:
        worker = workers.start({})
        worker.send("reading the arrays of a checkpoint", read_arrays, request)
        seconds = SECONDS + request.limit // BYTES_A_SECOND
        if not worker.connection.poll(seconds):
            worker.process.kill()
            raise Unusable(f"reading its arrays takes longer than {seconds} s")
        try:
            return worker.receive().get()
        except WorkerDied as error:
            raise Unusable("reading its arrays ended the process that read them: damaged, or too large") from error


def write(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """What ``orbax.checkpoint.StandardCheckpointer`` saves of the tree: a folder, which must not exist."""
    try:
        orbax = importlib.import_module("orbax.checkpoint")
    except ModuleNotFoundError as error:
        if error.name not in ("orbax", "orbax.checkpoint", "jax", "tensorstore"):
            raise
        text = f"Orbax's checkpoints need {error.name}, which is not installed; run: pip install -e '.[jax]'"
        raise BackendMissing(text) from error
    if path.exists():
        raise InvalidInput(mismatch("output folder", "a path where nothing is", path))
    with orbax.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.resolve(), tree(arrays))


def write_nnx(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """The same for the tree of an ``nnx.State``, in which each variable has a ``value``."""
    write(path, spec, {f"{name}/value": value for name, value in arrays.items()})

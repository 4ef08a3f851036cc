"""A trained network in one file: its weights, what it is, what it was trained on, and how it went.

The file is NumPy's ``.npz``: an array for each parameter, and ``about``, JSON text as bytes. It holds no pickled
object, so that reading it runs no code, and damage to it is noticed (``common.weights.npz``).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import Parameters, require_network
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.records import package_version
from common.weights.npz import read_npz

FORMAT = 1
WHAT, EXPECTED = "network file", "one that `rosetta train` wrote"
# What the text about a network tells besides, and as what.
ABOUT = {"task": str, "reading": str, "options": dict, "symbols": list, "output_symbols": list, "data": str}


class Saved(NamedTuple):
    """A network, its parameters, and the rest as plain values: those of ``ABOUT``, the score and more."""

    network: NetworkSpec
    params: Parameters
    about: dict[str, Any]


def require_folder(folder: Path) -> None:
    """Make a folder, and raise unless files can be written there: better before the training than after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInput(mismatch("--out", "a writable folder", f"{folder} ({error.strerror})")) from error


def save(path: Path, network: NetworkSpec, params: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all."""
    header = {"format": FORMAT, "version": package_version(), "network": asdict(network), **about}
    text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype="uint8")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                arrays: dict[str, Any] = {name: np.ascontiguousarray(value) for name, value in params.items()}
                np.savez(file, about=text, **arrays)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(mismatch("output file", "a writable path", f"{path} ({error.strerror})")) from error


def load(path: Path) -> Saved:
    """What ``save`` wrote, checked: the parameters are those of the network."""
    arrays = read_npz(path, WHAT, EXPECTED)
    try:
        about = json.loads(arrays.pop("about").tobytes())
    except KeyError as error:
        raise _foreign(path, "an .npz file without `about`") from error
    except ValueError as error:
        raise _foreign(path, "an .npz file whose `about` is no JSON") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        got = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise InvalidInput(mismatch(f"format of {path}", FORMAT, got, "written by another version?"))
    try:
        fields = about.pop("network")
        network = NetworkSpec(**fields | {"model": ModelSpec(**fields["model"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(mismatch(f"network in {path}", "a NetworkSpec", f"another ({error})")) from error
    for name, kind in ABOUT.items():
        if not isinstance(about.get(name), kind):
            got = type(about[name]).__name__ if name in about else "none"
            raise InvalidInput(mismatch(f"{name} in {path}", f"a {kind.__name__}", got))
    require_network(network, arrays)
    return Saved(network, arrays, about)


def _foreign(path: Path, problem: str) -> InvalidInput:
    return InvalidInput(mismatch(WHAT, EXPECTED, f"{path} ({problem})"))

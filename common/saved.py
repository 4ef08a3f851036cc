"""A trained network in one file: its weights, what it is, what it was trained on, and how it went.

The file is NumPy's ``.npz``, whose parts carry checksums: an array for each parameter, and ``about``, JSON text as
bytes. It holds no pickled object, so that reading it runs no code.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, mismatch
from common.layout import Parameters, check_network
from common.records import package_version
from common.run_spec import NetworkSpec
from common.spec import ModelSpec

FORMAT = 1


class Saved(NamedTuple):
    """A network, its parameters, and the rest as plain values: task, reading, options, symbols, score."""

    network: NetworkSpec
    params: Parameters
    about: dict[str, Any]


def save(path: Path, network: NetworkSpec, params: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all."""
    header = {"format": FORMAT, "version": package_version(), "network": asdict(network), **about}
    text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype="uint8")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            arrays: dict[str, Any] = {name: np.ascontiguousarray(value) for name, value in params.items()}
            np.savez(file, about=text, **arrays)
        temporary.replace(path)
    except OSError as error:
        raise InvalidInput(mismatch("output file", "a writable path", f"{path} ({error})")) from error
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> Saved:
    """What ``save`` wrote, checked: the parameters are those of the network."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop("about").tobytes().decode())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidInput(mismatch("network file", "one that `rosetta train` wrote", f"{path} ({error})")) from error
    if about.get("format") != FORMAT:
        raise InvalidInput(mismatch(f"format of {path}", FORMAT, about.get("format")))
    fields = about.pop("network")
    network = NetworkSpec(**fields | {"model": ModelSpec(**fields["model"])})
    check_network(network, arrays)
    return Saved(network, arrays, about)

"""The project's own format: a trained network in one file, with what it is, what it was trained on and how it went.

The file is an ``.npz`` with an array for each parameter and ``about``, JSON text as bytes. It contains no pickled
object, so reading it runs no code, and damage to it is noticed (``common.weights.archives``).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import require_network
from common.model.network import NetworkSpec
from common.model.spec import STEP_OPTIONS, ModelSpec
from common.records import package_version
from common.weights.formats import npz
from common.weights.schemes import torch_names
from common.weights.schemes.layers import found
from common.weights.source import Found, Source, Unusable, WeightsFile

FORMAT = 1
# What ``about`` must record besides the network, and its types.
ABOUT = {"task": str, "reading": str, "options": dict, "symbols": list, "output_symbols": list, "data": str}


def fits(source: Source) -> bool:
    return source.entries is not None and "about.npy" in source.entries


def read(source: Source) -> WeightsFile:
    """What ``write`` wrote; raises ``InvalidInput`` unless the parameters are those of the network it records."""
    path, params = source.path, npz.arrays(source.entries or {})
    try:
        about = json.loads(params.pop("about").tobytes())
    except ValueError as error:
        raise Unusable("its `about` is not JSON") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        got = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise InvalidInput(mismatch(f"format of {path}", FORMAT, got, "written by another version?"))
    network = _network(path, about)
    for name, kind in ABOUT.items():
        if not isinstance(about.get(name), kind):
            got = type(about[name]).__name__ if name in about else "none"
            raise InvalidInput(mismatch(f"{name} in {path}", f"a {kind.__name__}", got))
    require_network(network, params)
    return WeightsFile(
        path=path,
        format="rosetta train",
        params=params,
        network=network,
        about=about,
        notes=(),
        layers=_layers(network, params),
    )


def _layers(network: NetworkSpec, params: Mapping[str, np.ndarray]) -> tuple[Found, ...]:
    """The recurrent models of the network, with what it records about them; dropout acts in training only."""
    layers = []
    for path, model in network.models.items():
        layout, places = torch_names.places(model)
        where = {suffix: {part: f"{path}.{name}" for part, name in names.items()} for suffix, names in places.items()}
        layer = found(path, layout, where, params, **model.step_options)
        layers.append(layer._replace(recorded=frozenset({"cell", *STEP_OPTIONS})))
    return tuple(layers)


def _network(path: Path, about: dict[str, Any]) -> NetworkSpec:
    """The network that ``about`` records, which is taken out of it."""
    try:
        fields = about.pop("network")
        return NetworkSpec(**fields | {"model": ModelSpec(**fields["model"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(mismatch(f"network in {path}", "a NetworkSpec", f"another ({error})")) from error


def write(path: Path, network: NetworkSpec, params: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write the file whole or not at all; ``about`` has the keys of ``ABOUT`` and any others."""
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

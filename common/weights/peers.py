"""The libraries that own formats, each asked to load a file by its own means and to run a layer of it.

A peer is a module or an object with the attributes of ``Peer``, in the ``oracles`` of the implementation whose
framework it uses. It reads the file itself: nothing of this package's readers takes part, so that what it computes is
evidence.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from common.errors import BackendBroken, BackendMissing
from common.weights.source import Found

State = tuple[np.ndarray, ...]


class PeerGradients(NamedTuple):
    """The gradients of one scalar: of the arrays of the file (by their names in it), of x and of the initial states."""

    arrays: Mapping[str, np.ndarray]
    x: np.ndarray
    state0: State


class Loaded(Protocol):
    """A layer as its own library has loaded it from a file: with all its layers and directions.

    Shapes are those of ``backend.contract``: x (T, B, I), y (T, B, D*H), a state (D*L, B, H) in the order (h, c).
    ``lengths`` (B,) are None or integers from 1 to T; y is 0 past the end of a sequence.
    """

    def forward(self, x: np.ndarray, state0: State, lengths: np.ndarray | None = None) -> tuple[np.ndarray, State]: ...

    def vjp(
        self, x: np.ndarray, state0: State, dy: np.ndarray, dstate: State, lengths: np.ndarray | None = None
    ) -> PeerGradients: ...


class Peer(Protocol):
    """A library that owns a format.

    ``name`` is how rows and certificates call it; ``dtypes`` are those in which it computes, ``options`` names of
    ``spec.OPTIONS`` that it supports ("lengths" among them), and ``has_gradients`` says whether it can differentiate.
    ``versions`` are those of the library and of what it runs on.
    """

    name: str
    dtypes: frozenset[str]
    options: frozenset[str]
    has_gradients: bool

    def versions(self) -> dict[str, str]: ...

    def load(self, path: Path, layer: Found) -> Loaded: ...


class Entry(NamedTuple):
    """Where a peer is, and the extra of the distribution that installs what it needs."""

    target: str
    extra: str
    needs: tuple[str, ...]


FLAX = ("flax", "jax", "orbax")
PEERS: dict[str, Entry] = {
    "torch": Entry("torch_impl.oracles.torch_files:PEER", "torch", ("torch",)),
    "flax": Entry("jax_impl.oracles.flax_files:LINEN", "jax", FLAX),
    "keras": Entry("torch_impl.oracles.keras_layers:KERAS", "keras", ("keras", "h5py", "torch")),
    "nnx": Entry("jax_impl.oracles.flax_files:NNX", "jax", FLAX),
    "onnxruntime": Entry("numpy_impl.oracles.onnx_runtime:PEER", "onnx", ("onnx", "onnxruntime")),
    "haiku": Entry("jax_impl.oracles.haiku_layers:PEER", "haiku", ("haiku", "jax")),
    "equinox": Entry("jax_impl.oracles.equinox_layers:PEER", "equinox", ("equinox", "jax")),
    "tf1": Entry("numpy_impl.oracles.tf1_cells:PEER", "", ()),
}
# The first word of a layout -> the peer that owns such files, where it has another name.
OWNERS = {"linen": "flax", "onnx": "onnxruntime", "rosetta": "torch"}


def owner(layer: Found) -> str:
    """The peer that can load the file in which a layer was found, "" if there is none."""
    system = layer.layout.partition(" ")[0]
    name = OWNERS.get(system, system)
    return name if name in PEERS else ""


def load(name: str) -> Peer:
    """Import a peer. Raises ``BackendMissing``, which names the extra, or ``BackendBroken``."""
    entry = PEERS[name]
    module, _, attribute = entry.target.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name not in entry.needs:
            raise
        text = f"{name} needs {error.name}, which is not installed; run: pip install -e '.[{entry.extra}]'"
        raise BackendMissing(text) from error
    except Exception as error:
        raise BackendBroken(f"{name} is installed but fails on import: {type(error).__name__}: {error}") from error
    return found

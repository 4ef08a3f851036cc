"""Haiku on a file of its parameters: ``numpy.load`` into its tree, and ``hk.dynamic_unroll`` of its own cores.

A core runs as it does for its users, except that it is called ``core`` here, whatever the module's path in the file.
"""

import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.spec import DTYPES
from common.weights.source import Found

from .module_loop import Modules, State, usable

CORES: dict[str, tuple[Any, dict[str, Any]]] = {
    "haiku RNN": (hk.VanillaRNN, {}),
    "haiku RNN, double_bias=False": (hk.VanillaRNN, {"double_bias": False}),
    "haiku LSTM": (hk.LSTM, {}),
    "haiku GRU": (hk.GRU, {}),
}


class HaikuPeer:
    """See ``common.weights.peers.Peer``."""

    name = "haiku"
    dtypes = frozenset(DTYPES)
    options = frozenset({"num_layers", "bidirectional", "lengths", "reset_before"})
    has_gradients = True

    def versions(self) -> dict[str, str]:
        return {"dm-haiku": version("dm-haiku"), "jax": jax.__version__, "jaxlib": version("jaxlib")}

    def load(self, path: Path, layer: Found) -> Modules:
        spec = usable(layer)
        if not zipfile.is_zipfile(path):
            raise InvalidInput(mismatch("file for numpy.load", "an .npz, which needs no pickle", path))
        with np.load(path, allow_pickle=False) as file:
            cores = {
                suffix: {part: file[name] for part, name in names.items()} for suffix, names in layer.where.items()
            }
        kind, options = CORES[layer.layout]

        def unroll(x: jax.Array, state: Any) -> Any:
            return hk.dynamic_unroll(kind(spec.hidden_size, name="core", **options), x, state, return_all_states=True)

        transformed = hk.without_apply_rng(hk.transform(unroll))

        def run(parts: Mapping[str, jax.Array], x: jax.Array, state: State) -> State:
            tree: dict[str, dict[str, jax.Array]] = {}
            for part, value in parts.items():
                module, _, name = f"core/{part}".rpartition("/")
                tree.setdefault(module, {})[name] = value
            native = hk.LSTMState(*state) if kind is hk.LSTM else state[0]
            _, states = transformed.apply(tree, x, native)
            return tuple(states) if kind is hk.LSTM else (states,)

        return Modules(layer, cores, run, dict)


PEER = HaikuPeer()

"""Equinox on a file of leaves: ``equinox.tree_deserialise_leaves`` into its own cells, each run by ``lax.scan``.

What else is in the file is read by the same call, into a placeholder for each leaf.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.spec import DTYPES, ModelSpec
from common.weights.formats import leaves
from common.weights.source import Found, open_source

from ..native import precision
from .module_loop import Modules, State, usable


class EquinoxPeer:
    """See ``common.weights.peers.Peer``."""

    name = "equinox"
    dtypes = frozenset(DTYPES)
    options = frozenset({"num_layers", "bidirectional", "lengths"})
    has_gradients = True

    def versions(self) -> dict[str, str]:
        return {"equinox": version("equinox"), "jax": jax.__version__, "jaxlib": version("jaxlib")}

    def load(self, path: Path, layer: Found) -> Modules:
        spec = usable(layer)
        places = {name: place for place, name in enumerate(leaves.read(open_source(path)).params)}
        with precision(), path.open("rb") as file:
            start = _after_description(file)
            like = _placeholders(file, len(places))
            for names in layer.where.values():
                at = [places[name] for name in names.values()]
                if at != list(range(at[0], at[0] + len(at))):
                    raise InvalidInput(mismatch("leaves of a cell", "successive ones", ", ".join(names.values())))
                like[at[0]] = _cell(spec, like[at[0]].shape[1], "bias" in names)
                like[at[0] + 1 : at[-1] + 1] = [None] * (len(at) - 1)
            file.seek(start)
            loaded = eqx.tree_deserialise_leaves(file, like)
        cells = {suffix: loaded[places[names["weight_ih"]]] for suffix, names in layer.where.items()}
        return Modules(layer, cells, run, parts)


def _after_description(file: Any) -> int:
    """Read the line of JSON, if there is one; where the leaves begin."""
    if file.read(1) == b"{":
        file.readline()
    else:
        file.seek(0)
    return file.tell()


def _placeholders(file: Any, count: int) -> list[Any]:
    arrays = [np.load(file, allow_pickle=False) for _ in range(count)]
    return [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]


def _cell(spec: ModelSpec, input_size: int, use_bias: bool) -> Any:
    """An Equinox cell without values, to be filled from the file."""
    kind = {"LSTM": eqx.nn.LSTMCell, "GRU": eqx.nn.GRUCell}[spec.kind.layer]
    key = jax.random.key(0)
    return eqx.filter_eval_shape(
        kind, input_size, spec.hidden_size, use_bias=use_bias, dtype=jnp.dtype(spec.dtype), key=key
    )


def run(cell: Any, x: jax.Array, state: State) -> State:
    """One cell over all steps; Equinox's cells take one example, and ``vmap`` the batch."""

    def step(state: State, x: jax.Array) -> tuple[State, State]:
        after = jax.vmap(cell)(x, state if len(state) == 2 else state[0])
        after = after if len(state) == 2 else (after,)
        return after, after

    return jax.lax.scan(step, state, x)[1]


def parts(cell: Any) -> dict[str, jax.Array]:
    """The arrays of a cell by the names of its fields."""
    fields = {name: getattr(cell, name, None) for name in ("weight_ih", "weight_hh", "bias", "bias_n")}
    return {name: value for name, value in fields.items() if value is not None}


PEER = EquinoxPeer()

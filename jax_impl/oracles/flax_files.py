"""Flax's own means of reading the files that its users write, and its own layers run on what is in them: two peers.

A checkpoint is restored by Orbax, a msgpack file by ``flax.serialization``, an ``.npz`` file by NumPy, a safetensors
file by its library. ``LINEN`` gives the arrays to ``flax.linen.RNN`` and ``Bidirectional``, ``NNX`` to those of
``flax.nnx``, as they are: no conversion of this project takes part. Of the layer that our readers found, a peer uses
its sizes and the names of its arrays. Layers are stacked here, as Flax has none that stacks them.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx, serialization, traverse_util

from common.errors import InvalidInput, mismatch
from common.model.spec import DTYPES, ModelSpec
from common.weights.peers import PeerGradients
from common.weights.peers import State as Arrays
from common.weights.source import Found

from ..native import BOUNDARY
from ..rnn_cell import NONLINEARITIES
from ..stack import State, trim, valid_steps
from .flax_linen import from_carry, step, to_carry

# What one layer gives: y, and the final state of each direction.
Result = tuple[jax.Array, list[State]]


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a file or a folder by its path, joined by "/"; names in flat files are as they are."""
    if path.is_dir():
        return _flat(_restored(path))
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"PK"):
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    if start[8:9] == b"{":
        return importlib.import_module("safetensors.numpy").load_file(path)
    return _flat(serialization.msgpack_restore(path.read_bytes()))


def _restored(path: Path) -> Any:
    """The tree of a checkpoint; of the last of several steps; and by their names those of several items of a step."""
    trees = [file.parent for file in path.glob("**/_METADATA")]
    children = {path / tree.relative_to(path).parts[0] for tree in trees if tree != path}
    are_steps = path not in trees and all(child.name[-1].isdigit() for child in children)
    step = max(children, key=_number) if are_steps else path
    items = [step] if step in trees else [tree for tree in trees if tree.parent == step]
    checkpointer = ocp.PyTreeCheckpointer()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sharding info not provided")
        restored = {item.name: checkpointer.restore(item) for item in items}
    return restored if len(items) > 1 else restored[items[0].name]


def _number(path: Path) -> int:
    return int(path.name[len(path.name.rstrip("0123456789")) :])


def _flat(tree: Any) -> dict[str, np.ndarray]:
    leaves = traverse_util.flatten_dict(serialization.to_state_dict(tree), sep="/")
    keys = jax.dtypes.prng_key  # the states of generators, which NumPy does not hold
    numbers: dict[str, Any] = {name: value for name, value in leaves.items() if hasattr(value, "dtype")}
    return {name: np.asarray(value) for name, value in numbers.items() if not jnp.issubdtype(value.dtype, keys)}


class FlaxLayer:
    """A layer of a file as Flax's own modules. ``run`` calls them, one layer at a time."""

    def __init__(self, layer: Found, values: Mapping[str, np.ndarray], run: Callable[..., Result]):
        assert layer.spec is not None
        self.spec, self.where = layer.spec, layer.where
        self.values = {name: values[name] for name in layer.names}
        self._forward = jax.jit(partial(_named, run, self.spec, self.where))
        self._vjp = jax.jit(self._gradients)

    def forward(self, x: np.ndarray, state0: Arrays, lengths: np.ndarray | None = None) -> tuple[np.ndarray, Arrays]:
        return BOUNDARY.cross(self._forward, self.values, x, state0, lengths)

    def vjp(
        self, x: np.ndarray, state0: Arrays, dy: np.ndarray, dstate: Arrays, lengths: np.ndarray | None = None
    ) -> PeerGradients:
        return PeerGradients(*BOUNDARY.cross(self._vjp, self.values, x, state0, dy, dstate, lengths))

    def _gradients(self, values: Any, x: Any, state0: Any, dy: Any, dstate: Any, lengths: Any) -> Any:
        outputs, pull_back = jax.vjp(lambda *given: self._forward(*given, lengths), values, x, state0)
        return pull_back((dy.astype(outputs[0].dtype), tuple(dstate)))


def _named(
    run: Callable[..., Result],
    spec: ModelSpec,
    where: Mapping[str, Mapping[str, str]],
    values: Mapping[str, jax.Array],
    x: jax.Array,
    state0: State,
    lengths: jax.Array | None,
) -> tuple[jax.Array, State]:
    """All layers of a model whose arrays have these names."""
    trees = [
        traverse_util.unflatten_dict({part: values[n] for part, n in names.items()}, "/") for names in where.values()
    ]
    finals: list[State] = []
    wide = spec.num_directions
    for level in range(spec.num_layers):
        rows = range(level * wide, (level + 1) * wide)
        initial = tuple(tuple(part[row] for part in state0) for row in rows)
        y, last = run(spec, x.shape[-1], tuple(trees[row] for row in rows), x, initial, lengths)
        x = trim(valid_steps(lengths, None, len(x)), y)
        finals += last
    return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def _recurrent(module: Any, x: jax.Array, states: Any, lengths: Any) -> Result:
    """One call of Flax's RNN or Bidirectional."""
    carries: Any = tuple(to_carry(state) for state in states)
    lengths = None if lengths is None else lengths.astype("int32")
    carry, y = module(x, initial_carry=carries if len(carries) > 1 else carries[0], seq_lengths=lengths)
    return y, [from_carry(one) for one in (carry if len(carries) > 1 else (carry,))]


def _steps(apply: Callable[..., Any], x: jax.Array, state0: State, lengths: Any) -> Result:
    """A cell, one step at a time."""
    last, states = jax.lax.scan(apply, state0, x)
    if lengths is not None:
        last = tuple(part[lengths - 1, jnp.arange(len(lengths))] for part in states)
    return states[0], [last]


def run_linen(spec: ModelSpec, _: int, trees: Any, x: Any, states: Any, lengths: Any) -> Result:
    options = {"dtype": spec.dtype, "param_dtype": spec.dtype}
    if spec.kind.layer == "RNN":
        cell: Callable[[], Any] = partial(
            nn.SimpleCell, spec.hidden_size, activation_fn=NONLINEARITIES[spec.nonlinearity], **options
        )
    else:
        kinds = {"LSTM": nn.LSTMCell if spec.is_cell else nn.OptimizedLSTMCell, "GRU": nn.GRUCell}
        cell = partial(kinds[spec.kind.layer], spec.hidden_size, **options)
    if spec.is_cell:
        return _steps(partial(step, cell(), trees[0]), x, states[0], lengths)
    rnns = [nn.RNN(cell(), time_major=True, return_carry=True) for _ in trees]
    params: dict[str, Any] = {"cell": trees[0]}
    module = rnns[0]
    if len(rnns) > 1:
        module = nn.Bidirectional(*rnns, time_major=True, return_carry=True)  # pyright: ignore
        params = {name: {"cell": tree} for name, tree in zip(("forward_rnn", "backward_rnn"), trees, strict=True)}
    return _recurrent(partial(module.apply, {"params": params}), x, states, lengths)


def run_nnx(spec: ModelSpec, size: int, trees: Any, x: Any, states: Any, lengths: Any) -> Result:
    options = {"dtype": jnp.dtype(spec.dtype), "param_dtype": jnp.dtype(spec.dtype), "rngs": nnx.Rngs(0)}
    if spec.kind.layer == "RNN":
        options["activation_fn"] = NONLINEARITIES[spec.nonlinearity]
    gated = nnx.LSTMCell if "ii" in trees[0] else nnx.OptimizedLSTMCell
    kind: Any = {"RNN": nnx.SimpleCell, "LSTM": gated, "GRU": nnx.GRUCell}[spec.kind.layer]
    cells = [kind(size, spec.hidden_size, **options) for _ in trees]
    for cell, tree in zip(cells, trees, strict=True):
        state = nnx.state(cell, nnx.Param)
        nnx.replace_by_pure_dict(state, tree)
        nnx.update(cell, state)
    if spec.is_cell:

        def apply(state: State, row: jax.Array) -> tuple[State, State]:
            carry, _ = cells[0](to_carry(state), row)
            return from_carry(carry), from_carry(carry)

        return _steps(apply, x, states[0], lengths)
    rnns = [nnx.RNN(cell, time_major=True, return_carry=True) for cell in cells]
    module: Any = nnx.Bidirectional(*rnns, time_major=True, return_carry=True) if len(rnns) > 1 else rnns[0]
    return _recurrent(module, x, states, lengths)


class FlaxPeer(NamedTuple):
    """One of Flax's two interfaces; ``layouts`` begins the names of the layouts that it has."""

    name: str
    layouts: str
    run: Callable[..., Result]
    dtypes: frozenset[str] = frozenset(DTYPES)
    options: frozenset[str] = frozenset({"num_layers", "bidirectional", "lengths"})
    has_gradients: bool = True

    def versions(self) -> dict[str, str]:
        return {"flax": flax.__version__, "jax": jax.__version__, "orbax": ocp.__version__}

    def load(self, path: Path, layer: Found) -> FlaxLayer:
        """Raises ``InvalidInput`` for a layer that is not in this interface's layout."""
        if not layer.layout.startswith(self.layouts) or layer.spec is None:
            raise InvalidInput(mismatch(f"layer {layer.path} for {self.name}", f"one of {self.layouts}", layer.layout))
        with BOUNDARY.precision():
            return FlaxLayer(layer, arrays(path), self.run)


LINEN = FlaxPeer("flax", "linen", run_linen)
NNX = FlaxPeer("nnx", "nnx", run_nnx)

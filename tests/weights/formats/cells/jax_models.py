"""Models that Haiku and Equinox make and run as their users do, for the tests of their files.

The loop over layers and directions is written here once more, without lengths and apart from the peers'.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from common.backend import registry
from common.equivalence.comparison import relative_distance
from common.model.spec import ModelSpec
from common.weights.schemes.layers import file_gradients
from common.weights.source import Found

T, B, I, H = 4, 3, 2, 5
# Fewer in float32, where the same is compared again.
LAYERS = {"float64": 2, "float32": 1}
# Of the largest value; the farthest apart that any two have been here is a fifth of it.
TOLERANCES = {"float64": 1e-13, "float32": 2e-5}
SUFFIXES = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")


class Reference(NamedTuple):
    """What the library computed: with x, the states and the cotangents that it was given, and gradients by name."""

    x: np.ndarray
    state0: tuple[np.ndarray, ...]
    dy: np.ndarray
    dstate: tuple[np.ndarray, ...]
    y: np.ndarray
    state: tuple[np.ndarray, ...]
    grads: Mapping[str, np.ndarray]
    dx: np.ndarray
    dstate0: tuple[np.ndarray, ...]


@contextmanager
def precise() -> Iterator[None]:
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def drawn(tree: Any, seed: int, dtype: str) -> Any:
    """The tree with other values: all different, none zero, biases too."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 2, dtype), tree)


def both_ways(run: Callable[[str, Any, Any, bool], tuple[Any, Any]], x: Any, state0: Any) -> tuple[Any, Any]:
    """Layers of both directions: ``run(suffix, x, state, reverse)`` gives the outputs and the final state."""
    finals = []
    for level in range(len(state0[0]) // 2):
        outputs = []
        for way in range(2):
            row = 2 * level + way
            y, final = run(SUFFIXES[row], x, tuple(part[row] for part in state0), way == 1)
            outputs.append(y)
            finals.append(final)
        x = jnp.concatenate(outputs, axis=2)
    return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def referenced(
    function: Callable[..., Any], params: Any, names: Callable[[Any], Mapping[str, Any]], states: int, dtype: str
) -> Reference:
    """``function(params, x, state0)`` and its gradients on random inputs, states and cotangents."""
    rng = np.random.default_rng(5)
    x, dy = (rng.normal(size=(T, B, size)).astype(dtype) for size in (I, 2 * H))
    state0, dstate = (
        tuple(rng.normal(size=(2 * LAYERS[dtype], B, H)).astype(dtype) for _ in range(states)) for _ in range(2)
    )

    @jax.jit
    def computed(params: Any, x: Any, state0: Any) -> Any:
        result, pull_back = jax.vjp(function, params, x, state0)
        return result, pull_back((dy, dstate))

    (y, state), (grads, dx, dstate0) = computed(params, x, state0)
    named = {name: np.asarray(value) for name, value in names(grads).items()}
    arrays = jax.tree.map(np.asarray, (y, state, dx, dstate0))
    return Reference(x, state0, dy, dstate, arrays[0], arrays[1], named, arrays[2], arrays[3])


def hk_names(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """As users flatten Haiku's tree for a file."""
    return {f"{module}/{name}": value for module, parts in tree.items() for name, value in parts.items()}


CORES: dict[str, type[hk.RNNCore]] = {"RNN": hk.VanillaRNN, "LSTM": hk.LSTM, "GRU": hk.GRU}


def haiku_model(cell: str, dtype: str, path: Path) -> Reference:
    """A model of layers in both directions, saved at the path."""
    core, is_lstm = CORES[cell], cell == "LSTM"

    class Net(hk.Module):
        """Its cores are made in the constructor, so that their paths have ``/~/``."""

        def __init__(self) -> None:
            super().__init__(name="net")
            name = "vanilla_rnn" if cell == "RNN" else cell.lower()
            self.cores = {suffix: core(H, name=f"{name}{suffix}") for suffix in SUFFIXES}  # pyright: ignore

        def __call__(self, x: Any, state0: Any) -> Any:
            def run(suffix: str, x: Any, state: Any, reverse: bool) -> tuple[Any, Any]:
                native = hk.LSTMState(*state) if is_lstm else state[0]
                y, final = hk.dynamic_unroll(self.cores[suffix], x, native, reverse=reverse)
                return y, (tuple(final) if is_lstm else (final,))

            return both_ways(run, x, state0)

    model = hk.without_apply_rng(hk.transform(lambda x, state0: Net()(x, state0)))
    with precise():
        zeros = tuple(jnp.zeros((2 * LAYERS[dtype], B, H), dtype) for _ in range(1 + is_lstm))
        params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((T, B, I), dtype), zeros)
        params = drawn(params, 3, dtype)
        result = referenced(model.apply, params, hk_names, 1 + is_lstm, dtype)
    np.savez(path, **{name: np.asarray(value) for name, value in hk_names(params).items()})  # pyright: ignore
    return result


FIELDS = ("weight_ih", "weight_hh", "bias", "bias_n")


def equinox_cells(cell: str, dtype: str, use_bias: bool = True) -> dict[str, Any]:
    """Cells of layers in both directions with random weights, by suffix."""
    kind, key = {"LSTM": eqx.nn.LSTMCell, "GRU": eqx.nn.GRUCell}[cell], jax.random.key(0)
    cells = {}
    for row, suffix in enumerate(SUFFIXES[: 2 * LAYERS[dtype]]):
        size = I if row < 2 else 2 * H
        shape = eqx.filter_eval_shape(kind, size, H, use_bias=use_bias, dtype=jnp.dtype(dtype), key=key)
        cells[suffix] = drawn(shape, 7 + row, dtype)
    return cells


def equinox_reference(cell: str, dtype: str, cells: dict[str, Any], names: Mapping[str, str]) -> Reference:
    """``names`` gives the file's name of each cell by suffix."""

    def function(cells: Any, x: Any, state0: Any) -> Any:
        def run(suffix: str, x: Any, state: Any, reverse: bool) -> tuple[Any, Any]:
            def step(state: Any, x: Any) -> tuple[Any, Any]:
                if cell == "LSTM":
                    state = jax.vmap(cells[suffix])(x, state)
                    return state, state[0]
                h = jax.vmap(cells[suffix])(x, state[0])
                return (h,), h

            final, y = jax.lax.scan(step, state, x, reverse=reverse)
            return y, final

        return both_ways(run, x, state0)

    def named(grads: Any) -> dict[str, Any]:
        fields = {(s, field): getattr(grads[s], field, None) for s in names for field in FIELDS}
        return {f"{names[s]}.{field}": value for (s, field), value in fields.items() if value is not None}

    return referenced(function, cells, named, 1 + (cell == "LSTM"), dtype)


def assert_reproduced(layer: Found, wanted: Reference, backends: tuple[str, ...]) -> None:
    """Our implementations compute what the library computed, on the weights as they were read."""
    assert isinstance(layer.spec, ModelSpec), layer.problem
    tolerance = TOLERANCES[layer.spec.dtype]
    for name in backends:
        backend = registry.load(name)
        y, state = backend.forward(layer.spec, layer.params, wanted.x, wanted.state0)
        grads = backend.vjp(layer.spec, layer.params, wanted.x, wanted.state0, wanted.dy, wanted.dstate)
        in_file = file_gradients(layer, grads.params)
        assert set(in_file) == set(wanted.grads)
        pairs = [("y", y, wanted.y), ("dx", grads.x, wanted.dx)]
        pairs += [("state", *pair) for pair in zip(state, wanted.state, strict=True)]
        pairs += [("dstate0", *pair) for pair in zip(grads.state0, wanted.dstate0, strict=True)]
        pairs += [(key, in_file[key], value) for key, value in wanted.grads.items()]
        for what, ours, theirs in pairs:
            assert ours.dtype == theirs.dtype == layer.spec.dtype
            assert relative_distance(ours, theirs) < tolerance, (name, what)

"""Models that Flax makes, with random parameters of its own, and what Flax computes with them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from common.model.layout import Parameters

I, H, B, T = 3, 4, 2, 5
LENGTHS = np.array([5, 3])


class Problem(NamedTuple):
    """x, the initial states (h, c), what they are weighted with in the scalar that is differentiated, and lengths."""

    x: np.ndarray
    state0: tuple[np.ndarray, ...]
    dy: np.ndarray
    dstate: tuple[np.ndarray, ...]
    lengths: np.ndarray | None


class Answer(NamedTuple):
    """Gradients of the arrays are under their names in a file."""

    y: np.ndarray
    state: tuple[np.ndarray, ...]
    of_arrays: Parameters
    dx: np.ndarray
    dstate0: tuple[np.ndarray, ...]


class Linen(nn.Module):
    """Layers as attributes ``rnn_l0``, ``rnn_l1``, in both directions; ``cell`` makes a cell."""

    cell: Callable[[], Any]
    layers: int = 2
    both: bool = True

    def setup(self) -> None:
        for level in range(self.layers):
            rnns = [nn.RNN(self.cell()) for _ in range(1 + self.both)]
            setattr(self, f"rnn_l{level}", nn.Bidirectional(*rnns) if self.both else rnns[0])  # pyright: ignore

    def __call__(self, x: Any, carries: Any, lengths: Any) -> Any:
        return through([getattr(self, f"rnn_l{level}") for level in range(self.layers)], x, carries, lengths)


class Nnx(nnx.Module):
    """The same for nnx; ``cell`` takes the size of its input."""

    def __init__(self, cell: Callable[[int], Any], layers: int = 2, both: bool = True):
        self.layers = layers
        for level in range(layers):
            size = I if level == 0 else H * (1 + both)
            rnns = [nnx.RNN(cell(size)) for _ in range(1 + both)]
            setattr(self, f"rnn_l{level}", nnx.Bidirectional(*rnns) if both else rnns[0])

    def __call__(self, x: Any, carries: Any, lengths: Any) -> Any:
        return through([getattr(self, f"rnn_l{level}") for level in range(self.layers)], x, carries, lengths)


def through(layers: list[Any], x: Any, carries: Any, lengths: Any) -> Any:
    last = []
    for layer, carry in zip(layers, carries, strict=True):
        final, x = layer(x, initial_carry=carry, seq_lengths=lengths, return_carry=True)
        last.append(final)
    return x, last


def randomised(tree: Any, seed: int, dtype: str) -> Any:
    """The tree with random numbers, none of them zero: also in the biases, with which Flax begins at zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda value: rng.uniform(0.1, 0.9, value.shape).astype(dtype) * sign(rng, value.shape), tree)


def sign(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice(np.array([-1, 1], "int8"), shape)


def problem(seed: int, states: int, dtype: str, layers: int = 2, both: bool = True, ragged: bool = True) -> Problem:
    rng, wide = np.random.default_rng(seed), 1 + both
    lengths = LENGTHS if ragged else None

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(dtype)

    of_states = [tuple(draw(layers * wide, B, H) for _ in range(states)) for _ in range(2)]
    dy = draw(T, B, wide * H)
    if ragged:
        dy *= (np.arange(T)[:, None] < LENGTHS)[:, :, None]
    return Problem(draw(T, B, I), of_states[0], dy, of_states[1], lengths)


def linen(cell: Callable[..., Any], seed: int, dtype: str, layers: int = 2, both: bool = True) -> tuple[Any, Any]:
    """(module, its variables)."""
    module = Linen(lambda: cell(H, dtype=dtype, param_dtype=dtype), layers, both)
    states = 1 if "LSTM" not in str(cell) else 2
    zeros = carries_of(tuple(jnp.zeros((layers * (1 + both), B, H), dtype) for _ in range(states)), layers)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((B, T, I), dtype), zeros, None)
    return module, randomised(shapes, seed, dtype)


def nnx_model(cell: Callable[..., Any], seed: int, dtype: str, layers: int = 2, both: bool = True) -> Nnx:
    """A module with random parameters."""
    options = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(dtype), "rngs": nnx.Rngs(seed)}
    model = Nnx(lambda size: cell(size, H, **options), layers, both)
    nnx.update(model, randomised(nnx.state(model, nnx.Param), seed, dtype))
    return model


def carries_of(state: Any, layers: int) -> list[Any]:
    """States (h, c), each (L*D, B, H) -> what Flax carries, a layer at a time: h or (c, h), of each direction."""
    wide = len(state[0]) // layers
    rows: list[Any] = [tuple(part[row] for part in state)[::-1] for row in range(layers * wide)]
    rows = [row if len(row) > 1 else row[0] for row in rows]
    return [tuple(rows[level * wide : (level + 1) * wide]) if wide > 1 else rows[level] for level in range(layers)]


def answer(run: Callable[..., Any], params: Any, given: Problem, layers: int = 2) -> Answer:
    """What Flax computes, and its gradients; ``run`` takes (params, x (B, T, I), carries, lengths)."""
    wide = len(given.state0[0]) // layers

    def outputs(params: Any, x: Any, state0: Any) -> Any:
        y, last = run(params, x.swapaxes(0, 1), carries_of(state0, layers), given.lengths)
        rows = [row for final in last for row in (final if wide > 1 else (final,))]
        rows = [row[::-1] if isinstance(row, tuple) else (row,) for row in rows]
        y = y.swapaxes(0, 1)
        if given.lengths is not None:  # what Flax computes past the end means nothing
            y = jnp.where((jnp.arange(T)[:, None] < given.lengths)[:, :, None], y, 0)
        return y, tuple(jnp.stack(parts) for parts in zip(*rows, strict=True))

    def both(*arguments: Any) -> Any:
        results, pull_back = jax.vjp(outputs, *arguments)
        return results, pull_back((jnp.asarray(given.dy), tuple(jnp.asarray(part) for part in given.dstate)))

    (y, state), (of_arrays, dx, dstate0) = jax.tree.map(np.asarray, jax.jit(both)(params, given.x, given.state0))
    return Answer(y, state, flat(of_arrays), dx, dstate0)


def flat(tree: Any) -> Parameters:
    tree = nnx.to_pure_dict(tree) if isinstance(tree, nnx.State) else tree
    return {name: np.asarray(value) for name, value in traverse_util.flatten_dict(tree, sep="/").items()}

"""Flax's own cells, behind the contract, as an oracle.

The neutral parameters go through the named conversions inside the differentiated function, so the gradients and the
training come out in the neutral layout, with two biases. Flax has one layer of one direction and no projection: layers
are stacked here, and what its ``RNN`` computes past the end of a sequence is set to zero. Its final state of a sequence
of 0 steps is that after all T steps: here such a sequence is computed with one step, and then its output is set to zero
and its final state to the initial one. Flax has no mask of valid steps: they are gathered at the front of each
sequence, in their order, and what comes out is put back. It has no masks of h: one is as good as a mask of the columns
of W_hh, so that each sequence has weights of its own.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from common.conversions.layers import to_flax_gru, to_flax_lstm, to_flax_simple_cell, to_lstm
from common.model.cells import TABLE
from common.model.layout import Weights, layer_suffixes, layer_weights
from common.model.masks import Masks
from common.model.spec import OPTIONS, ModelSpec

from ..backend import JaxBackend
from ..rnn_cell import NONLINEARITIES
from ..stack import State, trim, valid_steps


def to_carry(state: State) -> Any:
    """A state as Flax carries it: h, or (c, h)."""
    return state[0] if len(state) == 1 else state[::-1]


def from_carry(carry: Any) -> State:
    """The inverse of ``to_carry``."""
    return carry[::-1] if isinstance(carry, tuple) else (carry,)


def step(cell: Any, params: Any, state: State, x: jax.Array) -> tuple[State, State]:
    """One call of a Flax cell: the next state, twice, as ``lax.scan`` wants it."""
    carry, _ = cell.apply({"params": params}, to_carry(state), x)
    return from_carry(carry), from_carry(carry)


def simple_cell(spec: ModelSpec, weights: Weights, **dtypes: Any) -> tuple[Any, Any]:
    phi = NONLINEARITIES[spec.nonlinearity]
    return nn.SimpleCell(spec.hidden_size, activation_fn=phi, **dtypes), to_flax_simple_cell(weights).params


def lstm_cell(spec: ModelSpec, weights: Weights, **dtypes: Any) -> tuple[Any, Any]:
    """Uses both of Flax's cells: the plain one for the step, the optimised one for the layer."""
    kind = nn.LSTMCell if spec.is_cell else nn.OptimizedLSTMCell
    return kind(spec.hidden_size, **dtypes), to_flax_lstm(weights).params


def gru_cell(spec: ModelSpec, weights: Weights, **dtypes: Any) -> tuple[Any, Any]:
    return nn.GRUCell(spec.hidden_size, **dtypes), to_flax_gru(weights).params


def lstm1997_cell(spec: ModelSpec, weights: Weights, **dtypes: Any) -> tuple[Any, Any]:
    """The LSTM with its forget gate held open."""
    return lstm_cell(spec, to_lstm(weights).params, **dtypes)


# Layer -> Flax's cell with its equations, and the parameters for it.
FLAX_CELLS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "RNN": simple_cell,
    "LSTM": lstm_cell,
    "GRU": gru_cell,
    "LSTM1997": lstm1997_cell,
}


def direction(
    spec: ModelSpec, weights: Weights, x: jax.Array, state0: State, lengths: jax.Array | None, reverse: bool
) -> tuple[jax.Array, State]:
    """One direction of one layer: ``flax.linen.RNN`` for the layers, a loop over the cell for the cells."""
    cell, tree = FLAX_CELLS[spec.kind.layer](spec, weights, dtype=spec.dtype, param_dtype=spec.dtype)
    if spec.is_cell:
        last, states = jax.lax.scan(partial(step, cell, tree), state0, x)
        if lengths is not None:
            last = tuple(part[lengths - 1, jnp.arange(len(lengths))] for part in states)
        return states[0], last
    recurrent: Any = nn.RNN(cell, time_major=True, return_carry=True, reverse=reverse, keep_order=True)
    lengths = None if lengths is None else lengths.astype("int32")
    carry, y = recurrent.apply({"params": {"cell": tree}}, x, initial_carry=to_carry(state0), seq_lengths=lengths)
    return y, from_carry(carry)


def one_by_one(
    run: Callable[..., tuple[jax.Array, State]],
    h_mask: jax.Array,
    weights: Weights,
    x: jax.Array,
    state0: State,
    lengths: jax.Array | None,
) -> tuple[jax.Array, State]:
    """One direction of one layer, each sequence with its own columns of W_hh: h_mask (B, H)."""

    def one(mask: jax.Array, x: jax.Array, state: State, end: jax.Array | None) -> tuple[jax.Array, State]:
        own = weights._replace(weight_hh=weights.weight_hh * mask)
        return run(own, x[:, None], tuple(part[None] for part in state), end)

    ends = None if lengths is None else lengths[:, None]
    y, state = jax.vmap(one, in_axes=(0, 1, 0, 0), out_axes=(1, 0))(h_mask, x, state0, ends)
    return y[:, :, 0], tuple(part[:, 0] for part in state)


def forward(
    spec: ModelSpec,
    params: Mapping[str, jax.Array],
    x: jax.Array,
    state0: State,
    lengths: jax.Array | None = None,
    masks: Masks | None = None,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, State]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state."""
    masks = masks or Masks()
    if mask is not None:
        return compacted(spec, params, x, state0, masks, mask)
    if masks.input is not None:
        x = x * masks.input
    if lengths is None:
        return layers(spec, params, x, state0, None, masks)
    empty = (lengths == 0)[:, None]
    y, state = layers(spec, params, jnp.where(empty, 0, x), state0, jnp.maximum(lengths, 1), masks)
    return jnp.where(empty, 0, y), tuple(jnp.where(empty, *parts) for parts in zip(state0, state, strict=True))


def compacted(
    spec: ModelSpec, params: Mapping[str, jax.Array], x: jax.Array, state0: State, masks: Masks, mask: jax.Array
) -> tuple[jax.Array, State]:
    """The same for valid steps in any pattern: mask (T, B)."""
    order = jnp.argsort(~mask, axis=0, stable=True)[:, :, None]
    place = jnp.maximum(jnp.cumsum(mask, axis=0) - 1, 0)[:, :, None]
    if masks.layers is not None:
        masks = masks._replace(layers=jnp.take_along_axis(masks.layers, order[None], axis=1))
    y, state = forward(spec, params, jnp.take_along_axis(x, order, axis=0), state0, mask.sum(axis=0), masks)
    return jnp.where(mask[:, :, None], jnp.take_along_axis(y, place, axis=0), 0), state


def layers(
    spec: ModelSpec,
    params: Mapping[str, jax.Array],
    x: jax.Array,
    state0: State,
    lengths: jax.Array | None,
    masks: Masks,
) -> tuple[jax.Array, State]:
    """The same for sequences of at least one step."""
    finals, suffixes = [], layer_suffixes(spec)
    for level in range(spec.num_layers):
        rows = range(level * spec.num_directions, (level + 1) * spec.num_directions)
        outputs = []
        for row in rows:
            weights, initial = layer_weights(params, suffixes[row]), tuple(part[row] for part in state0)
            run = partial(direction, spec, reverse=row > rows[0])
            if masks.recurrent is not None:
                run = partial(one_by_one, run, masks.recurrent[row])
            y, final = run(weights, x, initial, lengths)
            outputs.append(y)
            finals.append(final)
        x = trim(valid_steps(lengths, None, len(x)), jnp.concatenate(outputs, axis=2))
        if masks.layers is not None and level < spec.num_layers - 1:
            x = x * masks.layers[level]
    return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


class FlaxBackend(JaxBackend):
    """Flax's own layers; it has no projection, and one form of the GRU."""

    cells: frozenset[str] = frozenset(name for name, cell in TABLE.items() if cell.layer in FLAX_CELLS)
    options: frozenset[str] = frozenset(OPTIONS) - {"proj_size", "reset_before"}

    def environment(self) -> dict[str, Any]:
        return {"flax": flax.__version__} | super().environment()


BACKEND = FlaxBackend("flax", forward, oracle=True)

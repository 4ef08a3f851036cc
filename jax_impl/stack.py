"""Layers, directions, dropout and ragged batches, around one direction of one layer.

In a ragged batch all T steps are computed, and those of a sequence that are not valid, such as those past its end, are
frozen: its state stays as it is, and its output is zero.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from common.model.layout import Weights, layer_suffixes, layer_weights
from common.model.masks import Masks
from common.model.spec import ModelSpec

from . import elman, gru, gru_cell, lstm, lstm1997, lstm1997_cell, lstm_cell, rnn_cell
from .dropout import drop
from .ragged import State, freezing

# The equations of each layer: over a whole sequence, and as one step.
SEQUENCES: dict[str, Any] = {"RNN": elman, "LSTM": lstm, "GRU": gru, "LSTM1997": lstm1997}
STEPS: dict[str, Any] = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell, "LSTM1997": lstm1997_cell}


def valid_steps(lengths: jax.Array | None, mask: jax.Array | None, T: int) -> jax.Array | None:
    """The valid steps (T, B, 1) for lengths (B,) or a mask (T, B); None, for all of them, where both are None."""
    if lengths is not None:
        mask = jnp.arange(T)[:, None] < lengths.astype("int32")
    return None if mask is None else mask[:, :, None]


def trim(valid: jax.Array | None, array: jax.Array) -> jax.Array:
    """Zero where a step is not valid."""
    return array if valid is None else jnp.where(valid, array, 0)


def turn(direction: int, array: Any) -> Any:
    """The steps in the order in which a direction takes them; its own inverse. None stays None."""
    return array[::-1] if direction and array is not None else array


def recurrent_mask(masks: Masks, row: int) -> dict[str, jax.Array]:
    """The mask (B, P) of the state of one direction of one layer, as the argument of its pass, where there is one."""
    return {} if masks.recurrent is None else {"h_mask": masks.recurrent[row]}


def unroll(
    step: Callable[..., State], w: Weights, x: jax.Array, state0: State, valid: jax.Array | None = None
) -> tuple[jax.Array, State]:
    """A one-step cell applied T times: x (T, B, I) and state0 -> h (T, B, H) after every step, and the final state."""

    def body(state: State, x_t: jax.Array) -> tuple[State, jax.Array]:
        state = step(w, x_t, state)
        return state, state[0]

    last, h = lax.scan(freezing(body), state0, (x, valid))
    return h, last


def layer(spec: ModelSpec, record: bool = False) -> Callable[..., Any]:
    """The forward pass of one direction of one layer: weights, x, initial state -> h, and the final state.

    With ``record``, which is for layers, the first result is a tuple: ``spec.kind.quantities`` of every step.
    """
    if spec.is_cell:
        return partial(unroll, partial(STEPS[spec.kind.layer].step, **spec.step_options))
    return partial(SEQUENCES[spec.kind.layer].forward, **spec.step_options, record=record)


def forward(
    spec: ModelSpec,
    params: Mapping[str, jax.Array],
    x: jax.Array,
    state0: State,
    lengths: jax.Array | None = None,
    masks: Masks | None = None,
    mask: jax.Array | None = None,
    *,
    record: bool = False,
) -> tuple[Any, ...]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state.

    With ``record``, which is for layers, also what every step computed: ``spec.kind.quantities`` by name, each
    (D*L, T, B, H), zero where a step is not valid.
    """
    run, finals, kept = layer(spec, record), [], []
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    valid, masks = valid_steps(lengths, mask, x.shape[0]), masks or Masks()
    y = drop(trim(valid, x), masks.input)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            initial = tuple(part[row] for part in state0)
            options = {"valid": turn(direction, valid)} | recurrent_mask(masks, row)
            h, final = run(layer_weights(params, suffixes[row]), turn(direction, y), initial, **options)
            found = [trim(valid, turn(direction, part)) for part in (h if record else [h])]
            outputs.append(found[0])
            if record:
                kept.append(found)
            finals.append(final)
        y = jnp.concatenate(outputs, axis=2)
        if masks.layers is not None and level < spec.num_layers - 1:
            y = trim(valid, y * masks.layers[level])
    state = tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))
    if not record:
        return y, state
    rows = zip(spec.kind.quantities, zip(*kept, strict=True), strict=True)
    return y, state, {name: jnp.stack(parts) for name, parts in rows}

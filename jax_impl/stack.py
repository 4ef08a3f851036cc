"""Layers, directions, dropout and ragged batches, around one direction of one layer.

In a ragged batch all T steps are computed, and those past the end of a sequence are frozen: its state stays as it is,
and its output is zero.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from common.model.layout import Weights, layer_suffixes, layer_weights
from common.model.spec import ModelSpec

from . import elman, gru, gru_cell, lstm, lstm1997, lstm1997_cell, lstm_cell, rnn_cell
from .ragged import State, freezing

# The equations of each layer: over a whole sequence, and as one step.
SEQUENCES: dict[str, Any] = {"RNN": elman, "LSTM": lstm, "GRU": gru, "LSTM1997": lstm1997}
STEPS: dict[str, Any] = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell, "LSTM1997": lstm1997_cell}


class Steps(NamedTuple):
    """The valid steps of a batch (T, B, 1), None where all are, and an index of an array (T, B, ...).

    ``array[turned]`` turns each sequence around within its own length.
    """

    valid: jax.Array | None = None
    turned: Any = None

    def trim(self, array: jax.Array) -> jax.Array:
        """Zero past the end of each sequence."""
        return array if self.valid is None else jnp.where(self.valid, array, 0)

    def turn(self, array: jax.Array) -> jax.Array:
        """Each sequence reversed; its own inverse."""
        return array[::-1] if self.valid is None else array[self.turned]


def steps_of(lengths: jax.Array | None, T: int, B: int) -> Steps:
    """The valid steps for lengths (B,); all of them for None."""
    if lengths is None:
        return Steps()
    t, batch, lengths = jnp.arange(T)[:, None], jnp.arange(B), lengths.astype("int32")
    valid = t < lengths
    return Steps(valid[:, :, None], (jnp.where(valid, lengths - 1 - t, t), batch))


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
    masks: jax.Array | None = None,
    *,
    record: bool = False,
) -> tuple[Any, ...]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state.

    With ``record``, which is for layers, also what every step computed: ``spec.kind.quantities`` by name, each
    (D*L, T, B, H), zero where a step is not valid.
    """
    run, finals, kept = layer(spec, record), [], []
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    steps = steps_of(lengths, *x.shape[:2])
    y = steps.trim(x)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            x_in = steps.turn(y) if direction else y
            initial = tuple(part[row] for part in state0)
            h, final = run(layer_weights(params, suffixes[row]), x_in, initial, valid=steps.valid)
            found = [steps.trim(part) for part in (h if record else [h])]
            found = [steps.turn(part) for part in found] if direction else found
            outputs.append(found[0])
            if record:
                kept.append(found)
            finals.append(final)
        y = jnp.concatenate(outputs, axis=2)
        if masks is not None and level < spec.num_layers - 1:
            y = steps.trim(y * masks[level])
    state = tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))
    if not record:
        return y, state
    rows = zip(spec.kind.quantities, zip(*kept, strict=True), strict=True)
    return y, state, {name: jnp.stack(parts) for name, parts in rows}

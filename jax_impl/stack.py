"""From a specification to the algorithms: which cell, which parameters, which rows of the state."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from common.layout import Weights, layer_suffixes, layer_weights
from common.spec import ModelSpec

from . import elman, lstm, lstm_cell, rnn_cell

State = tuple[jax.Array, ...]


def unroll(step: Callable[..., State], w: Weights, x: jax.Array, state0: State) -> tuple[jax.Array, State]:
    """A one-step cell applied T times: x (T, B, I) and state0 -> y (T, B, H) and the final state."""

    def body(state: State, x_t: jax.Array) -> tuple[State, jax.Array]:
        state = step(w, x_t, state)
        return state, state[0]

    state, y = lax.scan(body, state0, x)
    return y, state


def layer(spec: ModelSpec) -> Callable[..., tuple[jax.Array, Any]]:
    """The forward pass of one direction of one layer."""
    match spec.cell:
        case "RNN":
            return partial(elman.forward, nonlinearity=spec.nonlinearity)
        case "LSTM":
            return lstm.forward
        case "RNNCell":
            return partial(unroll, partial(rnn_cell.step, nonlinearity=spec.nonlinearity))
        case _:
            return partial(unroll, lstm_cell.step)


def forward(spec: ModelSpec, params: Mapping[str, jax.Array], x: jax.Array, state0: State) -> tuple[jax.Array, State]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, H) and the final state."""
    run, finals = layer(spec), []
    for row, suffix in enumerate(layer_suffixes(spec)):
        x, final = run(layer_weights(params, suffix), x, tuple(part[row] for part in state0))
        finals.append(final)
    return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))

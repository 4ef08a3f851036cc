"""Flax's own cells, behind the contract, as an oracle.

The neutral parameters go through the named conversions inside the differentiated function, so the gradients and the
training come out in the neutral layout, with two biases.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax
import flax.linen as nn
import jax

from common.conversions import to_flax_lstm, to_flax_simple_cell
from common.layout import Weights, layer_suffixes, layer_weights
from common.spec import ModelSpec

from .backend import JaxBackend
from .rnn_cell import NONLINEARITIES
from .stack import State, unroll


def step(cell: Any, params: Any, _: Weights, x: jax.Array, state: State) -> State:
    """One call of a Flax cell, whose carry is h, or (c, h)."""
    carry = state[::-1] if len(state) == 2 else state[0]
    carry, _ = cell.apply({"params": params}, carry, x)
    return carry[::-1] if len(state) == 2 else (carry,)


def forward(spec: ModelSpec, params: Mapping[str, jax.Array], x: jax.Array, state0: State) -> tuple[jax.Array, State]:
    """x (T, B, I) and state0, each (1, B, H) -> y (T, B, H) and the final state.

    The cells are stepped one by one; RNN and LSTM go through ``flax.linen.RNN``.
    """
    (suffix,) = layer_suffixes(spec)
    weights = layer_weights(params, suffix)
    dtypes: dict[str, Any] = {"dtype": x.dtype, "param_dtype": x.dtype}
    state0 = tuple(part[0] for part in state0)
    if spec.is_lstm:
        kind = nn.LSTMCell if spec.is_cell else nn.OptimizedLSTMCell
        cell, tree = kind(spec.hidden_size, **dtypes), to_flax_lstm(weights).params
    else:
        phi = NONLINEARITIES[spec.nonlinearity]
        cell, tree = (
            nn.SimpleCell(spec.hidden_size, activation_fn=phi, **dtypes),
            to_flax_simple_cell(weights).params,
        )
    if spec.is_cell:
        y, state = unroll(partial(step, cell, tree), weights, x, state0)
    else:
        recurrent: Any = nn.RNN(cell, time_major=True, return_carry=True)
        carry = state0[::-1] if spec.is_lstm else state0[0]
        carry, y = recurrent.apply({"params": {"cell": tree}}, x, initial_carry=carry)
        state = carry[::-1] if spec.is_lstm else (carry,)
    return y, tuple(part[None] for part in state)


class FlaxBackend(JaxBackend):
    def environment(self) -> dict[str, Any]:
        return {"flax": flax.__version__} | super().environment()


BACKEND = FlaxBackend("flax", forward, oracle=True)

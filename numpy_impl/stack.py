"""From a specification to the algorithms: which cell, which parameters, which rows of the state."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from common.layout import layer_suffixes, layer_weights, named_weights
from common.spec import ModelSpec

from . import elman, lstm, lstm_cell, rnn_cell, unroll

State = tuple[np.ndarray, ...]


def layer(spec: ModelSpec) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and backward pass of one direction of one layer."""
    phi = {"nonlinearity": spec.nonlinearity}
    match spec.cell:
        case "RNN":
            return partial(elman.forward, **phi), partial(elman.backward, **phi)
        case "LSTM":
            return lstm.forward, lstm.backward
        case "RNNCell":
            step, back = partial(rnn_cell.forward, **phi), partial(rnn_cell.backward, **phi)
        case _:
            step, back = lstm_cell.forward, lstm_cell.backward
    return partial(unroll.forward, step), partial(unroll.backward, back)


def forward(
    spec: ModelSpec, params: Mapping[str, np.ndarray], x: np.ndarray, state0: State
) -> tuple[np.ndarray, State, list[Any]]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, H), the final state and one tape a layer."""
    run, _ = layer(spec)
    finals, tapes = [], []
    for row, suffix in enumerate(layer_suffixes(spec)):
        x, final, tape = run(layer_weights(params, suffix), x, tuple(part[row] for part in state0))
        finals.append(final)
        tapes.append(tape)
    return x, tuple(np.stack(parts) for parts in zip(*finals, strict=True)), tapes


def backward(
    spec: ModelSpec, params: Mapping[str, np.ndarray], tapes: list[Any], dy: np.ndarray, dstate: State
) -> tuple[dict[str, np.ndarray], np.ndarray, State]:
    """dy (T, B, H) and the gradient of the final state -> the gradients of the parameters, of x and of state0."""
    _, back = layer(spec)
    grads, initials = {}, []
    for row, suffix in reversed(list(enumerate(layer_suffixes(spec)))):
        dw, dy, dinitial = back(layer_weights(params, suffix), tapes[row], dy, tuple(part[row] for part in dstate))
        if dw.bias_hh is not None:  # the two biases have one gradient; each gets its own array, to be changed in place
            dw = dw._replace(bias_hh=dw.bias_hh.copy())
        grads |= named_weights(dw, suffix)
        initials.append(dinitial)
    return grads, dy, tuple(np.stack(parts[::-1]) for parts in zip(*initials, strict=True))

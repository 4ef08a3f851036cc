"""A one-step cell applied T times, as a user of ``RNNCell`` or ``LSTMCell`` writes it, and the way back.

Nothing is hoisted out of the loop, so this is also the check on ``elman`` and ``lstm``, which hoist what they can.
Equations: DERIVATION.md, 7.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from common.layout import Weights

State = tuple[np.ndarray, ...]


def forward(
    step: Callable[..., tuple[Any, Any]], w: Weights, x: np.ndarray, state0: State
) -> tuple[np.ndarray, State, list[Any]]:
    """x (T, B, I) and state0 -> y (T, B, H), the final state and one tape a step."""
    state, outputs, tapes = state0, [], []
    for x_t in x:
        state, tape = step(w, x_t, state)
        outputs.append(state[0])
        tapes.append(tape)
    return np.stack(outputs), state, tapes


def backward(
    step_backward: Callable[..., tuple[Weights, np.ndarray, Any]],
    w: Weights,
    tapes: list[Any],
    dy: np.ndarray,
    dstate: State,
) -> tuple[Weights, np.ndarray, State]:
    """dy (T, B, H) and the gradient of the final state -> the gradients of the weights, of x and of state0."""
    total = Weights(*(None if value is None else np.zeros_like(value) for value in w))
    dx = []
    for dy_t, tape in zip(dy[::-1], tapes[::-1], strict=True):
        dstate = (dstate[0] + dy_t, *dstate[1:])  # (U1)
        dw, dx_t, dstate = step_backward(w, tape, dstate)
        total = add(total, dw)  # (U2)
        dx.append(dx_t)
    return total, np.stack(dx[::-1]), dstate


def add(total: Weights, part: Weights) -> Weights:
    """The sum, weight by weight; an absent bias stays absent."""
    return Weights(*(None if a is None else a + b for a, b in zip(total, part, strict=True)))

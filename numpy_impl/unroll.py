"""A one-step cell applied T times, as a user of ``RNNCell`` or ``LSTMCell`` writes it, and the way back.

Nothing is hoisted out of the loop, so this is also the check on the layers, which hoist what they can.
Equations: DERIVATION.md, 7.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from common.model.layout import Weights

State = tuple[np.ndarray, ...]


def forward(
    step: Callable[..., tuple[Any, Any]], w: Weights, x: Iterable[Any], state0: State
) -> tuple[np.ndarray, State, list[Any]]:
    """x (T, B, I) and state0, each (B, H) -> h (T, B, H) after every step, the final state and one tape per step."""
    state, h, tapes = state0, [], []
    for x_t in x:
        state, tape = step(w, x_t, state)
        h.append(state[0])
        tapes.append(tape)
    return np.stack(h), state, tapes


def backward(
    step_backward: Callable[..., tuple[Weights, np.ndarray, Any]],
    w: Weights,
    tapes: list[Any],
    dy: np.ndarray,
    dlast: State,
) -> tuple[Weights, np.ndarray, State]:
    """The gradients of h at every step, dy (T, B, H), and of the final state -> those of the weights, x and state0."""
    total = Weights(*(None if value is None else np.zeros_like(value) for value in w))
    dstate, dx = dlast, []
    for t in reversed(range(len(tapes))):
        dstate = dstate[0] + dy[t], *dstate[1:]  # (U1)
        dw, dx_t, dstate = step_backward(w, tapes[t], dstate)
        total = add(total, dw)  # (U2)
        dx.append(dx_t)
    return total, np.stack(dx[::-1]), dstate


def add(total: Weights, part: Weights) -> Weights:
    """The sum, weight by weight; an absent bias stays absent."""
    return Weights(*(None if a is None else a + b for a, b in zip(total, part, strict=True)))

"""A one-step cell applied T times, as a user of ``RNNCell`` or ``LSTMCell`` writes it, and the way back.

Nothing is hoisted out of the loop, so this is also the check on ``elman`` and ``lstm``, which hoist what they can.
Equations: DERIVATION.md, 7.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from common.layout import Weights

State = tuple[np.ndarray, ...]


def forward(step: Callable[..., tuple[Any, Any]], w: Weights, x: np.ndarray, state0: State) -> tuple[State, list[Any]]:
    """x (T, B, I) and state0, each (B, H) -> the states after every step, each (T, B, H), and one tape a step."""
    state, states, tapes = state0, [], []
    for x_t in x:
        state, tape = step(w, x_t, state)
        states.append(state)
        tapes.append(tape)
    return tuple(np.stack(parts) for parts in zip(*states, strict=True)), tapes


def backward(
    step_backward: Callable[..., tuple[Weights, np.ndarray, Any]],
    w: Weights,
    tapes: list[Any],
    dstates: tuple[np.ndarray | None, ...],
    dlast: State,
) -> tuple[Weights, np.ndarray, State]:
    """The gradients of the weights, of x and of state0.

    From those of the states at every step, each (T, B, H) or None for none, and of the final state.
    """
    total = Weights(*(None if value is None else np.zeros_like(value) for value in w))
    dstate, dx = dlast, []
    for t in reversed(range(len(tapes))):
        used = zip(dstates, dstate, strict=True)
        dstate = tuple(later if own is None else later + own[t] for own, later in used)  # (U1)
        dw, dx_t, dstate = step_backward(w, tapes[t], dstate)
        total = add(total, dw)  # (U2)
        dx.append(dx_t)
    return total, np.stack(dx[::-1]), dstate


def add(total: Weights, part: Weights) -> Weights:
    """The sum, weight by weight; an absent bias stays absent."""
    return Weights(*(None if a is None else a + b for a, b in zip(total, part, strict=True)))

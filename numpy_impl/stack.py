"""Layers, directions, dropout and ragged batches, around one direction of one layer. Equations: DERIVATION.md, 8.

A ragged batch needs no mask inside the recurrence: the padding comes after the valid steps and so cannot reach them.
All T steps are computed, what lies past the end is zeroed, and each sequence has its final state at its own last step.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from common.layout import layer_suffixes, layer_weights, named_weights
from common.spec import ModelSpec

from . import elman, lstm, lstm_cell, rnn_cell, unroll

State = tuple[np.ndarray, ...]


class Steps(NamedTuple):
    """The valid steps of a batch (T, B, 1), None where all are, and two indices of an array (T, B, ...).

    ``array[last]`` is each sequence's last valid step, ``array[turned]`` turns each around within its own length.
    """

    valid: np.ndarray | None
    last: Any
    turned: Any

    def trim(self, array: np.ndarray) -> np.ndarray:
        """Zero past the end of each sequence."""
        return array if self.valid is None else np.where(self.valid, array, 0)

    def turn(self, array: np.ndarray) -> np.ndarray:
        """Each sequence the other way round; its own inverse."""
        return array[::-1] if self.valid is None else array[self.turned]


class Tape(NamedTuple):
    """What the backward pass needs: a tape for each layer and direction, the valid steps, the dropout masks."""

    rows: list[Any]
    steps: Steps
    masks: np.ndarray | None


def steps_of(lengths: np.ndarray | None, T: int, B: int) -> Steps:
    """The valid steps for lengths (B,); all of them for None."""
    if lengths is None:
        return Steps(None, -1, None)
    t, batch, lengths = np.arange(T)[:, None], np.arange(B), lengths.astype("int64")
    valid = t < lengths
    return Steps(valid[:, :, None], (lengths - 1, batch), (np.where(valid, lengths - 1 - t, t), batch))


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
    spec: ModelSpec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    state0: State,
    lengths: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> tuple[np.ndarray, State, Tape]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H), the final state and the tape."""
    run, _ = layer(spec)
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    steps = steps_of(lengths, *x.shape[:2])
    finals, tapes = [], []
    y = steps.trim(x)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            x_in = steps.turn(y) if direction else y  # (S1)
            states, tape = run(layer_weights(params, suffixes[row]), x_in, tuple(part[row] for part in state0))
            finals.append(tuple(part[steps.last] for part in states))  # (S2)
            h = steps.trim(states[0])  # (S3)
            outputs.append(steps.turn(h) if direction else h)
            tapes.append(tape)
        y = np.concatenate(outputs, axis=2) if D == 2 else outputs[0]  # (S4)
        if masks is not None and level < spec.num_layers - 1:
            y = y * masks[level]  # (S5)
    return y, tuple(np.stack(parts) for parts in zip(*finals, strict=True)), Tape(tapes, steps, masks)


def backward(
    spec: ModelSpec, params: Mapping[str, np.ndarray], tape: Tape, dy: np.ndarray, dstate: State
) -> tuple[dict[str, np.ndarray], np.ndarray, State]:
    """dy (T, B, D*H) and the gradient of the final state -> the gradients of the parameters, of x and of state0."""
    _, back = layer(spec)
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    steps, masks = tape.steps, tape.masks
    grads: dict[str, np.ndarray] = {}
    initials: list[State] = []
    for level in reversed(range(spec.num_layers)):
        if masks is not None and level < spec.num_layers - 1:
            dy = dy * masks[level]  # (S6)
        dinputs = []
        for direction, dh in reversed(list(enumerate(np.split(dy, D, axis=2)))):  # (S7)
            row = level * D + direction
            dh = steps.trim(dh)  # (S8)
            dh = steps.turn(dh) if direction else dh
            dstates, dlast = final_gradients(steps, dh, tuple(part[row] for part in dstate))
            dw, dx_in, dinitial = back(layer_weights(params, suffixes[row]), tape.rows[row], dstates, dlast)
            dinputs.append(steps.turn(dx_in) if direction else dx_in)
            if dw.bias_hh is not None:  # the two biases have one gradient; each gets its own array, to be changed
                dw = dw._replace(bias_hh=dw.bias_hh.copy())
            grads |= named_weights(dw, suffixes[row])
            initials.append(dinitial)
        dy = sum(dinputs[1:], start=dinputs[0])  # (S9)
    return grads, steps.trim(dy), tuple(np.stack(parts[::-1]) for parts in zip(*initials, strict=True))


def final_gradients(steps: Steps, dh: np.ndarray, dfinal: State) -> tuple[tuple[Any, ...], State]:
    """The gradient of the states at every step (None: of none) and of those after the last, from that of the final.

    A ragged batch has its final states at steps of their own.
    """
    if steps.valid is None:
        return (dh, *(None for _ in dfinal[1:])), dfinal
    dstates = (dh, *(np.zeros((*dh.shape[:2], part.shape[-1]), dh.dtype) for part in dfinal[1:]))
    for dpart, last in zip(dstates, dfinal, strict=True):
        dpart[steps.last] += last  # (S10)
    return dstates, tuple(np.zeros_like(part) for part in dfinal)

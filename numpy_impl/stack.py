"""Layers, directions, dropout and ragged batches, around one direction of one layer. Equations: DERIVATION.md, 8.

In a ragged batch all T steps are computed, and those past the end of a sequence are frozen: its state stays as it is,
and its output is zero.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from common.model.layout import Weights, layer_suffixes, layer_weights, named_weights
from common.model.spec import ModelSpec

from . import elman, gru, gru_cell, lstm, lstm1997, lstm1997_cell, lstm_cell, rnn_cell, unroll

# The equations of each layer: over a whole sequence, and as one step.
SEQUENCES: dict[str, Any] = {"RNN": elman, "LSTM": lstm, "GRU": gru, "LSTM1997": lstm1997}
STEPS: dict[str, Any] = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell, "LSTM1997": lstm1997_cell}

State = tuple[np.ndarray, ...]


class Steps(NamedTuple):
    """The valid steps of a batch (T, B, 1), None where all are, and an index of an array (T, B, ...).

    ``array[turned]`` turns each sequence around within its own length.
    """

    valid: np.ndarray | None = None
    turned: Any = None

    def trim(self, array: np.ndarray) -> np.ndarray:
        """Zero past the end of each sequence."""
        return array if self.valid is None else np.where(self.valid, array, 0)

    def turn(self, array: np.ndarray) -> np.ndarray:
        """Each sequence reversed; its own inverse."""
        return array[::-1] if self.valid is None else array[self.turned]


class Tape(NamedTuple):
    """What the backward pass needs: a tape for each layer and direction, the valid steps, the dropout masks."""

    rows: list[Any]
    steps: Steps
    masks: np.ndarray | None


def steps_of(lengths: np.ndarray | None, T: int, B: int) -> Steps:
    """The valid steps for lengths (B,); all of them for None."""
    if lengths is None:
        return Steps()
    t, batch, lengths = np.arange(T)[:, None], np.arange(B), lengths.astype("int64")
    valid = t < lengths
    return Steps(valid[:, :, None], (np.where(valid, lengths - 1 - t, t), batch))


def layer(spec: ModelSpec) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and backward pass of one direction of one layer."""
    table = STEPS if spec.is_cell else SEQUENCES
    module, options = table[spec.kind.layer], spec.step_options
    run, back = partial(module.forward, **options), partial(module.backward, **options)
    if spec.is_cell:
        return partial(loop, run), partial(loop_backward, back)
    return run, back


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
            initial = tuple(part[row] for part in state0)
            h, final, tape = run(layer_weights(params, suffixes[row]), x_in, initial, valid=steps.valid)
            h = steps.trim(h)  # (S2)
            outputs.append(steps.turn(h) if direction else h)
            finals.append(final)
            tapes.append(tape)
        y = np.concatenate(outputs, axis=2) if D == 2 else outputs[0]  # (S3)
        if masks is not None and level < spec.num_layers - 1:
            y = y * masks[level]  # (S4)
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
            dy = dy * masks[level]  # (S5)
        dinputs = []
        for direction, dh in reversed(list(enumerate(np.split(dy, D, axis=2)))):  # (S6)
            row = level * D + direction
            dh = steps.trim(dh)  # (S7)
            dh = steps.turn(dh) if direction else dh
            dlast = tuple(part[row] for part in dstate)
            dw, dx_in, dinitial = back(
                layer_weights(params, suffixes[row]), tape.rows[row], dh, dlast, valid=steps.valid
            )
            dinputs.append(steps.turn(dx_in) if direction else dx_in)
            if dw.bias_hh is not None:  # the same gradient for both biases, each in its own array
                dw = dw._replace(bias_hh=dw.bias_hh.copy())
            grads |= named_weights(dw, suffixes[row])
            initials.append(dinitial)
        dy = sum(dinputs[1:], start=dinputs[0])  # (S8)
    return grads, dy, tuple(np.stack(parts[::-1]) for parts in zip(*initials, strict=True))


def quantities(spec: ModelSpec, tape: Tape, state0: State, state: State) -> dict[str, np.ndarray]:
    """What every step of a layer computed: ``spec.kind.quantities`` by name, each (D*L, T, B, H).

    Zero where a step is not valid. ``state0`` and ``state`` are the initial and the final state of the forward pass.
    """
    of_row, D, kept = SEQUENCES[spec.kind.layer].quantities, spec.num_directions, []
    for row, row_tape in enumerate(tape.rows):
        found = of_row(row_tape, *(tuple(part[row] for part in parts) for parts in (state0, state)))
        found = [tape.steps.trim(part) for part in found]
        kept.append([tape.steps.turn(part) for part in found] if row % D else found)
    rows = zip(spec.kind.quantities, zip(*kept, strict=True), strict=True)
    return {name: np.stack(parts) for name, parts in rows}


def loop(
    step: Callable[..., Any], w: Weights, x: np.ndarray, state0: State, valid: np.ndarray | None
) -> tuple[np.ndarray, State, list[Any]]:
    """``unroll.forward``; where ``valid`` (T, B, 1) is given and false, the step is frozen."""
    if valid is None:
        return unroll.forward(step, w, x, state0)
    return unroll.forward(partial(frozen, step), w, zip(x, valid, strict=True), state0)


def loop_backward(
    back: Callable[..., Any], w: Weights, tapes: list[Any], dy: np.ndarray, dlast: State, valid: np.ndarray | None
) -> tuple[Weights, np.ndarray, State]:
    """``unroll.backward`` for the same ``valid``."""
    return unroll.backward(back if valid is None else partial(frozen_backward, back), w, tapes, dy, dlast)


def frozen(
    step: Callable[..., Any], w: Weights, x_valid: tuple[np.ndarray, np.ndarray], state: State
) -> tuple[State, Any]:
    """A step of a cell in which the sequences that are over keep their state."""
    x, valid = x_valid
    new, tape = step(w, x, tuple(np.where(valid, part, 0) for part in state))  # from 0 a frozen step cannot overflow
    return tuple(np.where(valid, *parts) for parts in zip(new, state, strict=True)), (valid, tape)  # (S9)


def frozen_backward(
    back: Callable[..., Any], w: Weights, valid_tape: tuple[np.ndarray, Any], dstate: State
) -> tuple[Weights, np.ndarray, State]:
    """The way back through it."""
    valid, tape = valid_tape
    dw, dx, dprev = back(w, tape, tuple(np.where(valid, part, 0) for part in dstate))  # (S10)
    return dw, dx, tuple(np.where(valid, *parts) for parts in zip(dprev, dstate, strict=True))  # (S11)

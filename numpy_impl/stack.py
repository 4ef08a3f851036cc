"""Layers, directions, dropout and ragged batches, around one direction of one layer. Equations: DERIVATION.md, 8.

In a ragged batch all T steps are computed, and those of a sequence that are not valid, such as those past its end, are
frozen: its state stays as it is, and its output is zero.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from common.model.layout import Weights, layer_suffixes, layer_weights, named_weights
from common.model.masks import Masks
from common.model.spec import ModelSpec

from . import dropout, elman, gru, gru_cell, lstm, lstm1997, lstm1997_cell, lstm_cell, rnn_cell, unroll

# The equations of each layer: over a whole sequence, and as one step.
SEQUENCES: dict[str, Any] = {"RNN": elman, "LSTM": lstm, "GRU": gru, "LSTM1997": lstm1997}
STEPS: dict[str, Any] = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell, "LSTM1997": lstm1997_cell}

State = tuple[np.ndarray, ...]


class Tape(NamedTuple):
    """What the backward pass needs: a tape for each layer and direction, the valid steps, the dropout masks."""

    rows: list[Any]
    valid: np.ndarray | None
    masks: Masks


def valid_steps(lengths: np.ndarray | None, mask: np.ndarray | None, T: int) -> np.ndarray | None:
    """The valid steps (T, B, 1) for lengths (B,) or a mask (T, B); None, for all of them, where both are None."""
    if lengths is not None:
        mask = np.arange(T)[:, None] < lengths
    return None if mask is None else mask[:, :, None]


def trim(valid: np.ndarray | None, array: np.ndarray) -> np.ndarray:
    """Zero where a step is not valid."""
    return array if valid is None else np.where(valid, array, 0)


def turn(direction: int, array: Any) -> Any:
    """The steps in the order in which a direction takes them; its own inverse. None stays None."""
    return array[::-1] if direction and array is not None else array


def recurrent_mask(masks: Masks, row: int) -> dict[str, np.ndarray]:
    """The mask (B, P) of the state of one direction of one layer, as the argument of its pass, where there is one."""
    return {} if masks.recurrent is None else {"h_mask": masks.recurrent[row]}


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
    masks: Masks | None = None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, State, Tape]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H), the final state and the tape."""
    run, _ = layer(spec)
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    valid, masks = valid_steps(lengths, mask, len(x)), masks or Masks()
    finals, tapes = [], []
    y = trim(valid, x)
    if masks.input is not None:
        y = dropout.forward(y, masks.input)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            x_in = turn(direction, y)  # (S1)
            options = {"valid": turn(direction, valid)} | recurrent_mask(masks, row)
            initial = tuple(part[row] for part in state0)
            h, final, tape = run(layer_weights(params, suffixes[row]), x_in, initial, **options)
            h = trim(valid, turn(direction, h))  # (S2)
            outputs.append(h)
            finals.append(final)
            tapes.append(tape)
        y = np.concatenate(outputs, axis=2) if D == 2 else outputs[0]  # (S3)
        if masks.layers is not None and level < spec.num_layers - 1:
            y = y * masks.layers[level]  # (S4)
    return y, tuple(np.stack(parts) for parts in zip(*finals, strict=True)), Tape(tapes, valid, masks)


def backward(
    spec: ModelSpec, params: Mapping[str, np.ndarray], tape: Tape, dy: np.ndarray, dstate: State
) -> tuple[dict[str, np.ndarray], np.ndarray, State]:
    """dy (T, B, D*H) and the gradient of the final state -> the gradients of the parameters, of x and of state0."""
    _, back = layer(spec)
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    valid, masks = tape.valid, tape.masks
    grads: dict[str, np.ndarray] = {}
    initials: list[State] = []
    for level in reversed(range(spec.num_layers)):
        if masks.layers is not None and level < spec.num_layers - 1:
            dy = dy * masks.layers[level]  # (S5)
        dinputs = []
        for direction, dh in reversed(list(enumerate(np.split(dy, D, axis=2)))):  # (S6)
            row = level * D + direction
            dh = turn(direction, trim(valid, dh))  # (S7)
            dlast = tuple(part[row] for part in dstate)
            options = {"valid": turn(direction, valid)} | recurrent_mask(masks, row)
            dw, dx_in, dinitial = back(layer_weights(params, suffixes[row]), tape.rows[row], dh, dlast, **options)
            dinputs.append(turn(direction, dx_in))
            if dw.bias_hh is not None:  # most cells have one gradient for both biases; each gets its own array
                dw = dw._replace(bias_hh=dw.bias_hh.copy())
            grads |= named_weights(dw, suffixes[row])
            initials.append(dinitial)
        dy = sum(dinputs[1:], start=dinputs[0])  # (S8)
    if masks.input is not None:
        dy = dropout.backward(dy, masks.input)
    return grads, dy, tuple(np.stack(parts[::-1]) for parts in zip(*initials, strict=True))


def quantities(spec: ModelSpec, tape: Tape, state0: State, state: State) -> dict[str, np.ndarray]:
    """What every step of a layer computed: ``spec.kind.quantities`` by name, each (D*L, T, B, H).

    Zero where a step is not valid. ``state0`` and ``state`` are the initial and the final state of the forward pass.
    """
    of_row, D, kept = SEQUENCES[spec.kind.layer].quantities, spec.num_directions, []
    for row, row_tape in enumerate(tape.rows):
        found = of_row(row_tape, *(tuple(part[row] for part in parts) for parts in (state0, state)))
        kept.append([trim(tape.valid, turn(row % D, part)) for part in found])
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
    """A step of a cell in which the sequences keep their state for which it is not valid."""
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

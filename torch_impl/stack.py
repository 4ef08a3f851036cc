"""Layers, directions, dropout and ragged batches, around one direction of one layer.

A ragged batch needs no mask inside the recurrence: the padding comes after the valid steps and so cannot reach them.
All T steps are computed, what lies past the end is zeroed, and each sequence has its final state at its own last step.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from common.layout import Weights, layer_suffixes, layer_weights
from common.spec import ModelSpec

from . import elman, lstm, lstm_cell, rnn_cell

State = tuple[Tensor, ...]


class Steps(NamedTuple):
    """The valid steps of a batch (T, B, 1), None where all are, and two indices of an array (T, B, ...).

    ``array[last]`` is each sequence's last valid step, ``array[turned]`` turns each around within its own length.
    """

    valid: Tensor | None
    last: Any
    turned: Any

    def trim(self, array: Tensor) -> Tensor:
        """Zero past the end of each sequence."""
        return array if self.valid is None else torch.where(self.valid, array, 0)

    def final(self, parts: list[Tensor]) -> Tensor:
        """Of the states after every step, each sequence's last."""
        return parts[-1] if self.valid is None else torch.stack(parts)[self.last]

    def turn(self, array: Tensor) -> Tensor:
        """Each sequence the other way round; its own inverse."""
        return array.flip(0) if self.valid is None else array[self.turned]


def steps_of(lengths: Tensor | None, T: int, B: int) -> Steps:
    """The valid steps for lengths (B,); all of them for None."""
    if lengths is None:
        return Steps(None, -1, None)
    t, batch = (torch.arange(size, device=lengths.device) for size in (T, B))
    t, lengths = t[:, None], lengths.long()
    valid = t < lengths
    return Steps(valid[:, :, None], (lengths - 1, batch), (torch.where(valid, lengths - 1 - t, t), batch))


def unroll(step: Callable[..., State], w: Weights, x: Tensor, state0: State) -> tuple[list[Tensor], ...]:
    """A one-step cell applied T times: x (T, B, I) and state0 -> the states after every step, T tensors (B, H) each."""
    state, states = state0, []
    for x_t in x.unbind(0):
        state = step(w, x_t, state)
        states.append(state)
    return tuple(map(list, zip(*states, strict=True)))


def layer(spec: ModelSpec) -> Callable[..., tuple[list[Tensor], ...]]:
    """The forward pass of one direction of one layer: weights, x and the initial state -> the states of all steps."""
    match spec.cell:
        case "RNN":
            return partial(elman.forward, nonlinearity=spec.nonlinearity)
        case "LSTM":
            return lstm.forward
        case "RNNCell":
            return partial(unroll, partial(rnn_cell.step, nonlinearity=spec.nonlinearity))
        case _:
            return partial(unroll, lstm_cell.step)


def forward(
    spec: ModelSpec,
    params: Mapping[str, Tensor],
    x: Tensor,
    state0: State,
    lengths: Tensor | None = None,
    masks: Tensor | None = None,
) -> tuple[Tensor, State]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state."""
    run, finals = layer(spec), []
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    steps = steps_of(lengths, *x.shape[:2])
    y = steps.trim(x)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            x_in = steps.turn(y) if direction else y
            states = run(layer_weights(params, suffixes[row]), x_in, tuple(part[row] for part in state0))
            finals.append(tuple(steps.final(part) for part in states))
            h = steps.trim(torch.stack(states[0]))
            outputs.append(steps.turn(h) if direction else h)
        y = torch.cat(outputs, dim=2)
        if masks is not None and level < spec.num_layers - 1:
            y = y * masks[level]
    return y, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

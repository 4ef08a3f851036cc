"""Layers, directions, dropout and ragged batches, around one direction of one layer.

In a ragged batch all T steps are computed, and those past the end of a sequence are frozen: its state stays as it is,
and its output is zero.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from common.model.layout import Weights, layer_suffixes, layer_weights
from common.model.spec import ModelSpec

from . import elman, gru, gru_cell, lstm, lstm1997, lstm1997_cell, lstm_cell, rnn_cell
from .ragged import entering, frozen

# The equations of each layer: over a whole sequence, and as one step.
SEQUENCES: dict[str, Any] = {"RNN": elman, "LSTM": lstm, "GRU": gru, "LSTM1997": lstm1997}
STEPS: dict[str, Any] = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell, "LSTM1997": lstm1997_cell}

State = tuple[Tensor, ...]


class Steps(NamedTuple):
    """The valid steps of a batch (T, B, 1), None where all are, and an index of an array (T, B, ...).

    ``array[turned]`` turns each sequence around within its own length.
    """

    valid: Tensor | None = None
    turned: Any = None

    def trim(self, array: Tensor) -> Tensor:
        """Zero past the end of each sequence."""
        return array if self.valid is None else torch.where(self.valid, array, 0)

    def turn(self, array: Tensor) -> Tensor:
        """Each sequence reversed; its own inverse."""
        return array.flip(0) if self.valid is None else array[self.turned]


def steps_of(lengths: Tensor | None, T: int, B: int) -> Steps:
    """The valid steps for lengths (B,); all of them for None."""
    if lengths is None:
        return Steps()
    t, batch = (torch.arange(size, device=lengths.device) for size in (T, B))
    t, lengths = t[:, None], lengths.long()
    valid = t < lengths
    return Steps(valid[:, :, None], (torch.where(valid, lengths - 1 - t, t), batch))


def unroll(
    step: Callable[..., State], w: Weights, x: Tensor, state0: State, valid: Tensor | None = None
) -> tuple[Tensor, State]:
    """A one-step cell applied T times: x (T, B, I) and state0 -> h (T, B, H) after every step, and the final state."""
    state, hs = state0, []
    for t, x_t in enumerate(x.unbind(0)):
        new = step(w, x_t, entering(valid, t, state))
        state = frozen(valid, t, new, state)
        hs.append(state[0])
    return torch.stack(hs), state


def layer(spec: ModelSpec, record: bool = False) -> Callable[..., Any]:
    """The forward pass of one direction of one layer: weights, x, initial state -> h, and the final state.

    With ``record``, which is for layers, the first result is a tuple: ``spec.kind.quantities`` of every step.
    """
    if spec.is_cell:
        return partial(unroll, partial(STEPS[spec.kind.layer].step, **spec.step_options))
    return partial(SEQUENCES[spec.kind.layer].forward, **spec.step_options, record=record)


def forward(
    spec: ModelSpec,
    params: Mapping[str, Tensor],
    x: Tensor,
    state0: State,
    lengths: Tensor | None = None,
    masks: Tensor | None = None,
    *,
    record: bool = False,
) -> tuple[Any, ...]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state.

    With ``record``, which is for layers, also what every step computed: ``spec.kind.quantities`` by name, each
    (D*L, T, B, H), zero where a step is not valid.
    """
    run, finals, kept = layer(spec, record), [], []
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    steps = steps_of(lengths, *x.shape[:2])
    y = steps.trim(x)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            x_in = steps.turn(y) if direction else y
            initial = tuple(part[row] for part in state0)
            h, final = run(layer_weights(params, suffixes[row]), x_in, initial, valid=steps.valid)
            found = [steps.trim(part) for part in (h if record else [h])]
            found = [steps.turn(part) for part in found] if direction else found
            outputs.append(found[0])
            if record:
                kept.append(found)
            finals.append(final)
        y = torch.cat(outputs, dim=2)
        if masks is not None and level < spec.num_layers - 1:
            y = steps.trim(y * masks[level])
    state = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    if not record:
        return y, state
    rows = zip(spec.kind.quantities, zip(*kept, strict=True), strict=True)
    return y, state, {name: torch.stack(parts) for name, parts in rows}

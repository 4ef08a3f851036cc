"""Layers, directions, dropout and ragged batches, around one direction of one layer.

In a ragged batch all T steps are computed, and those of a sequence that are not valid, such as those past its end, are
frozen: its state stays as it is, and its output is zero.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from common.model.layout import Weights, layer_suffixes, layer_weights
from common.model.masks import Masks
from common.model.spec import ModelSpec

from . import elman, gru, gru_cell, lstm, lstm1997, lstm1997_cell, lstm_cell, rnn_cell
from .dropout import drop
from .ragged import entering, frozen
from .transforms import tracing

# The equations of each layer: over a whole sequence, and as one step.
SEQUENCES: dict[str, Any] = {"RNN": elman, "LSTM": lstm, "GRU": gru, "LSTM1997": lstm1997}
STEPS: dict[str, Any] = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell, "LSTM1997": lstm1997_cell}

# How many steps of a long sequence are computed at a time where nothing is recorded for a gradient.
BLOCK = 1000

State = tuple[Tensor, ...]


def valid_steps(lengths: Tensor | None, mask: Tensor | None, T: int) -> Tensor | None:
    """The valid steps (T, B, 1) for lengths (B,) or a mask (T, B); None, for all of them, where both are None."""
    if lengths is not None:
        mask = torch.arange(T, device=lengths.device)[:, None] < lengths.long()
    return None if mask is None else mask[:, :, None]


def trim(valid: Tensor | None, array: Tensor) -> Tensor:
    """Zero where a step is not valid."""
    return array if valid is None else torch.where(valid, array, 0)


def turn(direction: int, array: Any) -> Any:
    """The steps in the order in which a direction takes them; its own inverse. None stays None."""
    return array.flip(0) if direction and array is not None else array


def recurrent_mask(masks: Masks, row: int) -> dict[str, Tensor]:
    """The mask (B, P) of the state of one direction of one layer, as the argument of its pass, where there is one."""
    return {} if masks.recurrent is None else {"h_mask": masks.recurrent[row]}


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


def in_blocks(
    run: Callable[..., tuple[Any, State]], w: Weights, x: Tensor, state0: State, valid: Tensor | None, **options: Any
) -> tuple[Any, State]:
    """The forward pass ``run`` of one direction of one layer, a block of steps at a time where autograd records none.

    Without a graph to keep, the views and the results of more steps would only take memory.
    """
    recorded = torch.is_grad_enabled() and any(part.requires_grad for part in (*w, x, *state0) if part is not None)
    if recorded or tracing() or x.shape[0] <= BLOCK:
        return run(w, x, state0, valid=valid, **options)
    state, hs = state0, []
    for start in range(0, x.shape[0], BLOCK):
        steps = slice(start, start + BLOCK)
        h, state = run(w, x[steps], state, valid=None if valid is None else valid[steps], **options)
        hs.append(h)
    return torch.cat(hs) if isinstance(hs[0], Tensor) else tuple(map(torch.cat, zip(*hs, strict=True))), state


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
    masks: Masks | None = None,
    mask: Tensor | None = None,
    *,
    record: bool = False,
) -> tuple[Any, ...]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state.

    With ``record``, which is for layers, also what every step computed: ``spec.kind.quantities`` by name, each
    (D*L, T, B, H), zero where a step is not valid.
    """
    run, finals, kept = layer(spec, record), [], []
    D, suffixes = spec.num_directions, layer_suffixes(spec)
    valid, masks = valid_steps(lengths, mask, x.shape[0]), masks or Masks()
    y = drop(trim(valid, x), masks.input)
    for level in range(spec.num_layers):
        outputs = []
        for direction in range(D):
            row = level * D + direction
            initial = tuple(part[row] for part in state0)
            options = {"valid": turn(direction, valid)} | recurrent_mask(masks, row)
            weights = layer_weights(params, suffixes[row])
            h, final = in_blocks(run, weights, turn(direction, y), initial, **options)
            found = [trim(valid, turn(direction, part)) for part in (h if record else [h])]
            outputs.append(found[0])
            if record:
                kept.append(found)
            finals.append(final)
        y = torch.cat(outputs, dim=2)
        if masks.layers is not None and level < spec.num_layers - 1:
            y = trim(valid, y * masks.layers[level])
    state = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    if not record:
        return y, state
    rows = zip(spec.kind.quantities, zip(*kept, strict=True), strict=True)
    return y, state, {name: torch.stack(parts) for name, parts in rows}

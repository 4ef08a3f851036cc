"""The recurrent layers and cells of torch.nn themselves, behind the contract, as an oracle.

The neutral layout is theirs, so the parameters go in by name through ``torch.func.functional_call``. Ragged batches go
through ``pack_padded_sequence``, which refuses a length of 0: a sequence of 0 steps is computed with one step,
and then its output is set to zero and its final state to the initial one. torch.nn has no mask of valid steps: they are
gathered at the front of each sequence, in their order, and what comes out is put back. It draws its own dropout masks,
so given ones are applied between modules of one layer each; and it has none inside the recurrence, where a mask of h is
as good as one of the columns of W_hh, so that each sequence has weights of its own and is computed alone. An LSTM of
1997 is ``torch.nn.LSTM`` with its forget gate held open, and torch.nn has one form of the GRU.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.conversions.layers import OPEN
from common.model.layout import Weights, layer_suffixes, layer_weights, named_weights
from common.model.masks import Masks
from common.model.spec import DROPOUTS, OPTIONS, ModelSpec

from ..backend import TorchBackend
from ..stack import State, unroll

# Options of a cell that its module is built without: masks are applied here, and nothing is initialised.
NOT_PASSED_ON = {*DROPOUTS, "forget_bias", "reset_after"}


@cache
def module(spec: ModelSpec, device: torch.device) -> torch.nn.Module:
    """The module of this specification, without its dropout; its own weights are never used."""
    options: dict[str, Any] = {"bias": spec.bias, "device": device, "dtype": getattr(torch, spec.dtype)}
    options |= {name: getattr(spec, name) for name in spec.kind.options - NOT_PASSED_ON}
    return getattr(torch.nn, spec.cell)(spec.input_size, spec.hidden_size, **options)


def held_open(spec: ModelSpec, params: Mapping[str, Tensor]) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The LSTM that an LSTM of 1997 is: the rows of its forget gate are zero, and the bias is ``OPEN``."""
    widened: dict[str, Tensor] = {}
    for suffix in layer_suffixes(spec):
        w = layer_weights(params, suffix)
        zeros = w.weight_hh.new_zeros(w.weight_hh.shape[0])
        biases = (zeros, zeros) if w.bias_ih is None else (w.bias_ih, w.bias_hh)
        for name, value, forget in zip(w._fields, (w.weight_ih, w.weight_hh, *biases), (0, 0, OPEN, 0), strict=False):
            i, g, o = value.chunk(3)
            widened[name + suffix] = torch.cat([i, torch.full_like(i, forget), g, o])
    return replace(spec, cell=spec.cell.replace("1997", ""), bias=True), widened


def as_tuple(state: Any) -> State:
    """A state as the contract's tuple: torch.nn returns a single array as it is, and a pair as a tuple."""
    return state if isinstance(state, tuple) else (state,)


def call(spec: ModelSpec, params: Mapping[str, Tensor], x: Any, state: State) -> Any:
    """One call of torch's module, with states as tuples: (y, final state), or the next state of a cell."""
    arguments = x, state[0] if len(state) == 1 else state
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")  # speed is no matter
        result = functional_call(module(spec, state[0].device), dict(params), arguments)
    if spec.is_cell:
        return as_tuple(result)
    y, last = result
    return y, as_tuple(last)


def forward(
    spec: ModelSpec,
    params: Mapping[str, Tensor],
    x: Tensor,
    state0: State,
    lengths: Tensor | None = None,
    masks: Masks | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, State]:
    """x (T, B, I) and state0, each (D*L, B, H) -> y (T, B, D*H) and the final state; a cell is stepped T times."""
    if spec.kind.layer == "LSTM1997":
        spec, params = held_open(spec, params)
    masks = masks or Masks()
    if mask is not None:
        return compacted(spec, params, x, state0, masks, mask)
    if masks.input is not None:
        x = x * masks.input
    if masks.recurrent is not None:
        return one_by_one(spec, params, x, state0, lengths, masks)
    return ragged(spec, params, x, state0, lengths, masks.layers)


def compacted(
    spec: ModelSpec, params: Mapping[str, Tensor], x: Tensor, state0: State, masks: Masks, mask: Tensor
) -> tuple[Tensor, State]:
    """The same for valid steps in any pattern: mask (T, B)."""
    order, place = torch.argsort((~mask).long(), dim=0, stable=True)[:, :, None], mask.long().cumsum(0)[:, :, None] - 1
    if masks.layers is not None:
        masks = masks._replace(layers=masks.layers.take_along_dim(order[None], dim=1))
    y, state = forward(spec, params, x.take_along_dim(order, dim=0), state0, mask.sum(0), masks)
    return torch.where(mask[:, :, None], y.take_along_dim(place.clamp(min=0), dim=0), 0), state


def one_by_one(
    spec: ModelSpec, params: Mapping[str, Tensor], x: Tensor, state0: State, lengths: Tensor | None, masks: Masks
) -> tuple[Tensor, State]:
    """The same with masks of h: each sequence with its own columns of W_hh."""
    results = []
    for b in range(x.shape[1]):
        one, own = slice(b, b + 1), dict(params)
        for row, suffix in enumerate(layer_suffixes(spec)):
            own[f"weight_hh{suffix}"] = params[f"weight_hh{suffix}"] * masks.recurrent[row, b]
        between = None if masks.layers is None else masks.layers[:, :, one]
        end = None if lengths is None else lengths[one]
        results.append(ragged(spec, own, x[:, one], tuple(part[:, one] for part in state0), end, between))
    states = zip(*(state for _, state in results), strict=True)
    return torch.cat([y for y, _ in results], dim=1), tuple(torch.cat(parts, dim=1) for parts in states)


def ragged(
    spec: ModelSpec, params: Mapping[str, Tensor], x: Tensor, state0: State, lengths: Tensor | None, masks: Any
) -> tuple[Tensor, State]:
    """The same with lengths, of which some may be 0, and masks between layers."""
    if lengths is None:
        return layers(spec, params, x, state0, None, masks)
    empty = (lengths == 0)[:, None]
    y, state = layers(spec, params, torch.where(empty, 0, x), state0, lengths.long().clamp(min=1), masks)
    return torch.where(empty, 0, y), tuple(torch.where(empty, *parts) for parts in zip(state0, state, strict=True))


def layers(
    spec: ModelSpec,
    params: Mapping[str, Tensor],
    x: Tensor,
    state0: State,
    lengths: Tensor | None,
    masks: Tensor | None,
) -> tuple[Tensor, State]:
    """The same for sequences of at least one step."""
    if spec.is_cell:
        return stepped(spec, params, x, state0, lengths)
    if masks is None:
        return whole(spec, params, x, state0, lengths)
    finals, D = [], spec.num_directions
    for level, mask in enumerate((*masks, None)):
        single = replace(spec, num_layers=1, input_size=x.shape[2], dropout=0.0)
        rows = slice(level * D, (level + 1) * D)
        renamed = zip(layer_suffixes(spec)[rows], layer_suffixes(single), strict=True)
        own = {k: v for old, new in renamed for k, v in named_weights(layer_weights(params, old), new).items()}
        x, final = whole(single, own, x, tuple(part[rows] for part in state0), lengths)
        finals.append(final)
        x = x if mask is None else x * mask
    return x, tuple(torch.cat(parts) for parts in zip(*finals, strict=True))


def whole(
    spec: ModelSpec, params: Mapping[str, Tensor], x: Tensor, state0: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """One call of a layer of torch.nn, packed where lengths are given."""
    if lengths is None:
        return call(spec, params, x, state0)
    packed, state = call(spec, params, pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False), state0)
    return pad_packed_sequence(packed, total_length=x.shape[0])[0], state


def stepped(
    spec: ModelSpec, params: Mapping[str, Tensor], x: Tensor, state0: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """A cell of torch.nn in a loop; a ragged batch sequence by sequence, each for its own number of steps."""

    def step(_: Weights, x_t: Tensor, state: State) -> State:
        return call(spec, params, x_t, state)

    def run(x: Tensor, state: State) -> tuple[Tensor, State]:
        y, last = unroll(step, Weights(None, None), x, tuple(part[0] for part in state))
        return y, tuple(part[None] for part in last)

    if lengths is None:
        return run(x, state0)
    ends = lengths.tolist()
    results = [run(x[:n, b : b + 1], tuple(part[:, b : b + 1] for part in state0)) for b, n in enumerate(ends)]
    y = [torch.nn.functional.pad(y, (0, 0, 0, 0, 0, len(x) - n)) for n, (y, _) in zip(ends, results, strict=True)]
    states = zip(*(state for _, state in results), strict=True)
    return torch.cat(y, dim=1), tuple(torch.cat(parts, dim=1) for parts in states)


class TorchNNBackend(TorchBackend):
    """torch.nn's own layers, which have one form of the GRU."""

    options: frozenset[str] = frozenset(OPTIONS) - {"reset_before"}


BACKEND = TorchNNBackend("torch.nn", forward, oracle=True)

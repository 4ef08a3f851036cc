"""``torch.nn.RNN``, ``RNNCell``, ``LSTM`` and ``LSTMCell`` themselves, behind the contract, as an oracle.

The neutral layout is theirs, so the parameters go in by name through ``torch.func.functional_call``.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from common.layout import Weights
from common.spec import ModelSpec

from .backend import TorchBackend
from .stack import State, unroll


@cache
def module(spec: ModelSpec, device: torch.device) -> torch.nn.Module:
    """The module of this specification; its own weights are never used."""
    options: dict[str, Any] = {"bias": spec.bias, "device": device, "dtype": getattr(torch, spec.dtype)}
    if not spec.is_lstm:
        options["nonlinearity"] = spec.nonlinearity
    return getattr(torch.nn, spec.cell)(spec.input_size, spec.hidden_size, **options)


def forward(spec: ModelSpec, params: Mapping[str, Tensor], x: Tensor, state0: State) -> tuple[Tensor, State]:
    """x (T, B, I) and state0, each (1, B, H) -> y (T, B, H) and the final state; a cell is stepped T times."""
    layer, own = module(spec, x.device), dict(params)

    def call(x: Tensor, state: State) -> Any:
        return functional_call(layer, own, (x, state if spec.is_lstm else state[0]))

    def step(_: Weights, x_t: Tensor, state: State) -> State:
        new = call(x_t, state)
        return new if spec.is_lstm else (new,)

    if spec.is_cell:
        y, state = unroll(step, Weights(None, None), x, tuple(part[0] for part in state0))
        return y, tuple(part[None] for part in state)
    y, state = call(x, state0)
    return y, state if spec.is_lstm else (state,)


BACKEND = TorchBackend("torch.nn", forward, oracle=True)

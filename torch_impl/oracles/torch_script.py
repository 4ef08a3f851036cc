"""A layer of torch.nn as TorchScript, in a module that can be called.

A layer of torch.nn alone cannot be called once it is loaded, as its ``forward`` has two forms, of which one is chosen
where it is compiled into another module. The four modules here take x and a state, or x alone, as the layer does.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from common.model.spec import ModelSpec

# The attribute that holds the layer; options of a cell that are arguments of its class in torch.nn.
LAYER = "rnn"
ARGUMENTS = ("num_layers", "nonlinearity", "bidirectional", "proj_size")


class Holder(torch.nn.Module):
    def __init__(self, rnn: torch.nn.Module) -> None:
        super().__init__()
        self.rnn = rnn


class Layer(Holder):
    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.rnn(x, state)


class LayerWithMemory(Holder):
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self.rnn(x, state)


class Step(Holder):
    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        return self.rnn(x, state)


class StepWithMemory(Holder):
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self.rnn(x, state)


def script(spec: ModelSpec, params: Mapping[str, Tensor] | None = None) -> Any:
    """The module as TorchScript, with these parameters of the layer, or with any."""
    options: dict[str, Any] = {name: getattr(spec, name) for name in ARGUMENTS if name in spec.kind.options}
    layer = getattr(torch.nn, spec.cell)(
        spec.input_size, spec.hidden_size, bias=spec.bias, dtype=getattr(torch, spec.dtype), **options
    )
    if params is not None:
        layer.load_state_dict(params)
    kinds = ((Layer, LayerWithMemory), (Step, StepWithMemory))
    return torch.jit.script(kinds[spec.is_cell][len(spec.state_names) > 1](layer))

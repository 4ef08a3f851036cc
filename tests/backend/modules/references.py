"""torch.nn's own modules, with which those of the packages are compared, and the LSTM of 1997 made of its LSTM."""

from types import SimpleNamespace
from typing import Any

import torch
from torch.func import functional_call

from common.conversions.layers import OPEN


def held_open(module: Any, lstm: type[torch.nn.Module], arguments: tuple[Any, ...], **options: Any) -> Any:
    """A call of an LSTM whose forget gate is open and whose other gates have the parameters of the module."""
    params = dict(module.named_parameters(remove_duplicate=False))
    if not module.bias:
        params |= {name.replace("weight", "bias"): value[:, 0] * 0 for name, value in params.items()}
    gates = {name: value.chunk(3) for name, value in params.items()}
    fill = {name: OPEN if name.startswith("bias_ih") else 0 for name in gates}
    wide = {name: torch.cat([i, torch.full_like(i, fill[name]), g, o]) for name, (i, g, o) in gates.items()}
    options |= {"dtype": next(iter(wide.values())).dtype, "device": "meta"}  # so that it draws no numbers
    inner = lstm(module.input_size, module.hidden_size, **options)
    return functional_call(inner.train(module.training), wide, arguments)


class LSTM1997(torch.nn.GRU):
    """It has the arguments, the names and the shapes of a GRU, which also has three blocks, and another state."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        names = ("num_layers", "batch_first", "dropout", "bidirectional")
        return held_open(self, torch.nn.LSTM, (input, hx), **{name: getattr(self, name) for name in names})


class LSTM1997Cell(torch.nn.GRUCell):
    """One step of it."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return held_open(self, torch.nn.LSTMCell, (input, hx))


OWN = {name: getattr(torch.nn, name) for name in ("RNN", "RNNCell", "LSTM", "LSTMCell", "GRU", "GRUCell")}
MODULES = OWN | {"LSTM1997": LSTM1997, "LSTM1997Cell": LSTM1997Cell}
TORCH_NN = SimpleNamespace(**MODULES)

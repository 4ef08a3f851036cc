"""The four cells as ``torch.nn.Module``, with torch.nn's constructor arguments, call and names of parameters.

    rnn = RNN(3, 7)
    rnn.load_state_dict(torch.nn.RNN(3, 7).state_dict())
    y, h_n = rnn(x)              # x (T, B, 3) -> y (T, B, 7), h_n (1, B, 7)

The algorithm is this package's own; the precision of its matrix products (TF32) is what the process has set.
A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a TypeError).
"""

from typing import Any

import torch
from torch import Tensor, nn

from common.contract import check_supported
from common.errors import InvalidInput, InvalidType, mismatch
from common.face import core_input, core_state, face_state, layer_spec
from common.layout import initial_parameters, parameter_shapes
from common.spec import check_seed

from . import stack
from .backend import BACKEND


class _Module(nn.Module):
    """Parameters under torch's names, drawn from ``seed``, or from a seed of torch's own generator."""

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        device: Any,
        dtype: torch.dtype | None,
        seed: int | None,
        **options: Any,
    ):
        super().__init__()
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, torch.dtype):
            raise InvalidType(mismatch("dtype", "a torch.dtype", repr(dtype)))
        name = str(dtype).removeprefix("torch.")
        self.spec = layer_spec(cell, input_size, hidden_size, dtype=name, **options)
        check_supported(BACKEND, self.spec)
        if seed is None:
            seed = int(torch.randint(2**63 - 1, (), device="cpu"))
        check_seed(seed)
        for name, value in initial_parameters(self.spec, seed).items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, device=device)))

    def extra_repr(self) -> str:
        """The sizes, and the options that are not torch's defaults."""
        parts = [str(self.spec.input_size), str(self.spec.hidden_size)]
        if not self.spec.bias:
            parts.append("bias=False")
        if self.spec.nonlinearity != "tanh":
            parts.append(f"nonlinearity={self.spec.nonlinearity}")
        return ", ".join(parts)

    def _core(self, x: Tensor, hx: Any) -> tuple[Tensor, Any]:
        spec = self.spec
        # By attribute, not named_parameters(), which would drop a tensor that stands under two names.
        params = {name: getattr(self, name) for name in parameter_shapes(spec)}
        weight = next(iter(params.values()))
        x = core_input(spec, x, Tensor, weight.dtype)
        state0 = core_state(spec, "hx", hx, x.shape[1], Tensor, weight.dtype)
        for name, tensor in (("x", x), *(("hx", part) for part in state0 or ())):
            if tensor.device != weight.device:
                raise InvalidInput(mismatch(name, f"the parameters' device {weight.device}", tensor.device))
        if state0 is None:
            zero = x.new_zeros(spec.state_rows, x.shape[1], spec.hidden_size)
            state0 = (zero,) * len(spec.state_names)
        y, state = stack.forward(spec, params, x, state0)
        return y, face_state(spec, state)


class _Layer(_Module):
    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, H), the final state (1, B, H)."""
        return self._core(x, hx)


class _Cell(_Module):
    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """x (B, I) and the state (B, H), zeros where None -> the next state."""
        return self._core(x, hx)[1]


class RNN(_Layer):
    """``torch.nn.RNN``; ``hx`` and ``h_n`` are one tensor."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "nonlinearity": nonlinearity}
        super().__init__("RNN", input_size, hidden_size, device, dtype, seed, **options)


class LSTM(_Layer):
    """``torch.nn.LSTM``; ``hx`` and the final state are pairs (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "proj_size": proj_size}
        super().__init__("LSTM", input_size, hidden_size, device, dtype, seed, **options)


class RNNCell(_Cell):
    """``torch.nn.RNNCell``; the state is one tensor."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        options = {"bias": bias, "nonlinearity": nonlinearity}
        super().__init__("RNNCell", input_size, hidden_size, device, dtype, seed, **options)


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell``; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__("LSTMCell", input_size, hidden_size, device, dtype, seed, bias=bias)

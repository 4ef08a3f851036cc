"""The four cells with torch.nn's constructor arguments and call, in NumPy, with ``backward`` by hand.

    rnn = RNN(3, 5)
    y, h_n = rnn(x)              # x (T, B, 3) -> y (T, B, 5), h_n (1, B, 5)
    dx, dh_0 = rnn.backward(dy, dh_n)
    rnn.grads["weight_hh_l0"]    # (5, 5)

``backward`` belongs to the latest call, and sets ``grads`` anew: it does not add to them. A wrong argument
raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a TypeError).
"""

from typing import Any

import numpy as np

from common.contract import check_forward, check_vjp
from common.errors import InvalidInput, mismatch
from common.face import core_input, core_state, face_state, layer_spec
from common.layout import Parameters, check_parameters, initial_parameters
from common.spec import check_seed

from . import stack
from .backend import BACKEND


class _Module:
    """Parameters under the neutral names, drawn from ``seed``, and the tape of the latest call."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, seed: int, **options: Any):
        self.spec = layer_spec(cell, input_size, hidden_size, **options)
        check_seed(seed)
        self.params = initial_parameters(self.spec, seed)
        self.grads: Parameters = {}
        self._latest: tuple[Parameters, np.ndarray, list[Any]] | None = None

    def state_dict(self) -> Parameters:
        """Copies of the parameters under torch's names."""
        return {name: value.copy() for name, value in self.params.items()}

    def load_state_dict(self, params: Parameters) -> None:
        """Take over parameters (copied); the names, shapes and dtype must be this module's own."""
        check_parameters(self.spec, params)
        self.params = {name: value.copy() for name, value in params.items()}

    def _forward(self, x: np.ndarray, hx: Any) -> tuple[np.ndarray, Any]:
        x = core_input(self.spec, x, np.ndarray, self.spec.dtype)
        state0 = core_state(self.spec, "hx", hx, x.shape[1], np.ndarray, self.spec.dtype)
        state0 = check_forward(BACKEND, self.spec, self.params, x, state0)
        # The tape keeps x, a cell's initial state and y, and all three are the caller's to change afterwards.
        x, state0 = x.copy(), tuple(part.copy() for part in state0)
        y, state, tapes = stack.forward(self.spec, self.params, x, state0)
        self._latest = self.params, x, tapes
        return y.copy(), face_state(self.spec, state)

    def _backward(self, dy: np.ndarray | None, dhx: Any) -> tuple[np.ndarray, Any]:
        if self._latest is None:
            raise InvalidInput(mismatch("backward", "a call of the module before it", "none"))
        params, x, tapes = self._latest
        zero = np.zeros((self.spec.state_rows, x.shape[1], self.spec.hidden_size), self.spec.dtype)
        dstate = core_state(self.spec, "dhx", dhx, x.shape[1], np.ndarray, self.spec.dtype)
        dstate = (zero,) * len(self.spec.state_names) if dstate is None else dstate
        dy = zero if dy is None else dy
        check_vjp(self.spec, x, dy, dstate)
        self.grads, dx, dstate0 = stack.backward(self.spec, params, tapes, dy, dstate)
        return dx, face_state(self.spec, dstate0)


class _Layer(_Module):
    def __call__(self, x: np.ndarray, hx: Any = None) -> tuple[np.ndarray, Any]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, H), the final state (1, B, H)."""
        return self._forward(x, hx)

    def backward(self, dy: np.ndarray, dhx: Any = None) -> tuple[np.ndarray, Any]:
        """dL/dy and dL/d(final state), zero where None -> dL/dx and dL/d(initial state); sets ``grads``."""
        if dy is None:
            raise InvalidInput(mismatch("dy", "the gradient of y", None))
        return self._backward(dy, dhx)


class _Cell(_Module):
    def __call__(self, x: np.ndarray, hx: Any = None) -> Any:
        """x (B, I) and the state (B, H), zeros where None -> the next state."""
        return self._forward(x, hx)[1]

    def backward(self, dhx: Any) -> tuple[np.ndarray, Any]:
        """dL/d(next state) -> dL/dx and dL/d(state); sets ``grads``."""
        if dhx is None:
            raise InvalidInput(mismatch("dhx", "the gradient of the next state", None))
        dx, dstate0 = self._backward(None, dhx)
        return dx[0], dstate0


class RNN(_Layer):
    """``torch.nn.RNN`` in NumPy."""

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
        *,
        dtype: str = "float32",
        seed: int = 0,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "nonlinearity": nonlinearity, "dtype": dtype}
        super().__init__("RNN", input_size, hidden_size, seed, **options)


class LSTM(_Layer):
    """``torch.nn.LSTM`` in NumPy."""

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
        *,
        dtype: str = "float32",
        seed: int = 0,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "proj_size": proj_size, "dtype": dtype}
        super().__init__("LSTM", input_size, hidden_size, seed, **options)


class RNNCell(_Cell):
    """``torch.nn.RNNCell`` in NumPy."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: str = "float32",
        seed: int = 0,
    ):
        options = {"bias": bias, "nonlinearity": nonlinearity, "dtype": dtype}
        super().__init__("RNNCell", input_size, hidden_size, seed, **options)


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell`` in NumPy."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: str = "float32", seed: int = 0):
        super().__init__("LSTMCell", input_size, hidden_size, seed, bias=bias, dtype=dtype)

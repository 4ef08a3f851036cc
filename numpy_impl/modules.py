"""The four cells with torch.nn's constructor arguments and call, in NumPy, with ``backward`` by hand.

    rnn = RNN(3, 5)
    y, h_n = rnn(x)              # x (T, B, 3) -> y (T, B, 5), h_n (1, B, 5)
    dx, dh_0 = rnn.backward(dy, dh_n)
    rnn.grads["weight_hh_l0"]    # (5, 5)

``backward`` belongs to the latest call, and sets ``grads`` anew: it does not add to them.
"""

from typing import Any

import numpy as np

from common.contract import check_forward, check_vjp
from common.errors import InvalidInput, mismatch
from common.face import layer_spec, pack_state, unpack_state
from common.layout import Parameters, check_parameters, initial_parameters
from common.spec import ModelSpec

from . import stack
from .backend import BACKEND


class _Module:
    """Parameters under the neutral names, drawn from ``seed``, and the tape of the latest call."""

    def __init__(self, spec: ModelSpec, seed: int):
        self.spec = spec
        self.params = initial_parameters(spec, seed)
        self.grads: Parameters = {}
        self._latest: tuple[np.ndarray, list[Any]] | None = None

    def state_dict(self) -> Parameters:
        """Copies of the parameters under torch's names."""
        return {name: value.copy() for name, value in self.params.items()}

    def load_state_dict(self, params: Parameters) -> None:
        """Take over parameters (copied); the names, shapes and dtype must be this module's own."""
        check_parameters(self.spec, params)
        self.params = {name: value.copy() for name, value in params.items()}

    def _forward(self, x: np.ndarray, state0: tuple[np.ndarray, ...] | None) -> tuple[np.ndarray, Any]:
        state0 = check_forward(BACKEND, self.spec, self.params, x, state0)
        y, state, tapes = stack.forward(self.spec, self.params, x, state0)
        self._latest = x, tapes
        return y.copy(), state  # the tape keeps y, and the caller may change what it gets

    def _backward(self, dy: np.ndarray, dstate: tuple[np.ndarray, ...]) -> tuple[np.ndarray, Any]:
        if self._latest is None:
            raise InvalidInput(mismatch("backward", "a call of the module before it", "none"))
        x, tapes = self._latest
        check_vjp(self.spec, x, dy, dstate)
        self.grads, dx, dstate0 = stack.backward(self.spec, self.params, tapes, dy, dstate)
        return dx, dstate0


class _Layer(_Module):
    def __call__(self, x: np.ndarray, hx: Any = None) -> tuple[np.ndarray, Any]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, H) and the final state (1, B, H)."""
        y, state = self._forward(x, pack_state(self.spec, hx))
        return y, unpack_state(self.spec, state)

    def backward(self, dy: np.ndarray, dhx: Any = None) -> tuple[np.ndarray, Any]:
        """dL/dy and dL/d(final state), zero where None -> dL/dx and dL/d(initial state); sets ``grads``."""
        dstate = pack_state(self.spec, dhx)
        if dstate is None:
            dstate = (np.zeros((1, *np.shape(dy)[1:]), self.spec.dtype),) * len(self.spec.state_names)
        dx, dstate0 = self._backward(dy, dstate)
        return dx, unpack_state(self.spec, dstate0)


class _Cell(_Module):
    def __call__(self, x: np.ndarray, hx: Any = None) -> Any:
        """x (B, I) and the state (B, H), zeros where None -> the next state."""
        state = pack_state(self.spec, hx)
        state0 = None if state is None else tuple(_with_axis("hx", part) for part in state)
        _, final = self._forward(_with_axis("x", x), state0)
        return unpack_state(self.spec, tuple(part[0] for part in final))

    def backward(self, dhx: Any) -> tuple[np.ndarray, Any]:
        """dL/d(next state) -> dL/dx and dL/d(state); sets ``grads``."""
        if dhx is None:
            raise InvalidInput(mismatch("dhx", "the gradient of the next state", None))
        dstate = tuple(_with_axis("dhx", part) for part in pack_state(self.spec, dhx) or ())
        dx, dstate0 = self._backward(np.zeros_like(dstate[0]), dstate)
        return dx[0], unpack_state(self.spec, tuple(part[0] for part in dstate0))


def _with_axis(name: str, array: Any) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        got = f"shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InvalidInput(mismatch(name, "a numpy.ndarray with 2 axes, batch first", got))
    return array[None]


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
        options = {"num_layers": num_layers, "bias": bias, "dropout": dropout, "bidirectional": bidirectional}
        options |= {"nonlinearity": nonlinearity, "dtype": dtype}
        super().__init__(layer_spec("RNN", input_size, hidden_size, batch_first, **options), seed)


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
        options = {"num_layers": num_layers, "bias": bias, "dropout": dropout, "bidirectional": bidirectional}
        options |= {"proj_size": proj_size, "dtype": dtype}
        super().__init__(layer_spec("LSTM", input_size, hidden_size, batch_first, **options), seed)


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
        super().__init__(ModelSpec(cell="RNNCell", input_size=input_size, hidden_size=hidden_size, **options), seed)


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell`` in NumPy."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: str = "float32", seed: int = 0
    ):
        options = {"bias": bias, "dtype": dtype}
        super().__init__(ModelSpec(cell="LSTMCell", input_size=input_size, hidden_size=hidden_size, **options), seed)

"""The four cells with torch.nn's constructor arguments and call, in NumPy, with ``backward`` by hand.

>>> import numpy as np
>>> from numpy_impl import RNN
>>> rnn, x = RNN(3, 5), np.ones((7, 2, 3), "float32")  # x (T, B, I)
>>> y, h_n = rnn(x)
>>> y.shape, h_n.shape
((7, 2, 5), (1, 2, 5))
>>> dx, dh_0 = rnn.backward(np.ones_like(y), np.zeros_like(h_n))
>>> dx.shape, rnn.grads["weight_hh_l0"].shape
((7, 2, 3), (5, 5))

``backward`` belongs to the latest call, once, and sets ``grads`` anew: it does not add to them. Dropout acts between
layers until ``eval()`` is called. A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a
TypeError). Masked arrays are refused; other subclasses of ``numpy.ndarray`` are taken as plain arrays.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from common.backend.arrangement import Arrangement, arrange, enter_masks
from common.backend.guards import require_forward, require_supported, zero_state
from common.backend.module import SpecAttributes, constructor_text, dtype_name, layer_spec
from common.errors import InvalidInput, mismatch
from common.model.initial import dropout_masks, initial_parameters
from common.model.layout import Parameters
from common.model.validate import require_seed
from common.weights.arrays import loaded_parameters

from . import stack
from .backend import BACKEND


class _Latest(NamedTuple):
    """What ``backward`` needs of the latest call."""

    arrangement: Arrangement
    params: Parameters
    tape: stack.Tape


class _Module(SpecAttributes):
    """Parameters under the neutral names, drawn from ``seed``, as the dropout masks are, and the latest call."""

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, device: Any, dtype: Any, seed: int, **options: Any
    ):
        if device not in (None, "cpu"):
            raise InvalidInput(mismatch("device", "None or 'cpu' for NumPy", repr(device)))
        dtype = dtype_name(dtype)
        self.batch_first = options.get("batch_first", False)
        self.spec = layer_spec(cell, input_size, hidden_size, dtype=dtype, **options)
        require_supported(BACKEND, self.spec)
        require_seed(seed)
        self.params = initial_parameters(self.spec, seed)
        self.grads: Parameters = {}
        self.training = True
        self._rng = np.random.default_rng([seed, 3])
        self._latest: _Latest | None = None

    def __repr__(self) -> str:
        return f"{self.spec.cell}({constructor_text(self)})"

    def __getattr__(self, name: str) -> np.ndarray:
        """A parameter, as ``rnn.weight_hh_l0``."""
        if name in vars(self).get("params", ()):
            return self.params[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("params", ()):
            self.load_state_dict(self.params | {name: value})
        else:
            super().__setattr__(name, value)

    def train(self, mode: bool = True) -> Self:
        """Dropout on, or off; returns the module."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Dropout off; returns the module."""
        return self.train(False)

    def state_dict(self) -> Parameters:
        """Copies of the parameters under torch's names."""
        return {name: value.copy() for name, value in self.params.items()}

    def load_state_dict(self, params: Mapping[str, np.ndarray]) -> None:
        """Take over parameters (copied), as assigning to an attribute does; names and shapes must be this module's own.

        Arrays of NumPy and JAX, and tensors of torch, will do. A dtype that is exact in this module's is converted, as
        float32 in float64; one that can round, integers and complex numbers are refused (``common.model.dtypes``).
        """
        self.params = loaded_parameters(self.spec, params)

    def _forward(self, x: np.ndarray, hx: Any, lengths: Any = None, masks: Any = None) -> tuple[np.ndarray, Any]:
        spec = self.spec
        arrangement, x = arrange(spec, x, self.batch_first, np.ndarray, spec.dtype)
        lengths = arrangement.require_lengths(lengths)
        x = stack.steps_of(lengths, arrangement.steps, arrangement.batch).trim(x)  # the padding may hold anything
        if masks is not None:
            shape = spec.mask_shape(arrangement.steps, arrangement.batch)
            masks = enter_masks(spec, masks, shape, np.ndarray, spec.dtype)
        elif self.training and spec.dropout and spec.num_layers > 1:
            masks = dropout_masks(spec, arrangement.steps, arrangement.batch, self._rng)
        state0 = arrangement.enter_state("hx", hx)
        state0 = require_forward(BACKEND, spec, self.params, x, state0, lengths, masks)
        # Backward needs everything as it is now; the caller may change the originals afterwards, the parameters too.
        x, state0, masks = x.copy(), tuple(part.copy() for part in state0), None if masks is None else masks.copy()
        params = self.state_dict()
        y, state, tape = stack.forward(spec, params, x, state0, lengths, masks)
        self._latest = _Latest(arrangement, params, tape)
        return arrangement.leave(y).copy(), arrangement.leave_state(state)

    def _backward(self, dy: np.ndarray | None, dhx: Any) -> tuple[np.ndarray, Any]:
        if self._latest is None:
            cause = "each call has one backward; the latest call alone can be taken back"
            raise InvalidInput(mismatch("backward", "a call of the module before it", "none", cause))
        arrangement, params, tape = self._latest
        steps, batch = arrangement.steps, arrangement.batch
        dstate = arrangement.enter_state("dhx", dhx)
        dstate = zero_state(self.spec, batch) if dstate is None else dstate
        zero = np.zeros((steps, batch, self.spec.output_size), self.spec.dtype)
        dcore = zero if dy is None else arrangement.enter_output("dy", dy)
        self.grads, dx, dstate0 = stack.backward(self.spec, params, tape, dcore, dstate)
        self._latest = None
        return arrangement.leave(dx), arrangement.leave_state(dstate0)


class _Layer(_Module):
    def __call__(
        self, x: np.ndarray, hx: Any = None, *, lengths: Any = None, masks: np.ndarray | None = None
    ) -> tuple[np.ndarray, Any]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, D*H), the final state (D*L, B, H).

        x and y are (B, T, ...) with ``batch_first``, and (T, ...) without a batch. ``lengths`` (B,) are those of a
        ragged batch, as in ``torch.nn.utils.rnn.pack_padded_sequence``; one of 0 steps has y = 0 and keeps its state.
        ``masks`` (L-1, T, B, D*H) take the place of dropout's own (``common.model.layout.dropout_masks``).
        """
        return self._forward(x, hx, lengths, masks)

    def backward(self, dy: np.ndarray, dhx: Any = None) -> tuple[np.ndarray, Any]:
        """dL/dy and dL/d(final state), zero where None -> dL/dx and dL/d(initial state); sets ``grads``."""
        if dy is None:
            raise InvalidInput(mismatch("dy", "the gradient of y", None))
        return self._backward(dy, dhx)


class _Cell(_Module):
    def __call__(self, x: np.ndarray, hx: Any = None) -> Any:
        """x (B, I) or (I,) and the state (B, H) or (H,), zeros where None -> the next state."""
        return self._forward(x, hx)[1]

    def backward(self, dhx: Any) -> tuple[np.ndarray, Any]:
        """dL/d(next state) -> dL/dx and dL/d(state); sets ``grads``."""
        if dhx is None:
            raise InvalidInput(mismatch("dhx", "the gradient of the next state", None))
        return self._backward(None, dhx)


class RNN(_Layer):
    """``torch.nn.RNN`` in NumPy; ``hx`` and ``h_n`` are one array."""

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
        dtype: Any = None,
        *,
        seed: int = 0,
        proj_size: int = 0,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "nonlinearity": nonlinearity, "proj_size": proj_size}
        super().__init__("RNN", input_size, hidden_size, device, dtype, seed, **options)


class LSTM(_Layer):
    """``torch.nn.LSTM`` in NumPy; ``hx`` and the final state are pairs (h, c)."""

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
        dtype: Any = None,
        *,
        seed: int = 0,
        forget_bias: float | None = None,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "proj_size": proj_size, "forget_bias": forget_bias}
        super().__init__("LSTM", input_size, hidden_size, device, dtype, seed, **options)


class RNNCell(_Cell):
    """``torch.nn.RNNCell`` in NumPy; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        seed: int = 0,
    ):
        options = {"bias": bias, "nonlinearity": nonlinearity}
        super().__init__("RNNCell", input_size, hidden_size, device, dtype, seed, **options)


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell`` in NumPy; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        seed: int = 0,
        forget_bias: float | None = None,
    ):
        options = {"bias": bias, "forget_bias": forget_bias}
        super().__init__("LSTMCell", input_size, hidden_size, device, dtype, seed, **options)

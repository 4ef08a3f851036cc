"""The four cells as ``flax.nnx.Module``, with torch.nn's constructor arguments, call and names of parameters.

    rnn = RNN(3, 7, rngs=nnx.Rngs(0))
    y, h_n = rnn(x)              # x (T, B, 3) -> y (T, B, 7), h_n (1, B, 7)
    rnn.weight_hh_l0             # nnx.Param (7, 7)

The initial values are those of ``common.layout.initial_parameters``, whose seed is the key ``rngs.params()``
read as one little-endian integer. The precision of matrix products (TF32) is what the process has set.
A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a TypeError), while tracing too.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from common.contract import check_supported
from common.errors import InvalidInput, InvalidType, mismatch
from common.face import core_input, core_state, face_state, layer_spec
from common.layout import Parameters, check_parameters, initial_parameters, parameter_shapes
from common.spec import ModelSpec

from . import stack
from .backend import BACKEND


class _Module(nnx.Module):
    """Parameters under the neutral names, each an ``nnx.Param``."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, dtype: Any, rngs: nnx.Rngs, **options: Any):
        if dtype is not None and not isinstance(dtype, str):
            dtype = np.dtype(dtype).name  # jnp.float32; None would be float64
        self.spec = layer_spec(cell, input_size, hidden_size, dtype=dtype, **options)
        check_supported(BACKEND, self.spec)
        check_x64(self.spec.dtype)
        if not isinstance(rngs, nnx.Rngs):
            raise InvalidType(mismatch("rngs", "an nnx.Rngs", type(rngs).__name__))
        for name, value in draw(self.spec, rngs.params()).items():
            setattr(self, name, nnx.Param(value))

    def state_dict(self) -> Parameters:
        """The parameters as NumPy arrays under the neutral names."""
        return {name: np.array(getattr(self, name).get_value()) for name in parameter_shapes(self.spec)}

    def load_state_dict(self, params: Mapping[str, np.ndarray]) -> None:
        """Take over NumPy parameters; the names, shapes and dtype must be this module's own."""
        check_parameters(self.spec, params)
        for name in parameter_shapes(self.spec):
            getattr(self, name).set_value(jnp.array(params[name]))

    def _core(self, x: Any, hx: Any) -> tuple[jax.Array, Any]:
        spec = self.spec
        params = {name: getattr(self, name).get_value() for name in parameter_shapes(spec)}
        dtype = next(iter(params.values())).dtype
        check_x64(dtype)
        x = jnp.asarray(core_input(spec, x, jax.Array | np.ndarray, dtype))
        state0 = core_state(spec, "hx", hx, x.shape[1], jax.Array | np.ndarray, dtype)
        if state0 is None:
            zero = jnp.zeros((spec.state_rows, x.shape[1], spec.hidden_size), dtype)
            state0 = (zero,) * len(spec.state_names)
        y, state = stack.forward(spec, params, x, tuple(jnp.asarray(part) for part in state0))
        return y, face_state(spec, state)


def draw(spec: ModelSpec, key: jax.Array) -> dict[str, jax.Array]:
    """The initial parameters for a key; by a callback, so that a module can be built while tracing."""

    def initial(words: Any) -> Parameters:
        return initial_parameters(spec, int.from_bytes(np.asarray(words).astype("<u4").tobytes(), "little"))

    shapes = {name: jax.ShapeDtypeStruct(shape, spec.dtype) for name, shape in parameter_shapes(spec).items()}
    return jax.pure_callback(initial, shapes, jax.random.key_data(key), vmap_method="sequential")


def check_x64(dtype: Any) -> None:
    """Refuse float64 where JAX would make it float32 without a word."""
    if dtype == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore
        cause = "run jax.config.update('jax_enable_x64', True) before the first use of JAX"
        raise InvalidInput(mismatch("dtype", "float32, as 64-bit types are off in JAX", "float64", cause))


class _Layer(_Module):
    def __call__(self, x: Any, hx: Any = None) -> tuple[jax.Array, Any]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, H), the final state (1, B, H)."""
        return self._core(x, hx)


class _Cell(_Module):
    def __call__(self, x: Any, hx: Any = None) -> Any:
        """x (B, I) and the state (B, H), zeros where None -> the next state."""
        return self._core(x, hx)[1]


class RNN(_Layer):
    """``torch.nn.RNN`` in JAX; ``hx`` and ``h_n`` are one array."""

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
        dtype: Any = "float32",
        rngs: nnx.Rngs,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "nonlinearity": nonlinearity}
        super().__init__("RNN", input_size, hidden_size, dtype, rngs, **options)


class LSTM(_Layer):
    """``torch.nn.LSTM`` in JAX; ``hx`` and the final state are pairs (h, c)."""

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
        dtype: Any = "float32",
        rngs: nnx.Rngs,
    ):
        options = {"num_layers": num_layers, "bias": bias, "batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "proj_size": proj_size}
        super().__init__("LSTM", input_size, hidden_size, dtype, rngs, **options)


class RNNCell(_Cell):
    """``torch.nn.RNNCell`` in JAX; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = "float32",
        rngs: nnx.Rngs,
    ):
        options = {"bias": bias, "nonlinearity": nonlinearity}
        super().__init__("RNNCell", input_size, hidden_size, dtype, rngs, **options)


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell`` in JAX; the state is a pair (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = "float32", rngs: nnx.Rngs):
        super().__init__("LSTMCell", input_size, hidden_size, dtype, rngs, bias=bias)

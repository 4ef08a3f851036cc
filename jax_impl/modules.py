"""The cells as ``flax.nnx.Module``, with torch.nn's constructor arguments, call and names of parameters.

>>> import jax.numpy as jnp
>>> from flax import nnx
>>> from jax_impl import RNN
>>> rnn, x = RNN(3, 5, rngs=nnx.Rngs(0)), jnp.ones((7, 2, 3))  # x (T, B, I)
>>> y, h_n = rnn(x)
>>> y.shape, h_n.shape
((7, 2, 5), (1, 2, 5))
>>> grads = nnx.grad(lambda rnn: rnn(x)[0].sum())(rnn)
>>> grads["weight_hh_l0"].shape
(5, 5)

The initial values are those of ``common.model.initial.initial_parameters``, whose seed is the key ``rngs.params()``
read as one little-endian integer. Dropout draws from ``rngs.dropout``, until ``eval()`` is called, and not in
``nnx.view(module, deterministic=True)``. The precision of matrix products (TF32) is what the process has set.

``dtype`` is that of the parameters, as torch's and as Flax's ``param_dtype``. A call computes in the dtype to which
parameters, x and hx promote, and returns that, as Flax's cells do without a ``dtype`` of their own: integers and
booleans become that of the parameters, and bfloat16 with float32 becomes float32 (``jax_impl.promotion``).

``FlaxCell`` makes a cell one of Flax's, for ``nnx.RNN`` and ``nnx.Bidirectional``; ``from_nnx`` and ``to_nnx`` exchange
parameters with nnx's own cells.

A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a TypeError), while tracing too.
"""

from typing import Any

from flax import nnx

from .base import Layer, Step


class RNN(Layer):
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
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
        proj_size: int = 0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("RNN", locals())


class LSTM(Layer):
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
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
        forget_bias: float | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("LSTM", locals())


class RNNCell(Step):
    """``torch.nn.RNNCell`` in JAX; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
    ):
        super().__init__("RNNCell", locals())


class LSTMCell(Step):
    """``torch.nn.LSTMCell`` in JAX; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
        forget_bias: float | None = None,
    ):
        super().__init__("LSTMCell", locals())


class GRU(Layer):
    """``torch.nn.GRU`` in JAX; ``hx`` and ``h_n`` are one array.

    ``reset_after=False`` is the form of Cho et al. 2014, which torch.nn does not have (``ModelSpec``).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
        reset_after: bool = True,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("GRU", locals())


class GRUCell(Step):
    """``torch.nn.GRUCell`` in JAX; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
        reset_after: bool = True,
    ):
        super().__init__("GRUCell", locals())


class LSTM1997(Layer):
    """The LSTM without a forget gate, with the arguments of ``torch.nn.GRU``; states are pairs (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("LSTM1997", locals())


class LSTM1997Cell(Step):
    """One step of it; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        rngs: nnx.Rngs,
    ):
        super().__init__("LSTM1997Cell", locals())

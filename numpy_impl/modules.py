"""The cells with torch.nn's constructor arguments and call, in NumPy, with ``backward`` by hand.

>>> import numpy as np
>>> from numpy_impl import RNN
>>> rnn, x = RNN(3, 5), np.ones((7, 2, 3), "float32")  # x (T, B, I)
>>> y, h_n = rnn(x)
>>> y.shape, h_n.shape
((7, 2, 5), (1, 2, 5))
>>> dx, dh_0 = rnn.backward(np.ones_like(y), np.zeros_like(h_n))
>>> dx.shape, rnn.grads["weight_hh_l0"].shape
((7, 2, 3), (5, 5))

``backward`` differentiates the latest call, once, and replaces ``grads``: it does not add to them. Dropout acts between
layers until ``eval()`` is called. A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a
TypeError), and so does a wrong parameter where it is loaded or assigned (``parameters``). Masked arrays are refused;
other subclasses of ``numpy.ndarray`` are taken as plain arrays.
"""

from typing import Any

from .base import Cell, Layer


class RNN(Layer):
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
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("RNN", locals())


class LSTM(Layer):
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
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("LSTM", locals())


class RNNCell(Cell):
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
        super().__init__("RNNCell", locals())


class LSTMCell(Cell):
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
        super().__init__("LSTMCell", locals())


class GRU(Layer):
    """``torch.nn.GRU`` in NumPy; ``hx`` and ``h_n`` are one array.

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
        seed: int = 0,
        reset_after: bool = True,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("GRU", locals())


class GRUCell(Cell):
    """``torch.nn.GRUCell`` in NumPy; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        seed: int = 0,
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
        seed: int = 0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("LSTM1997", locals())


class LSTM1997Cell(Cell):
    """One step of it; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        seed: int = 0,
    ):
        super().__init__("LSTM1997Cell", locals())

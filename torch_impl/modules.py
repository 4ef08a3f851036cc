"""The cells as ``torch.nn.Module``, with torch.nn's constructor arguments, call and names of parameters.

>>> import torch
>>> from torch_impl import RNN
>>> rnn, reference, x = RNN(3, 5), torch.nn.RNN(3, 5), torch.ones(7, 2, 3)  # x (T, B, I)
>>> rnn.load_state_dict(reference.state_dict())
<All keys matched successfully>
>>> torch.allclose(rnn(x)[0], reference(x)[0], atol=1e-6)
True

The algorithm is this package's own; the precision of its matrix products (TF32) is what the process has set.
A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a TypeError); for x and a state these are
RuntimeErrors too, as torch's are. README.md says what differs from torch.nn. What all modules share is in ``base``.
"""

from typing import Any

import torch

from .base import Cell, Layer


class RNN(Layer):
    """``torch.nn.RNN``; ``hx`` and ``h_n`` are one array."""

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
        proj_size: int = 0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("RNN", locals())


class LSTM(Layer):
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
        forget_bias: float | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("LSTM", locals())


class RNNCell(Cell):
    """``torch.nn.RNNCell``; the state is one array."""

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
        super().__init__("RNNCell", locals())


class LSTMCell(Cell):
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
        forget_bias: float | None = None,
    ):
        super().__init__("LSTMCell", locals())


class GRU(Layer):
    """``torch.nn.GRU``; ``hx`` and ``h_n`` are one array.

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
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
        reset_after: bool = True,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ):
        super().__init__("GRU", locals())


class GRUCell(Cell):
    """``torch.nn.GRUCell``; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
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
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
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
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__("LSTM1997Cell", locals())

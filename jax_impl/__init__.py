"""The cells in JAX: pure functions under ``lax.scan``, differentiated by JAX.

``rnn_cell``, ``lstm_cell``, ``gru_cell`` and ``lstm1997_cell`` are one step, ``elman``, ``lstm``, ``gru`` and
``lstm1997`` a whole sequence; ``stack`` adds layers, directions and dropout, and ``ragged`` freezes the steps past the
end of a sequence. ``embedding``, ``readout``, ``network``, ``optim`` and ``trainer`` train; ``backend`` answers the
contract, ``native`` goes between NumPy and JAX arrays, and ``trace`` follows one example. ``modules`` are the classes
below, of which ``load`` makes one from a file of weights; ``base`` and ``promotion`` are what they share, ``flax_cell``
lets ``nnx.RNN`` take a cell, and ``nnx_weights`` exchanges parameters with nnx's own cells. ``oracles`` adapt the
framework's own layers.
"""

from .flax_cell import FlaxCell
from .loading import load
from .modules import GRU, LSTM, LSTM1997, RNN, GRUCell, LSTM1997Cell, LSTMCell, RNNCell
from .nnx_weights import from_nnx, to_nnx

__all__ = [
    "GRU",
    "LSTM",
    "LSTM1997",
    "RNN",
    "FlaxCell",
    "GRUCell",
    "LSTM1997Cell",
    "LSTMCell",
    "RNNCell",
    "from_nnx",
    "load",
    "to_nnx",
]

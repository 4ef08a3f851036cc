"""The four cells in JAX: pure functions under ``lax.scan``, differentiated by JAX.

``rnn_cell`` and ``lstm_cell`` are one step, ``elman`` and ``lstm`` a whole sequence; ``stack`` adds layers, directions
and dropout, and ``ragged`` freezes the steps past the end of a sequence. ``embedding``, ``readout``, ``network``,
``optim`` and ``trainer`` train; ``backend`` answers the contract, ``native`` goes between NumPy and JAX arrays,
``base`` and ``promotion`` are what the classes below share, ``modules`` are these, and ``trace`` follows one example.
``flax_cell`` lets ``nnx.RNN`` take a cell, and ``nnx_weights`` exchanges parameters with nnx's own cells. ``oracles``
adapt the framework's own layers.
"""

from .flax_cell import FlaxCell
from .modules import LSTM, RNN, LSTMCell, RNNCell
from .nnx_weights import from_nnx, to_nnx

__all__ = ["LSTM", "RNN", "FlaxCell", "LSTMCell", "RNNCell", "from_nnx", "to_nnx"]

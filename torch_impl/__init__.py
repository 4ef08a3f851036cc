"""The cells in PyTorch, from matrix products and elementwise functions, differentiated by autograd.

``rnn_cell``, ``lstm_cell``, ``gru_cell`` and ``lstm1997_cell`` are one step, ``elman``, ``lstm``, ``gru`` and
``lstm1997`` a whole sequence; ``stack`` adds layers, directions and dropout, and ``ragged`` freezes the steps past the
end of a sequence. ``embedding``, ``readout``, ``network``, ``optim`` and ``trainer`` train; ``backend`` answers the
contract, ``native`` goes between NumPy arrays and tensors, ``modules`` are the classes below, of which ``load`` makes
one from a file of weights, and ``trace`` follows one example. ``oracles`` adapt the framework's own layers.
"""

from .loading import load
from .modules import GRU, LSTM, LSTM1997, RNN, GRUCell, LSTM1997Cell, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "LSTM1997", "RNN", "GRUCell", "LSTM1997Cell", "LSTMCell", "RNNCell", "load"]

"""The cells in NumPy, with back-propagation through time by hand; DERIVATION.md holds the equations.

``rnn_cell``, ``lstm_cell``, ``gru_cell`` and ``lstm1997_cell`` are one step, ``elman``, ``lstm``, ``gru`` and
``lstm1997`` a whole sequence, each forward and backward in one file; ``unroll`` applies a step T times, and ``stack``
adds layers, directions, dropout and ragged batches. ``embedding``, ``readout``, ``network``, ``optim`` and ``trainer``
train; ``backend`` answers the contract, and ``modules`` are the classes below, of which ``load`` makes one from a file
of weights. ``trace`` follows one example, and ``one_bias`` is the home-made cell with a single bias.
"""

from .loading import load
from .modules import GRU, LSTM, LSTM1997, RNN, GRUCell, LSTM1997Cell, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "LSTM1997", "RNN", "GRUCell", "LSTM1997Cell", "LSTMCell", "RNNCell", "load"]

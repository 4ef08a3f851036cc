"""The four cells in NumPy, with back-propagation through time by hand; DERIVATION.md holds the equations.

``rnn_cell`` and ``lstm_cell`` are one step, ``elman`` and ``lstm`` a whole sequence, each forward and backward in one
file; ``unroll`` applies a step T times, and ``stack`` adds layers, directions, dropout and ragged batches.
``embedding``, ``readout``, ``network``, ``optim`` and ``trainer`` train; ``backend`` answers the contract, and
``modules`` are the classes below. ``trace`` follows one example, and ``one_bias`` is the home-made cell with a single
bias.
"""

from .modules import LSTM, RNN, LSTMCell, RNNCell

__all__ = ["LSTM", "RNN", "LSTMCell", "RNNCell"]

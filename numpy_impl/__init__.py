"""The four cells in NumPy, with back-propagation through time by hand; DERIVATION.md holds the equations."""

from .modules import LSTM, RNN, LSTMCell, RNNCell

__all__ = ["LSTM", "RNN", "LSTMCell", "RNNCell"]

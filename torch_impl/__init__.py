"""The four cells in PyTorch, from matrix products and elementwise functions, differentiated by autograd."""

from .modules import LSTM, RNN, LSTMCell, RNNCell

__all__ = ["LSTM", "RNN", "LSTMCell", "RNNCell"]

"""The four cells in JAX: pure functions under ``lax.scan``, differentiated by JAX."""

from .modules import LSTM, RNN, LSTMCell, RNNCell

__all__ = ["LSTM", "RNN", "LSTMCell", "RNNCell"]

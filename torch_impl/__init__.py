"""The four cells in PyTorch, from matrix products and elementwise functions, differentiated by autograd.

``rnn_cell`` and ``lstm_cell`` are one step, ``elman`` and ``lstm`` a whole sequence; ``stack`` adds layers, directions
and dropout, and ``ragged`` freezes the steps past the end of a sequence. ``embedding``, ``readout``, ``network``,
``optim`` and ``trainer`` train; ``backend`` answers the contract, ``native`` goes between NumPy arrays and tensors,
``modules`` are the classes below, and ``trace`` follows one example. ``oracles`` adapt the framework's own layers.
"""

from .modules import LSTM, RNN, LSTMCell, RNNCell

__all__ = ["LSTM", "RNN", "LSTMCell", "RNNCell"]

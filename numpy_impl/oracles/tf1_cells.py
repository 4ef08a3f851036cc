"""The cells of TensorFlow 1, transcribed from their documentation: this is a transcription and not TensorFlow.

``tf.compat.v1.nn.rnn_cell`` cannot be imported beside Keras 3, and TensorFlow weighs over a gigabyte, so the equations
of ``BasicRNNCell``, ``BasicLSTMCell``, ``LSTMCell`` (with ``num_proj``, without peepholes), ``GRUCell`` and
``CudnnCompatibleGRUCell``, and what ``dynamic_rnn`` and ``bidirectional_dynamic_rnn`` do with ``sequence_length``, are
written down here, apart from everything else in the project: no converter and no cell of ours takes part. Tests hold it
to numbers that TensorFlow 2.21 computed (the last of these cells, which it no longer has, excepted). It computes no
gradients.

A kernel is that of [x, h] side by side; the blocks of an LSTM are i, j, f, o, and ``forget_bias`` is added to f; the
state of an LSTM is (c, h) in TensorFlow and (h, c) here, as in ``common.weights.peers``.
"""

import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import DTYPES, ModelSpec
from common.weights.source import Found

State = tuple[np.ndarray, ...]
Variables = Mapping[str, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * a))


def relu(a: np.ndarray) -> np.ndarray:
    return np.maximum(a, 0)


def basic_rnn_cell(v: Variables, x: np.ndarray, state: State, activation: Callable[[Any], Any] = np.tanh) -> State:
    (h,) = state
    return (activation(np.concatenate([x, h], axis=1) @ v["kernel"] + v["bias"]),)


def lstm_cell(v: Variables, x: np.ndarray, state: State, forget_bias: float) -> State:
    h, c = state
    i, j, f, o = np.split(np.concatenate([x, h], axis=1) @ v["kernel"] + v["bias"], 4, axis=1)
    c = sigmoid(f + forget_bias) * c + sigmoid(i) * np.tanh(j)
    h = sigmoid(o) * np.tanh(c)
    return (h @ v["projection/kernel"] if "projection/kernel" in v else h), c


def gru_cell(v: Variables, x: np.ndarray, state: State) -> State:
    (h,) = state
    r, u = np.split(sigmoid(np.concatenate([x, h], axis=1) @ v["gates/kernel"] + v["gates/bias"]), 2, axis=1)
    candidate = np.tanh(np.concatenate([x, r * h], axis=1) @ v["candidate/kernel"] + v["candidate/bias"])
    return (u * h + (1 - u) * candidate,)


def cudnn_compatible_gru_cell(v: Variables, x: np.ndarray, state: State) -> State:
    (h,) = state
    r, u = np.split(sigmoid(np.concatenate([x, h], axis=1) @ v["gates/kernel"] + v["gates/bias"]), 2, axis=1)
    of_x = x @ v["candidate/input_projection/kernel"] + v["candidate/input_projection/bias"]
    of_h = h @ v["candidate/hidden_projection/kernel"] + v["candidate/hidden_projection/bias"]
    return ((1 - u) * np.tanh(of_x + r * of_h) + u * h,)


CELLS: dict[str, Callable[[Variables, Any, State], State]] = {
    "tf1 RNN": basic_rnn_cell,
    "tf1 LSTM": lambda v, x, state: lstm_cell(v, x, state, 1.0),
    "tf1 LSTM, forget_bias=0": lambda v, x, state: lstm_cell(v, x, state, 0.0),
    "tf1 GRU": gru_cell,
    "tf1 GRU, CuDNN": cudnn_compatible_gru_cell,
}


class Graph:
    """A model of these cells; see ``common.weights.peers.Loaded``."""

    def __init__(self, spec: ModelSpec, layout: str, variables: Mapping[str, Variables]):
        self.spec, self.variables, self.cell = spec, variables, CELLS[layout]
        if spec.nonlinearity == "relu":
            self.cell = partial(basic_rnn_cell, activation=relu)

    def forward(self, x: np.ndarray, state0: State, lengths: np.ndarray | None = None) -> tuple[np.ndarray, State]:
        ends = np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)
        finals, outputs = [], []
        for row, suffix in enumerate(layer_suffixes(self.spec)):
            reverse = row % self.spec.num_directions == 1
            inputs = reverse_sequence(x, ends) if reverse else x
            y, final = self.dynamic_rnn(self.variables[suffix], inputs, tuple(part[row] for part in state0), ends)
            finals.append(final)
            outputs.append(reverse_sequence(y, ends) if reverse else y)
            if len(outputs) == self.spec.num_directions:
                x, outputs = np.concatenate(outputs, axis=2), []
        return x, tuple(np.stack(parts) for parts in zip(*finals, strict=True))

    def dynamic_rnn(self, v: Variables, x: np.ndarray, state: State, ends: np.ndarray) -> tuple[np.ndarray, State]:
        """Past the end of a sequence, the output is 0 and the state is copied through."""
        outputs = []
        for t, step in enumerate(x):
            runs = (t < ends)[:, None]
            after = self.cell(v, step, state)
            outputs.append(np.where(runs, after[0], 0))
            state = tuple(np.where(runs, new, old) for new, old in zip(after, state, strict=True))
        return np.stack(outputs), state

    def vjp(self, *_: object, **__: object) -> NoReturn:
        raise InvalidInput(mismatch("call", "forward", "vjp", "this transcription computes no gradients"))


def reverse_sequence(x: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Each sequence turned around within its length."""
    turned = x.copy()
    for example, end in enumerate(ends):
        turned[:end, example] = x[:end, example][::-1]
    return turned


class Tf1Peer:
    """See ``common.weights.peers.Peer``."""

    name = "tf1 (a transcription)"
    dtypes = frozenset(DTYPES)
    options = frozenset({"num_layers", "bidirectional", "proj_size", "lengths", "reset_before"})
    has_gradients = False

    def versions(self) -> dict[str, str]:
        return {"TensorFlow 1's cells": "a transcription, not TensorFlow", "numpy": np.__version__}

    def load(self, path: Path, layer: Found) -> Graph:
        assert layer.spec is not None, layer.problem
        if not zipfile.is_zipfile(path):
            raise InvalidInput(mismatch("file for numpy.load", "an .npz, which needs no pickle", path))
        with np.load(path, allow_pickle=False) as file:
            variables = {
                suffix: {part: file[name] for part, name in names.items()} for suffix, names in layer.where.items()
            }
        return Graph(layer.spec, layer.layout, variables)


PEER = Tf1Peer()

"""Keras' own layers, as Keras itself has loaded them from a file, run on PyTorch: a peer.

Keras 3 has no layers over cuDNN: their arrays go into its LSTM or GRU by the transformation that Keras 2 applies on
loading (``preprocess_weights_for_loading`` in ``keras/engine/saving.py`` of Keras 2.3), which is written out in
``from_cudnn``. No converter of the project takes part; of the layer that our readers found, the peer uses the
specification and the names of its arrays.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import InvalidInput, mismatch
from common.model.spec import ModelSpec
from common.weights.peers import PeerGradients
from common.weights.peers import State as Arrays
from common.weights.source import Found

from .keras_files import BIT64_TO_BIT32_DTYPE, Level, as_keras_wants, cells_of, h5py, keras, levels


class KerasPeer:
    """See ``common.weights.peers.Peer``."""

    name = "keras"
    dtypes = frozenset({"float32", "float64"})
    options = frozenset({"num_layers", "bidirectional", "lengths", "reset_before"})
    has_gradients = True

    def versions(self) -> dict[str, str]:
        return {"keras": keras.__version__, "h5py": h5py.__version__, "torch": torch.__version__.partition("+")[0]}

    def load(self, path: Path, layer: Found) -> "KerasLayer":
        """Raises ``InvalidInput`` for a file that Keras refuses."""
        assert layer.spec is not None
        try:
            with keras.device("cpu"), as_keras_wants(path) as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return KerasLayer(layer.spec, list(levels(file, layer)))
        except (TypeError, ValueError, KeyError, LookupError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InvalidInput(mismatch(f"{path}", "a file that Keras can load by itself", reason)) from error


def from_cudnn(kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor, kind: str) -> dict[str, Tensor]:
    """Keras 2's transformation of the arrays of CuDNNLSTM or CuDNNGRU into those of LSTM, or GRU with reset_after.

    Each gate's block of the kernel is transposed and reshaped in Fortran's order, each of the recurrent kernel
    transposed; the two halves of the bias are added, or become its two rows.
    """
    gates = {"LSTM": 4, "GRU": 3}[kind]

    def reshaped(block: Tensor) -> Tensor:  # block.T.reshape(block.shape, order="F")
        return block.T.permute(1, 0).reshape(block.shape[::-1]).permute(1, 0)

    halves = bias.reshape(2, -1)
    return {
        "kernel": torch.cat([reshaped(block) for block in kernel.chunk(gates, 1)], 1),
        "recurrent_kernel": torch.cat([block.T for block in recurrent_kernel.chunk(gates, 1)], 1),
        "bias": halves.sum(0) if kind == "LSTM" else halves,
    }


class KerasLayer:
    """Keras' layers, one for each level, called with initial states and, for lengths, a mask."""

    def __init__(self, spec: ModelSpec, levels: Sequence[Level]):
        self.spec, self.levels = spec, levels
        for level in levels:
            for one in (level.layer, *level.layer._flatten_layers()):
                one.dtype_policy = spec.dtype
                if isinstance(one, keras.layers.RNN | keras.layers.Bidirectional):
                    one.return_sequences = one.return_state = True
                    one.stateful = False
                if isinstance(one, keras.layers.RNN):
                    one.zero_output_for_mask = True

    def forward(self, x: np.ndarray, state0: Arrays, lengths: np.ndarray | None = None) -> tuple[np.ndarray, Arrays]:
        with torch.no_grad(), self._settings():
            values = {name: _tensor(value) for level in self.levels for name, value in level.variables.items()}
            y, finals = self._run(values, torch.tensor(x), [torch.tensor(part) for part in state0], lengths)
        return y.numpy(), tuple(part.numpy() for part in finals)

    def vjp(
        self, x: np.ndarray, state0: Arrays, dy: np.ndarray, dstate: Arrays, lengths: np.ndarray | None = None
    ) -> PeerGradients:
        with torch.enable_grad(), self._settings():
            leaves = {
                name: _tensor(value).requires_grad_()
                for level in self.levels
                for name, value in level.variables.items()
            }
            inputs = [torch.tensor(part).requires_grad_() for part in (x, *state0)]
            y, finals = self._run(leaves, inputs[0], inputs[1:], lengths)
            given = [torch.tensor(part) for part in (dy, *dstate)]
            grads = torch.autograd.grad((y, *finals), (*leaves.values(), *inputs), given)
        found = [part.numpy() for part in grads]
        arrays = dict(zip(leaves, found, strict=False))
        return PeerGradients(arrays, found[len(leaves)], tuple(found[len(leaves) + 1 :]))

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """On the CPU, and in the dtype of the layer: Keras computes products of float64 in float32 unless this table
        of its own, which has the entry for TensorFlow, says otherwise."""
        before = BIT64_TO_BIT32_DTYPE["float64"]
        BIT64_TO_BIT32_DTYPE["float64"] = "float64"
        try:
            with keras.device("cpu"):
                yield
        finally:
            BIT64_TO_BIT32_DTYPE["float64"] = before

    def _run(
        self, values: Mapping[str, Tensor], x: Tensor, state0: Sequence[Tensor], lengths: np.ndarray | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        wide, y, finals = self.spec.num_directions, x.transpose(0, 1), []
        mask = None if lengths is None else torch.arange(len(x))[None] < torch.tensor(lengths)[:, None]
        for number, level in enumerate(self.levels):
            rows = range(number * wide, (number + 1) * wide)
            initial = [part[row] for row in rows for part in state0]
            with keras.StatelessScope(state_mapping=self._mapping(level, values)):
                y, *last = level.layer(y, initial_state=initial, mask=mask, training=False)
            last = [part for one in last for part in (one if isinstance(one, list | tuple) else (one,))]
            finals += [last[k * len(state0) : (k + 1) * len(state0)] for k in range(wide)]
        stacked = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        return y.transpose(0, 1), stacked

    def _mapping(self, level: Level, values: Mapping[str, Tensor]) -> list[tuple[Any, Tensor]]:
        """Variable -> what it holds during a call."""
        if not level.given:
            return [(variable, values[name]) for name, variable in level.variables.items()]
        mapping = []
        for cell, parts in zip(cells_of(level.layer), level.given, strict=True):
            arrays = from_cudnn(kind=self.spec.kind.layer, **{part: values[name] for part, name in parts.items()})
            mapping += [(getattr(cell, part), value) for part, value in arrays.items()]
        return mapping


def _tensor(value: Any) -> Tensor:
    """A tensor of its own with the values of a variable or tensor."""
    return (value if isinstance(value, Tensor) else value.value).detach().clone()


KERAS = KerasPeer()

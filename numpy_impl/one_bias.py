"""The Elman network with one bias, ``tanh(Linear([x, h]))``, as home-made RNNs are usually written.

It computes the same function as the cell with two biases, and the same gradient of everything except the bias it lacks.
It does not train in the same way: gradient descent moves the sum of two biases twice as far as one. This backend takes
and gives the neutral parameters and trains its own, so that both halves of that sentence can be shown.
Equations: DERIVATION.md, 6.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Batch, State
from common.conversions.layers import OneBias, from_one_bias, to_one_bias
from common.errors import InvalidInput, mismatch
from common.model.layout import Parameters, join_network, layer_suffixes, layer_weights, named_weights, split_network
from common.model.run import RunSpec
from common.model.spec import ModelSpec

from .backend import NumpyBackend
from .network import Core
from .rnn_cell import NONLINEARITIES
from .trainer import NumpyTrainer


class Tape(NamedTuple):
    """What one backward step needs: xh = [x, h_prev] (B, I+H) and h (B, H)."""

    xh: np.ndarray
    h: np.ndarray


def to_own(spec: ModelSpec, params: Mapping[str, np.ndarray]) -> Parameters:
    """The neutral parameters -> ``weight`` (H, I+H) and ``bias`` (H,)."""
    one = to_one_bias(layer_weights(params, *layer_suffixes(spec))).params
    return {name: value for name, value in one._asdict().items() if value is not None}


def to_neutral(spec: ModelSpec, own: Mapping[str, np.ndarray]) -> Parameters:
    """The inverse: the bias on the input side, zero on the recurrent side."""
    return named_weights(
        from_one_bias(OneBias(own["weight"], own.get("bias")), spec.hidden_size), *layer_suffixes(spec)
    )


def neutral_gradients(spec: ModelSpec, own: Mapping[str, np.ndarray]) -> Parameters:
    """The gradients of the neutral parameters: each of the two biases has that of their sum."""
    grads = to_neutral(spec, own)
    suffix = layer_suffixes(spec)[0]
    if spec.bias:
        grads["bias_hh" + suffix] = grads["bias_ih" + suffix].copy()
    return grads


def forward(
    spec: ModelSpec,
    own: Mapping[str, np.ndarray],
    x: np.ndarray,
    state0: State,
    lengths: Any = None,
    masks: Any = None,
    mask: Any = None,
) -> tuple[np.ndarray, State, list[Tape]]:
    """x (T, B, I) and state0 (h (1, B, H),) -> y (T, B, H), the final state and one tape per step."""
    for name, value in (("lengths", lengths), ("masks", masks), ("mask", mask)):
        if value is not None:
            raise InvalidInput(mismatch(name, "None for one-bias", name))
    phi, _ = NONLINEARITIES[spec.nonlinearity]
    h, tapes = state0[0][0], []
    for x_t in x:
        xh = np.concatenate([x_t, h], axis=1)
        h = phi(xh @ own["weight"].T + own.get("bias", 0))  # (B1)
        tapes.append(Tape(xh, h))
    return np.stack([tape.h for tape in tapes]), (h[None],), tapes


def backward(
    spec: ModelSpec, own: Mapping[str, np.ndarray], tapes: list[Tape], dy: np.ndarray, dstate: State
) -> tuple[Parameters, np.ndarray, State]:
    """dy (T, B, H) and dL/dh_T -> the gradients of ``weight`` and ``bias``, of x and of state0."""
    _, slope = NONLINEARITIES[spec.nonlinearity]
    dh_next, dx = dstate[0][0], []
    grads = {name: np.zeros_like(value) for name, value in own.items()}
    for dy_t, tape in zip(dy[::-1], tapes[::-1], strict=True):
        da = (dy_t + dh_next) * slope(tape.h)  # (B2)
        grads["weight"] += da.T @ tape.xh  # (B3)
        if "bias" in grads:
            grads["bias"] += da.sum(axis=0)  # (B4)
        dx_t, dh_next = np.split(da @ own["weight"], [spec.input_size], axis=1)  # (B5)
        dx.append(dx_t)
    return grads, np.stack(dx[::-1]), (dh_next[None],)


class OneBiasTrainer(NumpyTrainer):
    """Trains ``weight`` and ``bias``; ``params`` gives the neutral parameters with a zero ``bias_hh``."""

    def __init__(self, run: RunSpec, params: Parameters):
        parts = split_network(params)
        own = parts | {name: to_own(model, parts[name]) for name, model in run.network.models.items()}
        super().__init__(run, join_network(own), Core(forward, backward))

    def compute_gradients(self, batch: Batch) -> tuple[float, Parameters]:
        loss, grads = super().compute_gradients(batch)
        parts = split_network(grads)
        models = self.run.network.models.items()
        return loss, join_network(parts | {name: neutral_gradients(model, parts[name]) for name, model in models})

    def params(self) -> Parameters:
        parts = split_network(super().params())
        models = self.run.network.models.items()
        return join_network(parts | {name: to_neutral(model, parts[name]) for name, model in models})


class OneBiasBackend(NumpyBackend):
    """See ``common.backend.contract.Backend``; the gradient of the one bias is given for both."""

    name = "one-bias"
    cells: frozenset[str] = frozenset({"RNN", "RNNCell"})
    options: frozenset[str] = frozenset()

    @staticmethod
    def _forward(
        spec: ModelSpec, params: Parameters, x: np.ndarray, state0: State, *given: Any, **named: Any
    ) -> tuple[Any, ...]:
        return forward(spec, to_own(spec, params), x, state0, *given, **named)

    @staticmethod
    def _backward(
        spec: ModelSpec, params: Parameters, tapes: Any, dy: np.ndarray, dstate: State
    ) -> tuple[Parameters, np.ndarray, State]:
        own, dx, dstate0 = backward(spec, to_own(spec, params), tapes, dy, dstate)
        return neutral_gradients(spec, own), dx, dstate0

    def build_trainer(self, run: RunSpec, params: Parameters) -> OneBiasTrainer:
        return OneBiasTrainer(run, params)


BACKEND = OneBiasBackend()

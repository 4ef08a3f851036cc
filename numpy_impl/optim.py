"""SGD and Adam as pairs of pure functions, ``init`` and ``update``, in the manner of Optax.

Both follow ``torch.optim``: plain SGD without momentum, and Adam (Kingma & Ba 2015, Algorithm 1).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from common.spec import OptimizerSpec

Tree = dict[str, np.ndarray]


class Optimizer(NamedTuple):
    """``init(params) -> state``; ``update(grads, state, params) -> (params, state)``; nothing is changed in place."""

    init: Callable[[Tree], Any]
    update: Callable[[Tree, Any, Tree], tuple[Tree, Any]]


class AdamState(NamedTuple):
    """The number of updates so far, and the running means of the gradients and of their squares."""

    step: int
    mean: Tree
    square: Tree


def sgd(lr: float) -> Optimizer:
    def update(grads: Tree, state: tuple[()], params: Tree) -> tuple[Tree, tuple[()]]:
        return {name: params[name] - lr * grads[name] for name in params}, state

    return Optimizer(lambda params: (), update)


def adam(lr: float, betas: tuple[float, float], eps: float) -> Optimizer:
    beta1, beta2 = betas

    def init(params: Tree) -> AdamState:
        return AdamState(0, *({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2)))

    def update(grads: Tree, state: AdamState, params: Tree) -> tuple[Tree, AdamState]:
        step = state.step + 1
        mean = {k: beta1 * state.mean[k] + (1 - beta1) * g for k, g in grads.items()}
        square = {k: beta2 * state.square[k] + (1 - beta2) * g * g for k, g in grads.items()}
        unbias1, unbias2 = 1 - beta1**step, 1 - beta2**step
        new = {k: p - lr * (mean[k] / unbias1) / (np.sqrt(square[k] / unbias2) + eps) for k, p in params.items()}
        return new, AdamState(step, mean, square)

    return Optimizer(init, update)


def build(spec: OptimizerSpec) -> Optimizer:
    return sgd(spec.lr) if spec.name == "sgd" else adam(spec.lr, spec.betas, spec.eps)

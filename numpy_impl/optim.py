"""SGD, Adam and RMSprop as pairs of pure functions, ``init`` and ``update``, in the manner of Optax.

They follow ``torch.optim``: SGD with momentum, Adam (Kingma & Ba 2015, Algorithm 1), RMSprop (Hinton 2012, lecture 6e).
A rule says by how much the parameters move for a learning rate of 1. Clipping and the rate's schedule are around it.
"""

from collections.abc import Callable
from math import cos, pi
from typing import Any, NamedTuple

import numpy as np

from common.model.run import OptimizerSpec

Tree = dict[str, np.ndarray]


class Optimizer(NamedTuple):
    """``init(params) -> state``; ``update(grads, state, params) -> (params, state)``; nothing is changed in place."""

    init: Callable[[Tree], Any]
    update: Callable[[Tree, Any, Tree], tuple[Tree, Any]]


class State(NamedTuple):
    """The number of updates so far, and the running means: of the gradients, of their squares; or the velocity."""

    step: int
    mean: Tree
    square: Tree


def clip(grads: Tree, largest: float) -> Tree:
    """Gradients whose norm, over all parameters together, is at most ``largest``."""
    norm = np.sqrt(sum(np.vdot(g, g) for g in grads.values()))
    return grads if norm <= largest else {name: g * (largest / norm) for name, g in grads.items()}


def factor(spec: OptimizerSpec, step: int) -> float:
    """The factor of the learning rate at update ``step`` = 0, 1, ...; see ``common.model.run.SCHEDULES``."""
    if spec.schedule_steps is None:
        return 1.0
    n, last = spec.schedule_steps, spec.schedule_factor
    done = min(step, n) / n
    match spec.schedule:
        case "step":
            return last ** (step // n)
        case "linear":
            return 1 + (last - 1) * done
        case _:
            return last + (1 - last) * (1 + cos(pi * done)) / 2


def sgd(spec: OptimizerSpec, grads: Tree, state: State) -> tuple[Tree, State]:
    velocity = {name: spec.momentum * state.mean[name] + g for name, g in grads.items()}
    return velocity, state._replace(mean=velocity)


def adam(spec: OptimizerSpec, grads: Tree, state: State) -> tuple[Tree, State]:
    (beta1, beta2), step = spec.betas, state.step + 1
    mean = {k: beta1 * state.mean[k] + (1 - beta1) * g for k, g in grads.items()}
    square = {k: beta2 * state.square[k] + (1 - beta2) * g * g for k, g in grads.items()}
    unbias1, unbias2 = 1 - beta1**step, 1 - beta2**step
    moves = {k: (mean[k] / unbias1) / (np.sqrt(square[k] / unbias2) + spec.eps) for k in grads}
    return moves, state._replace(mean=mean, square=square)


def rmsprop(spec: OptimizerSpec, grads: Tree, state: State) -> tuple[Tree, State]:
    square = {k: spec.alpha * state.square[k] + (1 - spec.alpha) * g * g for k, g in grads.items()}
    velocity = {k: spec.momentum * state.mean[k] + g / (np.sqrt(square[k]) + spec.eps) for k, g in grads.items()}
    return velocity, state._replace(mean=velocity, square=square)


RULES = {"sgd": sgd, "adam": adam, "rmsprop": rmsprop}


def build(spec: OptimizerSpec) -> Optimizer:
    rule = RULES[spec.name]

    def init(params: Tree) -> State:
        return State(0, *({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2)))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        if spec.clip_norm is not None:
            grads = clip(grads, spec.clip_norm)
        moves, new = rule(spec, grads, state)
        rate = spec.lr * factor(spec, state.step)
        return {k: p - rate * moves[k] for k, p in params.items()}, new._replace(step=state.step + 1)

    return Optimizer(init, update)

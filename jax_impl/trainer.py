"""A network in training: the loss, its gradient and the update are one compiled function."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common.backend.base import AdapterTrainer
from common.backend.contract import Batch
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec

from . import network, optim
from .native import BOUNDARY, precision, to_jax, to_numpy
from .stack import State


@lru_cache(maxsize=8)
def compiled(core: network.Core, spec: NetworkSpec, optimizer: OptimizerSpec) -> tuple[Callable[..., Any], ...]:
    """The optimiser's ``init``, the loss, and the step; trainers of the same network share the compiled programs."""
    rule = optim.build(optimizer)

    def loss(params: Any, batch: Any, state0: State) -> tuple[jax.Array, Any]:
        prediction, state = network.forward(core, spec, params, batch, state0)
        return network.loss(spec, prediction, batch), (prediction, state)

    def step(params: Any, state: Any, batch: Any, state0: State) -> tuple[Any, ...]:
        (value, (_, state_n)), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, state0)
        updates, state = rule.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, grads, state_n

    return rule.init, jax.jit(loss), jax.jit(step)


class JaxTrainer(AdapterTrainer):
    """The hooks of a training run in JAX. ``compute_gradients`` calls the step and drops the update."""

    boundary = BOUNDARY

    def __init__(self, run: RunSpec, params: Parameters, core: network.Core):
        super().__init__(run)
        init, self._loss, self._step = compiled(core, run.network, run.optimizer)
        with precision():
            self._params = to_jax(dict(params))
            self._state = init(self._params)

    def _zero(self, batch: Batch) -> State:
        model = self.run.network.model
        return tuple(jnp.zeros(shape, model.dtype) for shape in model.state_shapes(batch.x.shape[1]))

    def compute_gradients(self, batch: Batch) -> tuple[Any, Any]:
        _, _, loss, grads, _ = self._step(self._params, self._state, batch, self._zero(batch))
        return loss, grads

    def compute_step(self, batch: Batch, state0: State | None) -> tuple[Any, State]:
        start = self._zero(batch) if state0 is None else state0
        self._params, self._state, loss, _, state = self._step(self._params, self._state, batch, start)
        return loss, state

    def compute_evaluation(self, batch: Batch) -> tuple[Any, Any]:
        loss, (prediction, _) = self._loss(self._params, batch, self._zero(batch))
        return loss, prediction

    def params(self) -> Parameters:
        return to_numpy(self._params)

    def wait(self) -> None:
        jax.block_until_ready((self._params, self._state))

"""A network in training: the loss, its gradient and the update are one compiled function."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from common.backend.contract import Batch
from common.backend.guards import require_batch, require_carried
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec

from . import network, optim
from .native import precision, to_jax, to_numpy
from .stack import State


@lru_cache(maxsize=8)
def compiled(core: network.Core, spec: NetworkSpec, optimizer: OptimizerSpec) -> tuple[Callable[..., Any], ...]:
    """The optimiser's ``init``, the loss, and the step; trainers of the same network share what XLA made of them."""
    rule = optim.build(optimizer)

    def loss(params: Any, batch: Any, state0: State) -> tuple[jax.Array, Any]:
        prediction, state = network.forward(core, spec, params, batch, state0)
        return network.loss(spec, prediction, batch), (prediction, state)

    def step(params: Any, state: Any, batch: Any, state0: State) -> tuple[Any, ...]:
        (value, (_, state_n)), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, state0)
        updates, state = rule.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, grads, state_n

    return rule.init, jax.jit(loss), jax.jit(step)


class JaxTrainer:
    """See ``common.backend.contract.Trainer``. ``gradients`` calls the step and drops the update."""

    def __init__(self, run: RunSpec, params: Parameters, core: network.Core):
        self.run = run
        init, self._loss, self._step = compiled(core, run.network, run.optimizer)
        self._carried: State | None = None
        with precision():
            self._params = to_jax(dict(params))
            self._state = init(self._params)

    def _zero(self, batch: Batch) -> State:
        model = self.run.network.model
        return tuple(jnp.zeros(shape, model.dtype) for shape in model.state_shapes(batch.x.shape[1]))

    def _called(self, batch: Batch, state0: State | None) -> tuple[Any, ...]:
        return self._step(self._params, self._state, to_jax(batch), self._zero(batch) if state0 is None else state0)

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        require_batch(self.run.network, batch)
        with precision():
            _, _, loss, grads, _ = self._called(batch, None)
        return float(loss), to_numpy(grads)

    def step(self, batch: Batch, *, carried: bool = False) -> float:
        require_batch(self.run.network, batch)
        if carried:
            require_carried(self.run.network, batch, self._carried)
        with precision():
            found = self._called(batch, self._carried if carried else None)
        self._params, self._state, loss, _, self._carried = found
        return float(loss)

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        require_batch(self.run.network, batch)
        with precision():
            loss, (prediction, _) = self._loss(self._params, to_jax(batch), self._zero(batch))
        return float(loss), np.array(prediction)

    def params(self) -> Parameters:
        return to_numpy(self._params)

    def wait(self) -> None:
        jax.block_until_ready((self._params, self._state))

"""A network in training, with gradients by hand."""

from typing import Any

import numpy as np

from common.backend.base import AdapterTrainer, Boundary
from common.backend.contract import Batch, State
from common.backend.guards import zero_state
from common.model.layout import Parameters
from common.model.run import RunSpec

from . import network, optim


class NumpyTrainer(AdapterTrainer):
    """The hooks of a training run on NumPy's arrays."""

    boundary = Boundary()

    def __init__(self, run: RunSpec, params: Parameters, core: network.Core | None = None):
        super().__init__(run)
        self._core = core or network.Core()
        self.optimizer = optim.build(run.optimizer)
        self._params = {name: value.copy() for name, value in params.items()}
        self._state: Any = self.optimizer.init(self._params)

    def compute_gradients(self, batch: Batch) -> tuple[float, Parameters]:
        loss, grads, _ = network.gradients(self.run.network, self._params, batch, None, self._core)
        return loss, grads

    def compute_step(self, batch: Batch, state0: State | None) -> tuple[float, State]:
        loss, grads, state = network.gradients(self.run.network, self._params, batch, state0, self._core)
        self._params, self._state = self.optimizer.update(grads, self._state, self._params)
        return loss, state

    def compute_evaluation(self, batch: Batch) -> tuple[Any, np.ndarray]:
        zero = zero_state(self.run.network.model, batch.x.shape[1])
        prediction, _, _ = network.forward(self.run.network, self._params, batch, zero, self._core)
        loss, _ = network.loss(self.run.network, prediction, batch)
        return loss, prediction

    def params(self) -> Parameters:
        return {name: value.copy() for name, value in self._params.items()}

    def wait(self) -> None:
        """Nothing to wait for: NumPy has finished when it returns."""

"""A network in training, with gradients by hand."""

from typing import Any

import numpy as np

from common.backend.contract import Batch, State
from common.backend.guards import require_batch, require_carried, zero_state
from common.model.layout import Parameters
from common.model.run import RunSpec

from . import network, optim


class NumpyTrainer:
    """See ``common.backend.contract.Trainer``."""

    def __init__(self, run: RunSpec, params: Parameters, core: network.Core | None = None):
        self.run = run
        self._core = core or network.Core()
        self.optimizer = optim.build(run.optimizer)
        self._params = {name: value.copy() for name, value in params.items()}
        self._state: Any = self.optimizer.init(self._params)
        self._carried: State | None = None

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        require_batch(self.run.network, batch)
        loss, grads, _ = network.gradients(self.run.network, self._params, batch, None, self._core)
        return loss, grads

    def step(self, batch: Batch, *, carried: bool = False) -> float:
        require_batch(self.run.network, batch)
        if carried:
            require_carried(self.run.network, batch, self._carried)
        state0 = self._carried if carried else None
        loss, grads, self._carried = network.gradients(self.run.network, self._params, batch, state0, self._core)
        self._params, self._state = self.optimizer.update(grads, self._state, self._params)
        return loss

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        require_batch(self.run.network, batch)
        zero = zero_state(self.run.network.model, batch.x.shape[1])
        prediction, _, _ = network.forward(self.run.network, self._params, batch, zero, self._core)
        return float(network.loss(self.run.network, prediction, batch)[0]), prediction

    def params(self) -> Parameters:
        return {name: value.copy() for name, value in self._params.items()}

    def wait(self) -> None:
        """NumPy has computed by the time it returns."""

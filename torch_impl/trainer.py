"""A network in training: autograd and ``torch.optim``."""

import numpy as np
import torch
from torch import Tensor

from common.backend.contract import Batch
from common.backend.guards import require_batch, require_carried
from common.model.layout import Parameters
from common.model.run import RunSpec

from . import network
from .native import precision, to_numpy, to_torch, wait
from .optim import Optimizer
from .stack import State


class TorchTrainer:
    """See ``common.backend.contract.Trainer``."""

    def __init__(self, run: RunSpec, params: Parameters, core: network.Core):
        self.run = run
        self._core = core
        self._params: dict[str, Tensor] = {k: v.requires_grad_() for k, v in to_torch(dict(params)).items()}
        self._optimizer = Optimizer(run.optimizer, list(self._params.values()))
        self._carried: State | None = None

    def _loss(self, batch: Batch, state0: State | None = None) -> tuple[Tensor, Tensor, State]:
        require_batch(self.run.network, batch)
        model, native = self.run.network.model, Batch(*to_torch(tuple(batch)))
        if state0 is None:
            weight = self._params["readout.weight"]
            state0 = tuple(weight.new_zeros(shape) for shape in model.state_shapes(batch.x.shape[1]))
        prediction, state = network.forward(self._core, self.run.network, self._params, native, state0)
        return network.loss(self.run.network, prediction, native), prediction, state

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        with precision():
            loss, _, _ = self._loss(batch)
            grads = torch.autograd.grad(loss, list(self._params.values()))
        return float(loss.detach()), to_numpy(dict(zip(self._params, grads, strict=True)))

    def step(self, batch: Batch, *, carried: bool = False) -> float:
        require_batch(self.run.network, batch)
        if carried:
            require_carried(self.run.network, batch, self._carried)
        with precision():
            for param in self._params.values():
                param.grad = None
            loss, _, state = self._loss(batch, self._carried if carried else None)
            loss.backward()
            self._optimizer.step()
        self._carried = tuple(part.detach() for part in state)
        return float(loss.detach())

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        with precision(), torch.no_grad():
            loss, prediction, _ = self._loss(batch)
        return float(loss), to_numpy(prediction)

    def params(self) -> Parameters:
        return to_numpy(self._params)

    def wait(self) -> None:
        wait()

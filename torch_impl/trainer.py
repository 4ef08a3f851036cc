"""A network in training: autograd and ``torch.optim``."""

import torch
from torch import Tensor

from common.backend.base import AdapterTrainer
from common.backend.contract import Batch
from common.model.layout import Parameters
from common.model.run import RunSpec

from . import network
from .native import BOUNDARY, to_numpy, to_torch, wait
from .optim import Optimizer
from .stack import State


class TorchTrainer(AdapterTrainer):
    """The hooks of a training run on tensors of the device."""

    boundary = BOUNDARY

    def __init__(self, run: RunSpec, params: Parameters, core: network.Core):
        super().__init__(run)
        self._core = core
        self._params: dict[str, Tensor] = {k: v.requires_grad_() for k, v in to_torch(dict(params)).items()}
        self._optimizer = Optimizer(run.optimizer, list(self._params.values()))

    def _loss(self, batch: Batch, state0: State | None = None) -> tuple[Tensor, Tensor, State]:
        model = self.run.network.model
        if state0 is None:
            weight = self._params["readout.weight"]
            state0 = tuple(weight.new_zeros(shape) for shape in model.state_shapes(batch.x.shape[1]))
        prediction, state = network.forward(self._core, self.run.network, self._params, batch, state0)
        return network.loss(self.run.network, prediction, batch), prediction, state

    def compute_gradients(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, _, _ = self._loss(batch)
        grads = torch.autograd.grad(loss, list(self._params.values()))
        return loss, dict(zip(self._params, grads, strict=True))

    def compute_step(self, batch: Batch, state0: State | None) -> tuple[Tensor, State]:
        for param in self._params.values():
            param.grad = None
        loss, _, state = self._loss(batch, state0)
        loss.backward()
        self._optimizer.step()
        return loss.detach(), tuple(part.detach() for part in state)

    @torch.no_grad()
    def compute_evaluation(self, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, prediction, _ = self._loss(batch)
        return loss, prediction

    def params(self) -> Parameters:
        return to_numpy(self._params)

    def wait(self) -> None:
        wait()

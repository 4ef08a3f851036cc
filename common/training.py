"""The only training loop. What a step is, each backend's trainer decides."""

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np

from common.contract import Backend, Batch, Trainer
from common.errors import Diverged
from common.layout import Parameters, initial_network
from common.spec import RunSpec


class Result(NamedTuple):
    """The loss before each epoch's update, then the loss, the prediction and the parameters after the last."""

    losses: list[float]
    final_loss: float
    prediction: np.ndarray
    params: Parameters


def fit(
    trainer: Trainer, batch: Batch, epochs: int, on_epoch: Callable[[int, float], None] | None = None
) -> list[float]:
    """Full-batch training; returns the loss before each update. Raises ``Diverged`` when it is no longer finite."""
    losses: list[float] = []
    for epoch in range(epochs):
        loss = trainer.step(batch)
        if not isfinite(loss):
            last = f", after {losses[-1]:g}" if losses else ""
            raise Diverged(f"the loss is {loss} in epoch {epoch + 1}{last}; try a smaller learning rate")
        losses.append(loss)
        if on_epoch:
            on_epoch(epoch, loss)
    return losses


def train(backend: Backend, run: RunSpec, batch: Batch, on_epoch: Callable[[int, float], None] | None = None) -> Result:
    """Train from the initial parameters of ``run.seed``, then evaluate."""
    trainer = backend.trainer(run, initial_network(run.network, run.seed))
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is an error here, not a warning
        losses = fit(trainer, batch, run.epochs, on_epoch)
        final_loss, prediction = trainer.evaluate(batch)
    if not isfinite(final_loss):
        raise Diverged(f"the loss is {final_loss} after epoch {run.epochs}; try a smaller learning rate")
    return Result(losses, final_loss, prediction, trainer.params())

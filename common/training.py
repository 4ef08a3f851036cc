"""The only training loop. What a step is, each backend's trainer decides."""

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np

from common.contract import Backend, Batch, Trainer
from common.errors import Diverged
from common.layout import Parameters, dropout_masks, initial_network
from common.spec import RunSpec


class Result(NamedTuple):
    """The loss before each epoch's update, then the loss, the prediction and the parameters after the last."""

    losses: list[float]
    final_loss: float
    prediction: np.ndarray
    params: Parameters


def fit(
    trainer: Trainer,
    batch: Batch,
    epochs: int,
    on_epoch: Callable[[int, float], None] | None = None,
    masks: Callable[[], np.ndarray | None] = lambda: None,
) -> list[float]:
    """Full-batch training; returns the loss before each update. Raises ``Diverged`` when it is no longer finite.

    ``masks`` draws the dropout masks of each step.
    """
    losses: list[float] = []
    for epoch in range(epochs):
        loss = trainer.step(batch._replace(masks=masks()))
        if not isfinite(loss):
            last = f", after {losses[-1]:g}" if losses else ""
            raise Diverged(f"the loss is {loss} in epoch {epoch + 1}{last}; try a smaller learning rate")
        losses.append(loss)
        if on_epoch:
            on_epoch(epoch, loss)
    return losses


def train(backend: Backend, run: RunSpec, batch: Batch, on_epoch: Callable[[int, float], None] | None = None) -> Result:
    """Train from the initial parameters of ``run.seed``, then evaluate, without dropout.

    The dropout masks follow from the seed alone, so that every backend has the same.
    """
    rng, model = np.random.default_rng([run.seed, 4]), run.network.model

    def masks() -> np.ndarray | None:
        if model.num_layers == 1 or not model.dropout:
            return None
        return dropout_masks(model, batch.x.shape[0], batch.x.shape[1], rng)

    trainer = backend.trainer(run, initial_network(run.network, run.seed))
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is an error here, not a warning
        losses = fit(trainer, batch, run.epochs, on_epoch, masks)
        final_loss, prediction = trainer.evaluate(batch)
    if not isfinite(final_loss):
        raise Diverged(f"the loss is {final_loss} after epoch {run.epochs}; try a smaller learning rate")
    return Result(losses, final_loss, prediction, trainer.params())

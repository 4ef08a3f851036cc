"""The only training loop. Each backend's trainer decides what an update is; batches follow from data and seed.

>>> from common import datasets
>>> from common.backend import registry
>>> from common.training.loop import train
>>> from common.training.settings import run_spec
>>> data = datasets.load("sine")
>>> result = train(registry.load("numpy"), run_spec({"epochs": 3}, data, "RNN"), data)
>>> len(result.losses), result.losses[-1] < result.losses[0], result.ended
(3, True, 'finished')
"""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import NamedTuple

import numpy as np

from common.backend.contract import Backend, Batch, Trainer
from common.backend.guards import require_supported
from common.datasets.task import Dataset
from common.errors import Diverged
from common.model.initial import initial_run
from common.model.layout import Parameters
from common.model.run import RunSpec
from common.training.batching import minibatches, pieces, with_masks
from common.training.decoding import greedy

# A loss has exploded if it is this many times its first value, or 1 if that is larger.
EXPLODED = 1e6
ADVICE = "try a smaller learning rate, or clipping (clip_norm, --clip-norm 1)"


class Evaluation(NamedTuple):
    """The loss on the validation data after a number of updates."""

    updates: int
    loss: float


class Result(NamedTuple):
    """The result of a training run.

    ``losses`` are those of the training batches before each update; ``final_loss``, ``prediction`` and ``score`` are
    for the test data, with the ``params`` that were kept. ``ended`` is "finished", "patience" or "interrupted".
    """

    losses: list[float]
    evaluations: list[Evaluation]
    final_loss: float
    prediction: np.ndarray
    score: float
    params: Parameters
    ended: str


def batches(run: RunSpec, data: Dataset, epoch: int, masks: np.random.Generator) -> Iterator[tuple[Batch, bool]]:
    """The batches of an epoch, the same in every backend, each with whether it continues from the state of the last."""
    draw, chunk = data.training.draw, data.training.chunk
    whole = draw(np.random.default_rng([run.seed, 7, epoch])) if draw else data.train
    if chunk:
        for number, piece in enumerate(pieces(whole, chunk)):
            yield with_masks(run.network, piece, masks), number > 0
        return
    order = np.random.default_rng([run.seed, 6, epoch])
    for batch in minibatches(run.network, whole, run.batch_size, order):
        yield with_masks(run.network, batch, masks), False


def require_loss(loss: float, losses: list[float], epoch: int) -> None:
    """Raise ``Diverged`` if the loss is not finite or has exploded."""
    last = f", after {losses[-1]:g}" if losses else ""
    if not isfinite(loss):
        raise Diverged(f"the loss is {loss} in epoch {epoch + 1}, update {len(losses) + 1}{last}; {ADVICE}")
    if losses and loss > EXPLODED * max(1.0, losses[0]):
        raise Diverged(f"the loss exploded to {loss:g} in epoch {epoch + 1}{last}, from {losses[0]:g}; {ADVICE}")


class Progress(NamedTuple):
    """Called after each update and each epoch; ``stopped`` is asked before each update."""

    on_update: Callable[[int, float], None] = lambda updates, loss: None
    on_epoch: Callable[[int, Evaluation | None], None] = lambda epoch, evaluation: None
    stopped: Callable[[], bool] = lambda: False


def fit(
    trainer: Trainer, run: RunSpec, data: Dataset, progress: Progress | None = None
) -> tuple[list[float], list[Evaluation], Parameters | None, str]:
    """The losses before each update, those on the validation data, the best parameters, and how training ended.

    The validation data is evaluated after each epoch that has several updates, and with patience after every epoch.
    There are best parameters only with patience. Raises ``Diverged``.
    """
    progress = progress or Progress()
    masks = np.random.default_rng([run.seed, 4])
    losses: list[float] = []
    evaluations: list[Evaluation] = []
    best: Parameters | None = None
    for epoch in range(run.epochs):
        before = len(losses)
        for batch, carried in batches(run, data, epoch, masks):
            if progress.stopped():
                return losses, evaluations, best, "interrupted"
            loss = trainer.step(batch, carried=carried)
            require_loss(loss, losses, epoch)
            losses.append(loss)
            progress.on_update(len(losses), loss)
        evaluation = None
        if run.patience or len(losses) - before > 1:
            evaluation = Evaluation(len(losses), trainer.evaluate(data.validation)[0])
            if not isfinite(evaluation.loss):
                where = f"on the validation data after epoch {epoch + 1}"
                raise Diverged(f"the loss is {evaluation.loss} {where}, after {losses[-1]:g} in training; {ADVICE}")
            evaluations.append(evaluation)
        progress.on_epoch(epoch, evaluation)
        if run.patience and evaluation:
            validation = [past.loss for past in evaluations]
            since = len(validation) - 1 - int(np.argmin(validation))
            best = trainer.params() if since == 0 else best
            if since >= run.patience:
                return losses, evaluations, best, "patience"
    return losses, evaluations, best, "finished"


def train(
    backend: Backend,
    run: RunSpec,
    data: Dataset,
    progress: Progress | None = None,
    start: Parameters | None = None,
) -> Result:
    """Train from ``start``, or from the initial parameters of ``run.seed``, then evaluate on the test data.

    Batches and dropout masks follow from the data and the seed alone, so that every backend has the same. A decoder is
    evaluated on its own output: each symbol that it reads is the likeliest of the step before. Raises ``Diverged``.
    """
    require_supported(backend, run.network.model)
    trainer = backend.trainer(run, initial_run(run) if start is None else start)
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is an error here, not a warning
        losses, evaluations, best, ended = fit(trainer, run, data, progress)
        params = trainer.params() if best is None else best
        final = trainer if best is None else backend.trainer(run, best)
        final_loss, prediction = final.evaluate(data.test)
    if not isfinite(final_loss):
        raise Diverged(f"the loss is {final_loss} on the test data after {len(losses)} updates; {ADVICE}")
    if run.network.has_decoder:
        prediction = greedy(backend, run.network, params, data.test)
    return Result(losses, evaluations, final_loss, prediction, data.scoring.score(prediction, data.test), params, ended)

"""Training runs as records: one run in several backends, and the comparison of their losses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from common import datasets
from common.backend import registry
from common.datasets.task import Dataset
from common.equivalence import comparison
from common.equivalence.variants import Variant
from common.model.run import RunSpec
from common.parallel import Piece
from common.record_parts import Optimizer, Run, Spec
from common.record_types import Record, Training
from common.training.loop import Result, train

# The largest prediction that a record holds.
SHOWN_VALUES = 1000


def train_everywhere(names: Sequence[str], task: str, reading: str, run: RunSpec) -> list[Record]:
    """Train on a task with its default options: a training record per backend, and the checks that compare them."""
    data = datasets.load(task, reading, run.network.model.dtype)
    results = {name: train(registry.load(name), run, data) for name in names}
    records: list[Record] = [training_record(name, data, run, result) for name, result in results.items()]
    records += [row.record() for row in compare_runs(data, run, results)]
    return records


def training_piece(names: Sequence[str], task: str, reading: str, run: RunSpec) -> Piece:
    model = run.network.model
    name = f"training on {task}, {reading}, {run.optimizer.name}, {model.cell}, {model.dtype}"
    return Piece(name, train_everywhere, (names, task, reading, run))


def compare_runs(
    data: Dataset, run: RunSpec, results: Mapping[str, Result], options: Mapping[str, Any] | None = None
) -> Iterator[comparison.Row]:
    """Compare the losses of every pair of backends over the updates for which the task sets a tolerance; if the runs
    are no longer than that, the last loss and the prediction too. ``options`` are those of the task that were set.
    """
    variant = Variant(spec=run.network.model, given_state=False, seed=run.seed)
    of = run_data(data.task, data.reading, run, options or {})
    updates = {name: len(result.losses) for name, result in results.items()}
    if len({*updates.values()}) > 1:  # one backend stopped earlier: that is a difference too
        counts = {name: {"updates": float(count)} for name, count in updates.items()}
        yield from comparison.compare_all("task", variant, counts, run=of)
    held = datasets.TASKS[data.task].held
    first, short = min(held, *updates.values()), max(updates.values()) <= held
    ends = {name: [result.final_loss] if short else [] for name, result in results.items()}
    curves = {name: {"curve": [*result.losses[:first], *ends[name]]} for name, result in results.items()}
    yield from comparison.compare_all("task", variant, curves, curve=True, run=of)
    if short:
        predictions = {name: {"prediction": result.prediction} for name, result in results.items()}
        yield from comparison.compare_all("task", variant, predictions, run=of)


def run_data(task: str, reading: str, run: RunSpec, options: Mapping[str, Any]) -> Run:
    """Everything that determines a training run, for its record; ``options`` are those of the task that were set."""
    rule: dict[str, Any] = asdict(run.optimizer) | {"betas": list(run.optimizer.betas)}
    return Run(
        task=task,
        reading=reading,
        options=dict(options),
        spec=Spec(**asdict(run.network.model)),
        inputs=run.network.inputs,
        optimizer=Optimizer(**rule),
        epochs=run.epochs,
        batch_size=run.batch_size,
        patience=run.patience,
        input_bias=run.input_bias,
        seed=run.seed,
    )


def training_record(
    backend: str, data: Dataset, run: RunSpec, result: Result, options: Mapping[str, Any] | None = None
) -> Training:
    """The record of a run; ``options`` are those of the task that were set."""
    model = run.network.model
    return Training(
        kind="training",
        **run_data(data.task, data.reading, run, options or {}),
        cell=model.cell,
        dtype=model.dtype,
        backend=backend,
        losses=[*result.losses],
        evaluations=[list(evaluation) for evaluation in result.evaluations],
        final_loss=result.final_loss,
        metric=data.scoring.metric.name,
        score=result.score,
        baseline=data.scoring.baseline.value,
        ended=result.ended,
        prediction=result.prediction.ravel().tolist() if result.prediction.size <= SHOWN_VALUES else [],
    )

"""Every task, optimiser and readout trains alike in the three backends: 100 updates in float64, loss by loss."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common import datasets
from common.backend import registry
from common.datasets import TASKS, Dataset
from common.model.cells import CELLS
from common.model.network import READOUTS
from common.model.run import OPTIMIZERS, OptimizerSpec, RunSpec
from common.training import settings
from common.training.loop import Result, train

UPDATES, RTOL = 100, 1e-9
# Few and short examples, where the task can be made smaller.
SMALL: dict[str, dict[str, Any]] = {
    "sine": {"points_per_period": 20, "periods": 2, "window": 7},
    "sum": {"min_length": 3, "max_length": 12, "train": 30, "validation": 5, "test": 5},
    "adding": {"steps": 20, "train": 30, "validation": 5, "test": 5},
    "temporal-order": {"steps": 20, "train": 30, "validation": 5, "test": 8},
    "reber": {"max_length": 20, "train": 30, "validation": 5, "test": 5},
    "copy": {"delay": 3, "train": 30, "validation": 5, "test": 5},
    "text": {"characters": 6000, "streams": 6, "chunk": 10},
    "kana": {"train": 30, "validation": 5, "test": 5},
}
RULES = {
    "sgd": OptimizerSpec(name="sgd", lr=0.05, momentum=0.9, clip_norm=0.5),
    "adam": OptimizerSpec(name="adam", lr=0.005, clip_norm=1.0, schedule="cosine", schedule_steps=80),
    "rmsprop": OptimizerSpec(name="rmsprop", lr=0.001, momentum=0.3, schedule="step", schedule_steps=40),
}
READINGS = [(task.name, reading) for task in TASKS.values() for reading in task.readings]


def small(task: str, reading: str) -> Dataset:
    return datasets.load(task, reading, **SMALL.get(task, {}))


def run_of(data: Dataset, cell: str, rule: OptimizerSpec) -> RunSpec:
    """At least 100 updates, of mini-batches that leave a rest."""
    size = (
        None
        if data.outputs.readout == "last_sequence" or data.training.chunk
        else 8
        if data.train.x.shape[1] <= 50
        else 64
    )
    count = data.train.x.shape[1]
    each = 1 if size is None else -(-count // size)
    if data.training.chunk:
        each = -(-data.train.x.shape[0] // data.training.chunk)
    chosen = {"seed": 3, "epochs": -(-UPDATES // each), "hidden_size": 5}
    run = settings.run_spec(chosen, data, cell)
    return replace(run, optimizer=rule, batch_size=size, patience=None)


def differences(a: Result, b: Result) -> Iterator[tuple[str, float]]:
    """The largest relative difference of each kind of result."""
    yield "losses", float(max(abs(np.array(a.losses) / np.array(b.losses) - 1)))
    yield (
        "validation",
        max((abs(p.loss / q.loss - 1) for p, q in zip(a.evaluations, b.evaluations, strict=True)), default=0),
    )
    for name in a.params:
        yield name, float(abs(a.params[name] - b.params[name]).max() / abs(b.params[name]).max())
    yield "prediction", float(abs(a.prediction - b.prediction).max() / abs(b.prediction).max())
    yield "score", abs(a.score - b.score) / max(1.0, abs(b.score))


@pytest.mark.parametrize(
    ("number", "task", "reading"), [(k, *pair) for k, pair in enumerate(READINGS)], ids=lambda value: str(value)
)
def test_a_task_trains_alike(number: int, task: str, reading: str) -> None:
    """Tasks take turns at the cells and rules; every pair of readout and rule is below."""
    rule, cell = list(RULES.values())[number % 3], CELLS[number % len(CELLS)]
    data = small(task, reading)
    run = run_of(data, cell, rule)
    expected = train(registry.load("torch"), run, data)
    assert len(expected.losses) >= UPDATES
    assert len(set(expected.losses)) > UPDATES / 2
    for name in ("numpy", "jax"):
        found = train(registry.load(name), run, data)
        assert len(found.losses) == len(expected.losses)
        for what, apart in differences(found, expected):
            assert apart < RTOL, (name, what, apart)


# A task for every readout; the three rules on each.
BY_READOUT = {
    "last_step": ("adding", "modern"),
    "last_sequence": ("sine", "article"),
    "every_step": ("reber", "embedded"),
    "final_state": ("places", "letters"),
    "encoder_decoder": ("kana", "words"),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("readout", BY_READOUT)
def test_a_readout_and_a_rule_train_alike(readout: str, rule: str) -> None:
    data = small(*BY_READOUT[readout])
    assert data.outputs.readout == readout
    run = run_of(data, "LSTM", RULES[rule])
    expected, *others = (train(registry.load(name), run, data) for name in ("torch", "numpy", "jax"))
    assert len(expected.losses) >= UPDATES
    for found in others:
        for what, apart in differences(found, expected):
            assert apart < RTOL, (what, apart)


@pytest.mark.parametrize("cell", ["GRU", "LSTM1997"])
@pytest.mark.parametrize(("task", "reading"), READINGS, ids=lambda value: str(value))
def test_every_layer_trains_on_every_task(task: str, reading: str, cell: str) -> None:
    """Two updates with the task's own settings; that RNN and LSTM do so too, the tests of the study show."""
    data = small(task, reading)
    run = settings.run_spec({"epochs": 2, "hidden_size": 3}, data, cell)
    result = train(registry.load("numpy"), replace(run, batch_size=None), data)
    assert len({*result.losses}) == len(result.losses) >= 2
    assert np.isfinite([*result.losses, result.final_loss, result.score]).all()


def test_nothing_is_left_out() -> None:
    assert set(BY_READOUT) == set(READOUTS)
    assert set(RULES) == set(OPTIMIZERS)
    assert {task for task, _ in READINGS} == set(TASKS)
    assert len(READINGS) >= len(TASKS) + 3
    assert len(READINGS) >= len(CELLS)

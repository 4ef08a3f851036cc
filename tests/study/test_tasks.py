"""The full study: what it trains, what its records hold, how curves and drift are thinned."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common import datasets, records
from common.datasets import TASKS
from common.errors import Diverged
from common.model.run import RunSpec
from common.record_types import GradientNorms, Outcome, Sample
from common.records import of_kind
from common.study import tasks
from common.training import settings
from common.training.loop import train
from reports.sections.literature import FIGURES

NAMES = ("numpy", "torch")
POINT = 60


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs of a small network, whatever the task."""
    whole = settings.run_spec

    def run_spec(chosen: Any, data: Any, cell: str) -> RunSpec:
        return replace(whole({"hidden_size": 3} | chosen, data, cell), epochs=2, patience=None)

    monkeypatch.setattr(settings, "run_spec", run_spec)
    monkeypatch.setattr(tasks, "SAMPLE", 7)
    small: dict[str, dict[str, Any]] = {
        "adding": {"steps": 8, "train": 40, "validation": 5, "test": 30},
        "text": {"characters": 6000},
    }
    load = datasets.load
    small_data: Any = lambda task, reading: load(task, reading, "float64", **small.get(task, {}))  # noqa: E731
    monkeypatch.setattr(datasets, "load", small_data)


def test_every_task_and_variant_is_trained_over_five_seeds() -> None:
    pieces = tasks.pieces(["numpy", "flax", "torch", "jax"], ["LSTM", "LSTMCell", "RNN"], 4)
    found = [piece.arguments for piece in pieces]
    wanted = {(name, reading) for name, task in TASKS.items() for reading in task.readings}
    assert {(task, reading) for _, task, reading, _, _ in found} == wanted
    assert {cell for *_, cell, _ in found} == {"RNN", "LSTM"}
    assert len(found) == 2 * len(wanted)
    for names, _, _, _, seeds in found:
        assert (names, seeds) == (["numpy", "jax", "torch"], (4, 5, 6, 7, 8))
    every = [piece.arguments for piece in tasks.pieces(["numpy"], tasks.CELLS, 4)]
    trained = {cell: {(task, reading) for _, task, reading, name, _ in every if name == cell} for cell in tasks.CELLS}
    old = trained.pop("LSTM1997")
    assert old == {("reber", "embedded"), ("adding", "1997"), ("temporal-order", "6a")}
    assert {*trained} == {"RNN", "LSTM", "GRU"}
    assert all(variants == wanted for variants in trained.values())
    costs = [TASKS[task].seconds for _, task, _, cell, _ in found if cell == "LSTM"]
    assert costs == sorted(costs, reverse=True)


def test_the_outcomes_are_those_of_training(short: None) -> None:
    outcomes: list[Any] = of_kind(tasks.outcomes(NAMES, "adding", "modern", "LSTM", (2, 3)), Outcome)
    assert [(r["seed"], r["backend"]) for r in outcomes] == [(s, n) for s in (2, 3) for n in NAMES]
    data = datasets.load("adding", "modern")
    for record in outcomes:
        run = settings.run_spec({"seed": record["seed"]}, data, "LSTM")
        result = train(tasks.registry.load(record["backend"]), run, data)
        assert record["score"] == result.score
        assert record["final_loss"] == result.final_loss
        assert record["updates"] == len(result.losses) == 2 * math.ceil(40 / 20)
        assert record["parameters"] == sum(value.size for value in result.params.values())
        assert (record["baseline"], record["metric"], record["higher"]) == (1 / 6, "MSE", False)
        if record["backend"] == "numpy":
            assert [loss for _, loss in record["curve"]] == result.losses
            assert record["evaluations"] == [list(point) for point in result.evaluations]
            assert "drift" not in record
        else:
            assert max(gap for _, gap in record["drift"]) < 1e-12
            assert (record["reference"], record["spec"]["forget_bias"], record["tested"]) == ("numpy", 1.0, 30)
            assert "curve" not in record
    pictures = [(r["seed"], r["backend"]) for r in outcomes if "picture" in r]
    assert pictures == [(2, "numpy")]


def test_the_first_seed_shows_where_gradients_go(short: None) -> None:
    found = tasks.outcomes(NAMES, "adding", "modern", "RNN", (2, 3))
    flow: list[Any] = of_kind(found, GradientNorms)
    assert [(r["backend"], r["stage"], r["seed"]) for r in flow] == [
        (name, stage, 2) for name in NAMES for stage in ("before", "after")
    ]
    for record in flow:
        assert len(record["norms"]["h"]) == 9
        assert min(record["norms"]["h"]) > 0
    by = {(r["backend"], r["stage"]): np.array(r["norms"]["h"]) for r in flow}
    np.testing.assert_allclose(by["numpy", "before"], by["torch", "before"], rtol=1e-10)
    assert abs(by["numpy", "before"] / by["numpy", "after"] - 1).max() > 1e-3
    others = tasks.outcomes(NAMES, "sine", "windows", "RNN", (2,))
    assert {record["kind"] for record in others} == {"outcome"}


def test_a_text_is_continued_by_every_backend_with_the_same_weights(short: None) -> None:
    found = tasks.outcomes(NAMES, "text", "characters", "RNN", (0,))
    samples = {(r["backend"], r["temperature"]): r for r in of_kind(found, Sample)}
    assert set(samples) == {(name, temperature) for name in NAMES for temperature in (0.0, tasks.TEMPERATURE)}
    for temperature in (0.0, tasks.TEMPERATURE):
        texts = {samples[name, temperature]["text"] for name in NAMES}
        assert len(texts) == 1
        assert len(texts.pop()) == 7


def test_a_run_that_diverges_is_recorded(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(backend: Any, run: RunSpec, data: Any) -> Any:
        if backend.name == "numpy" and run.seed == 1:
            raise Diverged("the loss is nan")
        return train(backend, run, data)

    monkeypatch.setattr(tasks, "train", explode)
    found: list[Any] = tasks.outcomes(NAMES, "sine", "windows", "RNN", (1, 2))
    first, second, third, fourth = found
    assert (first["ended"], first["problem"], "score" in first) == ("diverged", "the loss is nan", False)
    assert second["backend"] == "torch"
    assert "picture" in second
    assert "curve" in second
    assert "drift" in fourth
    assert third["ended"] == "finished"


def test_every_record_can_be_written(short: None, tmp_path: Any) -> None:
    path = tmp_path / "records.jsonl"
    with path.open("w") as stream, records.writing(stream, ["rosetta", "study", "--full"]) as writer:
        for record in tasks.outcomes(["numpy"], "adding", "modern", "LSTM", (0,)):
            writer.write(record)
    kinds = [record["kind"] for record in records.read(path)]
    assert kinds == ["header", "outcome", "gradient-norms", "gradient-norms", "end"]


@pytest.mark.parametrize("count", [1, 2, 59, 60, 61, 5000])
def test_groups_hold_every_update_once(count: int) -> None:
    losses = np.random.default_rng(count).uniform(1, 2, count).tolist()
    found: list[Any] = tasks.thinned(losses)
    assert len(found) <= POINT + 3
    stops = [int(stop) for stop, _ in found]
    assert (stops[-1], stops == sorted(set(stops))) == (count, True)
    assert {stop for stop in (10, 100, 1000) if stop < count} <= set(stops)
    for start, (stop, mean) in zip([0, *stops], found, strict=False):
        assert mean == pytest.approx(np.mean(losses[start : int(stop)]), rel=1e-12)


def test_drift_is_the_largest_relative_gap_of_its_group() -> None:
    reference = [2.0] * 200
    losses = [2.0] * 200
    losses[0], losses[150] = 2.2, 1.0
    pairs: list[Any] = tasks.drift(reference, losses)
    found = dict(pairs)
    assert found[1] == pytest.approx(0.1)
    assert max(found.values()) == 0.5
    assert sum(gap > 0 for gap in found.values()) == 2
    assert next(stop for stop, gap in found.items() if gap == 0.5) >= 151
    assert tasks.drift(reference[:3], losses)[-1][0] == 3
    assert tasks.drift([], losses) == []


def test_published_figures_are_of_tasks_and_cells_that_are_trained() -> None:
    assert len(FIGURES) >= 8
    for figure in FIGURES:
        assert figure.reading in TASKS[figure.task].readings
        assert figure.cell in tasks.CELLS
        assert all(figure)
    assert {figure.task for figure in FIGURES} >= {"adding", "reber", "temporal-order", "copy", "digits"}

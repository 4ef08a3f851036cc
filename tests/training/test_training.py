"""The training loop: what each update sees, what carries on, when it stops and what it keeps."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common import datasets
from common.backend import registry
from common.backend.contract import Batch
from common.datasets import Dataset
from common.errors import Diverged
from common.model.initial import initial_network
from common.model.run import OptimizerSpec, RunSpec
from common.study import runs
from common.training import settings
from common.training.loop import EXPLODED, Progress, Result, fit, require_loss, train

NUMPY = registry.load("numpy")
SMALL: dict[str, Any] = {"train": 7, "validation": 3, "test": 3}
TEXT: dict[str, Any] = {"characters": 1200, "streams": 3, "chunk": 20}
FAST = OptimizerSpec(name="adam", lr=0.02)


def run_of(data: Dataset, cell: str = "RNN", **options: Any) -> RunSpec:
    model = options.pop("model", {})
    network = data.network(cell, 3, **model)
    return RunSpec(network=network, **{"optimizer": FAST, "epochs": 3, "seed": 1, **options})


class Recorder:
    """A trainer that learns nothing, notes what it is given, and returns the losses that it is given."""

    def __init__(self, losses: Iterator[float] | None = None, evaluations: Iterator[float] | None = None):
        self.losses, self.evaluations = losses, evaluations
        self.steps: list[tuple[Batch, bool]] = []
        self.looked_at: list[Batch] = []

    def step(self, batch: Batch, *, carried: bool = False) -> float:
        self.steps.append((batch, carried))
        return next(self.losses) if self.losses else 1.0

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        self.looked_at.append(batch)
        return (next(self.evaluations) if self.evaluations else 1.0), np.zeros((1, 1))

    def params(self) -> dict[str, np.ndarray]:
        return {"after": np.array(len(self.steps))}


def recorded(run: RunSpec, data: Dataset) -> list[tuple[Batch, bool]]:
    recorder = Recorder()
    fit(recorder, run, data)  # type: ignore[arg-type]
    return recorder.steps


def columns(batch: Batch) -> list[bytes]:
    """Each sequence of a batch, as one value."""
    return [np.ascontiguousarray(batch.x[:, place]).tobytes() for place in range(batch.x.shape[1])]


def test_every_sequence_is_seen_once_an_epoch_in_another_order_each_time() -> None:
    data = datasets.load("reber", train=7, validation=3, test=3)
    assert data.training.draw is None
    steps = recorded(run_of(data, batch_size=3), data)
    assert [(batch.x.shape[1], carried) for batch, carried in steps] == [(3, False), (3, False), (1, False)] * 3
    epochs = [[c for batch, _ in steps[3 * e : 3 * e + 3] for c in columns(batch)] for e in range(3)]
    assert all(sorted(epoch) == sorted(columns(data.train)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [columns(data.train), *epochs]}) == 4
    for batch, _ in steps:  # targets and lengths moved with their sequences
        for place, sequence in enumerate(columns(batch)):
            of = columns(data.train).index(sequence)
            assert np.array_equal(batch.target[:, place], data.train.target[:, of])
            assert batch.lengths is not None
            assert data.train.lengths is not None
            assert batch.lengths[place] == data.train.lengths[of]
    assert [columns(b) for b, _ in recorded(run_of(data, batch_size=3), data)] == [columns(b) for b, _ in steps]
    assert [columns(b) for b, _ in recorded(run_of(data, batch_size=3, seed=2), data)] != [columns(b) for b, _ in steps]


def test_what_can_be_drawn_is_new_each_epoch_and_never_held_out() -> None:
    data = datasets.load("copy", delay=3, **SMALL)
    epochs = [batch for batch, _ in recorded(run_of(data, epochs=4), data)]
    seen = [sequence for batch in epochs for sequence in columns(batch)]
    assert len(set(seen)) == len(seen) == 4 * 7
    assert not set(seen) & {*columns(data.validation), *columns(data.test)}
    again = [columns(batch) for batch, _ in recorded(run_of(data, epochs=4), data)]
    assert again == [columns(batch) for batch in epochs]


def test_a_text_is_read_in_pieces_whose_state_is_carried_within_an_epoch() -> None:
    data = datasets.load("text", **TEXT)
    steps = recorded(run_of(data, epochs=2), data)
    pieces = -(-len(data.train.x) // 20)
    assert pieces > 3
    assert [carried for _, carried in steps] == ([False] + [True] * (pieces - 1)) * 2
    for epoch in (steps[:pieces], steps[pieces:]):
        assert np.array_equal(np.concatenate([batch.x for batch, _ in epoch]), data.train.x)
        assert np.array_equal(np.concatenate([batch.target for batch, _ in epoch]), data.train.target)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_the_state_carried_is_that_at_the_end_of_the_piece(name: str) -> None:
    """With no learning to speak of, the losses of the pieces are those of the text read in one go."""
    data, backend = datasets.load("text", **TEXT), registry.load(name)
    run = run_of(data, "LSTM", epochs=2, optimizer=OptimizerSpec(lr=1e-13))
    params = initial_network(run.network, 1)
    losses = train(backend, run, data).losses
    prediction, _ = NUMPY.predict(run.network, params, data.train)
    chances = prediction - np.log(np.exp(prediction).sum(-1, keepdims=True))
    right = -np.take_along_axis(chances, data.train.target[..., None], -1)[..., 0]
    wanted = [right[start : start + 20].mean() for start in range(0, len(right), 20)]
    np.testing.assert_allclose(losses, wanted * 2, rtol=1e-9)
    alone, _ = NUMPY.predict(run.network, params, data.train._replace(x=data.train.x[20:40]))
    assert abs(alone - prediction[20:40]).max() > 1e-4  # from a zero state they would be others


@pytest.mark.parametrize(
    ("task", "cell", "options"),
    [
        ("reber", "RNN", SMALL),
        ("places", "RNN", {}),
        ("kana", "LSTM", SMALL),
        ("text", "LSTMCell", TEXT),
    ],
)
def test_mini_batches_and_masks_are_the_same_in_every_backend(task: str, cell: str, options: dict[str, Any]) -> None:
    data = datasets.load(task, **options)
    model = {} if cell.endswith("Cell") else {"num_layers": 2, "dropout": 0.4}
    size = {"text": None, "places": 60}.get(task, 3)
    run = run_of(data, cell, model=model, epochs=2, batch_size=size, optimizer=replace(FAST, clip_norm=1.0))
    first, *others = (train(registry.load(name), run, data) for name in ("numpy", "torch", "jax"))
    assert len(first.losses) > 2
    for other in others:
        np.testing.assert_allclose(other.losses, first.losses, rtol=1e-9)
        np.testing.assert_allclose(other.evaluations, first.evaluations, rtol=1e-9)
        np.testing.assert_allclose((other.final_loss, other.score), (first.final_loss, first.score), rtol=1e-9)


def test_masks_are_drawn_again_for_every_update() -> None:
    data = datasets.load("adding", steps=5, **SMALL)
    steps = recorded(run_of(data, model={"num_layers": 2, "dropout": 0.5}, batch_size=3), data)
    masks: list[Any] = [batch.masks for batch, _ in steps]
    assert len({mask.tobytes() for mask in masks if mask is not None}) == len(steps) == 9


def scripted(values: list[float], **options: Any) -> tuple[Any, ...]:
    """A run whose losses on the validation data are given."""
    data, recorder = datasets.load("adding", steps=5, **SMALL), Recorder(evaluations=iter(values))
    found = fit(recorder, run_of(data, **options), data)  # type: ignore[arg-type]
    assert all(batch is data.validation for batch in recorder.looked_at)
    return found


def test_patience_counts_the_epochs_since_the_best() -> None:
    values = [3.0, 2.0, 2.5, 1.0, 1.5, 1.25, 1.0, 0.5, 0.1]
    losses, evaluations, best, ended = scripted(values, patience=3, epochs=20)
    assert (len(losses), ended) == (7, "patience")  # 1.0 again is no better
    assert evaluations == [(update, value) for update, value in enumerate(values[:7], 1)]
    assert best == {"after": np.array(4)}
    losses, _, best, ended = scripted(values, patience=4, epochs=9)
    assert (len(losses), ended, best) == (9, "finished", {"after": np.array(9)})
    losses, evaluations, best, ended = scripted(values, epochs=9)
    assert (len(losses), evaluations, best, ended) == (9, [], None, "finished")


def test_a_validation_loss_that_is_not_a_number_is_not_the_best() -> None:
    with pytest.raises(Diverged) as caught:
        scripted([2.0, 1.0, float("nan")], patience=3, epochs=9)
    message = "the loss is nan on the validation data after epoch 3, after 1 in training"
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_what_patience_keeps_is_the_best_of_the_recorded_evaluations(name: str) -> None:
    """On the validation data the parameters that are kept have the lowest loss that was recorded, not the last."""
    data, backend = datasets.load("reber", train=7, validation=6, test=5), registry.load(name)
    run = run_of(data, epochs=40, patience=3, batch_size=4, optimizer=replace(FAST, lr=0.5))
    result = train(backend, run, data)
    assert result.ended == "patience"
    values = [evaluation.loss for evaluation in result.evaluations]
    assert int(np.argmin(values)) == len(values) - 4
    kept = NUMPY.trainer(run, result.params)
    assert kept.evaluate(data.validation)[0] == pytest.approx(min(values), rel=1e-9)
    assert kept.evaluate(data.test)[0] == pytest.approx(result.final_loss, rel=1e-9)
    np.testing.assert_allclose(result.prediction, kept.evaluate(data.test)[1], rtol=0, atol=1e-9)
    assert result.score == pytest.approx(data.scoring.score(result.prediction, data.test))
    assert values[-1] > 1.0001 * min(values)


def stop_after(updates: int) -> Progress:
    count = [0]

    def on_update(done: int, _: float) -> None:
        count[0] = done

    return Progress(on_update, stopped=lambda: count[0] >= updates)


def same(a: Result, b: Result) -> None:
    assert (a.losses, a.final_loss, a.score) == (b.losses, b.final_loss, b.score)
    assert all(np.array_equal(a.params[name], b.params[name]) for name in b.params)


def test_an_interruption_keeps_the_trained_network() -> None:
    data = datasets.load("adding", steps=5, **SMALL)
    result = train(NUMPY, run_of(data, epochs=9), data, stop_after(2))
    assert result.ended == "interrupted"
    same(result, train(NUMPY, run_of(data, epochs=2), data))
    nothing = train(NUMPY, run_of(data), data, stop_after(0))
    assert (nothing.losses, nothing.ended) == ([], "interrupted")
    start = initial_network(run_of(data).network, 1)
    assert all(np.array_equal(nothing.params[name], value) for name, value in start.items())


def test_an_interruption_within_an_epoch_keeps_the_best_if_there_is_patience() -> None:
    data = datasets.load("adding", steps=5, **SMALL)
    run = run_of(data, epochs=9, batch_size=3, patience=9, optimizer=replace(FAST, lr=1e-3))
    result = train(NUMPY, run, data, stop_after(5))
    assert (len(result.losses), len(result.evaluations), result.ended) == (5, 1, "interrupted")
    kept = NUMPY.trainer(run, result.params).evaluate(data.validation)[0]
    assert kept == result.evaluations[0].loss


def test_progress_is_called_for_every_update_and_epoch() -> None:
    data, reported = datasets.load("adding", steps=5, **SMALL), []
    progress = Progress(lambda *a: reported.append(a), lambda *a: reported.append(a))
    result = train(NUMPY, run_of(data, epochs=2, batch_size=4), data, progress)
    losses, evaluations = result.losses, result.evaluations
    first = [(1, losses[0]), (2, losses[1]), (0, evaluations[0])]
    assert reported == [*first, (3, losses[2]), (4, losses[3]), (1, evaluations[1])]


def test_a_loss_that_explodes_or_is_not_finite_ends_the_run() -> None:
    require_loss(EXPLODED, [0.5], 0)
    require_loss(2 * EXPLODED, [2.0, 1.0], 0)
    require_loss(1e99, [], 0)
    advice = "try a smaller learning rate, or clipping (clip_norm, --clip-norm 1)"
    with pytest.raises(Diverged) as caught:
        require_loss(1.01 * EXPLODED, [0.5, 0.25], 2)
    assert str(caught.value) == f"the loss exploded to 1.01e+06 in epoch 3, after 0.25, from 0.5; {advice}"
    with pytest.raises(Diverged, match="exploded"):
        require_loss(2.01 * EXPLODED, [2.0, 1.0], 0)
    with pytest.raises(Diverged) as caught:
        require_loss(float("nan"), [0.5], 0)
    assert str(caught.value) == f"the loss is nan in epoch 1, update 2, after 0.5; {advice}"


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("options", [{}, {"nonlinearity": "relu"}], ids=["tanh", "relu"])
def test_a_rate_far_too_large_diverges_with_advice(name: str, options: dict[str, Any]) -> None:
    data = datasets.load("sine")
    run = run_of(data, model=options, optimizer=OptimizerSpec(lr=1e9))
    with pytest.raises(Diverged, match=r"exploded .*; try a smaller learning rate, or clipping"):
        train(registry.load(name), run, data)
    with pytest.raises(Diverged, match="on the test data after 1 updates"):
        train(registry.load(name), replace(run, epochs=1, optimizer=OptimizerSpec(lr=1e200)), data)


def test_backends_that_stop_at_different_updates_are_not_alike() -> None:
    """The curves are compared as far as both go, and the numbers of updates too."""
    data = datasets.load("sine")
    spec = settings.run_spec({"epochs": 5, "hidden_size": 3}, data, "RNN")
    long, short = (train(registry.load("numpy"), replace(spec, epochs=epochs), data) for epochs in (5, 3))
    rows = list(runs.compare_runs(data, spec, {"a": long, "b": short}))
    found = {row.quantity: (row.verdict, row.measured.count) for row in rows}
    assert found["updates"] == ("failed", 1)
    assert found["curve"][1] == 4
    assert "updates" not in {row.quantity for row in runs.compare_runs(data, spec, {"a": long, "b": long})}

"""The sine wave is what it says, the loop loops and knows when to stop."""

import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import jax
import numpy as np
import pytest

from common import datasets
from common.backend import registry
from common.backend.contract import Batch
from common.equivalence.variants import random_problem
from common.errors import Diverged, InvalidInput
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import DTYPES, ModelSpec
from common.training.loop import ADVICE, Progress, fit, train

I, H = 3, 7


def assert_close(a: Any, b: Any, atol: float = 0) -> None:
    """Array by array, through tuples and dicts; relative to the largest value where that is above 1."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=atol * max(1, np.abs(right).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reading", [None, "windows", "article"])
def test_every_window_is_followed_by_its_target(reading: str | None, dtype: str) -> None:
    """Against a series of its own, one value at a time."""
    series = [math.sin(math.pi * k / 50) for k in range(201)]
    data = datasets.load("sine", reading, dtype)
    batch = data.train
    x, target = batch.x, batch.target
    assert batch[2:] == (None,) * 4
    assert_close((data.validation[:2], data.test[:2]), (batch[:2],) * 2)
    windows = np.array([series[k : k + 25] for k in range(176)])
    article = reading == "article"
    assert_close(x[:, :, 0] if article else x[:, :, 0].T, windows, 1e-12 if dtype == "float64" else 1e-7)
    assert_close(target, np.array(series[25:])[:, None], 1e-12 if dtype == "float64" else 1e-7)
    assert (x.dtype, target.dtype) == (dtype, dtype)
    assert (x.shape, target.shape) == ((176, 25, 1) if article else (25, 176, 1), (176, 1))
    # What the readout sees is the value just before the target: in the variant of the article, the series itself.
    assert_close(x[:, -1, 0] if article else x[-1, :, 0], np.array(series[24:200]), 1e-7)
    picture = data.display.picture(target, batch)
    assert_close(np.array(picture["series"]), np.array(series), 1e-12)
    assert picture["position"] == list(range(25, 201))
    assert_close(np.array(picture["prediction"]), target[:, 0])
    assert (data.task, data.reading) == ("sine", reading or "windows")
    model = ModelSpec(cell="LSTM", input_size=1, hidden_size=5, bias=False, dtype=dtype)
    network = NetworkSpec(model=model, readout_size=1, readout="last_sequence" if article else "last_step")
    assert data.network("LSTM", 5, bias=False) == network


WRONG_DATA: list[tuple[tuple[str | None, ...], dict[str, int], str]] = [
    (("cosine",), {}, f"task: expected one of {', '.join(datasets.TASKS)}, got 'cosine'; did you mean sine?"),
    (("sine", "W"), {}, "reading of sine: expected one of windows, article, got 'W'; did you mean windows?"),
    (
        ("sine", "Windows"),
        {},
        "reading of sine: expected one of windows, article, got 'Windows'; did you mean windows?",
    ),
    (("sine", None, "float16"), {}, "dtype: expected one of float64, float32, got 'float16'"),
    (("sine", "windows"), {"window": 0}, "window: expected at least 1, got 0"),
    (("sine", "article"), {"window": 201}, "window: expected 1 to 200 points, got 201"),
    (("sine", "windows"), {"points_per_period": 10, "window": -1}, "window: expected at least 1, got -1"),
    (
        ("sine",),
        {"period": 3},
        "option of sine: expected one of points_per_period, periods, window, got 'period'; did you mean periods?",
    ),
]


@pytest.mark.parametrize(("arguments", "options", "message"), WRONG_DATA)
def test_wrong_names_and_windows_are_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        datasets.load(*arguments, **options)
    assert str(caught.value) == message


def one_part(batch: Batch, **options: Any) -> datasets.Dataset:
    """The data of a task that trains, validates and tests on one batch."""
    return replace(datasets.load("sine"), train=batch, validation=batch, test=batch, **options)


def small_run(epochs: int = 1, **options: Any) -> RunSpec:
    model = ModelSpec(cell="RNN", input_size=1, hidden_size=3)
    return RunSpec(
        network=NetworkSpec(model=model, readout_size=1), optimizer=OptimizerSpec(), epochs=epochs, **options
    )


BATCH = Batch(np.zeros((4, 5, 1)), np.zeros((5, 1)))


def test_fit_steps_once_an_epoch_and_tells() -> None:
    trainer = Mock(step=Mock(side_effect=[3.0, 2.0, 2.5, 99.0]))
    data, told = one_part(BATCH), []
    progress = Progress(lambda *what: told.append(what), lambda *what: told.append(what))
    assert fit(trainer, small_run(3), data, progress) == ([3.0, 2.0, 2.5], [], None, "finished")
    assert told == [(1, 3.0), (0, None), (2, 2.0), (1, None), (3, 2.5), (2, None)]
    assert [call.args for call in trainer.step.call_args_list] == [(BATCH,)] * 3
    assert [call.kwargs for call in trainer.step.call_args_list] == [{"carried": False}] * 3
    assert fit(trainer, small_run(), data)[0] == [99.0]
    assert not trainer.evaluate.called


@pytest.mark.parametrize(("bad", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
@pytest.mark.parametrize("at", [1, 3])
def test_fit_stops_when_the_loss_is_not_finite(bad: float, shown: str, at: int) -> None:
    trainer = Mock(step=Mock(side_effect=[0.5] * (at - 1) + [bad] + [0.1] * 9))
    told: list[int] = []
    with pytest.raises(Diverged) as caught:
        fit(trainer, small_run(9), one_part(BATCH), Progress(on_update=lambda updates, _: told.append(updates)))
    after = ", after 0.5" if at > 1 else ""
    assert str(caught.value) == f"the loss is {shown} in epoch {at}, update {at}{after}; {ADVICE}"
    assert told == list(range(1, at))
    assert trainer.step.call_count == at


def sine_run(hidden_size: int = 32, **options: Any) -> tuple[RunSpec, datasets.Dataset]:
    data = datasets.load("sine")
    return RunSpec(network=data.network("RNN", hidden_size), optimizer=OptimizerSpec(**options)), data


@pytest.mark.parametrize("name", ["numpy", "jax", "torch"])
def test_a_huge_learning_rate_diverges(name: str) -> None:
    run, data = sine_run(3, lr=1e160)
    with pytest.raises(Diverged, match="in epoch 2, update 2, after 0"):
        train(registry.load(name), run, data)


def test_train_starts_at_the_seed_and_tells_the_loss_before_each_update() -> None:
    run, data = sine_run(3)
    run, batch = replace(run, epochs=4, seed=5), data.train
    backend = registry.load("numpy")
    result = train(backend, run, data)
    trainer = backend.trainer(run, initial_network(run.network, 5))
    for loss in result.losses:
        assert loss == trainer.evaluate(batch)[0]
        trainer.step(batch)
    loss, prediction = trainer.evaluate(batch)
    assert (len(result.losses), result.final_loss) == (4, loss)
    assert_close((result.prediction, result.params), (prediction, trainer.params()))
    assert result.losses[0] != result.losses[1]
    assert (result.score, result.ended) == (data.scoring.score(prediction, batch), "finished")


@pytest.mark.parametrize("cell", ["RNN", "RNNCell"])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"nonlinearity": "relu"}], ids=str)
def test_one_bias_has_the_function_and_the_gradients_of_two(cell: str, options: dict[str, Any]) -> None:
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=H, **options)
    problem = random_problem(spec, 6, 5, 0)
    pair = [registry.load(name) for name in ("one-bias", "numpy")]
    one, two = ((*b.forward(spec, *problem[:3]), *b.vjp(spec, *problem[:5])) for b in pair)
    assert_close(one, two, 1e-12)


def test_one_bias_trains_differently() -> None:
    run, data = sine_run()
    start, losses, moved = initial_network(run.network, 0), [], []
    for name in ("numpy", "one-bias"):
        losses.append(np.array(train(registry.load(name), run, data).losses))
        trainer = registry.load(name).trainer(run, start)
        trainer.step(data.train)
        end = trainer.params()
        moved.append(sum(end[bias] - start[bias] for bias in ("rnn.bias_ih_l0", "rnn.bias_hh_l0")))
    np.testing.assert_allclose(moved[0], 2 * moved[1], rtol=1e-10, atol=0)
    assert abs(moved[1]).min() > 0
    difference = abs(losses[1] / losses[0] - 1)
    assert len(difference) == 100
    assert difference[0] < 1e-14
    assert difference.max() > 1e-4


@pytest.mark.parametrize("name", ["jax", "torch", "torch.nn", "flax"])
def test_a_stack_with_dropout_trains_alike_everywhere(name: str) -> None:
    """Every backend gets the same masks, others at each step; evaluation has none."""
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "forget_bias": 1.0}
    spec = ModelSpec(cell="LSTM", input_size=I, hidden_size=4, **options)
    network = NetworkSpec(model=spec, readout_size=8)
    rule = OptimizerSpec(name="adam", lr=0.3, betas=(0.5, 0.8), eps=1e-3)
    run = RunSpec(network=network, optimizer=rule, epochs=6, seed=2)
    problem = random_problem(spec, 4, 5, 0)
    batch = Batch(problem.x, problem.dy[-1])
    data = one_part(batch)
    found, expected = (train(registry.load(b), run, data) for b in (name, "numpy"))
    assert (found.ended, expected.ended) == ("finished", "finished")
    assert_close(found[:-1], expected[:-1], 1e-11)
    plain = replace(run, network=replace(network, model=replace(spec, dropout=0.0)))
    without = train(registry.load("numpy"), plain, data)
    assert abs(np.array(without.losses) - expected.losses).min() > 1e-3
    trainer = registry.load(name).trainer(run, expected.params)
    assert_close(trainer.evaluate(batch), registry.load("numpy").trainer(plain, expected.params).evaluate(batch), 1e-11)


def test_masks_are_drawn_anew_at_every_step_and_follow_the_seed() -> None:
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=4, num_layers=3, dropout=0.5)
    run = RunSpec(network=NetworkSpec(model=spec, readout_size=2), optimizer=OptimizerSpec(), epochs=3, seed=8)
    batch = Batch(np.zeros((4, 5, I)), np.zeros((5, 2)))

    def masks(seed: int) -> list[np.ndarray]:
        trainer = Mock(step=Mock(return_value=1.0), evaluate=Mock(return_value=(1.0, batch.target)))
        train(Mock(trainer=Mock(return_value=trainer)), replace(run, seed=seed), one_part(batch))
        assert trainer.evaluate.call_args.args == (batch,)
        return [call.args[0].masks for call in trainer.step.call_args_list]

    first, again, other = masks(8), masks(8), masks(9)
    assert {mask.shape for mask in first} == {(2, 4, 5, 4)}
    assert_close(first, again)
    flat = [mask.tobytes() for mask in (*first, *other)]
    assert len(set(flat)) == 6

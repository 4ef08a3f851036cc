"""The loop loops and knows when to stop; what trains alike, and what does not."""

import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

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
from common.model.spec import ModelSpec
from common.training.loop import ADVICE, Progress, fit, train
from common.training.settings import run_spec
from tests.datasets.comparing import assert_close

I, H = 3, 7


def one_part(batch: Batch, **options: Any) -> datasets.Dataset:
    """The data of a task that trains, validates and tests on one batch."""
    return replace(datasets.load("sine"), train=batch, validation=batch, test=batch, **options)


def small_run(epochs: int = 1, **options: Any) -> RunSpec:
    model = ModelSpec(cell="RNN", input_size=1, hidden_size=3)
    return RunSpec(
        network=NetworkSpec(model=model, readout_size=1), optimizer=OptimizerSpec(), epochs=epochs, **options
    )


BATCH = Batch(np.zeros((4, 5, 1)), np.zeros((5, 1)))


def test_fit_steps_once_an_epoch_and_reports_it() -> None:
    trainer = Mock(step=Mock(side_effect=[3.0, 2.0, 2.5, 99.0]))
    data, reported = one_part(BATCH), []
    progress = Progress(lambda *what: reported.append(what), lambda *what: reported.append(what))
    assert fit(trainer, small_run(3), data, progress) == ([3.0, 2.0, 2.5], [], None, "finished")
    assert reported == [(1, 3.0), (0, None), (2, 2.0), (1, None), (3, 2.5), (2, None)]
    assert [call.args for call in trainer.step.call_args_list] == [(BATCH,)] * 3
    assert [call.kwargs for call in trainer.step.call_args_list] == [{"carried": False}] * 3
    assert fit(trainer, small_run(), data)[0] == [99.0]
    assert not trainer.evaluate.called


@pytest.mark.parametrize(("bad", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
@pytest.mark.parametrize("at", [1, 3])
def test_fit_stops_when_the_loss_is_not_finite(bad: float, shown: str, at: int) -> None:
    trainer = Mock(step=Mock(side_effect=[0.5] * (at - 1) + [bad] + [0.1] * 9))
    reported: list[int] = []
    with pytest.raises(Diverged) as caught:
        fit(trainer, small_run(9), one_part(BATCH), Progress(on_update=lambda updates, _: reported.append(updates)))
    after = ", after 0.5" if at > 1 else ""
    assert str(caught.value) == f"the loss is {shown} in epoch {at}, update {at}{after}; {ADVICE}"
    assert reported == list(range(1, at))
    assert trainer.step.call_count == at


def sine_run(hidden_size: int = 32, **options: Any) -> tuple[RunSpec, datasets.Dataset]:
    data = datasets.load("sine")
    return RunSpec(network=data.network("RNN", hidden_size), optimizer=OptimizerSpec(**options)), data


@pytest.mark.parametrize("name", ["numpy", "jax", "torch"])
def test_a_huge_learning_rate_diverges(name: str) -> None:
    run, data = sine_run(3, lr=1e160)
    with pytest.raises(Diverged, match="in epoch 2, update 2, after 0"):
        train(registry.load(name), run, data)


def test_train_starts_at_the_seed_and_reports_the_loss_before_each_update() -> None:
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


def test_a_backend_is_asked_for_nothing_that_it_does_not_list() -> None:
    data = datasets.load("sum", "sequence", train=8, max_length=12)
    run = run_spec({"epochs": 1, "recurrent_dropout": 0.5}, data, "GRU")
    backend: Any = Mock(wraps=registry.load("numpy"))
    backend.name, backend.cells, backend.dtypes = "old", frozenset({"GRU"}), frozenset({"float64"})
    backend.options = frozenset({"dropout", "lengths"})
    with pytest.raises(InvalidInput, match=r"^options for backend old: expected .*, got 'recurrent_dropout'$"):
        train(backend, run, data)
    backend.trainer.assert_not_called()


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


def test_masks_are_drawn_again_at_every_step_and_follow_the_seed() -> None:
    spec = ModelSpec(cell="RNN", input_size=I, hidden_size=4, num_layers=3, dropout=0.5)
    run = RunSpec(network=NetworkSpec(model=spec, readout_size=2), optimizer=OptimizerSpec(), epochs=3, seed=8)
    batch = Batch(np.zeros((4, 5, I)), np.zeros((5, 2)))

    def masks(seed: int) -> list[np.ndarray]:
        trainer = Mock(step=Mock(return_value=1.0), evaluate=Mock(return_value=(1.0, batch.target)))
        able = {name: getattr(registry.load("numpy"), name) for name in ("cells", "dtypes", "options")}
        train(Mock(trainer=Mock(return_value=trainer), **able), replace(run, seed=seed), one_part(batch))
        assert trainer.evaluate.call_args.args == (batch,)
        return [call.args[0].masks for call in trainer.step.call_args_list]

    first, again, other = masks(8), masks(8), masks(9)
    assert {mask.shape for mask in first} == {(2, 4, 5, 4)}
    assert_close(first, again)
    flat = [mask.tobytes() for mask in (*first, *other)]
    assert len(set(flat)) == 6

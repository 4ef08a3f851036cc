"""A network's predictions and steps in pieces: states carried on, cut gradients, and parameters of its own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch
from common.errors import InvalidInput, InvalidType
from common.model.initial import initial_network
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from tests.backend.loud_networks import (
    CUT,
    TALK,
    TEXT,
    WAVE,
    B,
    H,
    I,
    every_backend,
    loud,
    piece,
    random_batch,
    trainer,
)


@pytest.mark.parametrize("network", [TEXT, WAVE, TALK], ids=["text", "wave", "talk"])
@every_backend
def test_a_prediction_is_that_of_an_evaluation(name: str, network: NetworkSpec) -> None:
    batch, params = random_batch(network), loud(network)
    _, expected = trainer(name, network, params, 0.1).evaluate(batch)
    prediction, state = registry.load(name).predict(network, params, batch._replace(target=np.zeros(0)))
    np.testing.assert_array_equal(prediction, expected)
    assert [part.shape for part in state] == [(2, B, H)] * 2
    assert {type(part) for part in (prediction, *state)} == {np.ndarray}


@pytest.mark.parametrize("network", [TEXT, WAVE], ids=["text", "wave"])
@every_backend
def test_a_prediction_goes_on_from_a_state(name: str, network: NetworkSpec) -> None:
    batch, params, backend = random_batch(network), loud(network), registry.load(name)
    whole, end = backend.predict(network, params, batch)
    first, middle = backend.predict(network, params, piece(batch, np.s_[:CUT]))
    kept = tuple(part.copy() for part in middle)
    second, last = backend.predict(network, params, piece(batch, np.s_[CUT:]), middle)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=0, atol=1e-13)
    for found, expected in zip((*last, *middle), (*end, *kept), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    cold, _ = backend.predict(network, params, piece(batch, np.s_[CUT:]))
    assert abs(cold - second).max() > 1e-2


@every_backend
def test_the_state_of_a_talk_is_the_decoders(name: str) -> None:
    batch, params = random_batch(TALK), loud(TALK)
    _, state = registry.load(name).predict(TALK, params, batch)
    words = batch.decoder_x
    assert words is not None
    _, other = registry.load(name).predict(TALK, params, batch._replace(decoder_x=words[:-1]))
    assert abs(state[0] - other[0]).max() > 1e-2


STATE = (np.ones((2, B, H)),) * 2
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"params": []}, InvalidType, "parameters: expected a mapping of names to arrays, got list"),
    ({"batch": None}, InvalidType, "batch: expected a Batch, got NoneType"),
    ({"state0": list(STATE)}, InvalidType, "state0: expected a tuple (h, c) for LSTM, got list"),
    ({"state0": STATE[:1]}, InvalidInput, "state0: expected a tuple (h, c) for LSTM, got 1 arrays"),
    (
        {"state0": (STATE[0][:, 1:], STATE[1])},
        InvalidInput,
        "state0.h: expected (2, 4, 5) for LSTM 2 layers, got (2, 3, 5)",
    ),
    (
        {"state0": (STATE[0], STATE[1] * np.nan)},
        InvalidInput,
        "state0.c: expected finite values, got nan at index (0, 0, 0)",
    ),
]


@pytest.mark.parametrize(
    ("change", "error", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("name", [name for name in registry.BUILTIN if name != "one-bias"])
def test_a_wrong_question_is_refused(name: str, change: dict[str, Any], error: type[Exception], message: str) -> None:
    good = {"network": TEXT, "params": loud(TEXT), "batch": random_batch(TEXT), "state0": STATE}
    with pytest.raises(error) as caught:
        registry.load(name).predict(**(good | change))
    assert str(caught.value) == message


def naive_losses(params: Parameters, batch: Batch, state: Any = None) -> tuple[np.ndarray, Any]:
    """The squared error at every step of one long run of a small Elman network, and its last state."""
    rnn = {name.removeprefix("rnn.").removesuffix("_l0"): value for name, value in params.items()}
    h, errors = np.zeros((B, H)) if state is None else state, []
    for x, target in zip(batch.x, batch.target, strict=True):
        h = np.tanh(x @ rnn["weight_ih"].T + rnn["bias_ih"] + h @ rnn["weight_hh"].T + rnn["bias_hh"])
        errors.append(np.mean((h @ params["readout.weight"].T + params["readout.bias"] - target) ** 2))
    return np.array(errors), h


@every_backend
def test_carried_pieces_are_one_long_sequence(name: str) -> None:
    """With a learning rate that moves nothing. The step that is not carried starts from zero again."""
    network, batch = replace(WAVE, model=ModelSpec(cell="RNN", input_size=I, hidden_size=H)), random_batch(WAVE)
    params = loud(network)
    still, (errors, _) = trainer(name, network, params, 1e-300), naive_losses(params, batch)
    first, second = piece(batch, np.s_[:CUT]), piece(batch, np.s_[CUT:])
    for _ in range(2):
        assert still.step(first) == pytest.approx(errors[:CUT].mean(), rel=1e-13)
        assert still.gradients(first)[0] == still.evaluate(first)[0], "neither changes the state that is kept"
        assert still.step(second, carried=True) == pytest.approx(errors[CUT:].mean(), rel=1e-13)
    alone, _ = naive_losses(params, second)
    assert still.step(second) == pytest.approx(alone.mean(), rel=1e-13)
    assert abs(alone.mean() / errors[CUT:].mean() - 1) > 1e-3


@every_backend
def test_no_gradient_flows_through_the_cut(name: str) -> None:
    """The second update follows the derivative with a constant state in which the first step ended."""
    network, batch = replace(WAVE, model=ModelSpec(cell="RNN", input_size=I, hidden_size=H)), random_batch(WAVE)
    first, second, lr, step = piece(batch, np.s_[:CUT]), piece(batch, np.s_[CUT:]), 0.01, 1e-5
    start = loud(network)
    running = trainer(name, network, start, lr)
    running.step(first)
    before, (_, cut) = running.params(), naive_losses(start, first)
    running.step(second, carried=True)
    after, rng = running.params(), np.random.default_rng(4)
    for key, value in before.items():
        along = rng.standard_normal(value.shape)
        ends = [before | {key: value + sign * step * along} for sign in (1, -1)]
        up, down = (naive_losses(end, second, cut)[0].mean() for end in ends)
        slope = (up - down) / (2 * step)
        assert ((value - after[key]) / lr * along).sum() == pytest.approx(slope, rel=1e-6, abs=1e-9), key
        if key.startswith("rnn."):
            up, down = (naive_losses(end, second, naive_losses(end, first)[1])[0].mean() for end in ends)
            assert abs((up - down) / (2 * step) - slope) > 1e-4, "the cut makes a difference"


@every_backend
def test_a_step_that_cannot_be_carried_is_refused(name: str) -> None:
    batch = random_batch(WAVE)
    running = trainer(name, WAVE, loud(WAVE), 0.1)
    with pytest.raises(InvalidInput, match=r"^carried: expected False in the first step, got True$"):
        running.step(batch, carried=True)
    running.step(batch)
    kept = running.params()
    with pytest.raises(InvalidInput, match=r"^x: expected 4 sequences, as in the step before, got 3$"):
        running.step(Batch(batch.x[:, 1:], batch.target[:, 1:]), carried=True)
    with pytest.raises(InvalidType, match=r"^batch: expected a Batch, got list$"):
        running.step([], carried=True)
    assert all(np.array_equal(value, kept[key]) for key, value in running.params().items())
    talking = trainer(name, TALK, loud(TALK), 0.1)
    talking.step(random_batch(TALK))
    with pytest.raises(InvalidInput, match=r"^carried: expected False for encoder_decoder, got True$"):
        talking.step(random_batch(TALK), carried=True)


@every_backend
def test_a_trainer_has_parameters_of_its_own(name: str) -> None:
    """Whoever changes the arrays that it was given, or that it gave, changes nothing in it."""
    model = ModelSpec(cell="LSTM", input_size=3, hidden_size=4)
    network = NetworkSpec(model=model, readout_size=2)
    given = initial_network(network, 0)
    kept = {key: value.copy() for key, value in given.items()}
    trainer = registry.load(name).trainer(RunSpec(network=network, optimizer=OptimizerSpec()), given)
    for arrays in (given, trainer.params()):
        for array in arrays.values():
            array[...] = 7
    for key, value in trainer.params().items():
        np.testing.assert_array_equal(value, kept[key])

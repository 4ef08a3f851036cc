"""Every argument is checked once: at the public entry that it is given to, and nowhere below."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numpy_impl
import numpy_impl.base
from common.backend import guards, registry
from common.backend.contract import Batch
from common.equivalence.variants import random_problem
from common.errors import InvalidInput, InvalidType
from common.model import arrays
from common.model.initial import initial_network, initial_parameters
from common.model.layout import network_shapes, parameter_shapes
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec

T, B, I, H, O = 4, 5, 3, 7, 2
SPEC = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2, dropout=0.5)
NETWORK = NetworkSpec(model=SPEC, readout_size=O, readout="every_step")
PROBLEM = random_problem(SPEC, T, B, 0)._replace(lengths=np.array([4, 3, 2, 1, 0]), masks=np.ones((1, T, B, H)))
BATCH = Batch(PROBLEM.x, np.ones((T, B, O)), lengths=PROBLEM.lengths, masks=PROBLEM.masks)
FORWARD = {"x", "masks", "lengths", "state0.h", "state0.c"}
Count = Callable[[Callable[[], Any]], set[str]]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Count:
    """A call -> the arguments that are checked while it runs, each of them once.

    An array passes two leaves: whether it is NumPy's, and whether its values are finite (those of integers are not
    looked at).
    """
    counts: dict[str, Counter[str]] = {"require_ndarray": Counter(), "require_finite": Counter()}

    def counting(leaf: str) -> Callable[[str, Any], None]:
        original = getattr(arrays, leaf)

        def count(name: str, array: Any) -> None:
            counts[leaf][name] += 1
            original(name, array)

        return count

    for leaf in counts:
        count = counting(leaf)
        for module in (arrays, guards, numpy_impl.base):
            if hasattr(module, leaf):
                monkeypatch.setattr(module, leaf, count)

    def run(call: Callable[[], Any]) -> set[str]:
        for counter in counts.values():
            counter.clear()
        call()
        both = counts["require_ndarray"] | counts["require_finite"]
        assert set(both.values()) <= {1}, both
        integers = {"lengths"}
        assert counts["require_finite"].keys() >= counts["require_ndarray"].keys() - integers
        return set(both)

    return run


@pytest.mark.parametrize("name", ["numpy", "jax", "torch", "torch.nn"])
def test_an_entry_of_the_contract_checks_each_argument_once(name: str, checked: Count) -> None:
    backend, params = registry.load(name), set(parameter_shapes(SPEC))
    assert checked(lambda: backend.forward(SPEC, *PROBLEM[:3], **PROBLEM.keywords)) == params | FORWARD
    everything = params | FORWARD | {"dy", "dstate.h", "dstate.c"}
    assert checked(lambda: backend.vjp(SPEC, *PROBLEM[:5], **PROBLEM.keywords)) == everything
    timed: list[Callable[[], None]] = []
    for backward in (False, True):
        assert checked(lambda b=backward: timed.append(backend.timed(SPEC, PROBLEM, backward=b))) == everything
    assert not any(checked(call) for call in timed), "what is timed is the computing alone"
    network = initial_network(NETWORK, 0)
    predicted = checked(lambda: backend.predict(NETWORK, network, BATCH, PROBLEM.state0))
    assert predicted == set(network_shapes(NETWORK)) | FORWARD


@pytest.mark.parametrize("name", ["numpy", "jax", "torch"])
def test_a_trainer_checks_its_parameters_once_and_each_batch_once(name: str, checked: Count) -> None:
    run, trainers = RunSpec(network=NETWORK, optimizer=OptimizerSpec()), []
    params = initial_network(NETWORK, 0)
    made = checked(lambda: trainers.append(registry.load(name).trainer(run, params)))
    assert made == set(network_shapes(NETWORK))
    (trainer,) = trainers
    calls = (trainer.step, lambda batch: trainer.step(batch, carried=True), trainer.gradients, trainer.evaluate)
    for call in calls:
        assert checked(lambda call=call: call(BATCH)) == {"x", "target", "lengths", "masks"}
    assert checked(trainer.params) == checked(trainer.wait) == set()


# Of numpy_impl's modules.


def module(**options: Any) -> numpy_impl.LSTM:
    return numpy_impl.LSTM(I, H, 2, dtype="float64", **options)


def test_a_call_of_a_module_checks_no_parameter(checked: Count) -> None:
    rnn, names = module(dropout=0.5), set(parameter_shapes(SPEC))
    call = checked(lambda: rnn(PROBLEM.x, PROBLEM.state0, lengths=PROBLEM.lengths, masks=PROBLEM.masks))
    assert call == {"x", "hx[0]", "hx[1]", "lengths", "masks"}
    assert checked(lambda: rnn(PROBLEM.x)) == {"x"}
    assert checked(lambda: rnn.backward(np.ones((T, B, H)))) == set()
    assert checked(lambda: rnn.load_state_dict(PROBLEM.params)) == names
    assert checked(lambda: setattr(rnn, "weight_hh_l1", PROBLEM.params["weight_hh_l1"])) == {"weight_hh_l1"}
    assert checked(lambda: setattr(rnn, "params", PROBLEM.params)) == names


@pytest.mark.parametrize(("value", "argument"), [("x", "x"), ("h", r"hx\[0\]"), ("c", r"hx\[1\]"), ("masks", "masks")])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_module_refuses_values_that_are_not_finite(value: str, argument: str, wrong: float) -> None:
    """Where they are in the arrays of the caller: batch first here."""
    rnn = module(dropout=0.5, batch_first=True)
    (h, c), x = (part.copy() for part in PROBLEM.dstate), PROBLEM.x.swapaxes(0, 1).copy()
    given = {"x": x, "h": h, "c": c, "masks": np.ones((1, T, B, H))}
    place = (0, 1, 2, 3)[-given[value].ndim :] if value == "masks" else (1, 2, 0)
    given[value][place] = wrong
    message = rf"^{argument}: expected finite values, got {wrong} at index \({', '.join(map(str, place))}\)$"
    with pytest.raises(InvalidInput, match=message):
        rnn(given["x"], (given["h"], given["c"]), masks=given["masks"])


def test_the_padding_may_hold_anything() -> None:
    rnn, x = module(), PROBLEM.x.copy()
    lengths = np.array([4, 3, 2, 1, 0])
    expected, _ = rnn(x, lengths=lengths)
    x[np.arange(T)[:, None] >= lengths] = np.nan
    found, _ = rnn(x, lengths=lengths)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InvalidInput, match=r"^x: expected finite values, got nan at index \(0, 4, 0\)$"):
        rnn(x)


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (np.full((4 * H, H), np.nan), InvalidInput, r"^weight_hh_l0: expected finite values, got nan at index \(0, 0\)$"),
    (np.zeros((4 * H, H + 1)), InvalidInput, r"^weight_hh_l0: expected \(28, 7\) for LSTM.*, got \(28, 8\)"),
    (np.zeros((3 * H, H)), InvalidInput, r"^weight_hh_l0: .*, got \(21, 7\); a GRU's or an LSTM1997's\?$"),
    (np.zeros((4 * H, H), int), InvalidType, "^weight_hh_l0: expected float64 for LSTM.*, got int64"),
    ([[0.0]], InvalidType, "^weight_hh_l0: expected an array or a tensor, got list$"),
]


@pytest.mark.parametrize(("value", "error", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_a_wrong_parameter_is_refused_where_it_is_assigned(value: Any, error: type[Exception], message: str) -> None:
    rnn = module()
    before, params = rnn.state_dict(), rnn.params
    changes: list[Callable[[], Any]] = [
        lambda: setattr(rnn, "weight_hh_l0", value),
        lambda: params.__setitem__("weight_hh_l0", value),
        lambda: params.update(weight_hh_l0=value),
        lambda: rnn.load_state_dict(before | {"weight_hh_l0": value}),
        lambda: setattr(rnn, "params", before | {"weight_hh_l0": value}),
    ]
    for change in changes:
        with pytest.raises(error, match=message):
            change()
    assert all(np.array_equal(value, before[name]) for name, value in rnn.params.items())


def test_a_module_keeps_exactly_its_parameters() -> None:
    rnn = module()
    with pytest.raises(InvalidInput, match=r"^parameter: expected one of weight_ih_l0, .*, got 'weight_hh_l9'"):
        rnn.params["weight_hh_l9"] = np.zeros((4 * H, H))
    for change in (lambda: rnn.params.pop("weight_hh_l0"), rnn.params.clear):
        with pytest.raises(InvalidType, match="expected a module that keeps all its parameters"):
            change()
    with pytest.raises(InvalidInput, match="missing bias_hh_l0"):
        rnn.params = {name: value for name, value in rnn.params.items() if name != "bias_hh_l0"}
    assert list(rnn.params) == list(parameter_shapes(SPEC)) == list(rnn.state_dict())


def test_parameters_are_changed_in_place_and_by_assignment() -> None:
    """A step of gradient descent in the three ways in which it is written; a diverged one is noticed at once."""
    start, x = initial_parameters(SPEC, 0), PROBLEM.x
    results = []
    for way in range(3):
        rnn = module(seed=0)
        y, _ = rnn(x)
        rnn.backward(y)
        for name, gradient in rnn.grads.items():
            if way == 0:
                rnn.params[name] -= 0.1 * gradient
            elif way == 1:
                rnn.params[name] = rnn.params[name] - 0.1 * gradient
            else:
                setattr(rnn, name, getattr(rnn, name) - 0.1 * gradient)
            assert np.array_equal(rnn.params[name], start[name] - 0.1 * gradient)
        results.append(rnn(x)[0])
        assert abs(results[-1] - y).max() > 1e-3
        with pytest.raises(InvalidInput, match=r"^bias_hh_l1: expected finite values, got inf"):
            rnn.params["bias_hh_l1"] += np.inf
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_an_assigned_array_is_copied() -> None:
    rnn, given = module(), np.ones((4 * H, H))
    for assign in (lambda: setattr(rnn, "weight_hh_l0", given), lambda: rnn.params.update(weight_hh_l0=given)):
        assign()
        given[:] = 2
        assert np.all(rnn.params["weight_hh_l0"] == 1)
        given[:] = 1

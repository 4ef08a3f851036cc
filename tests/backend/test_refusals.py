"""Wrong calls of the contract are refused by name, by every backend in the same words."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from common.backend import registry
from common.backend.contract import Batch
from common.equivalence.variants import random_problem
from common.errors import InvalidInput, InvalidType
from common.model.spec import ModelSpec
from tests.backend.samples import VARIANTS, B, H, T, assert_equal, every_variant, model, training


def nan_at_1(array: np.ndarray) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 1, np.nan, array)


class Wrong(NamedTuple):
    """The argument, what is done to a good one, the exception, and its whole message."""

    argument: str
    change: Callable[[Any], Any]
    error: type[Exception]
    message: str
    cell: str = "RNN"


RANK, EMPTY = "x: expected 3 axes (T, B, I), got", "x: expected at least one step and one sequence, got"
MAPPING = "parameters: expected a mapping of names to arrays, got list"
WRONG_X = [
    Wrong("x", lambda x: x[0], InvalidInput, f"{RANK} 2 of shape (5, 3)"),
    Wrong("x", lambda x: x[:0], InvalidInput, f"{EMPTY} shape (0, 5, 3)"),
    Wrong("x", lambda x: x[:, :0], InvalidInput, f"{EMPTY} shape (4, 0, 3)"),
    Wrong("x", lambda x: x[..., 1:], InvalidInput, "x: expected (4, 5, 3) for RNN(input_size=3), got (4, 5, 2)"),
    Wrong("x", np.float32, InvalidType, "x: expected float64 for RNN(input_size=3), got float32"),
    Wrong("x", lambda x: x.astype("int64"), InvalidType, "x: expected float64 for RNN(input_size=3), got int64"),
    Wrong("x", torch.tensor, InvalidType, "x: expected a numpy.ndarray, got Tensor"),
    Wrong("x", nan_at_1, InvalidInput, "x: expected finite values, got nan at index (0, 0, 1)"),
]
WRONG_CALLS = [
    *WRONG_X,
    Wrong("params", list, InvalidType, MAPPING),
]
# Of a backend that has them, and of two layers: good are the lengths [1, 2, 3, 4, 4] and masks of ones.
LENGTHS, FIVE, ABOVE = "lengths: expected", "(5,), one for each sequence, got", "0 to 4 steps, got"
MASKS = "masks: expected (1, 4, 5, 7) for RNN 2 layers, (L-1, T, B, D*H), got"
WRONG_OPTIONS = [
    Wrong("lengths", list, InvalidType, f"{LENGTHS} a numpy.ndarray, got list"),
    Wrong("lengths", torch.tensor, InvalidType, f"{LENGTHS} a numpy.ndarray, got Tensor"),
    Wrong("lengths", np.float64, InvalidType, f"{LENGTHS} integers, got float64"),
    Wrong("lengths", lambda n: n > 2, InvalidType, f"{LENGTHS} integers, got bool"),
    Wrong("lengths", lambda n: n[1:], InvalidInput, f"{LENGTHS} {FIVE} (4,)"),
    Wrong("lengths", lambda n: n[:, None], InvalidInput, f"{LENGTHS} {FIVE} (5, 1)"),
    Wrong("lengths", lambda n: n - 2, InvalidInput, f"{LENGTHS} {ABOVE} -1 at index 0"),
    Wrong("lengths", lambda n: n - 3, InvalidInput, f"{LENGTHS} {ABOVE} -2 at index 0"),
    Wrong("lengths", lambda n: n + 1, InvalidInput, f"{LENGTHS} {ABOVE} 5 at index 3"),
    Wrong("masks", lambda m: (m,), InvalidType, "masks: expected a numpy.ndarray, got tuple"),
    Wrong("masks", lambda m: m[0], InvalidInput, f"{MASKS} (4, 5, 7); an axis too many or too few?"),
    Wrong("masks", lambda m: m[:, 1:], InvalidInput, f"{MASKS} (1, 3, 5, 7)"),
    Wrong("masks", lambda m: m[..., 1:], InvalidInput, f"{MASKS} (1, 4, 5, 6)"),
    Wrong("masks", lambda m: np.concatenate([m, m]), InvalidInput, f"{MASKS} (2, 4, 5, 7)"),
    Wrong("masks", np.float32, InvalidType, "masks: expected float64 for RNN 2 layers, (L-1, T, B, D*H), got float32"),
    Wrong("masks", lambda m: nan_at_1(m), InvalidInput, "masks: expected finite values, got nan at index (0, 0, 0, 1)"),
]
NO_MASKS = "masks: expected None with num_layers=1, as the last layer has no dropout, got masks"
OUT = "readout.weight: expected (2, 7) for RNN(hidden_size=7), got (7, 2); transposed?"
WRONG_RUNS = [
    Wrong("run", lambda run: run.network, InvalidType, "run: expected a RunSpec, got NetworkSpec"),
    Wrong("params", list, InvalidType, MAPPING),
    Wrong("params", lambda p: p | {"readout.weight": p["readout.weight"].T}, InvalidInput, OUT),
]
TARGET = "target: expected (5, 2) for the readout last_step, got"
WRONG_BATCHES = [
    *WRONG_X,
    Wrong("target", np.transpose, InvalidInput, f"{TARGET} (2, 5); transposed?"),
    Wrong("target", lambda y: y[:, 0], InvalidInput, f"{TARGET} (5,)"),
    Wrong("target", lambda y: y[1:], InvalidInput, f"{TARGET} (4, 2)"),
    Wrong("target", np.float32, InvalidType, "target: expected float64 for the readout last_step, got float32"),
    Wrong("target", nan_at_1, InvalidInput, "target: expected finite values, got nan at index (0, 1)"),
]


def wrong_states(name: str) -> list[Wrong]:
    one, two = (f"{name}: expected a tuple {fields}, got" for fields in ("(h,) for RNN", "(h, c) for LSTM"))
    shape, nan = f"{name}.h: expected (1, 5, 7) for RNN, got", "expected finite values, got nan at index (0, 0, 1)"
    return [
        Wrong(name, lambda s: s[0], InvalidType, f"{one} ndarray"),
        Wrong(name, list, InvalidType, f"{one} list"),
        Wrong(name, lambda s: s * 2, InvalidInput, f"{one} 2 arrays"),
        Wrong(name, lambda s: s[0], InvalidType, f"{two} ndarray", "LSTM"),
        Wrong(name, lambda s: s[:1], InvalidInput, f"{two} 1 arrays", "LSTM"),
        Wrong(name, lambda s: (*s, s[0]), InvalidInput, f"{two} 3 arrays", "LSTM"),
        Wrong(name, lambda s: (s[0][:, 1:],), InvalidInput, f"{shape} (1, 4, 7)"),
        Wrong(name, lambda s: (s[0][..., 1:],), InvalidInput, f"{shape} (1, 5, 6)"),
        Wrong(name, lambda s: (s[0][0],), InvalidInput, f"{shape} (5, 7); an axis too many or too few?"),
        Wrong(name, lambda s: (np.float32(s[0]),), InvalidType, f"{name}.h: expected float64 for RNN, got float32"),
        Wrong(name, lambda s: (s[0], nan_at_1(s[1])), InvalidInput, f"{name}.c: {nan}", "LSTM"),
    ]


DY = "dy: expected (4, 5, 7) for RNN, got"
WRONG_COTANGENTS = [
    Wrong("dy", lambda dy: dy[1:], InvalidInput, f"{DY} (3, 5, 7)"),
    Wrong("dy", lambda dy: dy.swapaxes(0, 1), InvalidInput, f"{DY} (5, 4, 7); axes in another order?"),
    Wrong("dy", np.float32, InvalidType, "dy: expected float64 for RNN, got float32"),
    Wrong("dy", nan_at_1, InvalidInput, "dy: expected finite values, got nan at index (0, 0, 1)"),
    Wrong("dstate", lambda _: None, InvalidType, "dstate: expected a tuple (h,) for RNN, got NoneType"),
    *wrong_states("dstate"),
]


def refuses(wrong: Wrong, call: Callable[..., Any], arguments: dict[str, Any]) -> None:
    changed = arguments | {wrong.argument: wrong.change(arguments.get(wrong.argument))}
    with pytest.raises(wrong.error) as caught:
        call(**changed)
    assert str(caught.value) == wrong.message


def over(table: list[Wrong]) -> Any:
    cases = [(name, wrong) for wrong in table for name, cell in VARIANTS if cell == wrong.cell]
    return pytest.mark.parametrize(("name", "wrong"), cases, ids=lambda case: getattr(case, "message", case))


@over([*WRONG_CALLS, *wrong_states("state0"), *WRONG_COTANGENTS])
def test_forward_and_vjp_refuse(name: str, wrong: Wrong) -> None:
    backend, spec = registry.load(name), model(wrong.cell)
    good = {"spec": spec} | random_problem(spec, T, B, 0)._asdict()
    refuses(wrong, backend.vjp, good)
    if wrong not in WRONG_COTANGENTS:
        del good["dy"], good["dstate"]
        refuses(wrong, backend.forward, good)


@pytest.mark.parametrize("wrong", WRONG_OPTIONS, ids=lambda wrong: wrong.message)
@pytest.mark.parametrize("name", [name for name in registry.BUILTIN if name != "one-bias"])
def test_wrong_lengths_and_masks_are_refused(name: str, wrong: Wrong) -> None:
    backend, spec = registry.load(name), model(num_layers=2)
    problem = random_problem(spec, T, B, 0)._replace(lengths=np.array([1, 2, 3, 4, 4]), masks=np.ones((1, T, B, H)))
    good: dict[str, Any] = {"spec": spec} | problem._asdict()
    backend.vjp(**good)
    refuses(wrong, backend.vjp, good)
    changed = problem._replace(**{wrong.argument: wrong.change(getattr(problem, wrong.argument))})
    with pytest.raises(wrong.error) as caught:
        backend.timed(spec, changed, backward=False)
    assert str(caught.value) == wrong.message
    refuses(wrong, backend.forward, {key: good[key] for key in ("spec", "params", "x", "state0", "lengths", "masks")})


@every_variant
def test_one_layer_has_no_masks(name: str, cell: str) -> None:
    backend, spec = registry.load(name), model(cell)
    problem, (run, params, batch) = random_problem(spec, T, B, 0), training(spec)
    masks = np.ones((1, T, B, H))
    trainer = backend.trainer(run, params)
    calls = [
        lambda: backend.forward(spec, *problem[:3], masks=masks),
        lambda: trainer.step(batch._replace(masks=masks)),
    ]
    calls += [lambda: backend.vjp(spec, *problem[:5], masks=masks)]
    calls += [lambda: backend.timed(spec, problem._replace(masks=masks), backward=True)]
    for call in calls:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert str(caught.value) == NO_MASKS


@pytest.mark.parametrize("name", [name for name in registry.BUILTIN if name != "one-bias"])
def test_a_trainer_refuses_wrong_masks(name: str) -> None:
    run, params, batch = training(model(num_layers=2))
    trainer = registry.load(name).trainer(run, params)
    for method in (trainer.step, trainer.gradients, trainer.evaluate):
        for wrong in WRONG_OPTIONS:
            if wrong.argument == "masks":
                with pytest.raises(wrong.error) as caught:
                    method(batch._replace(masks=wrong.change(np.ones((1, T, B, H)))))
                assert str(caught.value) == wrong.message


@over(WRONG_RUNS)
def test_trainer_refuses(name: str, wrong: Wrong) -> None:
    run, params, _ = training(model())
    refuses(wrong, registry.load(name).trainer, {"run": run, "params": params})


@over(WRONG_BATCHES)
def test_a_trainer_refuses_a_batch_and_stays_as_it_was(name: str, wrong: Wrong) -> None:
    run, params, batch = training(model())
    trainer = registry.load(name).trainer(run, params)
    for method in (trainer.step, trainer.gradients, trainer.evaluate):
        refuses(wrong, lambda call=method, **fields: call(Batch(**fields)), batch._asdict())
    assert_equal(trainer.params(), registry.load(name).trainer(run, params).params())


UNABLE = [(name, model(dtype="complex128"), "dtype") for name in ("jax", "torch", "torch.nn", "flax")]
UNABLE += [("one-bias", model(cell), "cell") for cell in ("LSTM", "LSTMCell")]


@pytest.mark.parametrize(("name", "spec", "kind"), UNABLE)
def test_what_a_backend_cannot_do_is_refused(name: str, spec: ModelSpec, kind: str) -> None:
    backend, problem, (run, params, _) = registry.load(name), random_problem(spec, T, B, 0), training(spec)
    calls = [lambda: backend.forward(spec, *problem[:3]), lambda: backend.vjp(spec, *problem[:5])]
    calls += [lambda: backend.trainer(run, params), lambda: backend.timed(spec, problem, backward=True)]
    message = f"^{kind} for backend {name}: expected one of .*, got '{getattr(spec, kind)}'$"
    for call in calls:
        with pytest.raises(InvalidType if kind == "dtype" else InvalidInput, match=message):
            call()


LACKING = [("flax", "LSTM", {"proj_size": 2}), ("one-bias", "RNN", {"num_layers": 2})]
LACKING += [("one-bias", "RNN", {"bidirectional": True}), ("one-bias", "RNN", {"lengths": np.full(B, T)})]
LACKING += [("one-bias", "RNNCell", {"lengths": np.full(B, T)}), ("one-bias", "RNN", {"dropout": 0.5})]


@pytest.mark.parametrize(("name", "cell", "option"), LACKING, ids=str)
def test_an_option_that_a_backend_lacks_is_refused(name: str, cell: str, option: dict[str, Any]) -> None:
    (kind,) = option
    spec = model(cell, **({} if kind == "lengths" else option))
    backend, problem = registry.load(name), random_problem(spec, T, B, 0)
    problem = problem._replace(lengths=option.get("lengths"))
    assert kind not in backend.options
    calls = [
        lambda: backend.forward(spec, *problem[:3], **problem.keywords),
        lambda: backend.vjp(spec, *problem[:5], **problem.keywords),
    ]
    calls += [lambda b=b: backend.timed(spec, problem, backward=b) for b in (True, False)]
    run, params, batch = training(spec)
    calls += [lambda: backend.predict(run.network, params, batch._replace(lengths=problem.lengths))]
    if kind != "lengths":
        calls += [lambda: backend.trainer(run, params)]
    for call in calls:
        with pytest.raises(InvalidInput, match=f"^options for backend {name}: expected none.*, got '{kind}'$"):
            call()

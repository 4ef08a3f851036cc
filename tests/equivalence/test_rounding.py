"""The network in Monte Carlo arithmetic: exact where nothing is rounded, and as far off as rounding carries it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Grads
from common.backend.guards import unsupported
from common.equivalence import monte_carlo, rounding
from common.equivalence.ladder import named_grads, named_outputs
from common.equivalence.rounding import Answer, answers
from common.equivalence.tolerances import largest
from common.equivalence.variants import Variant, drawn, problem
from common.model.spec import CELLS, OTHER_FORMS, ModelSpec

STACK = ModelSpec(cell="LSTM", input_size=3, hidden_size=5, num_layers=3, proj_size=4, bidirectional=True, dropout=0.4)
VARIANTS = [
    Variant(spec=STACK, steps=7, batch=6, lengths=(4, 7, 1, 5, 7, 2)),
    *(variant for variant in drawn(240, CELLS, ["float64"], seed=40) if variant.regime != "huge"),
]


def named(spec: ModelSpec, answer: Answer) -> dict[str, np.ndarray]:
    y, state, grads = answer
    return named_outputs(spec, y, state) | named_grads(spec, grads)


def one(variant: Variant) -> list[dict[str, np.ndarray]]:
    return [named(variant.spec, answer) for answer in answers(variant.spec, problem(variant), variant.seed)]


def test_the_first_answer_is_that_of_torch_nn() -> None:
    """Outputs, final states and every gradient, over all options; that of autograd where torch.nn lacks the form."""
    compared = 0
    for variant in VARIANTS:
        spec, args = variant.spec, problem(variant)
        oracle = registry.load("torch" if OTHER_FORMS.intersection(spec.options) else "torch.nn")
        assert not unsupported(oracle, spec, variant.called)
        outputs = oracle.forward(spec, args.params, args.x, args.state0, **args.keywords)
        expected = named(spec, (*outputs, oracle.vjp(spec, *args[:5], **args.keywords)))
        exact = one(variant)[0]
        assert exact.keys() == expected.keys()
        for quantity, value in expected.items():
            assert exact[quantity].shape == value.shape
            assert exact[quantity].dtype == "float64"
            assert largest(exact[quantity] - value) <= 1e-13 + 1e-12 * largest(value), (quantity, variant)
            compared += largest(value) > 0
    assert compared > 1000


def test_the_exact_answer_does_not_depend_on_the_dtype_or_on_how_the_runs_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variant = VARIANTS[0]
    exact, *rounded = one(variant)
    assert len(rounded) == rounding.DRAWS
    monkeypatch.setattr(rounding, "LARGE", 0)
    again, *few = one(variant)
    assert len(few) == rounding.FEW_DRAWS
    for quantity in exact:
        sizes = [max(largest(run[quantity] - exact[quantity]) for run in runs) for runs in (few, rounded)]
        assert 0.1 * sizes[1] < sizes[0] < 3 * sizes[1], "runs that are made one by one are moved as much"
    single = replace(variant, spec=STACK.with_dtype("float32"))
    args = problem(single)._replace(**{k: v for k, v in problem(variant)._asdict().items() if k != "masks"})
    other = named(STACK, answers(single.spec, args._replace(masks=problem(variant).masks), 1)[0])
    for quantity, value in exact.items():
        assert np.allclose(again[quantity], value, rtol=1e-13, atol=1e-15)
        assert np.allclose(other[quantity], value, rtol=1e-13, atol=1e-15)


def test_every_run_is_rounded_on_its_own() -> None:
    exact, *rounded = one(VARIANTS[0])
    for quantity, value in exact.items():
        moved = [result[quantity] - value for result in rounded]
        assert all(largest(move) > 0 for move in moved), quantity
        assert all(largest(a - b) > 0 for a, b in pairwise(moved)), quantity


def spread(variant: Variant) -> dict[str, float]:
    """How far the farthest run is from the exact result, relative to its largest value."""
    exact, *rounded = one(variant)
    return {k: max(largest(result[k] - v) for result in rounded) / largest(v) for k, v in exact.items()}


@pytest.mark.parametrize("cell", CELLS)
def test_the_spread_is_proportional_to_the_rounding_of_the_dtype(cell: str) -> None:
    variant = Variant(spec=ModelSpec(cell=cell, input_size=3, hidden_size=7, dtype="float32"))
    single, half = spread(variant), spread(replace(variant, spec=variant.spec.with_dtype("float16")))
    double = spread(replace(variant, spec=variant.spec.with_dtype("float64")))
    for quantity, value in single.items():
        assert 1 < value / monte_carlo.ROUNDOFF["float32"] < 40, quantity
        assert half[quantity] / value == pytest.approx(2.0**13, rel=0.8)
        assert double[quantity] / value == pytest.approx(2.0**-16, rel=0.8), "a rounding of MEASURABLE"


def test_one_product_and_one_slope_by_hand() -> None:
    """y = tanh(8): near 1 a rounding of the argument does little, but one of y itself is much of the slope 1 - y^2."""
    spec = ModelSpec(cell="RNNCell", input_size=1, hidden_size=1, bias=False, dtype="float32")
    args = problem(Variant(spec=spec, steps=1, batch=1))
    params = {"weight_ih": np.array([[8.0]], "f4"), "weight_hh": np.zeros((1, 1), "f4")}
    ones = np.ones((1, 1, 1), "f4")
    args = args._replace(params=params, x=ones, state0=(0 * ones,), dy=ones, dstate=(0 * ones,))
    exact, *rounded = (named(spec, answer) for answer in answers(spec, args, 0))
    unit, h = monte_carlo.ROUNDOFF["float32"], np.tanh(8.0)
    assert exact["y"] == h
    assert exact["dweight_ih"] == pytest.approx(1 - h * h)
    moved = {name: max(largest(result[name] - exact[name]) for result in rounded) for name in exact}
    assert unit / 2 < moved["y"] < 3 * unit
    assert unit < moved["dweight_ih"] < 8 * unit, "an error of a rounding in y changes 1 - y^2 by two"
    assert moved["dweight_ih"] > 0.1 * exact["dweight_ih"]
    assert moved["dweight_hh"] == exact["dweight_hh"] == 0, "an exact zero stays one"


@pytest.mark.parametrize(
    ("cell", "of_x", "of_h", "state"),
    [
        ("LSTMCell", [-40, 0, 9, 9], [0] * 4, "c_n"),
        ("LSTM1997Cell", [-40, 9, 9], [0] * 3, "c_n"),
        ("GRUCell", [-40, -9, 0], [0, 0, 1], "h_n"),
    ],
)
def test_a_gate_is_moved_by_a_rounding_of_one(cell: str, of_x: list[int], of_h: list[int], state: str) -> None:
    """Where the input gate is shut, at sigmoid(-40), what passes it is less than the error of a gate; or the reset."""
    spec = ModelSpec(cell=cell, input_size=1, hidden_size=1, dtype="float32")
    args = problem(Variant(spec=spec, steps=1, batch=1))
    params = {name: np.zeros_like(value) for name, value in args.params.items()}
    params |= {"bias_ih": np.array(of_x, "f4"), "bias_hh": np.array(of_h, "f4")}
    args = args._replace(params=params, state0=None)
    exact, *rounded = (named(spec, answer) for answer in answers(spec, args, 0))
    assert largest(exact[state]) < 1e-17
    unit = monte_carlo.ROUNDOFF["float32"]
    assert unit / 2 < max(largest(result[state]) for result in rounded) < 2 * unit


def test_the_seed_decides_the_runs() -> None:
    variant = VARIANTS[0]

    def last(seed: int) -> Grads:
        return answers(variant.spec, problem(variant), seed)[-1][2]

    assert np.array_equal(last(3).x, last(3).x)
    assert not np.array_equal(last(3).x, last(4).x)


def test_the_units_are_those_of_the_formats() -> None:
    assert monte_carlo.ROUNDOFF == {"float64": 2**-53, "float32": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}
    assert monte_carlo.UNDERFLOW == {"float64": 2**-1022, "float32": 2**-126, "float16": 2**-24, "bfloat16": 2**-126}
    assert (rounding.DRAWS, rounding.FEW_DRAWS, monte_carlo.MEASURABLE) == (16, 4, 2**-40)


def test_numbers_move_by_exactly_one_rounding_up_and_down() -> None:
    r = monte_carlo.Rounding("float16", np.array([0, 1, 1]), np.random.default_rng(0))
    value = np.full((3, 40, 50), -3.0)
    value[:, 0] = 0
    exact, *moved = r(value)
    assert np.array_equal(exact, value[0])
    for run in moved:
        assert (run[0] == 0).all(), "an exact zero stays one"
        assert {*np.unique(run[1:])} == {-3 + sign * (3 * 2**-11 + -(2**-24)) for sign in (-1, 1)}
        assert 0.4 < (run[1:] > -3).mean() < 0.6
    gates = r.gate(np.full((3, 40, 50), 1e-9))
    assert {*np.unique(gates[1])} == {1e-9 - 2**-11, 1e-9 + 2**-11}
    assert 0.4 < (gates[2] > 0).mean() < 0.6
    assert (gates[0] == 1e-9).all()


def test_a_run_by_itself_is_moved_in_every_block_anew() -> None:
    """Large arrays are moved one run at a time, a block of numbers after another."""
    value = np.full((1, 5, monte_carlo.BLOCK // 2), -3.0)
    r = monte_carlo.Rounding("float32", np.array([True]), np.random.default_rng(0))
    moved = r(value)
    assert {*np.unique(moved)} == {-3 + sign * 3 * 2**-24 for sign in (-1, 1)}
    ups = moved.ravel() > -3
    first, second, third = ups[: monte_carlo.BLOCK], ups[monte_carlo.BLOCK : -len(ups) // 5], ups[-len(ups) // 5 :]
    for a, b in ((first, second), (second[: len(third)], third), (ups, r(value).ravel() > -3)):
        assert 0.4 < a.mean() < 0.6
        assert 0.4 < (a == b).mean() < 0.6, "no block repeats another"
    exact = monte_carlo.Rounding("float32", np.array([False]), np.random.default_rng(0))
    assert np.array_equal(exact(value), value)


# Rounded, in one step: the two products, their sum with the biases' sum, the pre-activation; the activation; on the way
# back da, three products for weights and biases, two for x and h; and the sums of four gradients.
ELMAN_STEP = 5 + 1 + 1 + 3 + 2 + 4
# The pre-activation; i, f and o as gates, g, c, tanh(c), m; dc and da, three products, two, and dc f; the four sums.
LSTM_STEP = 5 + 3 + 4 + 2 + 3 + 3 + 4
# As the LSTM's, without f, and dc is passed on as it is.
LSTM1997_STEP = LSTM_STEP - 2
# Both products, each with its bias; the gates' sum, and both gates in one; q_n and its bias, the sum of n, n, h; on the
# way back da_z, da_n, dq_n, ds and da_r, three products, weight_hh's two anew, bias_hh anew, and for x, h and h_prev;
# the four sums. With reset_after=False s is rounded, and dq_n is da_n.
GRU_STEP = 4 + 2 + 5 + 5 + 3 + 3 + 3 + 4
# h, dm, the gradient of the projection, and its sum.
PROJECTION_STEP = 4


@pytest.mark.parametrize(
    ("options", "step", "given", "layers"),
    [
        ({"cell": "RNN"}, ELMAN_STEP, 4, 1),
        ({"cell": "RNN", "nonlinearity": "relu", "bias": False}, ELMAN_STEP - 2 - 1 - 2, 2, 1),
        ({"cell": "LSTM"}, LSTM_STEP, 4, 1),
        ({"cell": "LSTM", "proj_size": 2}, LSTM_STEP + PROJECTION_STEP, 5, 1),
        ({"cell": "LSTM1997"}, LSTM1997_STEP, 4, 1),
        ({"cell": "GRU"}, GRU_STEP, 4, 1),
        ({"cell": "GRU", "reset_after": False}, GRU_STEP, 4, 1),
        ({"cell": "RNN", "num_layers": 2, "dropout": 0.5}, ELMAN_STEP, 4, 2),
    ],
    ids=str,
)
def test_every_result_on_the_way_is_rounded(
    options: dict, step: int, given: int, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the number of roundings: x, dy, and each state and its gradient are given, and every layer hands on a dx."""
    spec = ModelSpec(input_size=3, hidden_size=5, **options)
    calls, T = [], 4

    def counted(name: str) -> Any:
        real = getattr(monte_carlo.Rounding, name)
        return lambda self, value: calls.append(name) or real(self, value)

    for name in ("__call__", "gate"):
        monkeypatch.setattr(monte_carlo.Rounding, name, counted(name))
    answers(spec, problem(Variant(spec=spec, steps=T, batch=2)), 0)
    masks = 3 if layers == 2 else 0  # the mask, what it is put on, and the same on the way back
    assert len(calls) == layers * (step * T + given + 1) + 2 + 2 * len(spec.state_names) + masks

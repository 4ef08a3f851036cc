"""The tolerances of tests: what they allow covers rounding with the harness's margin, and is no more than its bound."""

from typing import Any

import numpy as np
import pytest
import torch

from common.equivalence.comparison import named_grads, named_outputs
from common.equivalence.monte_carlo import MEASURABLE, ROUNDOFF
from common.equivalence.rounding import answers
from common.equivalence.tolerances import MARGIN, bounds
from common.equivalence.variants import drawn, problem
from common.proof.limits import Limit, Pair, limits, lines, up

VARIANTS = [v for dtype in ("float64", "float32", "float16") for v in drawn(12, ["LSTM", "GRU", "RNN"], [dtype], 5)]
# A number rounded up to three digits is at most this much larger.
DIGITS = 1.011


def results(variant: Any) -> list[dict[str, np.ndarray]]:
    found = answers(variant.spec, problem(variant), variant.seed)
    return [named_outputs(variant.spec, y, s) | named_grads(variant.spec, g) for y, s, g in found]


def allowed(pair: Pair, value: np.ndarray, library: str) -> np.ndarray:
    relative = pair.rtol * abs(value)
    return np.maximum(pair.atol, relative) if library == "pytest" else pair.atol + relative


def test_every_run_is_covered_with_the_margin_and_nothing_is_looser_than_the_bound() -> None:
    relative = {"numpy": 0, "pytest": 0}
    for variant in VARIANTS:
        dtype, found = variant.spec.dtype, results(variant)
        bound = bounds(found, dtype)
        factor = MARGIN * ROUNDOFF[dtype] / max(ROUNDOFF[dtype], MEASURABLE)
        exact, *rounded = found
        for limit in limits(found, dtype):
            value = exact[limit.quantity]
            needed = factor * np.max([abs(run[limit.quantity] - value) for run in rounded], axis=0)
            for library, pair in (("numpy", limit.summed), ("pytest", limit.larger)):
                assert (allowed(pair, value, library) >= needed).all(), (limit, variant)
                assert allowed(pair, value, library).max() <= DIGITS * bound[limit.quantity].allowed, (limit, variant)
                relative[library] += pair.rtol > 0
    assert min(relative.values()) > 100, "in many results the largest error is at the largest value"


def test_rtol_is_as_large_as_it_can_be() -> None:
    """Errors in proportion to the elements have no atol; errors that are alike everywhere have no rtol."""
    exact = np.array([1.0, 10.0, 100.0])
    for errors, pair in (
        (exact * 1e-5, Pair(up(MARGIN * 1e-5), 0)),
        (np.full(3, 1e-4), Pair(0, up(MARGIN * 1e-4))),
        (np.array([1e-4, 1e-4, 1e-3]), None),
    ):
        (limit,) = limits([{"y": exact}, {"y": exact + errors}], "float32")
        if pair is not None:
            assert limit.summed == pytest.approx(pair, rel=1e-6, abs=1e-9)
            continue
        # 8e-4 at values of 1 and 8e-3 at 100: the line through both.
        slope = (8e-3 - 8e-4) / 99
        assert limit.summed == pytest.approx((slope, 8e-4 - slope), rel=0.02)
    (limit,) = limits([{"y": np.array([1.0, 2.0])}, {"y": np.array([1.001, 2.0])}], "float32")
    assert limit.summed == Pair(0, up(MARGIN * (1.001 - 1))), "the largest error is not at the largest value"
    assert limit.larger == Pair(up(MARGIN * (1.001 - 1) / 2), up(MARGIN * (1.001 - 1)))


@pytest.mark.parametrize("library", ["torch", "numpy", "pytest"])
def test_the_lines_run_and_can_fail(library: str) -> None:
    variant = VARIANTS[20]
    found = results(variant)
    exact, *rounded = found
    assert variant.spec.dtype == "float32"
    convert = torch.tensor if library == "torch" else np.asarray
    for limit in limits(found, "float32"):
        name, line = limit.quantity, lines(limit, library)
        names: dict[str, Any] = {"np": np, "torch": torch, "pytest": pytest, f"expected_{name}": convert(exact[name])}
        for run in rounded:
            exec(line, names | {name: convert(run[name])})
        if not exact[name].any():
            continue
        worst = exact[name].copy()
        worst.flat[abs(worst).argmax()] *= 1 + 2.5 * limit.bound / limit.scale
        with pytest.raises(AssertionError):
            exec(line, names | {name: convert(worst)})


def test_names_of_files_become_names_of_variables() -> None:
    limit = Limit("drnn.cell/kernel", 1.0, 1e-6, Pair(0, 1e-6), Pair(1e-6, 1e-7))
    assert (
        lines(limit, "numpy")
        == "np.testing.assert_allclose(drnn_cell_kernel, expected_drnn_cell_kernel, rtol=0, atol=1e-06)"
    )


def test_numbers_are_rounded_up() -> None:
    assert [up(value) for value in (0.0, 1.0, 1.001e-6, 9.991e-5, 123456.0, 2e-300)] == [
        0,
        1,
        1.01e-6,
        1e-4,
        124000,
        2e-300,
    ]
    rng = np.random.default_rng(0)
    for value in 10.0 ** rng.uniform(-30, 5, 500):
        assert value * (1 - 1e-8) <= up(value) <= value * DIGITS

"""What two results may differ by, what a comparison could have seen, and what many of them come to together."""

from typing import Any

import numpy as np
import pytest

from common.equivalence import monte_carlo
from common.equivalence.comparison import FAILED, PASSED, UNDECIDED, ZERO, Row, compare, decided
from common.equivalence.ladder import CHECKS, all_passed
from common.equivalence.tally import Tally, badness, tally, used, verdicts
from common.equivalence.tolerances import COARSEST, MARGIN, TOLERANCES, Bound, Tolerance, bounds, over_tolerance
from common.equivalence.variants import H, I, Variant
from common.model.spec import DTYPES, HALF_DTYPES, ModelSpec
from common.record_types import End


def row(a: Any, b: Any, *, dtype: str = "float64", check: str = "forward", **options: Any) -> Row:
    variant = Variant(spec=ModelSpec(cell="RNN", input_size=I, hidden_size=H, dtype=dtype))
    return compare(check, variant, "y", ("left", "right"), np.asarray(a).tolist(), np.asarray(b).tolist(), **options)


def test_a_bound_is_the_farthest_run_or_some_roundings_of_the_largest_value() -> None:
    exact = {"y": np.array([2.0, -8.0]), "dx": np.array([1.0, 0.5]), "z": np.zeros(3)}
    runs = [{"y": exact["y"] + [0, 1e-5 * sign], "dx": exact["dx"], "z": exact["z"]} for sign in (1, -3, 2)]
    found = bounds([exact, *runs], "float32")
    assert found["y"].allowed == pytest.approx(MARGIN * 3e-5)
    assert found["y"].scale == 8
    assert found["dx"] == Bound(MARGIN * monte_carlo.ROUNDOFF["float32"], 1.0)
    assert found["z"] == Bound(0.0, 0.0)
    assert found["z"].resolution == 0
    double = bounds([exact, *runs], "float64")
    assert double["y"].allowed == pytest.approx(MARGIN * 3e-5 * 2.0**-13), "measured at 2^-40, meant for 2^-53"


def test_a_run_that_is_not_finite_bounds_nothing() -> None:
    exact, good, bad = ({"y": np.array(values)} for values in ([1.0, 2.0], [1.0, 2.1], [1.0, np.nan]))
    for runs in ([bad], [bad, good], [good, bad], [good, {"y": np.array([np.inf, 1.0])}]):
        found = bounds([exact, *runs], "float16")
        assert found["y"].resolution == np.inf
        assert found["y"].allowed == np.inf
    assert row([1.0], [1.0], bound=found["y"]).verdict == UNDECIDED


def test_a_result_near_the_smallest_number_decides_nothing_without_a_warning() -> None:
    """A gate of a saturated GRU has such gradients; the quotient of bound and result overflows."""
    tiny = Bound(0.1, 4e-317)
    assert tiny.resolution == np.inf
    assert row([4e-317], [0.0], bound=tiny).verdict == UNDECIDED
    assert over_tolerance(np.array([0.1]), np.array([4e-317])) == [np.inf]


@pytest.mark.parametrize("dtype", [*DTYPES, *HALF_DTYPES])
def test_within_the_bound_passes_beyond_it_fails_and_a_coarse_one_decides_nothing(dtype: str) -> None:
    reference, limit = np.array([1000.0, -3.0]), COARSEST[dtype]
    fine, coarse = (Bound(1000 * limit * factor, 1000.0) for factor in (0.99, 1.01))
    for sign in (-1, 1):
        within, beyond = (reference + [0, sign * factor * fine.allowed] for factor in (0.99, 1.01))
        assert row(reference, within, dtype=dtype, bound=fine).verdict == PASSED
        assert row(reference, within, dtype=dtype, bound=coarse).verdict == UNDECIDED
        found = row(reference, beyond, dtype=dtype, bound=fine)
        assert (found.verdict, found.measured.scale) == (FAILED, 1000)
        assert found.measured.ratio == pytest.approx(1.01, rel=1e-3)
        assert found.resolution == pytest.approx(0.99 * limit)
    assert row(reference, reference + [0, 1.01 * coarse.allowed], dtype=dtype, bound=coarse).verdict == FAILED


def test_the_limits_are_those_that_the_documents_state() -> None:
    """An error of 1%, or of a millionth, is caught even if an honest difference as large as the bound hides half."""
    assert COARSEST == {"float64": 5e-7, "float32": 5e-3, "float16": 0.25, "bfloat16": 0.5}
    assert MARGIN == 8


def test_of_an_exact_zero_any_error_fails_and_none_proves_nothing() -> None:
    zero = Bound(0.0, 0.0)
    assert row([0.0, 0.0], [0.0, 0.0], bound=zero).verdict == ZERO
    found = row([0.0, 0.0], [0.0, 1e-300], bound=zero)
    assert (found.verdict, found.measured.ratio) == (FAILED, np.inf)
    noise = row([0.0], [1e-9], bound=Bound(1e-8, 0.0))
    assert (noise.verdict, noise.resolution) == (UNDECIDED, np.inf)
    assert decided(None, "float64") == UNDECIDED, "as a file has what is infinite"
    assert decided(1e-9, "float8") == UNDECIDED


def test_a_curve_is_held_to_its_bound_step_by_step() -> None:
    """An error that the largest value of the curve would excuse counts at the step where it stands."""
    rtol, atol, growth = TOLERANCES["training", "float64"]
    curve = np.array([1.0, 1e-2, 1e-4])
    allowed = atol + rtol * (1 + 2 * growth) * 1e-4
    good = row(curve, curve + [0, 0, 0.99 * allowed], check="training", curve=True)
    assert good.verdict == PASSED
    assert good.resolution == pytest.approx(allowed / 1e-4), "the coarsest step's"
    worst = row(curve, curve + [0, 0, 1.01 * allowed], check="training", curve=True)
    assert worst.verdict == FAILED
    assert worst.measured.scale == pytest.approx(1e-4)
    assert growth > 0
    vanished = row([1.0, 1e-9], [1.0, 1e-9], check="training", curve=True)
    assert vanished.verdict == UNDECIDED, "1e-14 is a hundred-thousandth of 1e-9"


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_curve_is_relative_to_its_largest_value(dtype: str) -> None:
    rtol, atol, _ = TOLERANCES["loss", dtype]
    reference = np.array([1000.0, -3.0])
    within, beyond = (reference + [0, sign * (atol + rtol * 1000)] for sign in (0.99, -1.01))
    assert row(reference, within, dtype=dtype, check="loss").verdict == PASSED
    for pair in ((reference, beyond), (beyond, reference)):
        assert row(*pair, dtype=dtype, check="loss").verdict == FAILED


def test_the_table_has_the_checks_that_are_not_measured() -> None:
    for check in ("loss", "training", "task"):
        for dtype, rtol, growth in (("float64", 1e-11, 0.1), ("float32", 1e-5, 0.5)):
            assert TOLERANCES[check, dtype] == Tolerance(rtol, rtol / 1000, 0.0 if check == "loss" else growth)
    assert {check for check, _ in TOLERANCES} == set(CHECKS) - {"complex step", "forward", "gradient"}
    assert len(TOLERANCES) == 3 * 2


def record(quantity: str, resolution: float | None, verdict: str = PASSED, **options: Any) -> Any:
    fields: dict[str, Any] = {
        "kind": "check",
        "run": None,
        "check": "gradient",
        "cell": "RNN",
        "dtype": "float32",
        "quantity": quantity,
    }
    fields |= {"count": 3, "verdict": verdict, "resolutions": {quantity: resolution}, "drawn": False, "a": "numpy"}
    fields |= {"verdicts": {quantity: verdict}, "ratio": 2.0 if verdict == FAILED else 0.5, "resolution": resolution}
    return fields | {"b": "torch", "reason": ""} | options


def test_a_tally_counts_what_every_record_speaks_for() -> None:
    drawn = {"y": 1e-6, "dx": 0.2, "dweight_hh_l1": 0.0, "dweight_ih_l1_reverse": None}
    verdict_of = {"y": PASSED, "dx": UNDECIDED, "dweight_hh_l1": ZERO, "dweight_ih_l1_reverse": UNDECIDED}
    several = record("y", 1e-6, resolutions=drawn, verdicts=verdict_of, drawn=True)
    rows = [record("y", 1e-6), record("dx", 1e-6, FAILED), several]
    found = tally([End(kind="end", records=0), *rows])
    assert found[:5] == (6, 2, 1, 2, 1)
    assert verdicts(several) == verdict_of
    worse = several | {"verdicts": verdict_of | {"dx": FAILED, "y": PASSED}}
    assert tally([worse])[2] == 1, "one that failed beside the worst counts too"
    assert {quantity for *_, quantity in found.unseen} == {"dweight_hh", "dweight_ih"}
    assert tally([record("y", 1e-6, "fine")]).failed == 1, "a verdict that nobody knows passes nothing"
    assert tally([]) == Tally(0, 0, 0, 0, 0, ())
    assert not tally([]).equivalent


def test_a_quantity_that_no_comparison_saw_is_a_failure() -> None:
    seen, blind, zero = record("dx", 1e-6), record("dx", 0.2, UNDECIDED), record("dx", 0.0, ZERO)
    assert all_passed([seen, blind, zero])
    for unseen in (blind, zero):
        assert not all_passed([unseen])
        for other in ({"check": "complex step"}, {"cell": "LSTM"}, {"dtype": "float64"}, {"quantity": "y"}):
            name = other.get("quantity", "dx")
            fields = {"resolutions": {name: 1e-7}, "verdicts": {name: PASSED}}
            assert not all_passed([seen | other | fields, unseen])
    assert set(tally([blind, blind]).unseen) == {
        (name, "gradient", "RNN", "float32", "dx") for name in ("numpy", "torch")
    }


def test_what_one_backend_was_seen_in_says_nothing_of_another() -> None:
    """``mine`` has only an undecided comparison; a pair of other backends decided the same quantity elsewhere."""
    found = tally(
        [record("dx", 1e-6), record("dx", 0.2, UNDECIDED, b="mine"), record("dx", 0.2, UNDECIDED, a="mine", b="exact")]
    )
    assert found.unseen == (("mine", "gradient", "RNN", "float32", "dx"),)
    assert not found.equivalent
    assert tally([record("dx", 1e-6, a="mine", b="exact")]).equivalent, "the exact result is no backend"


SPOILED: list[dict[str, Any]] = [
    {"ratio": 5.0},
    {"ratio": None},
    {"count": 0},
    {"count": -5},
    {"reason": "numpy gives nan"},
    {"resolution": -1.0},
    {"resolution": None},
    {"resolution": 0.2},
    {"verdict": UNDECIDED},
    {"verdict": ZERO},
    {"verdict": "fine"},
    {"verdicts": {"y": "fine"}},
    {"resolutions": {"y": 0.2}},
    {"resolutions": {}},
]


@pytest.mark.parametrize("fields", SPOILED, ids=str)
def test_a_record_whose_numbers_do_not_bear_out_its_verdict_passes_nothing(fields: dict[str, Any]) -> None:
    assert all_passed([record("y", 1e-6)])
    assert not all_passed([record("y", 1e-6) | fields])


def test_layers_of_drawn_variants_count_together_and_those_of_one_model_do_not() -> None:
    rows = [record("dweight_hh_l1", 1e-6), record("dweight_hh_l2_reverse", 0.0, ZERO)]
    assert not all_passed(rows)
    assert all_passed([row | {"drawn": True} for row in rows])


def test_what_decides_is_worse_than_what_does_not_and_nan_is_worst_of_all() -> None:
    decided, undecided = record("y", 1e-9, ratio=0.1), record("y", 1.0, UNDECIDED, ratio=0.9)
    assert badness(decided) > badness(undecided)
    assert used(record("y", 1e-9, ratio=float("nan"))) == float("inf")

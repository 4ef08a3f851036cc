"""The adding problem in both forms: where the markers are, what the target adds, and what needs no learning."""

import json
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets.adding import TASK
from common.errors import InvalidInput, InvalidType

READINGS = ("modern", "1997")


def marked(batch: Batch, b: int) -> list[int]:
    return [t for t in range(len(batch.x)) if batch.x[t, b, 1] == 1]


@pytest.mark.parametrize("steps", [100, 7])
def test_modern_sequences_have_one_marker_in_each_half(steps: int) -> None:
    batch = TASK.load("modern", steps=steps, train=2000).train
    assert (batch.x.shape, batch.target.shape, batch.lengths) == ((steps, 2000, 2), (2000, 1), None)
    assert (batch.x.dtype, batch.target.dtype) == ("float64", "float64")
    places = np.array([marked(batch, b) for b in range(2000)])
    assert places.shape == (2000, 2)
    assert (places[:, 0].min(), places[:, 0].max()) == (0, steps // 2 - 1)
    assert (places[:, 1].min(), places[:, 1].max()) == (steps // 2, steps - 1)
    assert np.count_nonzero(batch.x[:, :, 1]) == 4000
    for b, (i, j) in enumerate(places):
        assert batch.target[b, 0] == batch.x[i, b, 0] + batch.x[j, b, 0]
    values = batch.x[:, :, 0]
    assert 0 <= values.min() < 0.01 < 0.99 < values.max() < 1
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(values.var() - 1 / 12) < 0.003
    # Places are even: the mean of each within six standard errors of the middle of its half.
    spread = 6 * steps / 2 / np.sqrt(12 * 2000)
    middles = (steps // 2 - 1) / 2, (steps // 2 + steps - 1) / 2
    np.testing.assert_allclose(places.mean(0), middles, rtol=0, atol=spread)


@pytest.mark.parametrize("steps", [100, 20])
def test_sequences_of_1997_are_as_the_paper_says(steps: int) -> None:
    batch = TASK.load("1997", steps=steps, train=3000).train
    lengths = batch.lengths
    assert lengths is not None
    assert set(lengths) == set(range(steps, steps + steps // 10 + 1))
    assert batch.x.shape == (steps + steps // 10, 3000, 2)
    latest, early = [], np.zeros(10)
    for b, length in enumerate(lengths):
        values, markers = batch.x[:length, b].T
        assert (markers[0], markers[-1]) == (-1, -1)
        assert set(markers[1:-1]) <= {0, 1}
        assert not batch.x[length:, b].any()
        places = marked(batch, b)
        assert len(places) == 2 - (values[0] == 0)
        assert places[0] < 10 or values[0] == 0
        assert batch.target[b, 0] == pytest.approx(0.5 + values[places].sum() / 4, abs=1e-15)
        latest.append(places[-1])
        if len(places) == 2 and places[1] >= 10:
            early[places[0]] += 1
    # The second is one of the first T/2 - 1 that are left when one of the first ten is taken.
    assert max(latest) == steps // 2 - 1
    if steps == 100:
        assert early[0] == 0
        np.testing.assert_allclose(early[1:] / early.sum(), 1 / 9, rtol=0, atol=0.03)
    chosen = 1 - (1 - 1 / 10) * (1 - 1 / (steps // 2 - 1))
    assert abs(np.mean(batch.x[0, :, 0] == 0) - chosen) < 0.03
    inner = batch.x[1:steps, :, 0]
    assert abs(inner.mean()) < 0.01
    assert abs(inner.var() - 1 / 3) < 0.01
    assert -1 <= inner.min() < -0.99 < 0.99 < inner.max() <= 1


@pytest.mark.parametrize(("reading", "idle", "value"), [("modern", 1.0, 0.1666667), ("1997", 0.5, 0.1543576)])
def test_the_baseline_is_what_its_prediction_scores(reading: str, idle: float, value: float) -> None:
    data = TASK.load(reading, test=30000, train=50)
    assert data.scoring.baseline.value == pytest.approx(value, abs=1e-7)
    assert data.scoring.score(np.full((30000, 1), idle), data.test) == pytest.approx(value, rel=0.03)


def test_the_modern_form_is_scored_by_its_squared_error() -> None:
    data = TASK.load("modern", train=50)
    assert data.scoring.score(data.test.target, data.test) == 0
    assert data.scoring.score(data.test.target + 0.1, data.test) == pytest.approx(0.01, abs=1e-12)


def test_that_of_1997_counts_the_errors_below_4_hundredths() -> None:
    data = TASK.load("1997", train=50, test=100)
    away = np.zeros((100, 1))
    away[:30], away[30:50], away[50:60] = 0.0401, -0.0401, -0.0399
    assert data.scoring.score(data.test.target + away, data.test) == 0.5
    assert data.scoring.metric.share
    assert data.scoring.metric.higher


@pytest.mark.parametrize("reading", READINGS)
def test_data_follow_the_seed_and_no_part_shares_an_example(reading: str) -> None:
    sizes: Any = {"train": 40, "validation": 40, "test": 40}  # equal, as one stream for all would then show
    first, again, other = (TASK.load(reading, seed=seed, **sizes) for seed in (1, 1, 2))
    assert first.training.draw is not None
    drawn = [first.training.draw(np.random.default_rng(seed)) for seed in (5, 6)]
    assert [len(part.target) for part in (first.train, first.validation, first.test, *drawn)] == [40] * 5
    np.testing.assert_array_equal(first.test.x, again.test.x)
    parts = [first.train, first.validation, first.test, other.train, other.validation, other.test, *drawn]
    columns = [part.x[: first.test.x.shape[0], b].tobytes() for part in parts for b in range(len(part.target))]
    assert len(set(columns)) == len(columns) == 320
    np.testing.assert_array_equal(drawn[0].x, first.training.draw(np.random.default_rng(5)).x)


def test_picture_is_a_scatter_of_150() -> None:
    data = TASK.load(test=200)
    shown = json.loads(json.dumps(data.display.picture(data.test.target * 2, data.test)))
    assert shown["plot"] == "scatter"
    np.testing.assert_allclose(shown["target"], data.test.target[:150, 0], rtol=0, atol=6e-5)
    np.testing.assert_allclose(shown["prediction"], 2 * data.test.target[:150, 0], rtol=0, atol=6e-5)


def test_typed_series_are_read_and_answered() -> None:
    modern, old = (TASK.load(reading, train=5, validation=5, test=5) for reading in READINGS)
    assert modern.display.encode and modern.display.decode and old.display.encode and old.display.decode  # noqa: PT018
    batch = modern.display.encode(["0.5*, 0.1, 1*"])
    assert batch.x.tolist() == [[[0.5, 1]], [[0.1, 0]], [[1, 1]]]
    assert (batch.target.tolist(), batch.lengths) == ([[0]], None)
    ragged = modern.display.encode(["0.5*,1*", "0,0*,1*"]).lengths
    assert ragged is not None
    assert ragged.tolist() == [2, 3]
    batch = old.display.encode(["0 -0.5* 1* 0.3"])
    assert batch.x.tolist() == [[[0, -1]], [[-0.5, 1]], [[1, 1]], [[0.3, -1]]]
    assert batch.lengths is not None
    assert modern.display.decode(np.array([[1.5]]), batch) == ["the marked values add up to 1.500"]
    assert old.display.decode(np.array([[0.625]]), batch) == ["the marked values add up to 0.500"]


TYPED = [
    ("modern", "0.5*,0.2", "input: expected two numbers marked with *, got 1 in '0.5*,0.2'"),
    ("modern", "0.5*,-0.2*", "input: expected numbers from 0 to 1, with * after the marked ones, got '-0.2*'"),
    ("1997", "0,nan*,0*,0", "input: expected numbers from -1 to 1, with * after the marked ones, got 'nan*'"),
    ("1997", "0,*1,0*,0", "input: expected numbers from -1 to 1, with * after the marked ones, got '*1'"),
    ("1997", "0*,0*,0", "input: expected no * at the first or last number in the variant 1997, got '0*,0*,0'"),
    ("modern", "", "input: expected numbers with commas between them, got ''"),
]


@pytest.mark.parametrize(("reading", "text", "message"), TYPED)
def test_wrong_typed_series_are_refused(reading: str, text: str, message: str) -> None:
    encode = TASK.load(reading, train=5, validation=5, test=5).display.encode
    assert encode is not None
    with pytest.raises(InvalidInput) as caught:
        encode([text])
    assert str(caught.value) == message


WRONG: list[Any] = [
    ("modern", {"steps": 1}, "steps: expected at least 2, one in each half, got 1"),
    ("1997", {"steps": 19}, "steps: expected at least 20 in the variant 1997, got 19"),
    ("modern", {"steps": 2.0}, "steps: expected an int, got float"),
    ("modern", {"test": 0}, "test: expected at least 1, got 0"),
    ("modern", {"seed": -1}, "seed: expected at least 0, got -1"),
]


@pytest.mark.parametrize(("reading", "options", "message"), WRONG)
def test_wrong_options_are_refused(reading: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        TASK.load(reading, **options)
    assert str(caught.value) == message

"""The sums of sparse series: both variants have the same series, and the numbers are as documented."""

import json
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets.series_sum import TASK
from common.errors import InvalidInput, InvalidType

READINGS = ("sequence", "vector")
SMALL: Any = {"train": 60, "validation": 30, "test": 40}


def series(batch: Batch) -> list[list[int]]:
    assert batch.lengths is not None
    return [batch.x[:length, b, 0].astype(int).tolist() for b, length in enumerate(batch.lengths)]


def stripped(rows: list[list[int]]) -> set[str]:
    return {",".join(map(str, row)).rstrip(",0") for row in rows if any(row)} | {"" for row in rows if not any(row)}


def test_series_follow_the_distribution_and_targets_are_their_sums() -> None:
    batch = TASK.load(train=4000, seed=7).train
    rows = series(batch)
    assert (batch.x.shape, batch.target.shape) == ((100, 4000, 1), (4000, 1))
    assert (batch.x.dtype, batch.target.dtype) == ("float64", "float64")
    np.testing.assert_allclose(batch.target[:, 0] * 30, [sum(row) for row in rows], rtol=0, atol=1e-12)
    assert batch.lengths is not None
    assert (min(batch.lengths), max(batch.lengths)) == (10, 100)
    # Even chances of 91 lengths: mean 55, standard deviation 26.27, and of the mean of 4000, 0.42.
    assert abs(batch.lengths.mean() - 55) < 2
    assert abs(batch.lengths.std() - 26.27) < 1
    values = np.concatenate(rows)
    assert [round(float(np.mean(values == v)), 2) for v in (0, 1, 2, 3)] == [0.8, 0.1, 0.1, 0]
    # A value knows nothing of the one before it.
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    assert not any(batch.x[length:, b].any() for b, length in enumerate(batch.lengths))


def test_both_variants_have_the_same_series() -> None:
    one, other = (TASK.load(reading, **SMALL) for reading in READINGS)
    for name in ("train", "validation", "test"):
        sequence, vector = getattr(one, name), getattr(other, name)
        assert vector.x.shape == (1, SMALL[name], 100)
        assert vector.lengths is None
        padded = np.zeros((100, SMALL[name]))
        padded[: len(sequence.x)] = sequence.x[:, :, 0]
        np.testing.assert_array_equal(vector.x[0], padded.T)
        np.testing.assert_array_equal(vector.target, sequence.target)
    assert one.scoring.baseline == other.scoring.baseline
    assert other.network("LSTM").model.input_size == 100
    draws = [data.training.draw(np.random.default_rng(3)) for data in (one, other) if data.training.draw]
    np.testing.assert_array_equal(draws[0].target, draws[1].target)


def test_no_part_and_no_epoch_shares_a_series_with_another() -> None:
    """With lengths of 4 to 7 most series come again and again; zeros at the end make no new one."""
    data = TASK.load(min_length=4, max_length=7, train=300, validation=20, test=20)
    train, validation, test = (stripped(series(part)) for part in (data.train, data.validation, data.test))
    assert not train & validation | train & test | validation & test
    assert data.training.draw is not None
    for seed in range(5):
        drawn = data.training.draw(np.random.default_rng(seed))
        assert drawn.target.shape == (300, 1)
        assert not stripped(series(drawn)) & (validation | test)


def test_data_follow_the_seed() -> None:
    first, again, other = (TASK.load(seed=seed, **SMALL) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.test.x, again.test.x)
    assert stripped(series(first.test)) != stripped(series(other.test))
    assert first.training.draw is not None
    one, two, three = (first.training.draw(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert series(one) == series(two)
    assert len({json.dumps(series(batch)) for batch in (first.train, one, three)}) == 3


@pytest.mark.parametrize("reading", READINGS)
def test_score_and_baseline_are_in_units_of_the_sum(reading: str) -> None:
    data = TASK.load(reading, test=3000)
    assert data.scoring.score(data.test.target, data.test) == 0
    assert data.scoring.score(data.test.target - 1 / 30, data.test) == pytest.approx(1, abs=1e-12)
    mean = data.train.target.mean()
    assert data.scoring.baseline.value == pytest.approx(
        data.scoring.score(np.full((3000, 1), mean), data.test), abs=1e-12
    )
    # By simulation of 40000 series: 7.65.
    assert abs(data.scoring.baseline.value - 7.65) < 0.4


@pytest.mark.parametrize("reading", READINGS)
def test_picture_shows_the_errors_by_length(reading: str) -> None:
    data, known = TASK.load(reading, "float32", **SMALL), TASK.load(**SMALL).test
    assert known.lengths is not None
    # Off by 2 at lengths 10 to 19, which are the first of ten bins; right elsewhere.
    wrong = (known.lengths < 20)[:, None] * 2 / 30
    shown = json.loads(json.dumps(data.display.picture(data.test.target + wrong, data.test)))
    assert (shown["plot"], shown["unit"]) == ("by_length", "mean absolute error of the sum")
    assert shown["errors"] == [2.0] + [0.0] * (len(shown["lengths"]) - 1)
    assert len(shown["lengths"]) == len({(length - 10) * 10 // 91 for length in known.lengths})
    assert shown["lengths"] == sorted(shown["lengths"])
    last = known.lengths >= 92  # (92 - 10) * 10 // 91 == 9
    mean = TASK.load(**SMALL).train.target.mean()
    expected = np.mean(abs(known.target[last] - mean)) * 30
    assert shown["baseline"][-1] == pytest.approx(expected, abs=1e-3)
    assert shown["lengths"][-1] == pytest.approx(known.lengths[last].mean(), abs=1e-3)


@pytest.mark.parametrize("reading", READINGS)
def test_typed_series_are_read_and_answered(reading: str) -> None:
    data = TASK.load(reading, **SMALL)
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["1,0,1,2,0", "3 1"])
    rows = batch.x[:, :, 0].T if reading == "sequence" else batch.x[0]
    assert rows[:, :5].tolist() == [[1, 0, 1, 2, 0], [3, 1, 0, 0, 0]]
    assert batch.x.sum() == 8
    assert (None if batch.lengths is None else batch.lengths.tolist()) == ([5, 2] if reading == "sequence" else None)
    assert batch.target.tolist() == [[0], [0]]
    lines = data.display.decode(np.array([[4.02 / 30], [-0.3 / 30]]), batch)
    assert lines == ["the sum is 4.02 (rounded: 4)", "the sum is -0.30 (rounded: 0)"]


WANTED = "input: expected integers of at least 0, of at most 6 digits, with commas between them, got "
TYPED: list[Any] = [
    (
        "sequence",
        "1,x",
        WANTED + "'x'",
    ),
    (
        "sequence",
        "1,-1",
        WANTED + "'-1'",
    ),
    ("sequence", " , ", "input: expected numbers with commas between them, got ' , '"),
    ("vector", "0," * 100 + "1", "input: expected at most 100 numbers as one vector, got 101"),
]


@pytest.mark.parametrize(("reading", "text", "message"), TYPED)
def test_wrong_typed_series_are_refused(reading: str, text: str, message: str) -> None:
    data = TASK.load(reading, **SMALL)
    assert data.display.encode is not None
    with pytest.raises(InvalidInput) as caught:
        data.display.encode([text])
    assert str(caught.value) == message


WRONG: list[Any] = [
    ({"min_length": 0}, "min_length: expected at least 1, got 0"),
    ({"max_length": 9}, "max_length: expected at least min_length=10, got 9"),
    ({"density": 0}, "density: expected a probability in (0, 1], got 0"),
    ({"density": 1.1}, "density: expected a probability in (0, 1], got 1.1"),
    ({"density": "1"}, "density: expected a number, got str"),
    ({"largest": 0}, "largest: expected at least 1, got 0"),
    ({"train": 0}, "train: expected at least 1, got 0"),
    ({"validation": 1.5}, "validation: expected an int, got float"),
    ({"test": 0}, "test: expected at least 1, got 0"),
    ({"seed": -1}, "seed: expected at least 0, got -1"),
    (
        {"min_length": 1, "max_length": 1, "train": 100},
        "options: expected examples left for every part, got 0 of 500; fewer, longer or more varied examples?",
    ),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        TASK.load(**options)
    assert str(caught.value) == message

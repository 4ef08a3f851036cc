"""Copying memory: what is shown, what is asked for and when, and what it costs to remember nothing."""

import json
import math
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets.copy_memory import TASK
from common.errors import InvalidInput, InvalidType

SMALL: Any = {"train": 60, "validation": 30, "test": 40}


def shown(batch: Batch) -> list[str]:
    return ["".join("01234567_:"[symbol] for symbol in column) for column in batch.x.T]


def confident(batch: Batch) -> np.ndarray:
    return 50 * np.eye(9)[batch.target]


@pytest.mark.parametrize("delay", [20, 1, 100])
def test_ten_digits_are_asked_for_after_the_delay(delay: int) -> None:
    data = TASK.load(delay=delay, train=2000)
    batch = data.train
    assert batch.x.shape == batch.target.shape == (delay + 20, 2000)
    assert (batch.x.dtype, batch.target.dtype, batch.lengths) == ("int64", "int64", None)
    assert data.symbols == tuple("01234567_:")
    assert data.outputs.symbols == tuple("01234567_")
    for b, string in enumerate(shown(batch)):
        assert string[10:] == "_" * (delay - 1) + ":" + "_" * 10
        assert set(string[:10]) <= set("01234567")
        assert "".join("01234567_"[symbol] for symbol in batch.target[:, b]) == "_" * (delay + 10) + string[:10]
    digits = batch.x[:10]
    share = np.array([np.mean(digits == digit, axis=1) for digit in range(8)])
    np.testing.assert_allclose(share, 1 / 8, rtol=0, atol=0.04)
    assert abs(np.corrcoef(digits) - np.eye(10)).max() < 0.1


def test_no_part_shares_a_string_and_data_follow_the_seed() -> None:
    first, again, other = (TASK.load(seed=seed, **SMALL) for seed in (1, 1, 2))
    assert shown(first.test) == shown(again.test)
    assert first.training.draw is not None
    draws = [first.training.draw(np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert shown(draws[0]) == shown(draws[1])
    parts = [first.train, first.validation, first.test, other.train, other.validation, other.test, *draws[1:]]
    found = [string for part in parts for string in shown(part)]
    assert len(set(found)) == len(found) == 2 * (60 + 30 + 40) + 2 * 60


@pytest.mark.parametrize("delay", [20, 100])
def test_the_baseline_is_what_remembers_nothing(delay: int) -> None:
    data = TASK.load(delay=delay, **SMALL)
    idle = np.full((delay + 20, 40, 9), -1000.0)
    idle[: delay + 10, :, 8] = 0
    idle[delay + 10 :, :, :8] = 3
    assert data.scoring.baseline.value == pytest.approx(10 * math.log(8) / (delay + 20), abs=1e-12)
    assert data.scoring.score(idle, data.test) == pytest.approx(data.scoring.baseline.value, abs=1e-12)


def test_score_is_the_cross_entropy_of_what_counts() -> None:
    data = TASK.load(**SMALL)
    batch = data.test
    assert data.scoring.score(confident(batch), batch) == pytest.approx(0, abs=1e-12)
    assert data.scoring.score(np.zeros((40, 40, 9), "float32"), batch) == pytest.approx(math.log(9), abs=1e-12)
    prediction = confident(batch)
    prediction[:5] = 50 * np.eye(9)[3]  # five blanks of forty are taken for a 3
    assert data.scoring.score(prediction, batch) == pytest.approx(50 * 5 / 40, abs=1e-9)
    target = batch.target.copy()
    target[:5] = -1
    assert data.scoring.score(prediction, batch._replace(target=target)) == pytest.approx(0, abs=1e-12)


def test_picture_shows_the_accuracy_of_each_digit() -> None:
    data = TASK.load(**SMALL)
    prediction = confident(data.test)
    prediction[33, :10] *= -1  # the fourth digit of ten strings of forty
    prediction[:30] = 0
    assert json.loads(json.dumps(data.display.picture(prediction, data.test))) == {
        "plot": "by_step",
        "steps": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        "values": [1, 1, 1, 0.75, 1, 1, 1, 1, 1, 1],
        "baseline": [0.125] * 10,
        "name": "accuracy of the digit",
    }


def test_typed_digits_are_read_and_answered() -> None:
    data = TASK.load(delay=3, **SMALL)
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["3141526535", "0000000007"])
    assert shown(batch) == ["3141526535__:__________", "0000000007__:__________"]
    assert (batch.target == -1).all()
    assert batch.target.shape == (23, 2)
    prediction = np.zeros((23, 2, 9))
    prediction[13:, 0] = np.eye(9)[[3, 1, 4, 1, 5, 2, 6, 5, 3, 8]]
    prediction[13:, 1] = np.eye(9)[[0] * 9 + [7]]
    assert data.display.decode(prediction, batch) == [
        "3141526535 is recalled as 314152653_ (9 of 10 right)",
        "0000000007 is recalled as 0000000007 (10 of 10 right)",
    ]


TYPED = [
    ("31415", "input: expected 10 digits, got 5 in '31415'"),
    ("3141592653", "input: expected symbols of 01234567, got '9' at place 6"),
    ("", "input: expected symbols of 01234567, got none"),
]


@pytest.mark.parametrize(("text", "message"), TYPED)
def test_wrong_typed_digits_are_refused(text: str, message: str) -> None:
    encode = TASK.load(**SMALL).display.encode
    assert encode is not None
    with pytest.raises(InvalidInput) as caught:
        encode([text])
    assert str(caught.value) == message


WRONG: list[Any] = [
    ({"delay": 0}, "delay: expected at least 1, got 0"),
    ({"delay": True}, "delay: expected an int, got bool"),
    ({"validation": 0}, "validation: expected at least 1, got 0"),
    ({"seed": -1}, "seed: expected at least 0, got -1"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        TASK.load(**options)
    assert str(caught.value) == message

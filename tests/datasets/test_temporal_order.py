"""Temporal order: strings are as in experiment 6a, and the class is that of the two symbols in them."""

import json
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets.temporal_order import TASK
from common.errors import InvalidInput, InvalidType

SMALL: Any = {"train": 60, "validation": 30, "test": 40}
CLASSES = {"XX": 0, "XY": 1, "YX": 2, "YY": 3}


def strings(batch: Batch) -> list[str]:
    assert batch.lengths is not None
    return ["".join("EBabcdXY"[s] for s in batch.x[:length, b]) for b, length in enumerate(batch.lengths)]


RANGES: list[Any] = [(100, (100, 110), (10, 20), (50, 60)), (10, (10, 11), (1, 2), (5, 6))]


@pytest.mark.parametrize(("steps", "lengths", "first", "second"), RANGES)
def test_strings_are_as_the_paper_says(steps: int, lengths: Any, first: Any, second: Any) -> None:
    data = TASK.load(steps=steps, train=4000, validation=20, test=20, seed=3)
    batch, found = data.train, strings(data.train)
    assert (batch.x.dtype, batch.target.dtype, batch.x.shape) == ("int64", "int64", (lengths[1], 4000))
    assert data.symbols == tuple("EBabcdXY")
    assert data.outputs.symbols == tuple("QRSU")
    places = []
    for b, string in enumerate(found):
        assert (string[0], string[-1]) == ("E", "B")
        assert set(string[1:-1]) <= set("abcdXY")
        places.append([t for t, symbol in enumerate(string) if symbol in "XY"])
        assert len(places[-1]) == 2
        assert batch.target[b] == CLASSES["".join(string[t] for t in places[-1])]
        assert not batch.x[len(string) :, b].any()
    counts = [np.unique(values, return_counts=True) for values in (list(map(len, found)), *zip(*places, strict=True))]
    for (values, count), (low, high) in zip(counts, (lengths, first, second), strict=True):
        assert values.tolist() == list(range(low, high + 1))
        np.testing.assert_allclose(count / 4000, 1 / len(values), rtol=0, atol=0.04)
    np.testing.assert_allclose(np.bincount(batch.target) / 4000, 0.25, rtol=0, atol=0.03)
    noise = "".join(found)
    share = [noise.count(symbol) / sum(map(noise.count, "abcd")) for symbol in "abcd"]
    np.testing.assert_allclose(share, 0.25, rtol=0, atol=0.02)


def test_no_part_shares_a_string_with_another_and_draws_avoid_what_is_held_out() -> None:
    """With ten steps strings come again, as only six or seven symbols are free."""
    data = TASK.load(steps=10, train=20000, validation=500, test=500)
    train, validation, test = (set(strings(part)) for part in (data.train, data.validation, data.test))
    assert not train & validation | train & test | validation & test
    assert len(train) < 19500
    assert data.training.draw is not None
    drawn = strings(data.training.draw(np.random.default_rng(9)))
    assert len(drawn) == 20000
    assert not set(drawn) & (validation | test)
    assert set(drawn) & train


def test_data_follow_the_seed() -> None:
    first, again, other = (TASK.load(seed=seed, **SMALL) for seed in (1, 1, 2))
    assert strings(first.test) == strings(again.test)
    assert first.training.draw is not None
    drawn = [strings(first.training.draw(np.random.default_rng(seed))) for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1]
    different = [strings(part) for part in (first.train, first.validation, first.test, other.train)] + drawn[1:]
    assert len({string for part in different for string in part}) == 60 + 30 + 40 + 60 + 60 + 60


def test_score_and_picture_count_what_has_a_class() -> None:
    data = TASK.load()
    right = np.eye(4)[data.test.target]
    assert data.scoring.score(right, data.test) == 1
    assert data.scoring.score(np.roll(right, 1, -1), data.test) == 0
    seen = data.train.target.tolist()
    majority = max(range(4), key=seen.count)
    always = np.tile(np.eye(4)[majority], (1000, 1))
    assert (
        data.scoring.score(always, data.test)
        == data.scoring.baseline.value
        == data.test.target.tolist().count(majority) / 1000
    )
    assert abs(data.scoring.baseline.value - 0.25) < 0.06
    batch = data.test._replace(target=np.array([0, 1, 1, -1, 3, -1]))
    prediction = np.eye(4)[[0, 1, 2, 0, 2, 3]]
    assert data.scoring.score(prediction, batch) == 0.5
    shown = json.loads(json.dumps(data.display.picture(prediction, batch)))
    assert shown == {
        "plot": "confusion",
        "labels": ["Q", "R", "S", "U"],
        "counts": [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]],
    }


def test_typed_strings_are_read_and_answered() -> None:
    data = TASK.load(**SMALL)
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["EaXcYB", "EXYB"])
    assert strings(batch) == ["EaXcYB", "EXYB"]
    assert (batch.x.shape, batch.target.tolist()) == ((6, 2), [-1, -1])
    logits = np.log([[0.1, 0.6, 0.2, 0.1], [0.02, 0.01, 0.01, 0.96]]) + 7
    assert data.display.decode(logits, batch) == [
        "class R (X, then Y), probability 0.60",
        "class U (Y, then Y), probability 0.96",
    ]
    for text, got in (("EaZ", "'Z' at place 3"), ("", "none")):
        with pytest.raises(InvalidInput) as caught:
            data.display.encode(["EB", text])
        assert str(caught.value) == f"input: expected symbols of EBabcdXY, got {got}"


WRONG: list[Any] = [
    ({"steps": 9}, "steps: expected at least 10, got 9"),
    ({"steps": "9"}, "steps: expected an int, got str"),
    ({"train": 0}, "train: expected at least 1, got 0"),
    ({"seed": -1}, "seed: expected at least 0, got -1"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        TASK.load(**options)
    assert str(caught.value) == message

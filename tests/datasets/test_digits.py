"""The digits: scikit-learn's images, each in one part, in the order of the variant."""

import json
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from common.backend.contract import Batch
from common.datasets import digits
from common.datasets.digits import TASK
from common.datasets.task import Dataset
from common.errors import BackendMissing, InvalidInput, InvalidType

IMAGES, LABELS = load_digits(return_X_y=True)
SIZES = {"train": 1197, "validation": 300, "test": 300}


@pytest.fixture(scope="module", params=["plain", "permuted"])
def data(request: pytest.FixtureRequest) -> Dataset:
    return TASK.load(request.param)


def parts(data: Dataset) -> list[Batch]:
    return [getattr(data, name) for name in SIZES]


def test_shapes_and_ranges(data: Dataset) -> None:
    for part, size in zip(parts(data), SIZES.values(), strict=True):
        assert (part.x.shape, part.x.dtype, part.lengths) == ((64, size, 1), np.float64, None)
        assert (part.target.shape, part.target.dtype) == ((size,), np.int64)
        assert (part.x.min(), part.x.max()) == (0, 1)
    assert (data.outputs.readout, data.outputs.loss, data.outputs.size) == ("last_step", "cross_entropy", 10)


def test_every_image_is_in_one_part_with_its_label(data: Dataset) -> None:
    """Every sequence is looked up among the images by its pixels, put back in row order by hand."""
    order = list(range(64))
    if data.reading == "permuted":  # the order that makes these rows of those, by the pixels that are not always 0
        plain, mixed = (
            {row.tobytes(): place for place, row in enumerate(x)} for x in (TASK.load().train.x, data.train.x)
        )
        assert plain.keys() == mixed.keys()
        order = [plain[row.tobytes()] for row in data.train.x]
        assert len(set(order)) == len(plain)
        assert sum(one != place for place, one in enumerate(order)) > 50
    known = {tuple(image[order]): index for index, image in enumerate(IMAGES)}
    assert len(known) == 1797
    found: list[int] = []
    for part in parts(data):
        for column, label in zip(part.x[:, :, 0].T * 16, part.target, strict=True):
            index = known[tuple(column)]
            assert LABELS[index] == label
            found.append(index)
    assert sorted(found) == list(range(1797))


def test_each_part_has_its_share_of_every_class(data: Dataset) -> None:
    for part in parts(data):
        share = np.bincount(LABELS) * len(part.target) / 1797
        assert np.abs(np.bincount(part.target, minlength=10) - share).max() <= 2
        # Shuffled: equal labels follow one another about as often as by chance.
        assert 0.03 < np.mean(part.target[1:] == part.target[:-1]) < 0.17


def test_the_permuted_variant_has_the_same_images() -> None:
    plain, permuted = TASK.load("plain"), TASK.load("permuted")
    for one, other in zip(parts(plain), parts(permuted), strict=True):
        assert np.array_equal(one.target, other.target)
        assert np.array_equal(np.sort(one.x, 0), np.sort(other.x, 0))
        assert np.mean(one.x == other.x) < 0.6


def test_the_seed_decides(data: Dataset) -> None:
    again, other = TASK.load(data.reading), TASK.load(data.reading, seed=1)
    assert np.array_equal(data.train.x, again.train.x)
    assert not np.array_equal(data.train.target, other.train.target)
    small = TASK.load(data.reading, train=50, validation=20, test=30)
    assert [part.x.shape[1] for part in parts(small)] == [50, 20, 30]


def test_score_baseline_and_picture(data: Dataset) -> None:
    counts = np.bincount(data.train.target)
    constant = np.tile(counts, (300, 1))
    assert (
        data.scoring.baseline.value
        == data.scoring.score(constant, data.test)
        == np.mean(data.test.target == counts.argmax())
    )
    perfect = 5.0 * np.eye(10)[data.test.target]
    assert data.scoring.score(perfect, data.test) == 1
    three = Batch(data.test.x[:, :4], np.array([3, 3, 8, -1]))
    logits = np.eye(10)[[3, 8, 8, 0]]
    assert data.scoring.score(logits, three) == pytest.approx(2 / 3)
    picture = json.loads(json.dumps(data.display.picture(logits, three)))
    assert (picture["plot"], picture["labels"]) == ("confusion", list("0123456789"))
    expected = np.zeros((10, 10))
    expected[3, 3] = expected[3, 8] = expected[8, 8] = 1
    assert np.array_equal(picture["counts"], expected)


def test_an_image_is_its_number_or_its_pixels(data: Dataset) -> None:
    assert data.display.encode is not None
    assert data.display.decode is not None
    plain = TASK.load("plain").test.x[:, 17, 0] * 16
    batch = data.display.encode(["17", ",".join(map(str, plain)), " 0 "])
    assert np.array_equal(batch.x, data.test.x[:, [17, 17, 0]])
    assert batch.target.tolist() == [-1, -1, -1]
    assert data.display.decode(np.log([[0.5, 0.25, 0.25] + [1e-9] * 7]), batch) == ["0 50%"]


WANTED = "image: expected 64 numbers from 0 to 16, or the number of a test image, 0 to 299, got "


@pytest.mark.parametrize("typed", ["", "seven", "300", "-1", "1.5", "1,2", ",".join(["17"] * 64), ",".join("x" * 64)])
def test_something_that_is_not_an_image_is_refused(data: Dataset, typed: str) -> None:
    assert data.display.encode is not None
    with pytest.raises(InvalidInput) as caught:
        data.display.encode([typed])
    assert str(caught.value) == WANTED + repr(typed)
    with pytest.raises(InvalidInput, match=r"^image: expected at least one, got none$"):
        data.display.encode([])


WRONG: list[tuple[dict[str, Any], type, str]] = [
    ({"train": 0}, InvalidInput, "train: expected at least 1, got 0"),
    ({"test": 2.0}, InvalidType, "test: expected an int, got float"),
    ({"seed": -1}, InvalidInput, "seed: expected at least 0, got -1"),
    ({"train": 1198}, InvalidInput, "train + validation + test: expected at most 1797 images, got 1798"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_wrong_options_are_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        digits.Options(**options)
    assert str(caught.value) == message


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(BackendMissing) as caught:
        TASK.load()
    text = "task digits needs scikit-learn, which is not installed; run: pip install -e '.[tasks]'"
    assert str(caught.value) == text

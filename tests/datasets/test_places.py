"""Place names: against a separate reading of the package's own folders, and a distance between spellings of its own."""

import json
import sys
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets import places
from common.datasets.places import TASK
from common.datasets.task import Dataset
from common.errors import BackendMissing, InvalidInput, InvalidType

LABELS = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return TASK.load()


def parts(data: Dataset) -> list[Batch]:
    return [data.train, data.validation, data.test]


def names(data: Dataset, batch: Batch) -> list[str]:
    assert batch.lengths is not None
    columns = zip(batch.x.T, batch.lengths, strict=True)
    return ["".join(data.symbols[number] for number in column[:length]) for column, length in columns]


def in_folders() -> dict[str, set[str]]:
    """Every compiled zone of the package under a label: its file's name, and the labels it is found under."""
    found: dict[str, set[str]] = {}
    for label in LABELS:
        pending = [files("tzdata").joinpath("zoneinfo", label)]
        while pending:
            for entry in pending.pop().iterdir():
                if entry.is_dir() and not entry.name.startswith("__"):
                    pending.append(entry)
                elif entry.is_file() and not entry.name.endswith((".py", ".pyc")):
                    found.setdefault(entry.name.lower().replace("_", " "), set()).add(label)
    return found


def distance(one: str, other: str) -> int:
    """Levenshtein."""
    row = list(range(len(other) + 1))
    for place, a in enumerate(one):
        above, row = row, [place + 1]
        for column, b in enumerate(other):
            row.append(min(row[-1] + 1, above[column + 1] + 1, above[column] + (a != b)))
    return row[-1]


def test_every_name_is_in_one_part_with_its_label(data: Dataset) -> None:
    found = in_folders()
    assert {name for name, labels in found.items() if len(labels) > 1} == {"istanbul", "nicosia"}
    seen: list[str] = []
    for part in parts(data):
        assert part.lengths is not None
        assert {a.dtype for a in (part.x, part.target, part.lengths)} == {np.dtype("int64")}
        assert part.x.shape == (part.lengths.max(), len(part.target))
        assert not part.x[np.arange(len(part.x))[:, None] >= part.lengths].any()
        for name, label in zip(names(data, part), part.target, strict=True):
            assert found[name] == {LABELS[label]}
            seen.append(name)
    assert sorted(seen) == sorted(found.keys() - {"istanbul", "nicosia"})
    assert "buenos aires" in seen
    assert not {"gmt", "longyearbyen", "japan", "utc", "eastern"} & set(seen)
    assert data.symbols == tuple(sorted(set("".join(seen))))
    assert (data.outputs.readout, data.training.bidirectional, data.outputs.symbols) == ("final_state", True, LABELS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_part_has_its_share_of_every_label(seed: int) -> None:
    data = TASK.load(seed=seed)
    counts = np.array([np.bincount(part.target, minlength=9) for part in parts(data)])
    assert counts.min() >= 1
    share = 0.15 * counts.sum(0)
    assert np.abs(counts[1:] - share).max() < 3.5
    assert np.abs(counts[1:].sum(1) - 0.15 * counts.sum()).max() < 3
    # Shuffled: the labels of a part are not in blocks.
    assert np.mean(data.train.target[1:] == data.train.target[:-1]) < 0.35


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_spellings_of_one_place_stay_together(seed: int) -> None:
    data = TASK.load(seed=seed)
    where = {name: index for index, part in enumerate(parts(data)) for name in names(data, part)}
    for spellings in ("kathmandu katmandu", "dacca dhaka", "faeroe faroe", "kyiv kiev", "kolkata calcutta"):
        assert len({where[name] for name in spellings.split()}) == 1
    for line in files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text().splitlines():
        if line.startswith("L ") and all(zone.split("/")[0] in LABELS for zone in line.split()[1:]):
            one, other = (zone.split("/")[-1].lower().replace("_", " ") for zone in line.split()[1:])
            if {one, other} <= where.keys():
                assert where[one] == where[other], (one, other)
    long = sorted(name for name in where if len(name) > 4)
    near = ((a, b) for a in long for b in long if a < b and abs(len(a) - len(b)) < 2 and len(set(a) ^ set(b)) < 3)
    close = [(a, b) for a, b in near if distance(a, b) == 1]
    assert ("faeroe", "faroe") in close
    assert len(close) > 5
    for a, b in close:
        assert where[a] == where[b], (a, b)


def test_the_seed_decides(data: Dataset) -> None:
    again, other = TASK.load(), TASK.load(seed=1)
    assert np.array_equal(data.test.x, again.test.x)
    assert set(names(data, data.test)) != set(names(other, other.test))
    assert 40 <= len(TASK.load(test=0.1).test.target) <= 52


def test_score_baseline_and_picture(data: Dataset) -> None:
    constant = np.tile(np.eye(9)[1], (len(data.test.target), 1))
    assert (
        data.scoring.baseline.value
        == data.scoring.score(constant, data.test)
        == pytest.approx(np.mean(data.test.target == 1))
    )
    assert data.scoring.baseline.text.startswith("always America")
    assert data.scoring.score(np.eye(9)[data.test.target], data.test) == 1
    batch = Batch(data.test.x[:, :4], np.array([3, 0, -1, 8]))
    logits = np.eye(9)[[3, 6, 2, 8]]
    assert data.scoring.score(logits, batch) == pytest.approx(2 / 3)
    picture = json.loads(json.dumps(data.display.picture(logits, batch)))
    assert (picture["plot"], picture["labels"]) == ("confusion", list(LABELS))
    expected = np.zeros((9, 9))
    expected[3, 3] = expected[0, 6] = expected[8, 8] = 1
    assert np.array_equal(picture["counts"], expected)


def test_a_name_can_be_typed(data: Dataset) -> None:
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["Sao Paulo", "oslo", "America/Sao_Paulo"])
    assert names(data, batch) == ["sao paulo", "oslo", "sao paulo"]
    assert (batch.target.shape, set(batch.target)) == ((3,), {-1})
    logits = np.log(np.full((3, 9), 0.05)) + np.eye(9)[[1, 6, 8]] * np.log(12)
    assert data.display.decode(logits, batch) == ["America 60%", "Europe 60%", "Pacific 60%"]
    known = repr("".join(data.symbols))
    for typed, message in [
        (["Oslo", "Orléans"], f"place: expected characters of {known}, got 'é' in 'orléans'"),
        ([], "place: expected at least one, got none"),
        ([""], "place: expected at least one character, got none"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            data.display.encode(typed)
        assert str(caught.value) == message


WRONG: list[tuple[dict[str, Any], type, str]] = [
    ({"test": 0.5}, InvalidInput, "test: expected a share from 0.1 to 0.4, got 0.5"),
    ({"validation": 0.05}, InvalidInput, "validation: expected a share from 0.1 to 0.4, got 0.05"),
    ({"test": "1"}, InvalidType, "test: expected a number, got str"),
    ({"seed": -1}, InvalidInput, "seed: expected at least 0, got -1"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_wrong_options_are_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        places.Options(**options)
    assert str(caught.value) == message


def test_without_tzdata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tzdata", None)
    with pytest.raises(BackendMissing) as caught:
        TASK.load()
    assert str(caught.value) == "task places needs tzdata, which is not installed; run: pip install -e '.[tasks]'"

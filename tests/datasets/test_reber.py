"""The embedded Reber grammar, against a regular expression and successors that are found by trying."""

import json
import re
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets.reber import TASK
from common.errors import InvalidInput, InvalidType

SYMBOLS = "BTPSXVE"
LOOP = "T*V(PXT*V)*(V|PS)"
INNER = f"B(TS*X(S|X{LOOP})|P{LOOP})E"
STRING = re.compile(f"B(T{INNER}T|P{INNER}P)E")
# From every node some ending of one of these leads to the end.
WHOLE = ("BTBTXSETE", "BPBTXXVVEPE", "BTBPVPSETE", "BPBPTVVEPE")
ENDINGS = {string[start:] for string in WHOLE for start in range(10)}


def strings(batch: Batch) -> list[str]:
    assert batch.lengths is not None
    return ["B" + "".join(SYMBOLS[s] for s in batch.target[:length, b]) for b, length in enumerate(batch.lengths)]


def successors(beginning: str) -> str:
    return "".join(s for s in SYMBOLS if any(STRING.fullmatch(beginning + s + end) for end in ENDINGS))


def perfect(batch: Batch, forget: bool = False) -> np.ndarray:
    """1 for each legal symbol; who forgets gives T and P alike where the string has to repeat its second."""
    prediction = np.zeros((*batch.x.shape, 7))
    for b, string in enumerate(strings(batch)):
        for step in range(1, len(string)):
            allowed = "TP" if forget and step == len(string) - 2 else successors(string[:step])
            prediction[step - 1, b, [SYMBOLS.index(s) for s in allowed]] = 1
    return prediction


def test_strings_are_of_the_language_with_even_chances() -> None:
    data = TASK.load(train=4000, validation=20, test=20)
    batch, found = data.train, strings(data.train)
    assert (batch.x.dtype, batch.target.dtype) == ("int64", "int64")
    assert data.symbols == data.outputs.symbols == tuple(SYMBOLS)
    assert all(STRING.fullmatch(string) for string in found)
    assert (min(map(len, found)), max(map(len, found)) <= 50) == (9, True)
    for b, string in enumerate(found):
        assert "".join(SYMBOLS[s] for s in batch.x[: len(string) - 1, b]) == string[:-1]
        assert not batch.x[len(string) - 1 :, b].any()
        assert (batch.target[len(string) - 1 :, b] == -1).all()
    for beginning in ("B", "BTB", "BPBP", "BPBT", "BTBTX", "BTBPV", "BTBPVP", "BPBTXXV"):
        after = [string[len(beginning)] for string in found if string.startswith(beginning)]
        assert set(after) == set(successors(beginning))
        assert abs(np.mean([symbol == after[0] for symbol in after]) - 0.5) < 3 / np.sqrt(len(after))


def test_no_part_shares_a_string_and_data_follow_the_seed() -> None:
    first, again, other = (TASK.load(seed=seed) for seed in (1, 1, 2))
    train, validation, test = (set(strings(part)) for part in (first.train, first.validation, first.test))
    assert [len(strings(part)) for part in (first.train, first.validation, first.test)] == [256] * 3
    assert not train & validation | train & test | validation & test
    assert strings(first.train) == strings(again.train)
    assert strings(first.train) != strings(other.train)
    assert max(map(len, strings(TASK.load(max_length=15, train=50, validation=10, test=10).train))) <= 15


def test_score_needs_every_step_of_a_string() -> None:
    data = TASK.load()
    batch, prediction = data.test, perfect(data.test)
    assert data.scoring.score(prediction, batch) == 1
    assert data.scoring.score(perfect(batch, forget=True), batch) == 0
    assert batch.lengths is not None
    padding = np.arange(len(batch.x))[:, None] >= batch.lengths
    assert padding.any()
    assert data.scoring.score(np.where(padding[..., None], np.nan, prediction), batch) == 1
    # Right everywhere, but for one step in each of the first 64 strings: a quarter.
    rng = np.random.default_rng(0)
    for b in range(64):
        step = rng.integers(batch.lengths[b])
        prediction[step, b] = 1 - prediction[step, b]
    assert data.scoring.score(prediction, batch) == 0.75
    biased = perfect(batch, forget=True)
    biased[:, :, 1] += 0.1  # T before P
    seconds = [string[1] for string in strings(batch)]
    assert data.scoring.score(biased, batch) == seconds.count("T") / 256
    assert 0.3 < seconds.count("T") / 256 < 0.7


def test_the_baseline_is_that_of_pairs_of_symbols() -> None:
    data = TASK.load()
    pairs = [string[k : k + 2] for string in strings(data.train) for k in range(len(string) - 1)]
    prediction = np.array([[[pairs.count(SYMBOLS[s] + n) for n in SYMBOLS] for s in row] for row in data.test.x[:, :9]])
    few = data.test._replace(x=data.test.x[:, :9], target=data.test.target[:, :9])
    assert data.scoring.score(prediction, few) == data.scoring.baseline.value == 0


def test_picture_shows_failing_strings_first() -> None:
    data = TASK.load()
    prediction, found = perfect(data.test), strings(data.test)
    step = len(found[20]) - 3  # what is asked for after so many symbols and one more: the second once again
    prediction[step, 20] = np.eye(7)[SYMBOLS.index("V")]
    shown = json.loads(json.dumps(data.display.picture(prediction, data.test)))
    assert shown["plot"] == "strings"
    assert shown["columns"] == ["string", "first fails after symbol", "legal", "predicted"]
    assert shown["rows"][0] == [found[20], str(step + 1), found[20][1], "V"]
    assert shown["rows"][1:] == [[string, "none", "", ""] for string in found[:11]]
    prediction[0, 3] = np.eye(7)[0] + 2 * np.eye(7)[6] + 3 * np.eye(7)[1]
    assert data.display.picture(prediction, data.test)["rows"][0] == [found[3], "1", "T P", "T E"]


def test_a_string_outside_the_language_has_no_score() -> None:
    data = TASK.load()
    x = data.test.x.copy()
    x[2, 0] = SYMBOLS.index("V")
    with pytest.raises(InvalidInput) as caught:
        data.scoring.score(np.zeros((*x.shape, 7)), data.test._replace(x=x))
    assert str(caught.value) == "string: expected one of B at step 3, got V"


def test_typed_strings_are_read_and_answered() -> None:
    data = TASK.load()
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["BTBT", "BP"])
    assert batch.x.T.tolist() == [[0, 1, 0, 1], [0, 2, 0, 0]]
    assert (batch.target == -1).all()
    assert batch.lengths is not None
    assert (batch.target.shape, batch.lengths.tolist()) == ((4, 2), [4, 2])
    logits = np.zeros((4, 2, 7))
    logits[3, 0] = np.log([0.01, 0.01, 0.01, 0.55, 0.4, 0.01, 0.01])
    logits[1, 1] = np.log([0.94, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]) - 3
    assert data.display.decode(logits, batch) == ["after BTBT: S 0.55, X 0.40", "after BP: B 0.94"]
    with pytest.raises(InvalidInput) as caught:
        data.display.encode(["BTQ"])
    assert str(caught.value) == "input: expected symbols of BTPSXVE, got 'Q' at place 3"


WRONG: list[Any] = [
    ({"max_length": 8}, "max_length: expected at least 9, the shortest string, got 8"),
    ({"max_length": 9.0}, "max_length: expected an int, got float"),
    (
        {"max_length": 9},
        "options: expected examples left for every part, got 0 of 256; fewer, longer or more varied examples?",
    ),
    ({"train": 0}, "train: expected at least 1, got 0"),
    ({"seed": -1}, "seed: expected at least 0, got -1"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        TASK.load(**options)
    assert str(caught.value) == message

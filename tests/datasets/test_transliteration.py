"""Kana and letters: against a table of syllables written out by hand, in Nihon-shiki."""

import json
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets import transliteration
from common.datasets.task import Dataset
from common.datasets.transliteration import TASK
from common.errors import InvalidInput, InvalidType

ROWS = {
    "": "あいうえお", "k": "かきくけこ", "s": "さしすせそ", "t": "たちつてと", "n": "なにぬねの", "h": "はひふへほ",
    "m": "まみむめも", "r": "らりるれろ", "g": "がぎぐげご", "z": "ざじずぜぞ", "d": "だぢづでど", "b": "ばびぶべぼ",
    "p": "ぱぴぷぺぽ",
}  # fmt: skip
TABLE = {kana: first + vowel for first, row in ROWS.items() for kana, vowel in zip(row, "aiueo", strict=True)}
TABLE |= dict(zip("やゆよわゐゑをんゔ", ["ya", "yu", "yo", "wa", "wi", "we", "wo", "n", "vu"], strict=True))
GLIDES = {"ゃ": "ya", "ゅ": "yu", "ょ": "yo"}
TABLE |= {
    row[1] + small: first + glide
    for first, row in ROWS.items()
    for small, glide in GLIDES.items()
    if first
}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    return TASK.load()


def parts(data: Dataset) -> list[Batch]:
    return [data.train, data.validation, data.test]


def kana(data: Dataset, batch: Batch) -> list[str]:
    assert batch.lengths is not None
    columns = zip(batch.x.T, batch.lengths, strict=True)
    return ["".join(data.symbols[number] for number in column[:length]) for column, length in columns]


def letters(data: Dataset, numbers: np.ndarray) -> list[list[str]]:
    return [[data.outputs.symbols[number] for number in column if number >= 0] for column in numbers.T]


def hiragana(word: str) -> str:
    return "".join(chr(ord(c) - 0x60) if unicodedata.name(c).startswith("KATA") else c for c in word)


def morae(word: str) -> list[str]:
    """The longest entry of the table first; っ alone."""
    found = []
    while word:
        size = 2 if word[:2] in TABLE else 1
        found.append(word[:size])
        word = word[size:]
    return found


def by_table(word: str) -> str:
    latin = ""
    for mora in reversed(morae(hiragana(word))):
        latin = (latin[0] if mora == "っ" else TABLE[mora]) + latin
    return latin


def test_words_and_letters_agree_with_the_table(data: Dataset) -> None:
    for part, size in zip(parts(data), (3000, 300, 300), strict=True):
        assert part.decoder_x is not None
        assert part.lengths is not None
        assert {a.dtype for a in (part.x, part.target, part.decoder_x, part.lengths)} == {np.dtype("int64")}
        assert part.x.shape == (part.lengths.max(), size)
        assert not part.x[np.arange(len(part.x))[:, None] >= part.lengths].any()
        words, targets = kana(data, part), letters(data, part.target)
        assert ["".join(target[:-1]) for target in targets] == [by_table(word) for word in words]
        assert {target[-1] for target in targets} == {"</s>"}
        # The decoder reads the start symbol, then what the step before was to say; targets end, and stay ended.
        counted = part.target >= 0
        assert set(part.decoder_x[0]) == {0}
        assert np.array_equal(part.decoder_x[1:][counted[1:]], part.target[:-1][counted[1:]])
        assert np.array_equal(counted.sum(0), [len(target) for target in targets])
        assert (np.diff(counted.astype(int), axis=0) <= 0).all()
    assert (data.outputs.symbols[:2], data.outputs.size) == (("<s>", "</s>"), len(data.outputs.symbols))
    assert set("".join(TABLE.values())) == set(data.outputs.symbols[2:])
    assert {hiragana(symbol) for symbol in data.symbols} == set("".join(TABLE)) | {"っ"}


def test_no_spelling_occurs_twice(data: Dataset) -> None:
    latin = [by_table(word) for part in parts(data) for word in kana(data, part)]
    assert len(set(latin)) == len(latin) == 3600


def test_how_words_are_made(data: Dataset) -> None:
    words = kana(data, data.train)
    scripts = [{unicodedata.name(c).split()[0] for c in word} for word in words]
    assert all(len(script) == 1 for script in scripts)
    assert 0.45 < np.mean([script == {"HIRAGANA"} for script in scripts]) < 0.55
    split = [morae(hiragana(word)) for word in words]
    sizes = np.bincount([len(word) for word in split], minlength=7)
    assert sizes[:2].sum() == 0
    assert len(sizes) == 7
    assert sizes[2:].min() > 500
    assert sizes.max() < 700
    for word in split:
        assert word[0] not in ("っ", "ん")
        assert word[-1] != "っ"
        assert all(TABLE[b][0] in "kstpgzdb" for a, b in pairwise(word) if a == "っ")
    every = [mora for word in split for mora in word]
    inner = [mora for word in split for mora in word[1:-1]]
    assert 0.17 < np.mean([mora[1:] in GLIDES for mora in every if mora not in ("っ", "ん")]) < 0.27
    assert 0.07 < np.mean([mora == "ん" for mora in inner]) < 0.11
    assert 0.07 < np.mean([mora == "っ" for mora in inner]) < 0.11
    assert set(every) == set(TABLE) | {"っ"}


def test_the_seed_decides(data: Dataset) -> None:
    again, other, small = TASK.load(), TASK.load(seed=1), TASK.load(train=7, test=300)
    assert np.array_equal(data.train.x, again.train.x)
    assert len(set(kana(data, data.test)) & set(kana(other, other.test))) < 10
    assert np.array_equal(small.test.x, data.test.x)
    assert small.train.x.shape[1] == 7


def test_score_and_baseline(data: Dataset) -> None:
    test, size = data.test, data.outputs.size
    perfect = 3.0 * np.eye(size)[np.maximum(test.target, 0)]
    assert data.scoring.score(perfect, test) == 1
    plain = [not set(hiragana(word)) & {"っ", *GLIDES} for word in kana(data, test)]
    assert data.scoring.baseline.value == pytest.approx(np.mean(plain))
    padding = perfect.copy()
    padding[test.target < 0] = np.eye(size)[5]
    assert data.scoring.score(padding, test) == 1
    wrong = perfect.copy()
    wrong[0, :30] = np.eye(size)[np.where(test.target[0, :30] == 2, 3, 2)]  # the first letter of 30 words
    ends = (test.target == 1).argmax(0)
    wrong[ends[30:90], np.arange(30, 90)] = np.eye(size)[2]  # the end of 60 others
    assert data.scoring.score(wrong, test) == pytest.approx(210 / 300)
    picture = json.loads(json.dumps(data.display.picture(wrong, test)))
    assert (picture["plot"], picture["columns"]) == ("strings", ["kana", "right", "predicted", "ok"])
    assert [row[0] for row in picture["rows"]] == kana(data, test)[:12]
    for word, truth, predicted, ok in picture["rows"]:
        assert (truth, ok) == (by_table(word), "no")
        assert (predicted[0] != truth[0], predicted[1:]) == (True, truth[1:])
    assert [row[2:] for row in data.display.picture(perfect, test)["rows"]] == [
        [by_table(w), "yes"] for w in kana(data, test)[:12]
    ]


def test_encode_and_decode(data: Dataset) -> None:
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["かっきゃ", "ン"])
    assert kana(data, batch) == ["かっきゃ", "ン"]
    assert batch.decoder_x is not None
    assert batch.decoder_x.shape == batch.target.shape == (9, 2)
    assert (set(batch.target.ravel()), set(batch.decoder_x[0])) == ({-1}, {0})
    number = {symbol: place for place, symbol in enumerate(data.outputs.symbols)}
    first = [number[c] for c in "kakkya"] + [1, number["o"], number["o"]]
    logits = np.eye(data.outputs.size)[np.array([first, [number["n"]] * 9]).T]
    assert data.display.decode(logits, batch) == ["kakkya", "nnnnnnnnn"]
    known = repr("".join(data.symbols))
    for words, message in [
        (["かx"], f"word: expected characters of {known}, got 'x' in 'かx'"),
        ([], "word: expected at least one, got none"),
        (["か", ""], "word: expected at least one character, got none"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            data.display.encode(words)
        assert str(caught.value) == message


WRONG: list[tuple[dict[str, Any], type, str]] = [
    ({"train": 0}, InvalidInput, "train: expected at least 1, got 0"),
    ({"validation": "9"}, InvalidType, "validation: expected an int, got str"),
    ({"seed": -1}, InvalidInput, "seed: expected at least 0, got -1"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_wrong_options_are_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        transliteration.Options(**options)
    assert str(caught.value) == message

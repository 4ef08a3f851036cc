"""The text: streams side by side that spell it, parts that do not overlap, bits that are counted by hand."""

import json
import math
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

from common.backend.contract import Batch
from common.datasets import text
from common.datasets.task import Dataset
from common.datasets.text import TASK
from common.errors import InvalidInput, InvalidType

TEXT = "\n".join(value for _, value in sorted(topics.items()))[:100_000]
RHYME = "the cat sat on the mat.\n" * 100


@pytest.fixture(scope="module")
def data() -> Dataset:
    return TASK.load()


def spelled(data: Dataset, numbers: np.ndarray) -> list[str]:
    """Every stream as a string."""
    return ["".join(data.symbols[number] for number in column) for column in numbers.T]


def test_shapes(data: Dataset) -> None:
    for part, steps in ((data.train, 2812), (data.validation, 156), (data.test, 156)):
        assert (part.x.shape, part.x.dtype) == ((steps, 32), np.int64)
        assert (part.target.shape, part.target.dtype) == ((steps, 32), np.int64)
        assert part.lengths is None
    assert data.symbols == data.outputs.symbols == tuple(sorted(set(TEXT)))
    assert (data.training.chunk, data.outputs.readout, data.inputs) == (50, "every_step", "one_hot")
    assert data.outputs.size == len(data.symbols)


@pytest.mark.parametrize(
    ("name", "start", "length"), [("train", 0, 90_000), ("validation", 90_000, 5000), ("test", 95_000, 5000)]
)
def test_the_streams_spell_the_text(data: Dataset, name: str, start: int, length: int) -> None:
    """Read one after the other, the streams are the part of the text, and their targets the same a character on."""
    part = getattr(data, name)
    x, target = "".join(spelled(data, part.x)), "".join(spelled(data, part.target))
    assert TEXT[start : start + length].startswith(x)
    assert length - 32 <= len(x) < length
    assert TEXT[start + 1 : start + length].startswith(target)
    assert len(target) == len(x)


def test_options_and_determinism(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydoc_data.topics.topics", dict(reversed(topics.items())))
    assert np.array_equal(TASK.load().train.x, data.train.x)
    path = tmp_path / "rhyme.txt"
    path.write_text(RHYME, encoding="utf-8")
    own = TASK.load(text=str(path), streams=3, chunk=7, characters=2001)
    assert (own.training.chunk, own.symbols) == (7, tuple(sorted(set(RHYME))))
    assert [part.x.shape for part in (own.train, own.validation, own.test)] == [(600, 3), (33, 3), (33, 3)]
    assert spelled(own, own.train.x)[1] == RHYME[600:1200]
    assert spelled(own, own.test.x)[0] == RHYME[1901:1934]


def test_the_baseline_is_the_counted_frequency(data: Dataset) -> None:
    train, test = "".join(spelled(data, data.train.target)), spelled(data, data.test.target)
    counts, size = Counter(train), len(data.symbols)
    chance = {symbol: (counts[symbol] + 1) / (len(train) + size) for symbol in data.symbols}
    bits = [-math.log2(chance[character]) for stream in test for character in stream]
    assert data.scoring.baseline.value == pytest.approx(sum(bits) / len(bits), rel=1e-12)
    streams = zip(spelled(data, data.train.x), spelled(data, data.train.target), strict=True)
    pairs = Counter(pair for x, target in streams for pair in zip(x, target, strict=True))
    before = Counter(first for first, _ in pairs.elements())
    bits = [
        -math.log2((pairs[pair] + 10 * chance[pair[1]]) / (before[pair[0]] + 10))
        for x, target in zip(spelled(data, data.test.x), test, strict=True)
        for pair in zip(x, target, strict=True)
    ]
    assert data.scoring.baseline.text.endswith(f"a bigram model gets {sum(bits) / len(bits):.2f}")
    assert sum(bits) / len(bits) < data.scoring.baseline.value - 0.5


def test_bits_per_character(data: Dataset) -> None:
    size = len(data.symbols)
    chance = (np.bincount(data.train.target.ravel(), minlength=size) + 1) / (data.train.target.size + size)
    logits = np.broadcast_to(np.log(chance) + 700, (*data.test.target.shape, size))
    assert data.scoring.score(logits, data.test) == pytest.approx(data.scoring.baseline.value, rel=1e-12)
    assert data.scoring.score(np.zeros_like(logits), data.test) == pytest.approx(math.log2(size))
    assert data.scoring.score(1000.0 * np.eye(size)[data.test.target], data.test) == 0
    batch = Batch(np.zeros((2, 1), int), np.array([[1], [-1]]))
    assert data.scoring.score(np.log([[[0.5, 0.25, 0.25]], [[1, 1e-9, 1e-9]]]), batch) == pytest.approx(2)


def test_the_picture_shows_contexts(data: Dataset) -> None:
    size = len(data.symbols)
    logits = np.log(np.full((156, 32, size), 0.1 / (size - 2)))
    np.put_along_axis(logits, data.test.target[..., None], np.log(0.7), -1)
    best = data.symbols.index("~")
    logits[..., best] = np.log(0.2)
    picture = json.loads(json.dumps(data.display.picture(logits, data.test)))
    assert (picture["plot"], len(picture["columns"]), len(picture["rows"])) == ("strings", 5, 12)
    shown = "".join(spelled(data, data.test.x)).replace(" ", "␣").replace("\n", "↵")
    for context, following, first, second, _ in picture["rows"]:
        assert context + following in shown
        assert 13 <= len(context) <= 30
        assert (first, second) == (f"{following} 70%", "~ 20%")
    assert [len(row[0]) for row in picture["rows"]] == [13, 26] + [30] * 10


def test_a_prompt_is_read_and_continued(data: Dataset) -> None:
    assert data.display.encode is not None
    assert data.display.decode is not None
    batch = data.display.encode(["def f"])
    assert spelled(data, batch.x) == ["def f"]
    assert (batch.target.shape, set(batch.target.ravel())) == ((5, 1), {-1})
    logits = np.full((5, 1, len(data.symbols)), -50.0)
    logits[-1, 0, [data.symbols.index(symbol) for symbol in " a\n"]] = np.log([0.6, 0.3, 0.1])
    assert data.display.decode(logits, batch) == ["␣ 60%  a 30%  ↵ 10%"]
    known = repr("".join(data.symbols))
    for prompts, message in [
        (["a", "b"], "prompts: expected 1, got 2"),
        ([""], "prompt: expected at least one character, got none"),
        (["aあ"], f"prompt: expected characters of {known}, got 'あ' in 'aあ'"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            data.display.encode(prompts)
        assert str(caught.value) == message


NEEDED = "expected at least 1780, for 32 streams in chunks of 50, got 1779"
WRONG: list[tuple[dict[str, Any], type, str]] = [
    ({"streams": 0}, InvalidInput, "streams: expected at least 1, got 0"),
    ({"chunk": 1.0}, InvalidType, "chunk: expected an int, got float"),
    ({"text": 1}, InvalidType, "text: expected the path of a file, as a str, got int"),
    ({"characters": 1779}, InvalidInput, f"characters: {NEEDED}"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_wrong_options_are_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        text.Options(**options)
    assert str(caught.value) == message


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    short, latin, none = (tmp_path / name for name in ("short", "latin", "none"))
    short.write_text("a" * 1779)
    latin.write_bytes(b"\xff" * 2000)
    wanted = "text: expected a UTF-8 file that can be read, got "
    for path, message in [
        (short, f"characters in the text: {NEEDED}"),
        (none, f"{wanted}{str(none)!r}; No such file or directory"),
        (latin, f"{wanted}{str(latin)!r}; 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            TASK.load(text=str(path))
        assert str(caught.value) == message
    short.write_text("ab" * 890)
    assert TASK.load(text=str(short)).train.x.shape == (50, 32)

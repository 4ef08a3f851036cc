"""Text, one character after another; at every step the next one is to be predicted.

The default text is the help topics that come with Python (``pydoc_data.topics``), joined by newlines in the order of
their names. Its first 100,000 characters are used: 90,000 for training, then 5,000 for validation and 5,000 for the
test. The topics depend on the version of Python, and so do all numbers here; another text can be given as a UTF-8 file.
The symbols are the characters that occur in the part used, 100 with Python 3.11.

The training text is cut into 32 streams of equal length that are read side by side, (2812, 32), in chunks of 50 steps:
the state is carried on from chunk to chunk, and no gradient flows through it (truncated BPTT, Williams & Peng 1990).
Validation and test are laid out in the same way, each from a zero state. Up to 31 characters at the end are left out.

The metric is bits per character. The baseline knows how frequent each character is in the training text, with one added
to each count, and nothing about the characters before it. A bigram model, which knows one of them, is computed as well.
With Python 3.11 they reach 4.65 and 3.74.

After Graves 2013 (arXiv:1308.0850, section 3), who read far more text with far larger networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.symbols import encoded, likeliest, log_softmax
from common.datasets.task import Baseline, Dataset, Display, Metric, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.run import OptimizerSpec
from common.model.validate import require_positive_int

METRIC = Metric(name="bits per character", text="bits per character")
READINGS = {
    "characters": Reading(
        summary="the next character at every step, in streams read side by side",
        asks="read a text letter by letter and predict the next letter each time",
        remembers="the word and the phrase so far",
        span=10,
        readout="The output at every step is read: after each character, how likely every other is to come next. Bits "
        "per character are the number of yes-or-no questions that the next character still costs on average. Fed with "
        "its own guesses, such a network writes; a temperature below 1 favours the likely characters.",
    )
}
# Validation and test are each one part in HELD_OUT of the text.
HELD_OUT = 20
CONTEXT, ROWS, LIKELIEST = 30, 12, 3
# In the bigram model, the frequencies of single characters weigh as much as PRIOR observed pairs.
PRIOR = 10
VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """``characters`` of the text are used at most, in ``streams`` and chunks; ``text`` is the path of another text."""

    characters: int = 100_000
    streams: int = 32
    chunk: int = 50
    text: str = ""

    def __post_init__(self) -> None:
        for name in ("characters", "streams", "chunk"):
            require_positive_int(name, getattr(self, name))
        if not isinstance(self.text, str):
            raise InvalidType(mismatch("text", "the path of a file, as a str", type(self.text).__name__))
        self.require_length("characters", self.characters)

    def require_length(self, what: str, length: int) -> None:
        """Every held-out stream needs a character and its successor, every training stream a chunk."""
        parts = max(self.streams + 1, -(-(self.streams * self.chunk + 1) // (HELD_OUT - 2)))
        if length < HELD_OUT * parts:
            wanted = f"at least {HELD_OUT * parts}, for {self.streams} streams in chunks of {self.chunk}"
            raise InvalidInput(mismatch(what, wanted, length))


def make(reading: str, options: Options) -> Dataset:
    """The text in the only one of ``READINGS``."""
    text = read(options.text)[: options.characters]
    options.require_length("characters in the text", len(text))
    symbols = tuple(sorted(set(text)))
    numbers = encoded("text", [text], symbols)[0][:, 0]
    held_out = len(text) // HELD_OUT
    parts = np.split(numbers, [len(text) - 2 * held_out, len(text) - held_out])
    train, validation, test = (side_by_side(part, options.streams) for part in parts)
    unigram, bigram = baselines(train, test, len(symbols))
    frequencies = f"how frequent each character is in training; a bigram model gets {bigram:.2f}"
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="every_step", symbols=symbols),
        scoring=Scoring(METRIC, Baseline(unigram, frequencies), score),
        display=Display(partial(picture, symbols), partial(encode, symbols), partial(decode, symbols)),
        training=Training(
            hidden_size=64,
            epochs=8,
            optimizer=OptimizerSpec(name="adam", lr=0.01, clip_norm=1.0),
            forget_bias=1.0,
            chunk=options.chunk,
        ),
        symbols=symbols,
    )


def read(path: str) -> str:
    """The text of a file, or Python's own help topics."""
    if not path:
        topics = import_module("pydoc_data.topics").topics
        return "\n".join(topics[name] for name in sorted(topics))
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(mismatch("text", "a UTF-8 file that can be read", repr(path), str(reason))) from error


def side_by_side(numbers: np.ndarray, streams: int) -> Batch:
    """Contiguous pieces of equal length, one in each column (T, streams), and the same one character later."""
    steps = (len(numbers) - 1) // streams
    x, target = (numbers[shift : shift + steps * streams].reshape(streams, steps) for shift in (0, 1))
    return Batch(np.ascontiguousarray(x.T), np.ascontiguousarray(target.T))


def baselines(train: Batch, test: Batch, symbols: int) -> tuple[float, float]:
    """Bits per character on the test part, from the frequencies of single characters and of pairs in training."""
    single = np.bincount(train.target.ravel(), minlength=symbols) + 1.0
    single /= single.sum()
    pairs = np.zeros((symbols, symbols))
    np.add.at(pairs, (train.x, train.target), 1)
    pairs = (pairs + PRIOR * single) / (pairs.sum(1, keepdims=True) + PRIOR)
    return float(-np.log2(single[test.target]).mean()), float(-np.log2(pairs[test.x, test.target]).mean())


def score(prediction: np.ndarray, batch: Batch) -> float:
    """Bits per character, from logits (T, B, O)."""
    counted = batch.target >= 0
    chances = log_softmax(prediction[counted])
    return float(-np.take_along_axis(chances, batch.target[counted][:, None], -1).mean() / log(2))


def visible(text: str) -> str:
    return "".join(VISIBLE.get(character, character) for character in text)


def picture(symbols: Sequence[str], prediction: np.ndarray, batch: Batch) -> dict[str, Any]:
    """At positions spread over steps and streams: the text before, the next character and the likeliest ones."""
    steps, streams = batch.target.shape
    glyphs, rows = [visible(symbol) for symbol in symbols], []
    for row in range(count := min(ROWS, streams)):
        step, stream = max(0, (row + 1) * steps // count - 1), row * streams // count
        context = "".join(glyphs[number] for number in batch.x[max(0, step + 1 - CONTEXT) : step + 1, stream])
        best = likeliest(glyphs, prediction[step, stream], LIKELIEST)
        rows.append([context, glyphs[batch.target[step, stream]], *best])
    return {"plot": "strings", "columns": ["context", "next", "first", "second", "third"], "rows": rows}


def encode(symbols: Sequence[str], prompts: Sequence[str]) -> Batch:
    """One prompt as (T, 1)."""
    if len(prompts) != 1:
        raise InvalidInput(mismatch("prompts", 1, len(prompts)))
    x, _ = encoded("prompt", prompts, symbols)
    return Batch(x, np.full_like(x, -1))


def decode(symbols: Sequence[str], prediction: np.ndarray, _: Batch) -> list[str]:
    """The likeliest characters after the last step, from logits (T, B, O)."""
    glyphs = [visible(symbol) for symbol in symbols]
    return ["  ".join(likeliest(glyphs, logits, LIKELIEST)) for logits in prediction[-1]]


TASK = Task(
    name="text",
    title="Text",
    summary="predict the next character of a text",
    source="after Graves 2013, section 3, on the help topics of Python",
    readings=READINGS,
    options=Options,
    make=make,
    examples="The text before, the character that comes next, and the three that the network thinks likeliest; ␣ is a "
    "space, ↵ the end of a line.",
    seconds=20,
)

"""Temporal order: which of X and Y came first and which second, asked at the end of a long string of other symbols.

A string starts with E, ends with B, the trigger, and has 100 to 110 symbols. All others are drawn from a, b, c and d,
except those at t1, from 10 to 20, and t2, from 50 to 60, which are X or Y. X X is class Q, X Y is R, Y X is S, Y Y is
U, all equally likely. The class is read out after B. Always naming the same class is right once in four; the baseline
names the class that is most frequent in training.

This is experiment 6a of Hochreiter & Schmidhuber 1997, where ``steps`` is T = 100 and all numbers are in proportion to
it. Decided here: ranges include both ends, positions are counted from 0, where E is, and E and B count towards the
length. The paper requires each of four logistic outputs to have an error below 0.3; here the highest of four outputs
counts, trained with cross-entropy. The paper trains on a new string at each step; here each epoch has new mini-batches.
As in the paper, the input gates start shut (there by biases of -2 and -4, here of -3), so that the noise stays out of
the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from common.backend.contract import Batch
from common.datasets.sampling import Series, draw_parts, lengths_of, numbers_of, require_sizes
from common.datasets.symbols import ACCURACY, accuracy, confusion, log_softmax, majority, padded
from common.datasets.task import Dataset, Display, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec

SYMBOLS = ("E", "B", "a", "b", "c", "d", "X", "Y")
START, TRIGGER, NOISE, RELEVANT = 0, 1, (2, 5), (6, 7)
CLASSES = {"Q": "X, then X", "R": "X, then Y", "S": "Y, then X", "U": "Y, then Y"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """``steps`` is the least length; ``train`` is the number of new strings in each epoch."""

    steps: int = 100
    train: int = 1000
    validation: int = 500
    test: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_sizes(self, "steps")
        if self.steps < 10:
            raise InvalidInput(mismatch("steps", "at least 10", self.steps))

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The least and the greatest length, t1 and t2."""
        tenth = self.steps / 10
        return (self.steps, int(11 * tenth)), (int(tenth), int(2 * tenth)), (int(5 * tenth), int(6 * tenth))


T, (LENGTHS, FIRST, SECOND) = Options().steps, Options().ranges
SPAN = LENGTHS[1] - FIRST[0]
READINGS = {
    "6a": Reading(
        summary="one symbol per step, ragged; the class is read out at the last step",
        asks=f"two signals come far apart among {T} meaningless letters: say which came first and which second",
        remembers=f"two letters over {LENGTHS[0] - SECOND[1]} to {SPAN} steps",
        span=SPAN,
        readout="The output at the last step is read, where the string ends with the signal to answer: one of four "
        "classes.",
    )
}


def sample(options: Options, rng: np.random.Generator) -> Series:
    """One string, as numbers."""
    length, *places = (int(rng.integers(low, high + 1)) for low, high in options.ranges)
    string = rng.integers(NOISE[0], NOISE[1] + 1, length)
    string[places] = rng.choice(RELEVANT, 2)
    string[0], string[-1] = START, TRIGGER
    return tuple(string.tolist())


def class_of(string: Series) -> int:
    """The number of the class: its two relevant symbols as a number of two digits."""
    first, second = (RELEVANT.index(symbol) for symbol in string if symbol in RELEVANT)
    return 2 * first + second


def make(reading: str, options: Options) -> Dataset:
    """The strings and their classes."""
    parts, epoch = draw_parts(partial(sample, options), options)
    train, validation, test = map(to_batch, parts)
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="last_step", symbols=tuple(CLASSES)),
        scoring=Scoring(ACCURACY, majority(list(CLASSES), train, test), accuracy),
        display=Display(partial(confusion, list(CLASSES)), encode, decode),
        training=Training(
            hidden_size=16,
            epochs=16,
            batch_size=20,
            optimizer=OptimizerSpec(name="adam", lr=0.005, clip_norm=1.0),
            forget_bias=4.0,
            input_bias=-3.0,
            draw=lambda rng: to_batch(epoch(rng)),
        ),
        symbols=SYMBOLS,
    )


def to_batch(rows: Sequence[Series]) -> Batch:
    return Batch(padded(rows), np.array([class_of(row) for row in rows], np.int64), lengths=lengths_of(rows))


def encode(texts: Sequence[str]) -> Batch:
    """Typed strings of any length: ``EabXcdYaB``."""
    rows = [numbers_of(text, SYMBOLS) for text in texts]
    return Batch(padded(rows), np.full(len(rows), -1), lengths=lengths_of(rows))


def decode(prediction: np.ndarray, _: Batch) -> list[str]:
    chances, names = np.exp(log_softmax(prediction)), list(CLASSES)
    return [
        f"class {names[best]} ({CLASSES[names[best]]}), probability {row[best]:.2f}"
        for row, best in zip(chances, prediction.argmax(-1), strict=True)
    ]


TASK = Task(
    name="temporal-order",
    title="Temporal order",
    summary="name the order of two symbols that are far apart in a long string",
    source="Hochreiter & Schmidhuber 1997, experiment 6a",
    readings=READINGS,
    options=Options,
    make=make,
    seconds=15,
)

"""Temporal order: which of X and Y came first and which second, asked at the end of a long string of other symbols.

A string starts with E, ends with B, the trigger, and has 100 to 110 symbols; all others are drawn from a, b, c, d,
except those at t1, from 10 to 20, and t2, from 50 to 60, which are X or Y. X X is class Q, X Y is R, Y X is S, Y Y is
U, all equally likely. What is read out after B is the class. Naming one class always is right once in four; the
baseline names the class that is most frequent in training.

This is experiment 6a of Hochreiter & Schmidhuber 1997, with T = 100 in ``steps`` and all numbers in proportion to it.
Decided here: both ends of a range are drawn, positions are counted from 0, where E stands, and E and B count into the
length. The paper asks each of four logistic outputs for an error below 0.3; here the highest of four outputs counts,
trained with cross-entropy. It trains on a new string at each step; here an epoch has new mini-batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from common.backend.contract import Batch
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec

from .sampling import Series, draw_parts, lengths_of, numbers_of, require_sizes
from .symbols import accuracy, confusion, log_softmax, majority, padded
from .task import Dataset, Metric, Task, Training

READINGS = {"6a": "one symbol a step, ragged; the class is read out at the last step"}
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


def sample(options: Options, rng: np.random.Generator) -> Series:
    """One string, in numbers."""
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
        task="temporal-order",
        reading=reading,
        train=train,
        validation=validation,
        test=test,
        readout="last_step",
        readout_size=len(CLASSES),
        loss="cross_entropy",
        metric=Metric("accuracy", higher=True),
        baseline=majority(list(CLASSES), train, test),
        score=accuracy,
        picture=partial(confusion, list(CLASSES)),
        training=Training(
            hidden_size=16,
            epochs=24,
            batch_size=20,
            optimizer=OptimizerSpec(name="adam", lr=0.005, clip_norm=1.0),
            forget_bias=4.0,
        ),
        inputs="one_hot",
        symbols=SYMBOLS,
        output_symbols=tuple(CLASSES),
        draw=lambda rng: to_batch(epoch(rng)),
        encode=encode,
        decode=decode,
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
    "temporal-order",
    "the order of two symbols far apart in a long string",
    "Hochreiter & Schmidhuber 1997, experiment 6a",
    READINGS,
    Options,
    make,
    15,
)

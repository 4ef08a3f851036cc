"""The sum of a series of small integers that are mostly zero: 1 0 1 2 0 0 0 0 0 gives 4.

The length of a series is drawn evenly from 10 to 100; each element is zero with probability 0.8, else 1 or 2 with even
chances. The network has to give the sum divided by 30, the mean sum of the longest series: a fixed number that keeps
targets near 1. Errors are reported in units of the sum.

``sequence``
    One number at a time: T = 100, I = 1, ragged; the last step of each series is read out.

``vector``
    The same series, padded with zeros to 100 numbers, as one vector: T = 1, I = 100. The recurrence never acts, and
    what is left is a feed-forward network. The article that the task comes from does this, and doubts it itself.

The baseline always answers with the mean sum m of the training series; its mean |sum - m| over the test series is about
7.7. A network that only counts the steps can know 0.3 L, and is off by the spread of the sum at a given length:
variance 0.2 * 2.5 - 0.3**2 = 0.41 per step, so about 0.8 * sqrt(0.41 * 55) = 3.8 in the middle and 3.7 on average. Only
adding gets below that.

Zeros at the end change no vector, so two series that differ only in them count as one example, and no two parts share
one: short series are a little rarer in validation and test than in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.sampling import Series, draw_parts, lengths_of, require_sizes, words_of
from common.datasets.symbols import padded
from common.datasets.task import Baseline, Dataset, Display, Metric, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec
from common.model.validate import require_number

METRIC = Metric(
    name="mean absolute error of the sum",
    text="how far off the sum is on average (mean absolute error)",
)
# Bins of the picture; digits of a typed number.
BINS, DIGITS = 10, 6


@dataclass(frozen=True, kw_only=True)
class Options:
    """Lengths from ``min_length`` to ``max_length``; ``density`` is the chance of an element in 1 to ``largest``."""

    min_length: int = 10
    max_length: int = 100
    density: float = 0.2
    largest: int = 2
    train: int = 2000
    validation: int = 500
    test: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        require_sizes(self, "min_length", "max_length", "largest")
        if self.max_length < self.min_length:
            raise InvalidInput(mismatch("max_length", f"at least min_length={self.min_length}", self.max_length))
        require_number("density", self.density)
        if not 0 < self.density <= 1:
            raise InvalidInput(mismatch("density", "a probability in (0, 1]", self.density))

    @property
    def scale(self) -> float:
        """The mean sum of the longest series."""
        return self.max_length * self.density * (1 + self.largest) / 2


SHORTEST, LONGEST = Options().min_length, Options().max_length
READINGS = {
    "sequence": Reading(
        summary="one number per step: T = the length of the series, I=1, last step read out",
        asks=f"add up {SHORTEST} to {LONGEST} small numbers, most of them zero, given one by one",
        remembers=f"a running total over up to {LONGEST} steps",
        span=LONGEST,
        readout="One number arrives at each step. The output at the last step is read, since only then is the sum "
        "known.",
    ),
    "vector": Reading(
        summary="the whole series as one vector, padded with zeros: T=1, I=max_length",
        asks="add up the same numbers, all seen at once",
        remembers="nothing: there is one step",
        span=1,
        readout="The whole series arrives as one vector in a single step, so nothing recurs and this is a feed-forward "
        "network; the output of that step, which is also the last, is read.",
    ),
}


def sample(options: Options, rng: np.random.Generator) -> Series:
    """One series."""
    length = int(rng.integers(options.min_length, options.max_length + 1))
    values = rng.integers(1, options.largest + 1, length) * (rng.random(length) < options.density)
    return tuple(values.tolist())


def significant(series: Series) -> Series:
    """The series without the zeros at its end."""
    return series[: max((place for place, value in enumerate(series, 1) if value), default=0)]


def make(reading: str, options: Options) -> Dataset:
    """The same series in one of ``READINGS``."""
    parts, epoch = draw_parts(partial(sample, options), options, significant)
    batch = partial(to_batch, reading, options)
    train, validation, test = (batch(part) for part in parts)
    mean = float(np.mean([sum(series) for series in parts[0]]))
    known = {significant(series): len(series) for part in parts for series in part}
    constant = Baseline(float(np.mean([abs(sum(series) - mean) for series in parts[2]])), "always the mean sum")
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="last_step"),
        scoring=Scoring(METRIC, constant, partial(score, options)),
        display=Display(
            picture=partial(picture, options, mean, known),
            encode=lambda texts: batch([parse(text) for text in texts], target=False),
            decode=partial(decode, options),
        ),
        training=Training(
            hidden_size=16,
            epochs=15,
            batch_size=50,
            optimizer=OptimizerSpec(name="adam", lr=0.01, clip_norm=1.0),
            forget_bias=1.0,
            draw=lambda rng: batch(epoch(rng)),
        ),
    )


def to_batch(reading: str, options: Options, rows: Sequence[Series], target: bool = True) -> Batch:
    """Series in the form of a variant; without ``target``, zeros stand for the sums."""
    sums = np.array([[sum(row) / options.scale * target] for row in rows], np.float64)
    if reading == "sequence":
        return Batch(padded(rows)[:, :, None].astype(np.float64), sums, lengths=lengths_of(rows))
    vectors = np.zeros((1, len(rows), options.max_length))
    for index, row in enumerate(rows):
        if len(row) > options.max_length:
            raise InvalidInput(mismatch("input", f"at most {options.max_length} numbers as one vector", len(row)))
        vectors[0, index, : len(row)] = row
    return Batch(vectors, sums)


def score(options: Options, prediction: np.ndarray, batch: Batch) -> float:
    """The mean absolute error in units of the sum."""
    return float(np.mean(abs(prediction - batch.target)) * options.scale)


def parse(text: str) -> Series:
    """A typed series; it may be longer and have larger numbers than those of the training."""
    words = words_of(text)
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= DIGITS):
            wanted = f"integers of at least 0, of at most {DIGITS} digits, with commas between them"
            raise InvalidInput(mismatch("input", wanted, repr(word[:40])))
    return tuple(map(int, words))


def picture(
    options: Options, mean: float, known: dict[Series, int], prediction: np.ndarray, batch: Batch
) -> dict[str, Any]:
    """The error, and that of the baseline, by length.

    A vector does not show the length of its series. For series of the three parts it is known; for any other, the
    position of the last nonzero stands in.
    """
    lengths = batch.lengths
    if lengths is None:
        rows = [significant(tuple(row.astype(int).tolist())) for row in batch.x[0]]
        lengths = np.array([known.get(row, len(row)) for row in rows])
    span = options.max_length - options.min_length + 1
    bins = np.clip((lengths - options.min_length) * min(BINS, span) // span, 0, BINS - 1)
    error = abs(prediction - batch.target)[:, 0] * options.scale
    constant = abs(batch.target[:, 0] * options.scale - mean)
    means = {
        name: [round(float(np.mean(values[bins == group])), 3) for group in np.unique(bins)]
        for name, values in (("lengths", lengths), ("errors", error), ("baseline", constant))
    }
    return {"plot": "by_length", **means, "unit": METRIC.name}


def decode(options: Options, prediction: np.ndarray, _: Batch) -> list[str]:
    return [f"the sum is {value:.2f} (rounded: {round(value)})" for value in prediction[:, 0] * options.scale]


TASK = Task(
    name="sum",
    title="Sum of a series",
    summary="add up a series of small integers, most of them zero",
    source="articles about a home-made class MyRNN",
    readings=READINGS,
    options=Options,
    make=make,
    seconds=12,
)

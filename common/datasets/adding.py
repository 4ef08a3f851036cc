"""The adding problem: the sum of the two marked values of a long series.

``modern``
    100 steps of two features: a value, uniform in [0, 1), and a marker, which is 1 at one step of the first half and at
    one of the second, and 0 elsewhere. The target is the sum of the two marked values. Always answering 1, the mean,
    has the variance of the sum as its mean squared error: twice that of one uniform value, which is 1/12, so 1/6 =
    0.167. Published (Arjovsky, Shah & Bengio 2016, section 5.2, read off the figure): at 100 steps a tanh network stays
    there, and an LSTM gets below 0.01 within some thousand mini-batches.

``1997``
    Hochreiter & Schmidhuber, experiment 4. T = 100; a sequence has T to T + T/10 pairs, with values uniform in [-1, 1).
    One of the first ten pairs is marked with 1.0, then one of the first T/2 - 1 pairs that are still unmarked. The
    first and the last pair are marked with -1.0, all others with 0.0. If the first pair is chosen, its value is set to
    zero. The target is 0.5 + (X1 + X2) / 4. As in the paper, a sequence is right if the error is below 0.04, and the
    metric is the share of right sequences (Hochreiter & Schmidhuber 1997, experiment 4: 1 of 2,560 wrong at T = 100,
    after 74,000 training sequences); the loss is the squared error.

    Always answering 0.5 is right if |X1 + X2| is below d = 0.16: with both values uniform, their sum has the density
    (2 - |s|) / 4, so the chance is d - d^2 / 4; if one of them is the first pair's, and zero, the chance is d. The
    first pair is X1 in 1 of 10 sequences, and X2 in 1 of T/2 - 1 of the others. That makes 15.4% at T = 100.

    Where the paper leaves a choice, all draws are uniform and include both ends, X2 is set to zero like X1, and a
    chosen first pair keeps its -1.0. The paper trains on a new sequence at each step; here each epoch has new
    mini-batches. As in the paper, the input gates start shut (there by biases of -3 and -6, here of -4): without that,
    the memory fills with the noise, the LSTM took five times as long, and the LSTM of 1997 stayed at the baseline (one
    seed, 75,000 sequences).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.sampling import require_sizes, streams, words_of
from common.datasets.task import (
    MSE,
    Baseline,
    Dataset,
    Display,
    Metric,
    Outputs,
    Reading,
    Scoring,
    Task,
    Training,
    squared_error,
)
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec

# In the variant 1997, the first marker is at one of the first EARLY pairs, which all lie in the first half.
EARLY = 10
# In the variant 1997, a sequence is right if its error is below this.
RIGHT = 0.04
POINTS = 150
WITHIN = Metric(
    name="success rate",
    text=f"the share of sequences with an error below {RIGHT:g} (success rate)",
    higher=True,
    share=True,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """``steps`` is T; ``train`` is the number of new examples in each epoch."""

    steps: int = 100
    train: int = 5000
    validation: int = 500
    test: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        require_sizes(self, "steps")
        if self.steps < 2:
            raise InvalidInput(mismatch("steps", "at least 2, one in each half", self.steps))


def longest_of(steps: int) -> int:
    """The greatest length of a sequence in the variant 1997."""
    return steps + steps // 10


T = Options().steps
LONGEST = longest_of(T)
READINGS = {
    "modern": Reading(
        summary="values in [0, 1), one marker in each half, T steps; the target is the sum",
        asks=f"see {T} numbers, two of them marked, and give the sum of those two",
        remembers=f"two numbers over up to {T} steps",
        span=T,
        readout="The output at the last step is read: one number answers for the whole sequence, and the marked values "
        f"can be almost {T} steps back.",
    ),
    "1997": Reading(
        summary="values in [-1, 1), markers early, T to T + T/10 steps; the target is 0.5 + sum / 4",
        asks="the same as first published, with both marks early",
        remembers=f"two numbers over {T // 2} to {LONGEST} steps",
        span=LONGEST,
        readout="As published in 1997: values from -1 to 1, both marks in the first half of "
        f"{T} to {LONGEST} steps. The output at the last step is read.",
        caution="An answer counts only if it is off by less than 0.04, where the range of answers is 1.",
    ),
}


def make(reading: str, options: Options) -> Dataset:
    """Examples in one of ``READINGS``."""
    if reading == "1997" and options.steps < 2 * EARLY:
        raise InvalidInput(mismatch("steps", f"at least {2 * EARLY} in the variant 1997", options.steps))
    modern = reading == "modern"
    sample = partial(sample_modern if modern else sample_1997, options.steps)
    counts = options.train, options.validation, options.test
    train, validation, test = (sample(rng, count) for rng, count in zip(streams(options.seed), counts, strict=True))
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="last_step"),
        scoring=Scoring(MSE, Baseline(1 / 6, "always 1"), squared_error) if modern else scoring_1997(options.steps),
        display=Display(picture, partial(encode, modern), partial(decode, modern)),
        training=Training(
            hidden_size=32,
            epochs=8 if modern else 6,
            batch_size=20,
            optimizer=OptimizerSpec(name="adam", lr=0.02 if modern else 0.01, clip_norm=1.0),
            forget_bias=1.0 if modern else 4.0,
            input_bias=None if modern else -4.0,
            draw=lambda rng: sample(rng, options.train),
        ),
    )


def scoring_1997(steps: int) -> Scoring:
    """The share of right sequences, and that of always answering 0.5."""
    width, first_chosen = 4 * RIGHT, 1 / EARLY + (1 - 1 / EARLY) / (steps // 2 - 1)
    both_uniform = width - width**2 / 4
    return Scoring(
        WITHIN, Baseline(first_chosen * width + (1 - first_chosen) * both_uniform, "always 0.5"), share_of_right
    )


def share_of_right(prediction: np.ndarray, batch: Batch) -> float:
    return float(np.mean(abs(prediction - batch.target) < RIGHT))


def sample_modern(steps: int, rng: np.random.Generator, count: int) -> Batch:
    """``count`` sequences of equal length."""
    half, each = steps // 2, np.arange(count)
    marked = np.stack([rng.integers(0, half, count), rng.integers(half, steps, count)])
    values, markers = rng.random((steps, count)), np.zeros((steps, count))
    markers[marked, each] = 1
    return Batch(np.stack([values, markers], -1), values[marked, each].sum(0)[:, None])


def sample_1997(steps: int, rng: np.random.Generator, count: int) -> Batch:
    """``count`` ragged sequences."""
    longest, each = longest_of(steps), np.arange(count)
    lengths = rng.integers(steps, longest + 1, count)
    first, second = rng.integers(0, EARLY, count), rng.integers(0, steps // 2 - 1, count)
    marked = np.stack([first, second + (second >= first)])
    values, markers = rng.uniform(-1, 1, (longest, count)), np.zeros((longest, count))
    values[0, (marked == 0).any(0)] = 0
    markers[marked, each] = 1
    markers[0] = markers[lengths - 1, each] = -1
    x = np.stack([values, markers], -1)
    x[np.arange(longest)[:, None] >= lengths] = 0
    return Batch(x, 0.5 + values[marked, each].sum(0)[:, None] / 4, lengths=lengths)


def picture(prediction: np.ndarray, batch: Batch) -> dict[str, Any]:
    """Targets and predictions of the first examples."""
    series = {"target": batch.target, "prediction": prediction}
    return {"plot": "scatter"} | {name: np.round(a[:POINTS, 0].astype(float), 4).tolist() for name, a in series.items()}


def encode(modern: bool, texts: Sequence[str]) -> Batch:
    """Typed series with a star after each of the two marked values: ``0.5*, 0.1, 0.25*, 0.9``."""
    rows = [parse(modern, text) for text in texts]
    lengths = np.array([len(row) for row in rows])
    x = np.zeros((lengths.max(), len(rows), 2))
    for index, row in enumerate(rows):
        x[: len(row), index] = row
    equal = modern and lengths.min() == lengths.max()
    return Batch(x, np.zeros((len(rows), 1)), lengths=None if equal else lengths)


def parse(modern: bool, text: str) -> np.ndarray:
    """(T, 2): values and markers."""
    words, lowest = words_of(text), 0 if modern else -1
    pairs = np.zeros((len(words), 2))
    for place, word in enumerate(words):
        try:
            value = float(word.removesuffix("*"))
        except ValueError:
            value = np.nan
        if not lowest <= value <= 1:
            raise InvalidInput(
                mismatch("input", f"numbers from {lowest} to 1, with * after the marked ones", repr(word))
            )
        pairs[place] = value, word.endswith("*")
    count = int(pairs[:, 1].sum())
    if count != 2:
        raise InvalidInput(mismatch("input", "two numbers marked with *", f"{count} in {text!r}"))
    if not modern:
        if pairs[[0, -1], 1].any():
            raise InvalidInput(mismatch("input", "no * at the first or last number in the variant 1997", repr(text)))
        pairs[[0, -1], 1] = -1
    return pairs


def decode(modern: bool, prediction: np.ndarray, _: Batch) -> list[str]:
    sums = prediction[:, 0] if modern else (prediction[:, 0] - 0.5) * 4
    return [f"the marked values add up to {value:.3f}" for value in sums]


TASK = Task(
    name="adding",
    title="Adding problem",
    summary="add the two marked values of a long series",
    source="Hochreiter & Schmidhuber 1997, experiment 4; modern form: Arjovsky, Shah & Bengio 2016, section 5.2",
    readings=READINGS,
    options=Options,
    make=make,
    seconds=30,
)

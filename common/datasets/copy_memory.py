"""Copying memory: keep ten symbols in mind through a long blank, and repeat them on a signal.

The input has T + 20 steps: ten symbols out of eight (the digits 0 to 7), T - 1 blanks (written _), one "go" (written :)
and ten blanks. The target is T + 10 blanks, then the ten symbols. The loss counts all T + 20 steps.

Baseline: a network without memory answers blank, correctly, for T + 10 steps and gives the eight symbols even chances
for the last ten, which costs ln 8 per step: 10 ln 8 / (T + 20) on average, 0.520 nats per step at T = 20.

Source: Arjovsky, Shah & Bengio 2016, section 5.1, after the long time lag tasks of Hochreiter & Schmidhuber 1997.
The published delays are 100 to 500 and more; the default here is 20, which trains in about a minute. Training strings
are drawn without end, as in the paper, but never one that is in validation or test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.sampling import Series, draw_parts, numbers_of, require_sizes
from common.datasets.symbols import log_softmax
from common.datasets.task import Baseline, Dataset, Display, Metric, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec

METRIC = Metric(
    name="cross-entropy",
    text="how unexpected the right symbol was on average (cross-entropy, in nats per step)",
)
DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7")
SYMBOLS = (*DIGITS, "_", ":")
BLANK, GO = SYMBOLS.index("_"), SYMBOLS.index(":")
COUNT = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """``delay`` is T; ``train`` is the number of new strings in each epoch."""

    delay: int = 20
    train: int = 1000
    validation: int = 500
    test: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        require_sizes(self, "delay")


DELAY = Options().delay
READINGS = {
    "copy": Reading(
        summary="one symbol per step, the answer is read out at every step: T = delay + 20",
        asks=f"see ten digits, wait {DELAY} steps, and repeat them in order",
        remembers=f"ten digits over {DELAY + COUNT} steps",
        span=DELAY + COUNT,
        readout="The output at every step is read: blanks first, then, after the signal to begin, one digit per step.",
    )
}


def sample(rng: np.random.Generator) -> Series:
    """Ten digits."""
    return tuple(rng.integers(0, len(DIGITS), COUNT).tolist())


def make(reading: str, options: Options) -> Dataset:
    """Strings of digits, with the answer expected at each step."""
    parts, epoch = draw_parts(sample, options)
    batch = partial(to_batch, options.delay)
    train, validation, test = map(batch, parts)
    memoryless = COUNT * log(len(DIGITS)) / (options.delay + 2 * COUNT)
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="every_step", symbols=SYMBOLS[: len(DIGITS) + 1]),
        scoring=Scoring(METRIC, Baseline(memoryless, "even chances for the ten digits"), score),
        display=Display(picture, partial(encode, options.delay), decode),
        training=Training(
            hidden_size=64,
            epochs=30,
            batch_size=20,
            optimizer=OptimizerSpec(name="adam", lr=0.01, clip_norm=1.0),
            forget_bias=3.0,
            draw=lambda rng: batch(epoch(rng)),
        ),
        symbols=SYMBOLS,
    )


def to_batch(delay: int, rows: Sequence[Series]) -> Batch:
    """x and target (delay + 20, B)."""
    digits = np.array(rows, np.int64).T
    x, target = np.full((2, delay + 2 * COUNT, len(rows)), BLANK)
    x[:COUNT] = target[-COUNT:] = digits
    x[COUNT + delay - 1] = GO
    return Batch(x, target)


def score(prediction: np.ndarray, batch: Batch) -> float:
    """The mean cross-entropy in nats over the steps that count."""
    chances = np.take_along_axis(log_softmax(prediction), np.maximum(batch.target, 0)[..., None], -1)[..., 0]
    return float(-chances[batch.target >= 0].mean())


def picture(prediction: np.ndarray, batch: Batch) -> dict[str, Any]:
    """The share of correct digits at each of the last ten steps."""
    right = (prediction[-COUNT:].argmax(-1) == batch.target[-COUNT:]).mean(1)
    return {
        "plot": "by_step",
        "steps": list(range(1, COUNT + 1)),
        "values": np.round(right, 4).tolist(),
        "baseline": [1 / len(DIGITS)] * COUNT,
        "name": "accuracy of the digit",
    }


def encode(delay: int, texts: Sequence[str]) -> Batch:
    """Typed strings of ten digits from 0 to 7."""
    rows = [numbers_of(text, DIGITS) for text in texts]
    for text in texts:
        if len(text) != COUNT:
            raise InvalidInput(mismatch("input", f"{COUNT} digits", f"{len(text)} in {text!r}"))
    batch = to_batch(delay, rows)
    return batch._replace(target=np.full_like(batch.target, -1))


def decode(prediction: np.ndarray, batch: Batch) -> list[str]:
    """The answer after the signal, and how much of it is right."""
    answers, asked = prediction[-COUNT:].argmax(-1).T, batch.x[:COUNT].T
    return [
        f"{''.join(SYMBOLS[s] for s in digits)} is recalled as {''.join(SYMBOLS[s] for s in answer)} "
        f"({(answer == digits).sum()} of {COUNT} right)"
        for answer, digits in zip(answers, asked, strict=True)
    ]


TASK = Task(
    name="copy",
    title="Copying memory",
    summary="repeat ten digits after a long blank",
    source="Arjovsky, Shah & Bengio 2016, section 5.1, after Hochreiter & Schmidhuber 1997",
    readings=READINGS,
    options=Options,
    make=make,
    seconds=20,
)

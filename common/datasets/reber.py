"""The embedded Reber grammar: after each symbol of a string, which symbols may come next?

A Reber string is a walk from B to E through a graph of seven nodes, with an even chance at each fork. An embedded one
is B T (Reber string) T E or B P (Reber string) P E: the second symbol returns as the last but one, after at least five
others, and nothing in between shows which it was. x holds all symbols but the last; the target at each step is the
symbol that follows. A step is right if its k legal symbols have exactly the k highest outputs, and a string if all its
steps are. The metric is the share of right strings (Hochreiter & Schmidhuber 1997, experiment 1, after Fahlman 1991).

As in the paper, 256 strings are drawn for training, and may repeat; 256 for the test are drawn in the same way, but
none that occurs in training. Since the grammar favours a few short strings, those of the test are longer, 16 symbols on
average against 12. The 256 for validation, which the paper does not have, occur in neither, and no string has more than
50 symbols. The paper trains with squared errors of logistic outputs, on strings picked from the 256; here the loss is
cross-entropy, in mini-batches.

Baseline: the counts of which symbol follows which, as a network without memory could know them. No string is right:
after its second symbol B must have the highest output, and E when that symbol returns. A predictor that knows the
grammar and forgets only the second symbol is right up to the last but one. There k = 1: if it gives T and P the same
output, neither is the highest, and it scores 0; if it prefers one of them, it scores the share of strings with that
one, one half on average. A score above one half means that the second symbol is remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.sampling import Series, draw_parts, lengths_of, numbers_of, require_sizes
from common.datasets.symbols import log_softmax, padded
from common.datasets.task import Baseline, Dataset, Display, Metric, Outputs, Reading, Scoring, Task, Training
from common.errors import InvalidInput, mismatch
from common.model.run import OptimizerSpec

METRIC = Metric(
    name="success rate",
    text="the share of strings that are right throughout (success rate)",
    higher=True,
    share=True,
)
READINGS = {
    "embedded": Reading(
        summary="one symbol per step, ragged; the next symbol is predicted at every step",
        asks="after every letter of a string, say which letters the rules allow next",
        remembers="the second letter until the last but one, about 13 steps",
        span=13,
        readout="The output at every step is read, because every letter has an answer of its own. A string counts only "
        "if all of its steps are right; the hard one is the last but one, which repeats the second letter of the "
        "string.",
        caution="A guess at the last letter but one is right half the time, so what counts is a success rate far above "
        "one half.",
    )
}
SYMBOLS = ("B", "T", "P", "S", "X", "V", "E")
# Node -> symbol -> next node; the string ends at 7.
REBER = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
)
EMBEDDED: dict[str, dict[str, str]] = {"start": {"B": "second"}, "second": {"T": "T0", "P": "P0"}, "last": {"E": "end"}}
for outer in "TP":
    EMBEDDED |= {f"{outer}{k}": {s: f"{outer}{to}" for s, to in edges.items()} for k, edges in enumerate(REBER)}
    EMBEDDED[f"{outer}{len(REBER)}"] = {outer: "last"}
SHORTEST, ROWS = 9, 12


@dataclass(frozen=True, kw_only=True)
class Options:
    """``max_length`` is the greatest number of symbols in a string."""

    max_length: int = 50
    train: int = 256
    validation: int = 256
    test: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        require_sizes(self, "max_length")
        if self.max_length < SHORTEST:
            raise InvalidInput(mismatch("max_length", f"at least {SHORTEST}, the shortest string", self.max_length))


def sample(max_length: int, rng: np.random.Generator) -> Series:
    """One string, as numbers."""
    while True:
        node, string = "start", ""
        while node != "end":
            edges = list(EMBEDDED[node])
            string += edges[rng.integers(len(edges))]
            node = EMBEDDED[node][string[-1]]
        if len(string) <= max_length:
            return numbers_of(string, SYMBOLS)


def make(reading: str, options: Options) -> Dataset:
    """The strings, each symbol with its successor."""
    parts, _ = draw_parts(partial(sample, options.max_length), options)
    train, validation, test = map(to_batch, parts)
    followers = np.zeros((len(SYMBOLS),) * 2)
    counted = train.target >= 0
    np.add.at(followers, (train.x[counted], train.target[counted]), 1)
    return Dataset(
        train=train,
        validation=validation,
        test=test,
        outputs=Outputs(readout="every_step", symbols=SYMBOLS),
        scoring=Scoring(
            METRIC, Baseline(score(followers[test.x], test), "what most often follows the previous symbol"), score
        ),
        display=Display(picture, encode, decode),
        training=Training(
            hidden_size=16,
            epochs=40,
            batch_size=16,
            optimizer=OptimizerSpec(name="adam", lr=0.01, clip_norm=1.0),
            forget_bias=1.0,
        ),
        symbols=SYMBOLS,
    )


def to_batch(rows: Sequence[Series]) -> Batch:
    x, target = padded([row[:-1] for row in rows]), padded([row[1:] for row in rows], fill=-1)
    return Batch(x, target, lengths=lengths_of(rows) - 1)


def legal(batch: Batch) -> np.ndarray:
    """(T, B, 7): whether a symbol may follow; False where there is no target."""
    allowed = np.zeros((*batch.x.shape, len(SYMBOLS)), bool)
    for column in range(batch.x.shape[1]):
        node = "start"
        for step in np.flatnonzero(batch.target[:, column] >= 0):
            symbol = SYMBOLS[batch.x[step, column]]
            if symbol not in EMBEDDED[node]:
                raise InvalidInput(mismatch("string", f"one of {', '.join(EMBEDDED[node])} at step {step + 1}", symbol))
            node = EMBEDDED[node][symbol]
            allowed[step, column, [SYMBOLS.index(follower) for follower in EMBEDDED[node]]] = True
    return allowed


def right_steps(prediction: np.ndarray, batch: Batch, allowed: np.ndarray) -> np.ndarray:
    """(T, B): whether the legal symbols have the highest outputs; True where there is no target."""
    lowest = np.where(allowed, prediction, np.inf).min(-1)
    return (lowest > np.where(allowed, -np.inf, prediction).max(-1)) | (batch.target < 0)


def score(prediction: np.ndarray, batch: Batch) -> float:
    """The share of strings that are right at every step."""
    return float(np.mean(right_steps(prediction, batch, legal(batch)).all(0)))


def picture(prediction: np.ndarray, batch: Batch) -> dict[str, Any]:
    """Strings that fail first, with the step at which they do, then others."""
    allowed = legal(batch)
    right = right_steps(prediction, batch, allowed)
    rows = []
    for column in np.argsort(right.all(0), kind="stable")[:ROWS]:
        target = batch.target[:, column]
        string = SYMBOLS[0] + "".join(SYMBOLS[symbol] for symbol in target[target >= 0])
        step = int(right[:, column].argmin())
        may, best = np.flatnonzero(allowed[step, column]), np.argsort(-prediction[step, column], kind="stable")
        words = [" ".join(SYMBOLS[symbol] for symbol in sorted(symbols)) for symbols in (may, best[: len(may)])]
        rows.append([string, "none", "", ""] if right[:, column].all() else [string, str(step + 1), *words])
    return {"plot": "strings", "columns": ["string", "first fails after symbol", "legal", "predicted"], "rows": rows}


def encode(texts: Sequence[str]) -> Batch:
    """Typed beginnings of strings: ``BTBTX``."""
    rows = [numbers_of(text, SYMBOLS) for text in texts]
    x = padded(rows)
    return Batch(x, np.full(x.shape, -1), lengths=lengths_of(rows))


def decode(prediction: np.ndarray, batch: Batch) -> list[str]:
    """The likely successors of the last symbol."""
    ends = np.full(batch.x.shape[1], len(batch.x)) if batch.lengths is None else batch.lengths
    lines = []
    for column, end in enumerate(ends):
        chances = np.exp(log_softmax(prediction[end - 1, column]))
        likely = [f"{SYMBOLS[k]} {chances[k]:.2f}" for k in np.argsort(-chances) if chances[k] >= 0.05]
        string = "".join(SYMBOLS[symbol] for symbol in batch.x[:end, column])
        lines.append(f"after {string}: {', '.join(likely)}")
    return lines


TASK = Task(
    name="reber",
    title="Embedded Reber grammar",
    summary="predict which symbols may come next in the embedded Reber grammar",
    source="Cleeremans, Servan-Schreiber & McClelland 1989; Fahlman 1991; Hochreiter & Schmidhuber 1997, experiment 1",
    readings=READINGS,
    options=Options,
    make=make,
    examples="The symbol of a string after which the network first goes wrong, what the rules allow there, and what "
    "the network predicted.",
    seconds=5,
)

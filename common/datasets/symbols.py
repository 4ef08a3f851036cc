"""What tasks with symbols and tasks with classes share: numbers for characters, padding, softmax, accuracy."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.datasets.task import Baseline, Metric
from common.errors import BackendMissing, InvalidInput, mismatch

ACCURACY = Metric(name="accuracy", text="the share of correct answers (accuracy)", higher=True, share=True)


def optional(task: str, package: str, module: str) -> Any:
    """A module of a package that only some tasks need; raises ``BackendMissing`` with the command to install it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        text = f"task {task} needs {package}, which is not installed; run: pip install -e '.[tasks]'"
        raise BackendMissing(text) from error


def padded(rows: Sequence[Sequence[int]], fill: int = 0) -> np.ndarray:
    """Rows of numbers as the columns of an array (T, B), with ``fill`` past the end of each."""
    array = np.full((max(map(len, rows)), len(rows)), fill, np.int64)
    for column, row in enumerate(rows):
        array[: len(row), column] = row
    return array


def encoded(what: str, texts: Sequence[str], symbols: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The characters of each text as numbers (T, B), 0 past its end, and the lengths (B,)."""
    number = {symbol: place for place, symbol in enumerate(symbols)}
    if not texts:
        raise InvalidInput(mismatch(what, "at least one", "none"))
    for text in texts:
        if not text:
            raise InvalidInput(mismatch(what, "at least one character", "none"))
        for character in text:
            if character not in number:
                known = f"characters of {''.join(symbols)!r}"
                raise InvalidInput(mismatch(what, known, f"{character!r} in {text!r}"))
    rows = [[number[character] for character in text] for text in texts]
    return padded(rows), np.array([len(row) for row in rows], np.int64)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities, over the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, -1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def accuracy(prediction: np.ndarray, batch: Batch) -> float:
    """The share of sequences whose largest logit (B, O) is at the right class (B,)."""
    counted = batch.target >= 0
    return float(np.mean(prediction.argmax(-1)[counted] == batch.target[counted]))


def confusion(labels: Sequence[str], prediction: np.ndarray, batch: Batch) -> dict[str, Any]:
    """How often each class was taken for each other."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    counted = batch.target >= 0
    np.add.at(counts, (batch.target[counted], prediction.argmax(-1)[counted]), 1)
    return {"plot": "confusion", "labels": list(labels), "counts": counts.tolist()}


def majority(labels: Sequence[str], train: Batch, test: Batch) -> Baseline:
    """The accuracy on ``test`` of always answering the commonest class of ``train``."""
    commonest = int(np.bincount(train.target).argmax())
    return Baseline(float(np.mean(test.target == commonest)), f"always {labels[commonest]}, the commonest in training")


def likeliest(labels: Sequence[str], logits: np.ndarray, count: int) -> list[str]:
    """The ``count`` likeliest classes under logits (O,), each with its probability in per cent."""
    chances = np.exp(log_softmax(logits))
    return [f"{labels[place]} {chances[place]:.0%}" for place in np.argsort(-chances, kind="stable")[:count]]


def decode_class(labels: Sequence[str], prediction: np.ndarray, _: Batch) -> list[str]:
    """The likeliest class of each sequence, from logits (B, O), with its probability."""
    return [likeliest(labels, logits, 1)[0] for logits in prediction]

"""What a task is: data under one of its readings, how it is scored, and how it is best trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Batch
from common.errors import InvalidInput, unknown
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec
from common.model.spec import ModelSpec


class Metric(NamedTuple):
    """What a prediction is judged by; ``higher`` says that more is better."""

    name: str
    higher: bool


class Baseline(NamedTuple):
    """What needs no learning: its value in the task's metric, and what it does."""

    value: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a task is trained unless one says otherwise: what was published, or what was found to work.

    ``forget_bias`` is the LSTM's alone.
    """

    hidden_size: int = 32
    epochs: int = 100
    batch_size: int | None = None
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    forget_bias: float | None = None
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A task under one reading: three parts that share no example, and how they are read, scored and shown.

    Parameters are fitted on ``train``; ``validation`` decides when to stop; ``test`` is what is reported. Where the
    task can be drawn without end, ``draw`` gives the examples of each epoch, and ``train`` is a sample like them. With
    ``chunk`` the training sequences are cut into pieces of so many steps and the state is carried on from one to the
    next.

    ``score(prediction, batch)`` is the value of ``metric``; ``picture(prediction, batch)`` is what to draw, as plain
    JSON values, with its kind under ``plot``. ``encode`` makes a batch of what a user types, ``decode`` tells in words
    what a prediction says, one line an example. ``symbols`` are those of x, ``output_symbols`` those that are read out.
    """

    task: str
    reading: str
    train: Batch
    validation: Batch
    test: Batch
    readout: str
    readout_size: int
    loss: str
    metric: Metric
    baseline: Baseline
    score: Callable[[np.ndarray, Batch], float]
    picture: Callable[[np.ndarray, Batch], dict[str, Any]]
    training: Training
    inputs: str = "features"
    symbols: tuple[str, ...] = ()
    output_symbols: tuple[str, ...] = ()
    draw: Callable[[np.random.Generator], Batch] | None = None
    chunk: int | None = None
    encode: Callable[[Sequence[str]], Batch] | None = None
    decode: Callable[[np.ndarray, Batch], list[str]] | None = None
    bidirectional: bool = False
    dtype: str = "float64"

    def network(self, cell: str, hidden_size: int | None = None, **options: Any) -> NetworkSpec:
        """The network of this cell that fits the data; ``options`` are those of ``ModelSpec``, and ``inputs``.

        With ``inputs="embedding"``, ``input_size`` is the size of the table's rows (32 if it is not given).
        """
        inputs = options.pop("inputs", self.inputs)
        vocabulary = len(self.symbols) or None
        given = options.pop("input_size", None)
        size = {"features": self.train.x.shape[-1], "one_hot": vocabulary, "embedding": 32 if given is None else given}[
            inputs
        ]
        options = {"bidirectional": self.bidirectional, "dtype": self.dtype} | options
        hidden_size = self.training.hidden_size if hidden_size is None else hidden_size
        model = ModelSpec(cell=cell, input_size=size, hidden_size=hidden_size, **options)
        of_symbols: dict[str, Any] = {"inputs": inputs, "vocabulary": vocabulary} if inputs != "features" else {}
        return NetworkSpec(
            model=model, readout_size=self.readout_size, readout=self.readout, loss=self.loss, **of_symbols
        )

    def in_dtype(self, dtype: str) -> "Dataset":
        """The same data in another dtype."""
        draw = self.draw
        parts = {name: cast(getattr(self, name), dtype) for name in ("train", "validation", "test")}
        drawn = (lambda rng: cast(draw(rng), dtype)) if draw else None
        return replace(self, **parts, draw=drawn, dtype=dtype)


def cast(batch: Batch, dtype: str) -> Batch:
    """The floating arrays of a batch in another dtype; symbols stay integers."""
    floating = {k: a.astype(dtype) for k, a in batch._asdict().items() if a is not None and a.dtype.kind == "f"}
    return batch._replace(**floating)


class Task(NamedTuple):
    """A kind of problem: what it is, where it comes from, its readings by name, and what makes its data.

    ``options`` is a frozen dataclass of what can be set, with published values as defaults; ``make(reading, options)``
    gives the data in float64. ``seconds`` is about how long an LSTM trains on the first reading, in NumPy on one
    processor. Two backends are held to a tolerance over the first ``held`` updates: behind them, training may have
    amplified their rounding beyond any bound, by up to 1e-7 at update 20 and without limit at 60 on some tasks.
    """

    name: str
    summary: str
    source: str
    readings: Mapping[str, str]
    options: type
    make: Callable[[str, Any], Dataset]
    seconds: int = 5
    held: int = 10

    def load(self, reading: str | None = None, dtype: str = "float64", /, **options: Any) -> Dataset:
        """The data under a reading, the first if none is named."""
        reading = next(iter(self.readings)) if reading is None else reading
        if reading not in self.readings:
            raise InvalidInput(unknown(f"reading of {self.name}", list(self.readings), reading))
        known = [option.name for option in fields(self.options)]
        for name in options:
            if name not in known:
                raise InvalidInput(unknown(f"option of {self.name}", known, name))
        return self.make(reading, self.options(**options)).in_dtype(dtype)

"""What a task is: its data, how a prediction is judged and displayed, how it is trained, and what all of it means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Batch
from common.errors import InvalidInput, unknown
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec
from common.model.spec import ModelSpec

# The size of an embedding's rows where none is given.
EMBEDDING_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the network gives: ``readout`` says which of its outputs is read (one of ``READOUTS``).

    With ``symbols``, or the names of classes, the network gives a logit for each of them and is trained with
    cross-entropy; without, it gives ``numbers`` values and is trained with squared errors.
    """

    readout: str
    symbols: tuple[str, ...] = ()
    numbers: int = 1

    @property
    def size(self) -> int:
        return len(self.symbols) or self.numbers

    @property
    def loss(self) -> str:
        return "cross_entropy" if self.symbols else "mse"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What predictions are judged by: a short ``name`` for tables and a ``text`` for sentences.

    ``higher`` says that more is better, ``share`` that the value is a share of correct answers, from 0 to 1.
    """

    name: str
    text: str
    higher: bool = False
    share: bool = False


MSE = Metric(name="MSE", text="the mean squared error (MSE)")


def squared_error(prediction: np.ndarray, batch: Batch) -> float:
    """The mean over all predicted numbers."""
    return float(np.mean((prediction - batch.target) ** 2))


class Baseline(NamedTuple):
    """What can be reached without learning: its value in the task's metric, and what it does."""

    value: float
    text: str


class Scoring(NamedTuple):
    """How predictions are judged: ``score(prediction, batch)`` is the value of ``metric``."""

    metric: Metric
    baseline: Baseline
    score: Callable[[np.ndarray, Batch], float]


class Display(NamedTuple):
    """How examples are displayed and typed.

    ``picture(prediction, batch)`` is what to draw, as plain JSON values, with its kind under ``plot``. ``encode`` makes
    a batch of what a user types, and ``decode`` puts a prediction into words, one line per example; a task without them
    accepts no typed input.
    """

    picture: Callable[[np.ndarray, Batch], dict[str, Any]]
    encode: Callable[[Sequence[str]], Batch] | None = None
    decode: Callable[[np.ndarray, Batch], list[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a task is trained by default: as published, or with settings that were found to work.

    ``forget_bias`` is for cells with a forget gate, ``input_bias`` for those with an input gate. Where examples can be
    drawn without end, ``draw`` gives those of each epoch. With ``chunk``, the training sequences are cut into pieces of
    ``chunk`` steps, and the state is carried on from one piece to the next.
    """

    hidden_size: int = 32
    bidirectional: bool = False
    epochs: int = 100
    batch_size: int | None = None
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    forget_bias: float | None = None
    input_bias: float | None = None
    patience: int | None = None
    draw: Callable[[np.random.Generator], Batch] | None = None
    chunk: int | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The data of a task in one variant: three parts that share no example, and what belongs to them.

    Parameters are fitted on ``train``; ``validation`` decides when to stop; ``test`` is what is reported. Where
    ``training.draw`` gives new examples in each epoch, ``train`` is a sample of them. ``symbols`` are those of x, none
    where x holds numbers. ``task``, ``reading`` (the name of the variant) and ``dtype`` are filled in by ``Task.load``.
    """

    train: Batch
    validation: Batch
    test: Batch
    outputs: Outputs
    scoring: Scoring
    display: Display
    training: Training
    symbols: tuple[str, ...] = ()
    task: str = ""
    reading: str = ""
    dtype: str = "float64"

    @property
    def inputs(self) -> str:
        """How x enters the network by default (one of ``INPUTS``)."""
        return "one_hot" if self.symbols else "features"

    def network(self, cell: str, hidden_size: int | None = None, **options: Any) -> NetworkSpec:
        """The network with this cell that fits the data; ``options`` are those of ``ModelSpec``, and ``inputs``.

        With ``inputs="embedding"``, ``input_size`` is the size of the table's rows (32 by default).
        """
        inputs, embedding_size = options.pop("inputs", self.inputs), options.pop("input_size", None)
        sizes = {
            "features": self.train.x.shape[-1],
            "one_hot": len(self.symbols),
            "embedding": EMBEDDING_SIZE if embedding_size is None else embedding_size,
        }
        model = ModelSpec(
            cell=cell,
            input_size=sizes[inputs],
            hidden_size=self.training.hidden_size if hidden_size is None else hidden_size,
            **{"bidirectional": self.training.bidirectional, "dtype": self.dtype} | options,
        )
        return NetworkSpec(
            model=model,
            readout_size=self.outputs.size,
            readout=self.outputs.readout,
            loss=self.outputs.loss,
            inputs=inputs,
            vocabulary=None if inputs == "features" else len(self.symbols),
        )

    def in_dtype(self, dtype: str) -> "Dataset":
        """The same data in another dtype."""
        draw = self.training.draw
        drawn = (lambda rng: cast(draw(rng), dtype)) if draw else None
        return replace(
            self,
            train=cast(self.train, dtype),
            validation=cast(self.validation, dtype),
            test=cast(self.test, dtype),
            training=replace(self.training, draw=drawn),
            dtype=dtype,
        )


def cast(batch: Batch, dtype: str) -> Batch:
    """The batch with its floating-point arrays in another dtype; symbols stay integers."""
    floating = {k: a.astype(dtype) for k, a in batch._asdict().items() if a is not None and a.dtype.kind == "f"}
    return batch._replace(**floating)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One variant of a task, in words.

    ``summary`` is one line for lists. ``asks`` says what the network has to do, and ``remembers`` what it must keep in
    mind meanwhile, over ``span`` time steps. ``readout`` says which output is read, and why. ``caution`` is what one
    must know to understand the score.
    """

    summary: str
    asks: str
    remembers: str
    span: int
    readout: str
    caution: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of problem: what it is, where it comes from, its variants by name (``readings``), and what makes its data.

    ``options`` is a frozen dataclass of what can be set, with published values as defaults; ``make(reading, options)``
    gives the data in float64. ``examples`` explains the columns of a table of examples, and ``judged_on`` what the
    score is computed on. ``seconds`` is roughly how long an LSTM trains on the first variant, in NumPy on one
    processor.

    Two backends are held to a tolerance over the first ``held`` updates. After that, training may have amplified their
    rounding errors: by up to 1e-7 at update 20 and without limit at 60 on some tasks.
    """

    name: str
    title: str
    summary: str
    source: str
    readings: Mapping[str, Reading]
    options: type
    make: Callable[[str, Any], Dataset]
    examples: str = ""
    judged_on: str = "examples that were not trained on"
    seconds: int = 5
    held: int = 10

    def load(self, reading: str | None = None, dtype: str = "float64", /, **options: Any) -> Dataset:
        """The data in one variant, the first if none is named."""
        reading = next(iter(self.readings)) if reading is None else reading
        if reading not in self.readings:
            raise InvalidInput(unknown(f"reading of {self.name}", list(self.readings), reading))
        known = [option.name for option in fields(self.options)]
        for name in options:
            if name not in known:
                raise InvalidInput(unknown(f"option of {self.name}", known, name))
        data = self.make(reading, self.options(**options))
        return replace(data, task=self.name, reading=reading).in_dtype(dtype)

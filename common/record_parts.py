"""What several kinds of records hold: a model, a problem, an optimiser, a training run, a checked file.

Infinity and NaN are null in JSON (``Number``).
"""

from typing import Any, TypedDict

Number = float | None
# [update, value]: the updates that were made before the value was taken.
Point = list[Number]


class Spec(TypedDict):
    """The fields of ``common.model.spec.ModelSpec``."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int
    nonlinearity: str
    bias: bool
    dropout: float
    input_dropout: float
    recurrent_dropout: float
    bidirectional: bool
    proj_size: int
    forget_bias: Number
    reset_after: bool
    dtype: str


class Problem(TypedDict):
    """A model and the problem it was compared on: the fields of ``common.equivalence.variants.Variant``."""

    spec: Spec
    steps: int
    batch: int
    lengths: list[int] | None
    mask: list[str] | None
    given_state: bool
    training: bool
    regime: str
    seed: int


class Optimizer(TypedDict):
    """The fields of ``common.model.run.OptimizerSpec``."""

    name: str
    lr: float
    momentum: float
    betas: list[float]
    alpha: float
    eps: float
    clip_norm: Number
    schedule: str
    schedule_steps: int | None
    schedule_factor: float


class Run(TypedDict):
    """Everything that determines a training run on a task; ``options`` are those of the task that were set."""

    task: str
    reading: str
    options: dict[str, Any]
    spec: Spec
    inputs: str
    optimizer: Optimizer
    epochs: int
    batch_size: int | None
    patience: int | None
    input_bias: Number
    seed: int


class CheckedFile(TypedDict):
    """The weights and inputs of a check of a file, for a command that repeats it.

    ``layer`` is the path that was chosen, "" for the file's only layer. ``inputs`` and ``expect`` are the files of
    recorded inputs and outputs, null where there are none, and ``fingerprint`` is the SHA-256 of the problem's arrays.
    ``guests`` are those of ``a`` and ``b`` that are neither backends nor oracles: what was recorded, and the library
    that owns the format.
    """

    path: str
    sha256: str
    layer: str
    inputs: str | None
    expect: str | None
    batch_first: bool
    fingerprint: str
    guests: list[str]

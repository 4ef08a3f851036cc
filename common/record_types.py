"""The records, one type for each kind: what each line of a records file holds.

A record is plain JSON; infinity and NaN are null (``record_parts.Number``). Commands are made from data and not stored.
"""

from typing import Any, Literal, NotRequired, TypedDict, TypeVar, get_args, get_type_hints

from common.record_parts import CheckedFile, Number, Point, Problem, Run


class Header(TypedDict):
    """The first line: the command that made the records, word by word, and its seed, if it takes one."""

    kind: Literal["header"]
    schema: int
    command: list[str]
    seed: int | None
    version: str
    python: str


class Environment(TypedDict):
    """What the machine, or the backend ``of``, runs on."""

    kind: Literal["environment"]
    of: str
    facts: dict[str, Any]


class Check(TypedDict):
    """One comparison of ``a`` and ``b``, or, if ``drawn``, the worst of those made on a variant drawn at random.

    It was made on a ``problem`` or, if ``check`` is "task", on the training ``run`` of a task; the other one is null.
    ``variant`` and ``options`` describe the model in words, and ``cell`` and ``dtype`` repeat its specification.
    ``error`` is max|a - b| and ``tolerance`` what it may be, both absolute, at the worst element. ``resolutions`` and
    ``verdicts`` hold every quantity that the record covers. ``smallest`` is the smallest problem found on which a
    failed comparison of a drawn variant still fails. ``file`` is present if the weights came from a file.
    """

    kind: Literal["check"]
    check: str
    cell: str
    dtype: str
    variant: str
    options: list[str]
    problem: Problem | None
    run: Run | None
    quantity: str
    a: str
    b: str
    count: int
    error: Number
    scale: Number
    tolerance: Number
    ratio: Number
    resolution: Number
    resolutions: dict[str, Number]
    verdict: str
    verdicts: dict[str, str]
    reason: str
    drawn: bool
    smallest: NotRequired[Problem]
    file: NotRequired[CheckedFile]


class Training(Run):
    """A training run in one backend. ``losses`` are those before each update; the fields after it are about the test
    data.

    ``saved`` is the file of the trained network.
    """

    kind: Literal["training"]
    cell: str
    dtype: str
    backend: str
    losses: list[Number]
    evaluations: list[Point]
    final_loss: Number
    metric: str
    score: Number
    baseline: Number
    ended: str
    prediction: list[Number]
    saved: NotRequired[str]


class OneBias(Run):
    """One run of a cell with two biases and of one with their sum: the losses before each update and at the end."""

    kind: Literal["one-bias"]
    two_biases: list[Number]
    one_bias: list[Number]


class Bench(TypedDict):
    """The timings of one case in one arm: the seconds per call in each round, and those of the first call."""

    kind: Literal["bench"]
    cell: str
    steps: int
    batch: int
    input_size: int
    hidden_size: int
    backward: bool
    dtype: str
    seed: int
    flops: int
    backend: str
    arm: str
    reference: str
    seconds: list[float]
    calls: int
    first_call: float
    environment: dict[str, Any]


class Task(TypedDict):
    """The series of one variant of the data, for pictures of predictions; ``position`` is where each target lies."""

    kind: Literal["task"]
    task: str
    reading: str
    summary: str
    steps: int
    batch: int
    series: list[float]
    position: list[int]


class Outcome(Run):
    """A training run of the full study in one backend.

    ``problem`` is present if the run diverged, and the fields from ``updates`` on if it did not. The first backend that
    trained has the losses as ``curve`` and, for the first seed, the ``picture`` that ``Display.picture`` gives; the
    others have their ``drift`` from that backend, the ``reference``.
    """

    kind: Literal["outcome"]
    cell: str
    dtype: str
    backend: str
    parameters: int
    readout: str
    loss: str
    metric: str
    metric_text: str
    higher: bool
    share: bool
    tested: int
    baseline: float
    baseline_text: str
    ended: str
    problem: NotRequired[str]
    updates: NotRequired[int]
    seconds: NotRequired[float]
    final_loss: NotRequired[Number]
    score: NotRequired[Number]
    curve: NotRequired[list[Point]]
    evaluations: NotRequired[list[Point]]
    picture: NotRequired[dict[str, Any]]
    drift: NotRequired[list[Point]]
    reference: NotRequired[str]


class Sample(TypedDict):
    """Text that a trained network continued; at temperature 0 each symbol is the likeliest."""

    kind: Literal["sample"]
    task: str
    cell: str
    backend: str
    seed: int
    prompt: str
    temperature: float
    text: str


class GradientNorms(TypedDict):
    """Medians over ``sequences`` of the norm of the loss's gradient, for each state at each of the times 0 to T.

    ``stage`` is "before" or "after" the training.
    """

    kind: Literal["gradient-norms"]
    task: str
    cell: str
    backend: str
    seed: int
    stage: str
    sequences: int
    norms: dict[str, list[Number]]


class Line(TypedDict):
    """A line of code that was executed: at which step, and the tag of its equation."""

    t: int
    phase: str
    tag: str
    line: int
    code: str


class Trace(TypedDict):
    """Every intermediate of one example in one backend, "" for what the example itself holds; the step comes first.

    ``shown`` are the numbers of the units, features of x and steps that the arrays have, from 1.
    """

    kind: Literal["trace"]
    backend: str
    cell: str
    arrays: dict[str, list[Any]]
    lines: list[Line]
    shown: dict[str, list[Any]]


class End(TypedDict):
    """The last line: how many records stand between it and the header."""

    kind: Literal["end"]
    records: int


Record = (
    Header | Environment | Check | Training | OneBias | Bench | Task | Outcome | Sample | GradientNorms | Trace | End
)
R = TypeVar("R", bound=Record)
KINDS: dict[str, type] = {get_args(get_type_hints(kind)["kind"])[0]: kind for kind in get_args(Record)}

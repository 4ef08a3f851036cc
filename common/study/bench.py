"""Benchmarks, reported as ratios that stay meaningful on a busy machine.

Two frameworks in one process compete for the cores, so each arm has a process of its own, and only one of them computes
at a time. A round times every arm once, in a random order, since the threads of one arm spin on for a while and slow
down the next; ratios are taken within a round, and the median of the rounds is reported with its 95% interval. One
backend runs twice: the ratio of the two (A/A) is the noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any, NamedTuple

import numpy as np

from common.backend.registry import load
from common.errors import InvalidInput, mismatch
from common.model.cells import TABLE
from common.record_types import Bench
from common.study import bench_worker
from common.workers import Workers

# Set on some machines to pin OpenBLAS to older kernels, which would slow down NumPy and nobody else.
DROPPED_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
REFERENCE = "torch.nn"
ROUND_SECONDS = 0.02
ROUNDS_FOR_95 = 6  # the range of fewer rounds covers the median less often


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is timed: a cell, its sizes, the forward pass alone or forward and every gradient."""

    cell: str
    steps: int
    batch: int
    input_size: int
    hidden_size: int
    backward: bool
    dtype: str = "float32"
    seed: int = 0

    def flops(self) -> int:
        """Multiplications and additions in the matrix products; a backward pass costs two forward passes."""
        blocks = TABLE[self.cell].num_blocks
        forward = 2 * blocks * self.steps * self.batch * self.hidden_size * (self.input_size + self.hidden_size)
        return forward * (3 if self.backward else 1)


# T, B, I, H: one sequence; the sine wave; two of the sizes at which recurrent networks are usually trained.
SIZES = {
    "one": (25, 1, 1, 32),
    "sine": (25, 176, 1, 32),
    "medium": (100, 32, 64, 128),
    "large": (50, 64, 128, 256),
}


def cases(cells: Sequence[str], sizes: Sequence[str], dtypes: Sequence[str], seed: int) -> list[Case]:
    every = []
    for dtype in dtypes:
        for cell in cells:
            for size in sizes:
                steps, batch, input_size, hidden_size = SIZES[size]
                for backward in (False, True):
                    every.append(
                        Case(
                            cell=cell,
                            steps=steps,
                            batch=batch,
                            input_size=input_size,
                            hidden_size=hidden_size,
                            backward=backward,
                            dtype=dtype,
                            seed=seed,
                        )
                    )
    return every


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


class Ratio(NamedTuple):
    """The median of ratios and its 95% interval, from order statistics; below 6 rounds, their range."""

    median: float
    low: float
    high: float


def ratio(seconds: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Round by round; above 1 is slower than the reference."""
    ratios = sorted(a / b for a, b in zip(seconds, reference, strict=True))
    count = len(ratios)
    if not count:
        raise InvalidInput(mismatch("rounds", "at least 1", 0))
    # The k-th smallest and k-th largest bracket the median unless fewer than k of the ratios fall on one side of it.
    k, outside = 0, 0.0
    while outside + 2 * comb(count, k) / 2**count <= 0.05:
        outside += 2 * comb(count, k) / 2**count
        k += 1
    low = max(k - 1, 0)
    return Ratio(median(ratios), ratios[low], ratios[count - 1 - low])


class Arm:
    """A worker process for one backend."""

    def __init__(self, workers: Workers, backend: str, label: str):
        self.backend, self.label = backend, label
        self.worker = workers.start(dict.fromkeys(DROPPED_VARIABLES))

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.worker.send(f"the timing of {self.label}", function, *arguments)

    def receive(self) -> Any:
        return self.worker.receive().get()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.send(function, *arguments)
        return self.receive()


def arms_for(names: Sequence[str]) -> list[tuple[str, str]]:
    """(backend, label) for each arm; the reference comes first, and a second time as the A/A arm."""
    reference = REFERENCE if REFERENCE in names else names[0]
    others = [name for name in names if name != reference]
    return [(reference, reference), *((name, name) for name in others), (reference, f"{reference} (A/A)")]


def bench(
    names: Sequence[str], chosen: Sequence[Case], rounds: int, on_case: Callable[[Case], None] | None = None
) -> Iterator[Bench]:
    """One record for each case and arm: the seconds per call in each round, and those of the first call."""
    if rounds < 1:
        raise InvalidInput(mismatch("rounds", "at least 1", rounds))
    for name in names:
        unable = {case.cell for case in chosen} - load(name).cells
        if unable:
            raise InvalidInput(mismatch(f"cells of backend {name}", sorted(load(name).cells), sorted(unable)))
    with Workers() as workers:
        arms = [Arm(workers, backend, label) for backend, label in arms_for(names)]
        for arm in arms:
            arm.send(bench_worker.environment, arm.backend)
        environments = [arm.receive() for arm in arms]
        for case in chosen:
            yield from _bench_case(arms, environments, case, rounds)
            if on_case:
                on_case(case)


def _bench_case(arms: Sequence[Arm], environments: Sequence[Any], case: Case, rounds: int) -> Iterator[Bench]:
    warm = [arm.ask(bench_worker.prepare, arm.backend, asdict(case)) for arm in arms]
    calls = [max(1, round(ROUND_SECONDS / arm["later"])) for arm in warm]
    timings: list[list[float]] = [[] for _ in arms]
    order = np.random.default_rng(case.seed)
    for _ in range(rounds):
        for index in order.permutation(len(arms)):
            timings[index].append(arms[index].ask(bench_worker.run, calls[index]) / calls[index])
    for arm, seconds, first, environment in zip(arms, timings, warm, environments, strict=True):
        yield Bench(
            kind="bench",
            **asdict(case),
            flops=case.flops(),
            backend=arm.backend,
            arm=arm.label,
            reference=arms[0].label,
            seconds=seconds,
            calls=calls[arms.index(arm)],
            first_call=first["first"],
            environment=dict(environment),
        )

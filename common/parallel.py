"""Independent pieces of work spread over processes; the results come in the order of the work."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from common.workers import Answer, Worker, Workers, ready

OnDone = Callable[..., None]
# Called with the name of a stage and its number of parts; returns a function to call after each part, perhaps with a
# note.
Progress = Callable[[str, int], OnDone]


class Piece(NamedTuple):
    """A call, and the name by which an error reports it if its worker dies."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def cpu_count() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# One thread per worker: OpenBLAS, OpenMP (PyTorch) and XLA each start a thread per processor, and when several
# processes spin for the same processors, they can be a hundred times slower than one alone.
ONE_THREAD: dict[str, str] = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1")


def run(pieces: Sequence[Piece], jobs: int, pieces_a_process: int | None = None) -> Iterator[Any]:
    """Yield what each piece returns, or raise the first error; with ``jobs=1`` everything runs in this process.

    A worker is replaced after ``pieces_a_process`` pieces. Raises ``WorkerDied`` as soon as one is killed.
    """
    if jobs == 1:
        yield from (piece.function(*piece.arguments) for piece in pieces)
        return
    waiting = deque(enumerate(pieces))
    answers: dict[int, Answer] = {}
    busy: dict[Worker, int] = {}
    with Workers() as workers:
        for index in range(len(pieces)):
            while index not in answers:
                while waiting and len(busy) < jobs:
                    idle = (worker for worker in workers.workers if worker not in busy)
                    worker = next(idle, None) or workers.start(ONE_THREAD)
                    busy[worker], piece = waiting.popleft()
                    worker.send(piece.name, piece.function, *piece.arguments)
                for worker in ready(busy):
                    answer = answers[busy.pop(worker)] = worker.receive()
                    if answer.error is not None:
                        waiting.clear()  # everything before it is being worked on
                    if worker.answered == pieces_a_process:
                        workers.end([worker])
            yield answers.pop(index).get()

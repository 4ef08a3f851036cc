"""Independent pieces of work over processes, results in the order of the work."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


def cpu_count() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# One thread a worker: OpenBLAS, OpenMP (PyTorch) and XLA each start a thread a processor, and threads of several
# processes that spin for the same processors can be a hundred times slower than one alone.
ONE_THREAD: dict[str, str] = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1")


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables that processes started within the block inherit."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(
    function: Callable[..., Result], work: Sequence[tuple[Any, ...]], jobs: int, pieces_a_process: int | None = None
) -> Iterator[Result]:
    """``function(*arguments)`` for each item; in this process where ``jobs`` is 1.

    Workers are spawned, not forked: the frameworks hold threads. They are renewed after ``pieces_a_process`` items. An
    interrupt ends them at once.
    """
    if jobs == 1:
        yield from (function(*arguments) for arguments in work)
        return
    if pieces_a_process:  # a pool for each part: the executor's own max_tasks_per_child can wait forever
        part = pieces_a_process * jobs
        for start in range(0, len(work), part):
            yield from run(function, work[start : start + part], jobs)
        return
    context = multiprocessing.get_context("spawn")
    size = min(jobs, len(work)) or 1
    pool = ProcessPoolExecutor(size, context, _ignore_interrupt)
    try:
        with _environment(ONE_THREAD):
            futures = [pool.submit(function, *arguments) for arguments in work]
            for future in futures:
                yield future.result()
        pool.shutdown()
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise

"""Worker processes that answer one call at a time and end with the process that started them.

Each has a connection and nothing else: no locks and no shared memory, which would outlive a killed process.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import connection, resource_tracker
from threading import Thread
from types import ModuleType
from typing import Any, NamedTuple

from common import signals
from common.errors import WorkerDied

# Seconds to wait: for a worker that closed its connection to end; for a signal to the whole group to arrive here too.
ENDS_WITHIN, ARRIVES_WITHIN = 5, 0.1


class Answer(NamedTuple):
    """What a call returned, or what it raised."""

    result: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class Worker:
    """One process; made by ``Workers.start``."""

    def __init__(self, variables: Mapping[str, str | None]):
        context = multiprocessing.get_context("spawn")  # not forked: the frameworks hold threads
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        with _environment(variables), _without_main():
            self.process.start()
        theirs.close()
        self.task, self.answered = "nothing", 0

    def send(self, task: str, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin a call; ``task`` names it if the worker dies of it."""
        self.task = task
        try:
            self.connection.send((function, arguments))
        except OSError:
            raise self._died() from None

    def receive(self) -> Answer:
        """Wait for what was sent. Raises ``WorkerDied``."""
        try:
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise self._died() from None
        self.answered += 1
        return pickle.loads(answer)

    def _died(self) -> WorkerDied:
        time.sleep(ARRIVES_WITHIN)  # Ctrl-C and closed terminals explain more than a dead worker
        self.process.join(ENDS_WITHIN)
        code = self.process.exitcode
        how = "closed its connection" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += " (out of memory?)"
        return WorkerDied(f"a worker process {how} while it worked on {self.task}")


class Workers(AbstractContextManager["Workers"]):
    """Worker processes that all end with the block: they exit by themselves, or are killed if the block raises."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []

    def start(self, variables: Mapping[str, str | None]) -> Worker:
        """A new process with these environment variables; None removes one."""
        resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and then unblocks signals
        with signals.held():
            worker = Worker(variables)
            self.workers.append(worker)
        return worker

    def end(self, workers: Iterable[Worker]) -> None:
        """Close the connections of some workers, and wait until they exit."""
        ending = list(workers)
        for worker in ending:
            worker.connection.close()
        for worker in ending:
            worker.process.join()
            self.workers.remove(worker)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.end(self.workers)
        finally:
            with signals.held():
                for worker in self.workers:
                    worker.process.kill()
                for worker in self.workers:
                    worker.process.join()


def ready(busy: Iterable[Worker]) -> list[Worker]:
    """Wait until a worker has answered or died; return all that have."""
    of_connection: dict[Any, Worker] = {worker.connection: worker for worker in busy}
    return [of_connection[one] for one in connection.wait(list(of_connection))]


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that are started within the block do not import the script that runs here, which would run it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Variables that processes started within the block inherit."""
    before = {name: os.environ.get(name) for name in variables}
    try:
        _set(variables)
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _serve(requests: connection.Connection) -> None:
    """The main loop of a worker: it answers requests until its connection is closed."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all; the parent decides what follows
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which processes started by a backend would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ENDING)
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            requests.send_bytes(_answer(requests.recv_bytes()))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _answer(request: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(request)
        return pickle.dumps(Answer(function(*arguments)))
    except Exception as error:  # noqa: BLE001 - it is raised in the parent
        where = "".join(traceback.format_exception(error))
        error.add_note(f"In a worker process:\n{where}")
        try:
            answer = pickle.dumps(Answer(error=error))
            pickle.loads(answer)
        except Exception:  # noqa: BLE001 - some exceptions cannot be pickled, or not be read back
            return pickle.dumps(Answer(error=RuntimeError(f"{type(error).__name__}: {error}\n{where}")))
        return answer

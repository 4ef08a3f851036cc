"""The signals that end a command: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (the terminal was closed)."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The exception that a signal raises, so that everything cleans up as it does after Ctrl-C."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def interrupt(number: int) -> None:
    raise Interrupted(number)


def phrase(number: int) -> str:
    """The interruption in words, for a message."""
    return "interrupted" if number == signal.SIGINT else f"interrupted by {signal.Signals(number).name}"


def exit_code(number: int) -> int:
    """The exit code by which a shell reports a process that the signal ended."""
    return 128 + number


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Let the ending signals call ``handler`` within the block.

    An ignored signal stays ignored: ``nohup`` ignores SIGHUP. Outside the main thread nothing changes, as Python
    handles signals only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def on_signal(number: int, frame: FrameType | None) -> None:
        _drop_closed(terminals)
        handler(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _drop_closed(terminals: list[int]) -> None:
    """Redirect stdout and stderr to the null device if their terminal was closed, as writing would fail."""
    for descriptor in terminals:
        if not os.isatty(descriptor):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """The ending signals that arrived within the block: the first is only recorded, the second interrupts."""
    arrived: list[int] = []

    def note(number: int) -> None:
        arrived.append(number)
        if len(arrived) > 1:
            interrupt(number)

    with handled(note):
        yield arrived


@contextmanager
def held() -> Iterator[None]:
    """Hold the ending signals back until the end of the block; a process started within it has them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

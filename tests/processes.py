"""Commands as processes of their own, and what becomes of the processes that they start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A busy machine may take long for anything; a test that passes waits for none of it to the end.
PATIENCE = 60


@contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """``rosetta`` in ``folder``, whose modules it can import; killed at the end of the block, if it is still there."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    for number in (signal.SIGINT, signal.SIGHUP):  # a test run in the background may ignore them, and pass that on
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    process = subprocess.Popen(
        [sys.executable, "-m", "common.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()  # and not for the end of its output: workers that live on hold it open
        for pipe in (process.stdout, process.stderr):
            assert pipe
            pipe.close()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s until {what}"
        time.sleep(0.02)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a command."""
    table = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    return [int(pid) for pid, parent, args in rows if int(parent) == process.pid and "spawn_main" in args]


def _ps(*words: str) -> str:
    return subprocess.run(["ps", *words], capture_output=True, text=True, check=False).stdout


def is_alive(pid: int) -> bool:
    """False for one that has ended and waits for the system to take note."""
    return _ps("-o", "stat=", "-p", str(pid)).strip()[:1] not in ("", "Z")


def assert_gone(pids: list[int]) -> None:
    """They end by themselves, long before the work that they do."""
    wait_until(lambda: not any(map(is_alive, pids)), f"the workers {pids} are gone")

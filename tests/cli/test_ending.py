"""How a command ends: with the right exit code and one line on stderr, and with all of its worker processes."""

import json
import operator
import os
import pickle
import signal
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from common import parallel, records, signals
from common.cli import ending, info, main
from common.equivalence import processes
from common.errors import InvalidInput, WorkerDied
from common.parallel import Piece
from tests.processes import assert_gone, children, started, wait_until

# Its first calculation is one call into NumPy that takes minutes.
STUCK = """
import os, pathlib
import numpy as np
from numpy_impl.backend import NumpyBackend

def stay(*arguments, **options):
    pathlib.Path(f"busy-{os.getpid()}").touch()
    long = np.ones(1_000_000)
    np.convolve(long, long)

class Stuck(NumpyBackend):
    name = "stuck"
    forward = trainer = timed = staticmethod(stay)

BACKEND = Stuck()
"""
# Raised by the function that a backend computes with, where it runs: in a worker.
RAISING = """
from common.errors import InvalidInput
from numpy_impl.backend import NumpyBackend

class Raising(NumpyBackend):
    name = "raising"
    def forward(self, *arguments, **options):
        raise {error}

BACKEND = Raising()
"""
STUCK_BACKENDS = ["--backend", "numpy", "--backend", "stuck:BACKEND", "--cell", "RNN"]
CHECK = ["check", *STUCK_BACKENDS, "--dtype", "float64", "--jobs", "2", "--json"]
STUDY = ["study", *STUCK_BACKENDS, "--dtype", "float64", "--jobs", "2", "--out", "results"]
BENCH = ["bench", "--backend", "stuck:BACKEND", "--cell", "RNN", "--size", "one"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stuck.py").write_text(STUCK)
    return tmp_path


def busy(folder: Path) -> list[int]:
    """The workers that have begun their long call."""
    return [int(file.name.removeprefix("busy-")) for file in folder.glob("busy-*")]


def kinds(out: str) -> list[str]:
    return [json.loads(line)["kind"] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "rosetta: interrupted"),
        (signal.SIGTERM, 143, "rosetta: interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "rosetta: interrupted by SIGHUP"),
    ],
)
def test_a_signal_ends_the_workers_too(number: int, code: int, line: str, folder: Path) -> None:
    with started(folder, *CHECK) as process:
        wait_until(lambda: len(busy(folder)) == 2, "both workers are busy")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.splitlines() == [line]
    assert kinds(out)[0] == "header"
    assert "end" not in kinds(out)
    assert_gone(busy(folder))


@pytest.mark.parametrize("words", [STUDY, BENCH], ids=lambda words: words[0])
def test_every_command_with_workers_ends_them(words: list[str], folder: Path) -> None:
    with started(folder, *words) as process:
        wait_until(lambda: len(children(process)) == 2 and busy(folder), "a worker is busy")
        workers = children(process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert not out
    assert err.splitlines()[-1] == "rosetta: interrupted by SIGTERM"
    assert len(workers) == 2
    assert_gone(workers)
    kept = "What was measured so far is kept; to see it: rosetta report --partial results/records.jsonl.part"
    assert err.splitlines()[:-1] == ([kept] if words[0] == "study" else [])


@pytest.mark.parametrize("words", [CHECK, BENCH], ids=lambda words: words[0])
def test_workers_end_when_their_parent_is_killed(words: list[str], folder: Path) -> None:
    with started(folder, *words) as process:
        wait_until(lambda: len(children(process)) == 2 and busy(folder), "a worker is busy")
        workers = children(process)
        process.kill()
        assert_gone(workers)
        assert not process.communicate(timeout=60)[1]


@pytest.mark.parametrize(
    ("words", "work"), [(CHECK, "RNN"), (BENCH, "the timing of stuck:BACKEND")], ids=["check", "bench"]
)
def test_a_killed_worker_is_a_crash(words: list[str], work: str, folder: Path) -> None:
    with started(folder, *words) as process:
        wait_until(lambda: len(children(process)) == 2 and busy(folder), "a worker is busy")
        workers = children(process)
        os.kill(busy(folder)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 4
    killed = "rosetta: crashed: a worker process was killed by SIGKILL (out of memory?) while it worked on"
    (line,) = err.splitlines()
    assert line.startswith(f"{killed} {work}")
    assert "end" not in kinds(out)
    assert_gone(workers)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("InvalidInput('x: expected y, got z')", 2, "rosetta: x: expected y, got z"),
        (
            "ZeroDivisionError('no')",
            3,
            "rosetta: backend raising:BACKEND fails while it computes: ZeroDivisionError: no",
        ),
    ],
)
def test_an_error_in_a_worker_keeps_its_exit_code(error: str, code: int, line: str, tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(RAISING.format(error=error))
    words = ["--backend", "numpy", "--backend", "raising:BACKEND", "--cell", "RNN", "--dtype", "float64", "--jobs", "2"]
    with started(tmp_path, "check", *words) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert len(err.splitlines()) == 1
    assert err.startswith(line)


class Unpicklable(Exception):
    def __init__(self, first: int, second: int):
        super().__init__(f"{first} and {second}")


def raise_unpicklable() -> None:
    raise Unpicklable(1, 2)


def test_an_error_of_a_worker_is_raised_in_its_place_with_its_traceback() -> None:
    pieces = [Piece("good", abs, (-1,)), Piece("bad", operator.getitem, ({}, "key")), Piece("other", abs, (-2,))]
    results = parallel.run(pieces, 2)
    assert next(results) == 1
    with pytest.raises(KeyError, match="key") as caught:
        next(results)
    assert "In a worker process:\nTraceback" in caught.value.__notes__[0]


def test_an_error_that_cannot_be_pickled_is_described() -> None:
    with pytest.raises(TypeError, match="missing"):
        pickle.loads(pickle.dumps(Unpicklable(1, 2)))
    with pytest.raises(RuntimeError, match=r"Unpicklable: 1 and 2\nTraceback"):
        list(parallel.run([Piece("bad", raise_unpicklable)], 2))


def test_a_worker_that_leaves_is_a_crash_not_a_success() -> None:
    with pytest.raises(WorkerDied, match="a worker process ended with exit code 0 while it worked on leaving"):
        list(parallel.run([Piece("leaving", os._exit, (0,))] * 2, 2))


def failing(error: BaseException) -> Any:
    def command(options: Namespace) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (KeyError("weight\nof two lines"), "KeyError: 'weight\\nof two lines'"),
        (ValueError("one\n\ntwo"), "ValueError: one two"),
        (MemoryError(), "MemoryError"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (SystemExit(0), "SystemExit: 0"),
        (AssertionError("long " * 1000), "AssertionError: long long"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_crash_is_one_line_and_a_traceback_in_a_file(
    error: BaseException,
    summary: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(info, "ls", failing(error))
    assert main(["ls", "cells"]) == 4
    captured = capsys.readouterr()
    (file,) = tmp_path.iterdir()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"rosetta: crashed: {summary}")
    assert line.endswith(f"; the traceback is in {file}")
    assert len(line) < 160 + len(str(file))
    text = file.read_text()
    assert text.startswith("rosetta ls cells\n")
    assert "Traceback" in text
    assert "in failing\n" in text or "in command\n" in text
    assert not captured.out


def test_a_traceback_that_cannot_be_written_goes_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(info, "ls", failing(KeyError("x")))
    assert main(["ls"]) == 4
    rows = capsys.readouterr().err.splitlines()
    assert rows[0] == "Traceback (most recent call last):"
    assert rows[-2:] == ["KeyError: 'x'", "rosetta: crashed: KeyError: 'x'; the traceback is above"]


def test_a_crash_leaves_json_without_a_closing_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_: object) -> Any:
        yield {"kind": "environment", "of": "nothing", "facts": {}}
        raise KeyError("x")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(processes, "check", crash)
    assert main(["check", "--backend", "numpy", "--json"]) == 4
    out = capsys.readouterr().out
    assert kinds(out) == ["header", *["environment"] * 3]
    (tmp_path / "records.jsonl").write_text(out)
    with pytest.raises(records.RecordsCut):
        records.read(tmp_path / "records.jsonl")


def test_the_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert sorted(ending.EXIT_CODES) == [0, 1, 2, 3, 4, 129, 130, 141, 143]
    rows = [line.split(maxsplit=1) for line in out.partition("exit codes:\n")[2].splitlines()]
    assert {int(code): text for code, text in rows} == ending.EXIT_CODES
    assert max(map(len, out.splitlines())) <= 80


def test_the_first_signal_is_noted_and_the_second_interrupts() -> None:
    before = [signal.getsignal(number) for number in signals.ENDING]
    with signals.interruptible() as arrived:
        signal.raise_signal(signal.SIGTERM)
        assert arrived == [signal.SIGTERM]
        with pytest.raises(signals.Interrupted) as caught:
            signal.raise_signal(signal.SIGINT)
        assert caught.value.number == signal.SIGINT
    assert [signal.getsignal(number) for number in signals.ENDING] == before


def test_an_ignored_signal_stays_ignored() -> None:
    """As ``nohup`` ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.interruptible() as arrived:
            signal.raise_signal(signal.SIGHUP)
            assert not arrived
            signal.raise_signal(signal.SIGTERM)
            assert arrived == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_input_that_is_refused_is_no_crash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(info, "ls", failing(InvalidInput("x: expected y, got z")))
    assert main(["ls"]) == 2
    assert capsys.readouterr().err == "rosetta: x: expected y, got z\n"

"""Ctrl-C while ``rosetta train`` trains: the trained network is kept, an untrained one is not written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from common import records
from common.cli import main
from common.cli import train as train_commands
from common.training.loop import Result, train
from common.weights import files
from tests.processes import ROOT, started, wait_until

SIZES = ["--set", "steps=6", "--set", "train=6", "--set", "validation=3", "--set", "test=3", "--hidden-size", "3"]


TRAIN = ["train", "adding", "--backend", "slow:BACKEND", "--json", "--epochs", "1000000", *SIZES]
SIGNALS = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "interrupted by SIGTERM"),
    (signal.SIGHUP, 129, "interrupted by SIGHUP"),
]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def interrupted(folder: Path, numbers: Sequence[int], *words: str) -> tuple[int, str, str]:
    """A long training in a process of its own, which gets these signals once it has begun to learn."""
    (folder / "slow.py").write_text(SLOW)
    with started(folder, *TRAIN, *words) as process:
        wait_until((folder / "learning").exists, "it has begun to learn")
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.1)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


# After three updates each takes a second, within which two signals fall.
SLOW = """
import pathlib, time
from numpy_impl.backend import NumpyBackend
from numpy_impl.trainer import NumpyTrainer
class Trainer(NumpyTrainer):
    count = 0
    def step(self, batch, *, carried=False):
        self.count += 1
        if self.count > 3:
            pathlib.Path("learning").touch()
            time.sleep(1)
        return super().step(batch, carried=carried)
class Slow(NumpyBackend):
    name = "slow"
    def trainer(self, run, params):
        return Trainer(run, params)
BACKEND = Slow()
"""


@pytest.mark.parametrize(("number", "expected", "word"), SIGNALS)
def test_an_interruption_saves_the_trained_network(number: int, expected: int, word: str, tmp_path: Path) -> None:
    code, out, err = interrupted(tmp_path, [number], "--backend", "numpy")
    assert code == expected
    assert err.splitlines()[-1] == f"rosetta: {word}; what was trained so far is saved"
    assert "Traceback" not in err
    (tmp_path / "records.jsonl").write_text(out)
    found: list[Any] = records.read(tmp_path / "records.jsonl")
    (record,) = (r for r in found if r["kind"] == "training")
    assert (record["ended"], record["backend"], len(record["losses"])) == ("interrupted", "slow:BACKEND", 4)
    about = files.read_trained(tmp_path / record["saved"]).about
    assert (about["ended"], about["updates"]) == ("interrupted", 4)
    assert os.listdir(tmp_path / "trained") == ["adding-modern-RNN-slow_BACKEND.npz"]


def test_a_second_interruption_ends_at_once(tmp_path: Path) -> None:
    code, out, err = interrupted(tmp_path, [signal.SIGINT, signal.SIGTERM])
    assert (code, err.splitlines()[-1]) == (143, "rosetta: interrupted by SIGTERM")
    assert "Traceback" not in err
    assert [record["kind"] for record in lines(out)] == ["header", "environment", "environment"]
    assert os.listdir(tmp_path / "trained") == []


# Runs a command in its own terminal, closes that once the command has begun to train, and reports how it ended.
IN_A_TERMINAL = """
import os, pathlib, pty, signal, sys, time
child, terminal = pty.fork()
if not child:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "common.cli", *sys.argv[1:]])
while not pathlib.Path("learning").exists() and not os.waitpid(child, os.WNOHANG)[0]:
    time.sleep(0.02)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_closed_terminal_saves_the_trained_network(tmp_path: Path) -> None:
    """Nothing can be written to it any more."""
    (tmp_path / "slow.py").write_text(SLOW)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-c", IN_A_TERMINAL, *TRAIN]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (ended.stdout, ended.stderr) == ("129\n", "")
    (file,) = (tmp_path / "trained").iterdir()
    assert files.read_trained(file).about["ended"] == "interrupted"


@pytest.mark.parametrize("trained", [True, False])
def test_an_untrained_network_is_not_written(
    trained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal falls after the first of two runs, or before its first update."""

    def interrupting(*arguments: Any) -> Result:
        if not trained:
            signal.raise_signal(signal.SIGINT)
        result = train(*arguments)
        if trained:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(train_commands, "train", interrupting)
    words = ["adding", *SIZES, "--epochs", "2", "--backend", "numpy", "--backend", "one-bias", "--json"]
    assert main(["train", *words, "--out", str(tmp_path)]) == 130
    captured = capsys.readouterr()
    kept = "what was trained so far is saved" if trained else "nothing was trained yet"
    assert captured.err.splitlines()[-1] == f"rosetta: interrupted; {kept}"
    runs = [record for record in lines(captured.out) if record["kind"] == "training"]
    assert [(run["backend"], run["ended"]) for run in runs] == [("numpy", "finished")] * trained
    assert os.listdir(tmp_path) == ["adding-modern-RNN-numpy.npz"] * trained
    assert lines(captured.out)[-1]["kind"] == "end"

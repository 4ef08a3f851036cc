"""Ctrl-C while ``rosetta train`` trains: what was learnt is kept, what was not is not written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from common import records, saved, train_commands
from common.cli import main
from common.training import Result, train

ROOT = Path(__file__).parent.parent
SIZES = ["--set", "steps=6", "--set", "train=6", "--set", "validation=3", "--set", "test=3", "--hidden-size", "3"]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def interrupted(folder: Path, times: int, *words: str) -> tuple[int, str, str]:
    """A long training in a process of its own, which gets so many SIGINTs once it has begun to learn."""
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "common.cli", "train", "adding", "--backend", "slow:BACKEND", "--json"]
    command += ["--epochs", "1000000", *SIZES, *words]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (folder / "learning").exists():
            time.sleep(0.02)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
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


def test_an_interruption_saves_what_was_learnt(tmp_path: Path) -> None:
    code, out, err = interrupted(tmp_path, 1, "--backend", "numpy")
    assert code == 130
    assert err.splitlines()[-1] == "rosetta: interrupted; what was learnt until then is saved"
    assert "Traceback" not in err
    (tmp_path / "records.jsonl").write_text(out)
    (record,) = (r for r in records.read(tmp_path / "records.jsonl") if r["kind"] == "training")
    assert (record["ended"], record["backend"], len(record["losses"])) == ("interrupted", "slow:BACKEND", 4)
    found = saved.load(tmp_path / record["saved"])
    assert (found.about["ended"], found.about["updates"]) == ("interrupted", 4)
    assert os.listdir(tmp_path / "trained") == ["adding-modern-RNN-slow_BACKEND.npz"]


def test_a_second_interruption_ends_at_once(tmp_path: Path) -> None:
    code, out, err = interrupted(tmp_path, 2)
    assert (code, err.splitlines()[-1]) == (130, "rosetta: interrupted")
    assert "Traceback" not in err
    assert [record["kind"] for record in lines(out)] == ["header", "environment", "environment"]
    assert os.listdir(tmp_path / "trained") == []


@pytest.mark.parametrize("learnt", [True, False])
def test_a_network_that_learnt_nothing_is_not_written(
    learnt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal falls after the first of two runs, or before its first update."""

    def interrupting(*arguments: Any) -> Result:
        if not learnt:
            signal.raise_signal(signal.SIGINT)
        result = train(*arguments)
        if learnt:
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(train_commands, "train", interrupting)
    words = ["adding", *SIZES, "--epochs", "2", "--backend", "numpy", "--backend", "one-bias", "--json"]
    assert main(["train", *words, "--out", str(tmp_path)]) == 130
    captured = capsys.readouterr()
    kept = "what was learnt until then is saved" if learnt else "nothing was learnt until then"
    assert captured.err.splitlines()[-1] == f"rosetta: interrupted; {kept}"
    runs = [record for record in lines(captured.out) if record["kind"] == "training"]
    assert [(run["backend"], run["ended"]) for run in runs] == [("numpy", "finished")] * learnt
    assert os.listdir(tmp_path) == ["adding-modern-RNN-numpy.npz"] * learnt
    assert lines(captured.out)[-1]["kind"] == "end"

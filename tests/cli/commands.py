"""Commands of the tests: in a process of their own or in this one, in an empty folder, on small networks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.cli import main

ROOT = Path(__file__).parents[2]
TINY = ["--set", "train=6", "--set", "validation=3", "--set", "test=3"]
SIZES = {
    "sine": ["--set", "window=4", "--set", "points_per_period=10"],
    "sum": [*TINY, "--set", "max_length=12"],
    "adding": [*TINY, "--set", "steps=6"],
    "temporal-order": TINY,
    "reber": TINY,
    "copy": [*TINY, "--set", "delay=3"],
    "digits": [*TINY[:2], "--set", "validation=12", "--set", "test=12"],
    "text": ["--set", "characters=1200", "--set", "streams=3", "--set", "chunk=20"],
    "kana": TINY,
    "places": [],
}
Run = Any


def rosetta(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh process without a terminal."""
    command = [sys.executable, "-m", "common.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved without --out lands in no checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A call that runs a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def trained(run: Run, task: str, *words: str) -> tuple[str, list[dict[str, Any]]]:
    """The file of a small network, and what was said while it was trained."""
    code, out, _ = run("train", task, "--epochs", "2", "--hidden-size", "3", "--json", *SIZES[task], *words)
    assert code == 0
    found = lines(out)
    return next(record["saved"] for record in found if record["kind"] == "training"), found

"""The command as a user types it: help, bad usage, missing frameworks, a stdout that is no terminal or closed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common import cli
from common.cli import info, main
from tests.cli.commands import ROOT, lines, rosetta
from tests.cli.commands import elsewhere as elsewhere  # pytest looks for it here

BROKEN = "raise OSError('libcudart.so.13: cannot open shared object file')"


VERBS = ["inspect", "check", "convert", "study", "report", "bench", "train", "generate", "predict", "trace", "stepper"]
VERBS += ["lessons", "describe", "ls", "doctor"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """On a terminal of 80 columns; every option and every word that is not one has a line of help."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 80
    usage, _, lines = out.partition("\n\n")
    options = re.findall(r"(?<!\w)(--[a-z-]+)", usage)
    helped = re.findall(r"^  (?:-h, )?(--[a-z-]+)(?: \S+)?(?:  +|\n {24})\S", lines, re.MULTILINE)
    assert set(helped) == {*options, "--help"}
    if verb in ("study", "check", "train", "bench"):
        assert {"--seed", "--dtype", "--backend", "--cell"} <= set(options)


def test_the_list_of_commands_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE) == VERBS


def test_a_full_disk_exits_with_2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(info, "ls", full)
    assert main(["ls"]) == 2
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["check", "--cell", "GRUs"],
            "expected one of RNN, RNNCell, LSTM, LSTMCell, GRU, GRUCell, LSTM1997, LSTM1997Cell, got 'GRUs'",
        ),
        (["check", "--dtype", "complex128"], "expected one of float64, float32, float16, bfloat16, got 'complex128'"),
        (["train", "--dtype", "float16"], "dtype: expected one of float64, float32, got 'float16'"),
        (["check", "--backend", "tensorflow"], "backend: expected one of numpy, jax"),
        (["check", "--seed", "-1"], "seed: expected at least 0, got -1"),
        (["check", "--jobs", "-2"], "--jobs: expected at least 1, got -2"),
        (["train", "cosine"], "task: expected one of sine, sum, adding, "),
        (["train", "--reading", "backwards"], "reading of sine: expected one of windows, article, got 'backwards'"),
        (["train", "--hidden-size", "0"], "--hidden-size: expected at least 1, got 0"),
        (["train", "--epochs", "0"], "--epochs: expected at least 1, got 0"),
        (["train", "--lr", "-1"], "lr: expected a finite number above 0, got -1"),
        (["train", "--cell", "LSTM", "--nonlinearity", "relu"], "nonlinearity: expected 'tanh' for LSTM, got 'relu'"),
        (["train", "--lr", "1e300", "--nonlinearity", "relu"], "try a smaller learning rate"),
        (["bench", "--rounds", "0"], "--rounds: expected at least 1, got 0"),
        (["report", "no/such/file.jsonl"], "records file: expected a readable text file, got no/such/file.jsonl"),
        (["nonsense"], "command: expected one of inspect, check, convert"),
        ([], "the following arguments are required"),
    ],
)
def test_bad_usage_exits_with_2(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert expected in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')", "pip install -e '.[torch]'"),
        (BROKEN, "is installed but fails on import: OSError: libcudart.so.13"),
    ],
)
def test_missing_and_broken_frameworks_exit_with_3(source: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(source)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    for arguments in (["check", "--backend", "numpy", "--backend", "torch"], ["doctor", "--backend", "torch"]):
        found = rosetta(*arguments, PYTHONPATH=path)
        assert found.returncode == 3
        assert expected in found.stderr
        assert "Traceback" not in found.stderr
    survey = rosetta("doctor", "--json", PYTHONPATH=path)
    assert survey.returncode == 0
    assert [row["of"] for row in lines(survey.stdout) if "problem" in row["facts"]] == ["torch", "torch.nn"]


def test_output_without_a_terminal_has_no_escape_codes() -> None:
    for variables in ({}, {"NO_COLOR": "1"}):
        found = rosetta("train", "--epochs", "2", **variables)
        assert found.returncode == 0
        assert "\x1b" not in found.stdout + found.stderr
        assert "numpy" in found.stdout


def test_a_reader_that_leaves_is_no_pass() -> None:
    """What was not read may be what failed: the code is that of a program that SIGPIPE ends, as in ``yes | head``."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "common.cli", "ls", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stdout_is_no_crash(closed: str) -> None:
    """Nothing can be printed; the exit code says how the command ended."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for words, code in (("ls", 0), ("report no/such/file", 2)):
        command = f"{sys.executable} -m common.cli {words} {closed}"
        found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
        assert found.returncode == code
        assert "Traceback" not in found.stderr


def test_typed_inputs_may_follow_the_options() -> None:
    options = cli.parse(["predict", "file.npz", "x", "--backend", "torch", "y", "z"])
    assert (options.input, options.backend) == (["x", "y", "z"], ["torch"])
    assert cli.parse(["predict", "file.npz"]).input == []
    for words in (["predict", "file.npz", "--bla", "y"], ["train", "sine", "y"]):
        with pytest.raises(SystemExit):
            cli.parse(words)

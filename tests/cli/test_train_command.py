"""``rosetta train`` and ``ls tasks`` as a user meets them."""

import os
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import datasets, records
from common.backend import registry
from common.equivalence.reproduce import row_command
from common.weights import files
from tests.cli.commands import SIZES, TINY, Run, lines, trained
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here


@pytest.mark.parametrize("task", datasets.TASKS)
def test_every_task_is_trained_saved_and_scored_again_as_it_was(task: str, run: Run) -> None:
    """By default and with cells; the numbers in the file, of the record and of ``predict`` are the same."""
    for words in ([], ["--cell", "LSTMCell", "--dtype", "float32"]):
        path, found = trained(run, task, *words)
        record = next(r for r in found if r["kind"] == "training")
        about = files.read_trained(Path(path)).about
        same = ("task", "reading", "metric", "score", "baseline", "final_loss", "ended", "seed", "epochs")
        assert {key: about[key] for key in same} == {key: record[key] for key in same}
        assert about["updates"] == len(record["losses"]) > 0
        code, out, _ = run("predict", path, "--json")
        (said,) = lines(out)
        assert code == 0
        assert (said["task"], said["backend"], said["inputs"]) == (task, "numpy", [])
        assert (said["metric"], said["score"]) == (record["metric"], pytest.approx(record["score"]))
        assert said["says"]


def test_train_prints_records_that_read_back_and_a_table_that_fits(run: Run, tmp_path: Path) -> None:
    words = ["adding", *SIZES["adding"], "--epochs", "2", "--hidden-size", "3", "--cell", "LSTM", "--lr", "0.125"]
    words += ["--backend", "numpy", "--backend", "torch", "--batch-size", "4", "--out", "here"]
    code, out, err = run("train", *words, "--json")
    assert code == 0
    (tmp_path / "records.jsonl").write_text(out)
    found: list[Any] = records.read(tmp_path / "records.jsonl")
    kinds = ["header", *["environment"] * 3, *["training"] * 2, *["check"] * 2, "end"]
    assert [record["kind"] for record in found] == kinds
    first, second = (record for record in found if record["kind"] == "training")
    assert [first["saved"], second["saved"]] == [f"here/adding-modern-LSTM-{n}.npz" for n in ("numpy", "torch")]
    assert (first["optimizer"]["name"], first["optimizer"]["lr"]) == ("adam", 0.125)
    assert (first["spec"]["hidden_size"], first["epochs"]) == (3, 2)
    assert len(first["losses"]) == 4
    assert [update for update, _ in first["evaluations"]] == [2, 4]
    np.testing.assert_allclose(second["losses"], first["losses"], rtol=1e-9)
    assert all(record["verdict"] == "passed" for record in found if record["kind"] == "check")
    assert err.count("adding LSTM float64") == 2
    code, out, err = run("train", *words)
    assert (code, err.count("2 of 2")) == (0, 2)
    assert "adding LSTM float64" not in out
    assert out.count("Saved: here/adding-modern-LSTM-") == 2
    assert max(map(len, out.splitlines())) <= 160


def test_the_settings_of_a_file_are_those_of_the_run(run: Run, tmp_path: Path) -> None:
    text = 'task = "copy"\ncell = "lstm"\nbackend = "numpy"\nepochs = 1\nhidden_size = 5\nseed = 9\n'
    (tmp_path / "copy.toml").write_text(text + "[options]\ntrain = 6\nvalidation = 2\ntest = 2\ndelay = 3\n")
    code, out, _ = run("train", "--config", "copy.toml", "--hidden-size", "4", "--json")
    assert code == 0
    (record,) = (r for r in lines(out) if r["kind"] == "training")
    assert (record["task"], record["cell"], record["backend"], record["epochs"]) == ("copy", "LSTM", "numpy", 1)
    assert (record["spec"]["hidden_size"], record["seed"]) == (4, 9)
    options = files.read_trained(Path(record["saved"])).about["options"]
    assert options == {"train": 6, "validation": 2, "test": 2, "delay": 3}


def test_patience_ends_a_run_and_the_best_is_saved(run: Run) -> None:
    words = ["--epochs", "60", "--patience", "2", "--lr", "0.5", "--hidden-size", "3", "--json"]
    code, out, err = run("train", "reber", *TINY, *words)
    (record,) = (r for r in lines(out) if r["kind"] == "training")
    assert (code, record["ended"]) == (0, "patience")
    done = len(record["evaluations"])
    assert f"reber RNN float64 numpy: {done} of 60 epochs (patience)\n" in err
    found = files.read_trained(Path(record["saved"]))
    data = datasets.load("reber", **found.about["options"])
    prediction, _ = registry.load("numpy").predict(found.network, found.params, data.validation)
    assert done > 2
    assert data.scoring.score(prediction, data.validation) >= 0
    losses = [loss for _, loss in record["evaluations"]]
    assert losses[-3] == min(losses)
    assert cross_entropy(prediction, data.validation.target) == pytest.approx(min(losses))


def cross_entropy(prediction: np.ndarray, target: np.ndarray) -> float:
    chances = prediction - np.log(np.exp(prediction).sum(-1, keepdims=True))
    counted = target >= 0
    return float(-np.take_along_axis(chances[counted], target[counted][:, None], -1).mean())


@pytest.mark.parametrize("words", [[], ["--nonlinearity", "relu"]])
def test_a_rate_far_too_large_is_reported_with_advice_and_nothing_is_saved(words: list[str], run: Run) -> None:
    code, out, err = run("train", "sine", "--lr", "1e9", "--hidden-size", "3", "--out", "new", *words)
    assert (code, out) == (2, "")
    assert err.startswith("rosetta: sine RNN")
    assert "the loss exploded to" in err
    assert "try a smaller learning rate, or clipping (clip_norm, --clip-norm 1)" in err
    assert os.listdir("new") == []


def test_ls_tasks_lists_every_task_with_what_it_takes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("ls", "tasks", "--json")
    found = lines(out)
    assert code == 0
    assert [item["name"] for item in found] == list(datasets.TASKS)
    for item in found:
        task = datasets.TASKS[item["name"]]
        assert set(item) == {"list", "name", "summary", "readings", "source", "options", "seconds"}
        assert (item["list"], item["seconds"]) == ("tasks", task.seconds)
        assert item["readings"] == {name: reading.summary for name, reading in task.readings.items()}
        assert item["options"] == asdict(task.options())
    table = run("ls", "tasks")[1]
    assert max(map(len, table.splitlines())) <= 160
    assert "…" not in table
    assert table.count("source: ") == len(found)
    for item in found:
        assert all(
            f"{name}={value if value != '' else repr(value)}" in table for name, value in item["options"].items()
        )
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    for columns in (100, 50):
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = re.sub(r"\x1b\[[0-9;]*m", "", run("ls", "tasks")[1])
        assert max(map(len, shown.splitlines())) == columns
        assert "…" not in shown
        assert ("points_per_period=100" in shown) == (columns == 100)


def test_another_seed_has_a_file_of_its_own_and_a_file_that_is_replaced_is_named(run: Run) -> None:
    words = ("train", "sine", "--epochs", "1", "--hidden-size", "3", "--out", "kept")
    assert run(*words)[0] == 0
    assert "replacing" not in run(*words, "--seed", "1")[2]
    assert "replacing kept/sine-windows-RNN-numpy.npz\n" in run(*words, "--lr", "0.1")[2]
    assert sorted(os.listdir("kept")) == ["sine-windows-RNN-numpy-seed1.npz", "sine-windows-RNN-numpy.npz"]


def test_a_comparison_names_the_command_that_repeats_it(run: Run) -> None:
    words = ["sine", "--epochs", "2", "--lr", "0.1", "--set", "window=4", "--optimizer", "rmsprop", "--alpha", "0.5"]
    words += ["--backend", "numpy", "--backend", "torch"]
    checks = compared(run("train", *words, "--json"))
    assert checks
    (command,) = {row_command(row) for row in checks}
    assert command.startswith("rosetta train sine ")
    assert compared(run(*shlex.split(command)[1:], "--json")) == checks


def compared(answer: tuple[int, str, str]) -> list[Any]:
    code, out, _ = answer
    assert code == 0
    return [record for record in lines(out) if record["kind"] == "check"]

"""``rosetta train``, ``predict``, ``generate`` and ``ls tasks`` as a user meets them."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import datasets, records
from common.backend import registry
from common.cli import main
from common.equivalence.reproduce import row_command
from common.training.decoding import greedy
from common.weights import files
from tests.refusals import assert_refusal

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
TYPED = {"adding": "0.5 0.25* 0.1 0.125*", "copy": "1234567012", "reber": "BTBTX", "kana": "さくら", "places": "Roma"}
Run = Any


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
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


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


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


@pytest.mark.parametrize("task", TYPED)
def test_what_one_backend_learnt_all_say_alike(task: str, run: Run) -> None:
    path, _ = trained(run, task, "--backend", "torch", "--cell", "LSTM")
    answers = []
    for name in ("numpy", "torch", "jax"):
        code, out, _ = run("predict", path, TYPED[task], "--backend", name, "--json")
        assert code == 0
        (said,) = lines(out)
        assert (said["backend"], said["inputs"]) == (name, [TYPED[task]])
        assert set(said) == {"task", "backend", "inputs", "says"}
        answers.append(said["says"])
    assert len(answers[0]) == 1
    assert answers[0] == answers[1] == answers[2]


def test_a_decoder_is_scored_on_its_own_words(run: Run) -> None:
    """With large weights, so that what it reads decides what it says next."""
    path, _ = trained(run, "kana")
    network, params, about = files.read_trained(Path(path))
    params = {name: 5 * value for name, value in params.items()}
    files.write(Path(path), network, params, about)
    data, backend = datasets.load("kana", **about["options"]), registry.load("numpy")
    assert data.display.decode
    own = data.display.decode(greedy(backend, network, params, data.test), data.test)
    assert own != data.display.decode(backend.predict(network, params, data.test)[0], data.test)
    assert lines(run("predict", path, "--json")[1])[0]["says"] == own


def test_a_text_is_continued_alike_in_every_backend(run: Run) -> None:
    path, _ = trained(run, "text", "--cell", "LSTM", "--inputs", "embedding", "--embedding-size", "4", "--lr", "0.05")

    def said(*words: str) -> dict[str, Any]:
        code, out, _ = run("generate", path, "--length", "40", "--json", "--prompt", "the ", *words)
        assert code == 0
        return lines(out)[0]

    for words in (["--greedy"], ["--seed", "3"], ["--seed", "3", "--temperature", "2"]):
        texts = {said(*words, "--backend", name)["text"] for name in ("numpy", "torch", "jax")}
        assert [len(text) for text in texts] == [40], words
    assert said("--greedy") == said("--temperature", "0") == said("--greedy", "--seed", "4")
    assert len({said("--seed", str(seed))["text"] for seed in range(4)}) == 4
    assert said("--seed", "3")["temperature"] == 0.7
    plain = run("generate", path, "--length", "40", "--prompt", "the ", "--greedy")[1]
    assert plain == f"the {said('--greedy')['text']}\n"


def test_train_prints_records_that_read_back_and_a_table_that_fits(run: Run, tmp_path: Path) -> None:
    words = ["adding", *SIZES["adding"], "--epochs", "2", "--hidden-size", "3", "--cell", "LSTM", "--lr", "0.125"]
    words += ["--backend", "numpy", "--backend", "torch", "--batch-size", "4", "--out", "here"]
    code, out, err = run("train", *words, "--json")
    assert code == 0
    (tmp_path / "records.jsonl").write_text(out)
    found = records.read(tmp_path / "records.jsonl")
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


def test_a_text_is_found_from_another_folder_and_missed_when_it_has_changed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "own.txt"
    text.write_text("abcdefgh\n" * 200, encoding="utf-8")
    words = ["--text", "own.txt", "--set", "streams=2", "--set", "chunk=10"]
    assert run("train", "text", *words, "--epochs", "1", "--hidden-size", "3", "--out", ".")[0] == 0
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    path = "../text-characters-RNN-numpy.npz"
    assert run("predict", path)[0] == run("predict", path, "abc")[0] == 0
    cause = "has the text, or Python's own, changed since?"
    text.write_text("habcdefg\n" * 200, encoding="utf-8")
    code, _, err = run("predict", path)
    assert code == 2
    assert_refusal(err.rstrip(), "rosetta: test data of text", "the data in the file", "other data", cause)
    assert run("predict", path, "abc")[0] == 0  # the symbols are the same
    text.write_text("xyzdefgh\n" * 200, encoding="utf-8")
    for words in ([], ["abc"]):
        code, _, err = run("predict", path, *words)
        assert code == 2
        assert_refusal(err.rstrip(), "rosetta: symbols of text", "those in the file", "others", cause)
    assert run("generate", path, "--length", "3", "--greedy")[0] == 0  # reads no text


REFUSED = [
    (["predict", "FILE", "1"], "input", "none, as inputs of sine cannot be typed", "1"),
    (["predict", "FILE", "--backend", "numpy", "--backend", "jax"], "--backend", "one", "numpy, jax"),
    (["predict", "none.npz"], "network file", "one that `rosetta train` wrote", "none.npz (No such file or directory)"),
    (["generate", "FILE"], "FILE", "as of the task text", "a network of the task sine"),
    (["generate", "FILE", "--greedy", "--temperature", "2"], "--temperature", "none beside --greedy", "2.0"),
    (["train", "--out", "FILE"], "--out", "a writable folder", "FILE (File exists)"),
    (["train", "--out", "FILE/x"], "--out", "a writable folder", "FILE/x (Not a directory)"),
    (["train", "--set", "windo=3"], "option of sine", "one of points_per_period, periods, window", "'windo'"),
    (["train", "--config", "none.toml"], "--config", "a readable file", "none.toml ("),
]


@pytest.mark.parametrize(("words", "argument", "expected", "got"), REFUSED)
def test_what_cannot_be_done_is_refused_before_anything_is(
    words: list[str], argument: str, expected: str, got: str, run: Run
) -> None:
    path, _ = trained(run, "sine")
    before = Path(path).read_bytes()
    code, out, err = run(*(word.replace("FILE", path) for word in words))
    assert (code, out) == (2, "")
    assert_refusal(err.rstrip().replace(path, "FILE"), f"rosetta: {argument}", expected, got)
    assert Path(path).read_bytes() == before


def test_a_network_of_another_size_than_its_task_is_refused(run: Run) -> None:
    path, _ = trained(run, "sum")
    found = files.read_trained(Path(path))
    files.write(
        Path(path), found.network, found.params, found.about | {"task": "digits", "reading": "plain", "options": {}}
    )
    code, _, err = run("predict", path)
    assert code == 2
    assert_refusal(err.rstrip(), "rosetta: symbols of digits", "those in the file", "others")
    copied, _ = trained(run, "temporal-order")
    other = files.read_trained(Path(copied))
    files.write(Path(path), found.network, found.params, other.about)
    code, _, err = run("predict", path)
    argument, expected = (
        f"rosetta: readout, its size and loss in {path}",
        "('last_step', 4, 'cross_entropy') of",
    )
    assert code == 2
    assert_refusal(err.rstrip(), argument, expected, "('last_step', 1, 'mse')")


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
def test_a_rate_far_too_large_is_told_with_advice_and_nothing_is_saved(words: list[str], run: Run) -> None:
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


def test_a_comparison_tells_the_command_that_made_it(run: Run) -> None:
    words = [
        "train",
        "sine",
        "--epochs",
        "2",
        "--lr",
        "0.1",
        "--set",
        "window=4",
        "--backend",
        "numpy",
        "--backend",
        "torch",
    ]
    _, out, _ = run(*words, "--json")
    checks = [record for record in lines(out) if record["kind"] == "check"]
    assert checks
    assert {row_command(row, 7) for row in checks} == {f"rosetta {' '.join(words)} --json"}

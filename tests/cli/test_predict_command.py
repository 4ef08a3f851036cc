"""``rosetta predict`` and ``generate`` as a user meets them, and what they and ``train`` refuse."""

from pathlib import Path
from typing import Any

import pytest

from common import datasets
from common.backend import registry
from common.training.decoding import greedy
from common.weights import files
from tests.cli.commands import Run, lines, trained
from tests.cli.commands import run_fixture as run_fixture  # pytest looks for it here
from tests.refusals import assert_refusal

TYPED = {"adding": "0.5 0.25* 0.1 0.125*", "copy": "1234567012", "reber": "BTBTX", "kana": "さくら", "places": "Roma"}


@pytest.mark.parametrize("task", TYPED)
def test_a_trained_network_predicts_the_same_in_every_backend(task: str, run: Run) -> None:
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
    files.write_trained(Path(path), network, params, about)
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
    cause = "has the text, or the version of Python that supplies it, changed since?"
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
    (["generate", "FILE", "--greedy", "--temperature", "2"], "--temperature", "none with --greedy", "2.0"),
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
    files.write_trained(
        Path(path), found.network, found.params, found.about | {"task": "digits", "reading": "plain", "options": {}}
    )
    code, _, err = run("predict", path)
    assert code == 2
    assert_refusal(err.rstrip(), "rosetta: symbols of digits", "those in the file", "others")
    copied, _ = trained(run, "temporal-order")
    other = files.read_trained(Path(copied))
    files.write_trained(Path(path), found.network, found.params, other.about)
    code, _, err = run("predict", path)
    argument, expected = (
        f"rosetta: readout, its size and loss in {path}",
        "('last_step', 4, 'cross_entropy') of",
    )
    assert code == 2
    assert_refusal(err.rstrip(), argument, expected, "('last_step', 1, 'mse')")

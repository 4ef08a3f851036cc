"""Settings that are wrong are refused by name, from a file, from the command line and from Python."""

from pathlib import Path

import pytest

from common import datasets
from common.errors import InvalidInput
from common.training import settings
from tests.refusals import assert_refusal
from tests.training.chosen import STREAMS, TINY, given, run_of, runs, write

CELLS = "RNN, RNNCell, LSTM, LSTMCell, GRU, GRUCell, LSTM1997, LSTM1997Cell"
WRONG_FILES = [
    ('tusk = "sine"', "setting in FILE", "one of task, reading, ", "'tusk'", "did you mean task?"),
    ("hidden-size = 3", "setting in FILE", "hidden_size, ", "'hidden-size'", "did you mean hidden_size?"),
    ("options = 3", "options in FILE", "a table", "3", ""),
    ('task = "sine', "--config FILE", "TOML", "", ""),
    ('task = ["sine"]', "task in FILE", "a string", "['sine']", ""),
    ("reading = 3", "reading in FILE", "a string", "3", ""),
    ('optimizer = ["adam"]', "optimizer in FILE", "one of sgd, adam, rmsprop", "['adam']", ""),
    ("cell = 3", "cell in FILE", f"one of {CELLS}, or a list of such strings", "3", ""),
    ("cell = []", "cell in FILE", "or a list of such strings", "[]", ""),
    ('cell = ["RNN", 3]', "cell in FILE", "or a list of such strings", "['RNN', 3]", ""),
    ("backend = [3]", "backend in FILE", "a string, or a list of such strings", "[3]", ""),
    ('cell = "LSTMM"', "cell in FILE", f"one of {CELLS}", "'LSTMM'", "did you mean LSTM?"),
    ('cell = ["RNN", "QRNN"]', "cell in FILE", f"one of {CELLS}", "'QRNN'", ""),
    ('optimizer = "lion"', "optimizer in FILE", "one of sgd, adam, rmsprop", "'lion'", ""),
    ('inputs = "bogus"', "inputs in FILE", "one of features, one_hot, embedding", "'bogus'", ""),
    ('inputs = "embedding"', "inputs of sine", "one of features", "'embedding'", ""),
    ('dtype = "float16"', "dtype in FILE", "one of float64, float32", "'float16'", ""),
    ('epochs = "3"', "epochs in FILE", "an integer of at least 1", "'3'", ""),
    ("epochs = 2.5", "epochs in FILE", "an integer of at least 1", "2.5", ""),
    ("epochs = true", "epochs in FILE", "an integer of at least 1", "True", ""),
    ('epochs = "none"', "epochs in FILE", "an integer of at least 1", "'none'", ""),
    ('lr = "fast"', "lr in FILE", "a finite number", "'fast'", ""),
    ("lr = nan", "lr in FILE", "a finite number", "nan", ""),
    ("lr = false", "lr in FILE", "a finite number", "False", ""),
    ("seed = -1", "seed in FILE", "an integer of at least 0", "-1", ""),
    ("hidden_size = 0", "hidden_size in FILE", "at least 1", "0", ""),
    ("patience = 0", "patience in FILE", 'an integer of at least 1, or "none"', "0", ""),
    ('patience = "never"', "patience in FILE", 'an integer of at least 1, or "none"', "'never'", ""),
    ("clip_norm = inf", "clip_norm in FILE", 'a finite number, or "none"', "inf", ""),
    ("bias = 0", "bias in FILE", "true or false", "0", ""),
    ("eps = 0.1", "eps", "none for sgd", "0.1", "only adam and rmsprop have it"),
    ('alpha = 0.1\noptimizer = "adam"', "alpha", "none for adam", "0.1", "only rmsprop has it"),
    ("[options]\nwindo = 3", "option of sine", "points_per_period, periods, window", "'windo'", "did you mean window?"),
    ("[options]\nwindow = 2.5", "window", "an int", "float", ""),
]


@pytest.mark.parametrize(("text", "argument", "expected", "got", "cause"), WRONG_FILES)
def test_a_wrong_file_is_refused(text: str, argument: str, expected: str, got: str, cause: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises((ValueError, TypeError)) as caught:
        runs("--config", path)
    assert type(caught.value).__module__ == "common.errors"
    assert_refusal(str(caught.value).replace(path, "FILE"), argument, expected, got, cause)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "none.toml", tmp_path / "binary"):
        with pytest.raises(InvalidInput) as caught:
            given("--config", str(path))
        assert str(caught.value).startswith(f"--config: expected a readable file, got {path} (")


WRONG_WORDS = [
    (["--set", "window"], "--set", "NAME=VALUE", "'window'"),
    (["--set", "=3"], "--set", "NAME=VALUE", "'=3'"),
    (["--set", "window=5\nperiods=1"], "--set", "NAME=VALUE", "'window=5\\nperiods=1'"),
    (["--set", "window=abc"], "window", "an int", "str"),
    (["--text", "x"], "option of sine", "points_per_period, periods, window", "'text'"),
    (["--inputs", "embedding"], "inputs of sine", "one of features", "'embedding'"),
    (["--embedding-size", "3"], "embedding_size", "inputs=embedding", "features"),
    (["copy", *TINY, "--embedding-size", "3"], "embedding_size", "inputs=embedding", "one_hot"),
    (["--cell", "RNN", "--forget-bias", "1"], "forget_bias", "None for RNN", "1.0"),
    (["--cell", "LSTM", "--nonlinearity", "relu"], "nonlinearity", "'tanh' for LSTM", "'relu'"),
    (["--schedule", "step"], "schedule_steps", "an int", "NoneType"),
    (["--schedule-factor", "0.3"], "schedule_factor", "a schedule", "0.3"),
    (["--optimizer", "adam", "--momentum", "0.9"], "momentum", "0 for adam", "0.9"),
    (["--optimizer", "adam", "--alpha", "0.9"], "alpha", "none for adam", "0.9"),
    (["text", "--set", "characters=3000", *STREAMS, "--batch-size", "2"], "batch_size", "none for text", "2"),
    (["kana", *TINY, "--cell", "LSTM", "--bidirectional"], "bidirectional", "False for encoder_decoder", "True"),
]


@pytest.mark.parametrize(("words", "argument", "expected", "got"), WRONG_WORDS)
def test_wrong_words_are_refused(words: list[str], argument: str, expected: str, got: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        runs(*words)
    assert type(caught.value).__module__ == "common.errors"
    assert_refusal(str(caught.value), argument, expected, got)


@pytest.mark.parametrize("name", ["hidden_size", "embedding_size"])
def test_sizes_from_python_are_refused_too(name: str) -> None:
    data = datasets.load("copy", train=6, validation=2, test=2)
    with pytest.raises(InvalidInput) as caught:
        settings.run_spec({"inputs": "embedding", name: 0}, data, "RNN")
    assert_refusal(str(caught.value), name, "at least 1", "0")


@pytest.mark.parametrize("name", ["task", "reading", "dtype"])
def test_an_option_of_a_task_cannot_take_the_place_of_a_setting(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"option of sine: expected one of .*, got '{name}'"):
        list(settings.resolve({"task": "sine", "options": {name: "x"}}))


@pytest.mark.parametrize("task", ["text", "reber"])
def test_a_network_may_not_read_what_it_is_to_predict(task: str) -> None:
    message = f"bidirectional: expected one direction for {task}: the other would read the symbol .*, got True"
    with pytest.raises(InvalidInput, match=message):
        run_of(task, "--bidirectional")
    assert run_of("copy", "--bidirectional").network.model.bidirectional

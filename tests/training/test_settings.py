"""What is trained and how: the command line over the file over the task, and nothing ignored."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from common import datasets
from common.cli import parse
from common.errors import InvalidInput
from common.model.cells import CELLS
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from common.training import settings
from tests.training.chosen import TINY, given, run_of, runs, write


def test_the_command_line_goes_before_the_file_and_the_file_before_the_task(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'task = "adding"\nepochs = 7\nlr = 0.5\nseed = 3\n[options]\nsteps = 11\ntrain = 6\ntest = 3\n'
    )
    found = given("--config", path, "--lr", "0.25", "--set", "test=2", "--set", "validation=2")
    assert found["options"] == {"steps": 11, "train": 6, "test": 2, "validation": 2}
    ((data, run),) = settings.resolve(found)
    own = data.training
    assert (data.task, data.train.x.shape[:2], data.test.x.shape[1]) == ("adding", (11, 6), 2)
    assert (run.epochs, run.optimizer.lr, run.seed) == (7, 0.25, 3)
    assert (run.batch_size, run.patience) == (own.batch_size, own.patience)
    assert run.optimizer == replace(own.optimizer, lr=0.25)
    assert run.network.model.hidden_size == own.hidden_size
    assert given("copy", "--config", path)["task"] == "copy"


def test_without_settings_everything_is_the_tasks_own() -> None:
    ((data, run),) = settings.resolve({"task": "sine"})
    own = data.training
    assert run == RunSpec(network=data.network("RNN"), optimizer=own.optimizer, epochs=own.epochs)
    for task in ("reber", "copy", "adding"):
        ((data, run),) = settings.resolve({"task": task, "options": {"train": 6, "validation": 2, "test": 2}})
        own = data.training
        assert (run.optimizer, run.epochs, run.batch_size) == (own.optimizer, own.epochs, own.batch_size)
        assert (run.patience, run.seed, run.network) == (own.patience, 0, data.network("RNN"))


OWN = OptimizerSpec(name="adam", lr=0.125, eps=1e-7, clip_norm=2.0)


def test_another_optimiser_brings_its_own_rate() -> None:
    assert settings.optimizer({}, OWN) == settings.optimizer({"optimizer": "adam"}, OWN) == OWN
    for name, rate in (("sgd", 0.05), ("rmsprop", 0.003)):
        assert settings.optimizer({"optimizer": name}, OWN) == OptimizerSpec(name=name, lr=rate, clip_norm=2.0)
    found = settings.optimizer({"optimizer": "sgd", "lr": 0.7, "momentum": 0.5, "clip_norm": 3}, OWN)
    assert found == OptimizerSpec(name="sgd", lr=0.7, momentum=0.5, clip_norm=3)
    assert settings.optimizer({"lr": 0.5}, OWN) == replace(OWN, lr=0.5)
    assert run_of("sine", "--optimizer", "adam").optimizer == OptimizerSpec(name="adam", lr=0.01)


def test_a_schedule_is_taken_over_and_taken_back() -> None:
    words = ("--schedule", "cosine", "--schedule-steps", "9", "--schedule-factor", "0.5")
    found = run_of("sine", *words).optimizer
    assert (found.schedule, found.schedule_steps, found.schedule_factor) == ("cosine", 9, 0.5)
    own = OptimizerSpec(schedule="step", schedule_steps=4)
    assert settings.optimizer({"schedule": "constant"}, own) == OptimizerSpec()
    assert settings.optimizer({"schedule_factor": 0.3}, own) == replace(own, schedule_factor=0.3)


def test_the_forget_bias_of_a_task_is_given_to_lstms_with_bias_alone() -> None:
    data = datasets.load("sine")
    assert settings.run_spec({}, data, "LSTM").network.model.forget_bias is None
    data = replace(data, training=replace(data.training, forget_bias=1.5))
    for cell, own in (("RNN", None), ("RNNCell", None), ("LSTM", 1.5), ("LSTMCell", 1.5)):
        assert settings.run_spec({}, data, cell).network.model.forget_bias == own
        assert settings.run_spec({"bias": False}, data, cell).network.model.forget_bias is None
    assert settings.run_spec({"forget_bias": 0.5}, data, "LSTM").network.model.forget_bias == 0.5


def test_the_input_bias_of_a_task_is_given_to_cells_with_an_input_gate_and_bias_alone() -> None:
    data = datasets.load("sine")
    assert settings.run_spec({}, data, "LSTM1997").input_bias is None
    data = replace(data, training=replace(data.training, input_bias=-2.5))
    for cell in CELLS:
        own = -2.5 if cell.startswith("LSTM") else None
        assert settings.run_spec({}, data, cell).input_bias == own
        assert settings.run_spec({"bias": False}, data, cell).input_bias is None
    assert settings.run_spec({"input_bias": 0.5}, data, "LSTM").input_bias == 0.5
    with pytest.raises(InvalidInput, match="input_bias: expected None for "):
        settings.run_spec({"input_bias": 0.5}, data, "GRU")


def test_every_dtype_and_cell_once_in_order(tmp_path: Path) -> None:
    words = ("--cell", "lstm", "--cell", "RNN", "--cell", "LSTM", "--dtype", "float32", "--dtype", "float64")
    wanted = [("LSTM", "float32"), ("RNN", "float32"), ("LSTM", "float64"), ("RNN", "float64")]
    found = list(settings.resolve(given("sine", *words)))
    assert [(run.network.model.cell, run.network.model.dtype) for _, run in found] == wanted
    assert [data.train.x.dtype.name for data, _ in found] == [dtype for _, dtype in wanted]
    path = write(tmp_path, 'cell = ["lstm", "RNN", "LSTM"]\ndtype = ["float32", "float64"]\n')
    assert runs("--config", path) == [run for _, run in found]
    assert run_of("--config", write(tmp_path, 'cell = "lstm"')).network.model.cell == "LSTM"


def test_cells_read_in_one_direction_where_layers_read_in_two() -> None:
    words = ("places", "--cell", "LSTM", "--cell", "LSTMCell")
    assert [run.network.model.bidirectional for run in runs(*words)] == [True, False]


def test_symbols_enter_one_hot_or_by_a_table() -> None:
    table = run_of("copy", *TINY, "--inputs", "embedding", "--embedding-size", "5").network
    assert (table.inputs, table.model.input_size, table.vocabulary) == ("embedding", 5, 10)
    assert run_of("copy", *TINY, "--inputs", "embedding").network.model.input_size == 32
    plain = run_of("copy", *TINY).network
    assert (plain.inputs, plain.model.input_size) == ("one_hot", 10)


def test_a_text_is_taken_from_where_it_was_named_last(tmp_path: Path) -> None:
    path = write(tmp_path, 'task = "text"\ntext = "file"\n[options]\nstreams = 3\n')
    assert given("--config", path)["options"] == {"streams": 3, "text": "file"}
    assert given("--config", path, "--set", "text=pair")["options"] == {"streams": 3, "text": "pair"}
    assert given("--config", path, "--set", "text=pair", "--text", "word")["options"]["text"] == "word"


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=3", 3), ("a=0.5", 0.5), ("a=true", True), ("a=b", "b"), ('a="3"', "3"), ("a=/b=c", "/b=c"), ("a=", "")],
)
def test_values_of_set_are_read_as_toml_or_as_they_stand(text: str, value: Any) -> None:
    found = given("--set", text)["options"]["a"]
    assert (found, type(found)) == (value, type(value))


# For every kind of setting, a value in TOML, the same on the command line, and what it becomes.
VALUES = [
    ("task", '"copy"', "copy", "copy"),
    ("reading", '"article"', "--reading article", "article"),
    ("cell", '"lstmcell"', "--cell lstmcell", ["LSTMCell"]),
    ("cell", '["lstm", "RNN"]', "--cell lstm --cell rnn", ["LSTM", "RNN"]),
    ("backend", '["numpy", "torch"]', "--backend numpy --backend torch", ["numpy", "torch"]),
    ("optimizer", '"ADAM"', "--optimizer ADAM", "adam"),
    ("inputs", '"embedding"', "--inputs embedding", "embedding"),
    ("epochs", "3", "--epochs 3", 3),
    ("seed", "0", "--seed 0", 0),
    ("lr", "0.5", "--lr 0.5", 0.5),
    ("lr", "2", "--lr 2", 2),
    ("alpha", "0.5", "--alpha 0.5", 0.5),
    ("eps", "1e-3", "--eps 1e-3", 1e-3),
    ("patience", '"None"', "--patience None", None),
    ("patience", "4", "--patience 4", 4),
    ("forget_bias", '"none"', "--forget-bias none", None),
    ("forget_bias", "-1.5", "--forget-bias=-1.5", -1.5),
    ("input_bias", '"none"', "--input-bias none", None),
    ("input_bias", "-1.5", "--input-bias=-1.5", -1.5),
    ("bias", "false", "--no-bias", False),
    ("bidirectional", "true", "--bidirectional", True),
]


@pytest.mark.parametrize(("name", "toml", "words", "value"), VALUES)
def test_a_file_and_the_command_line_read_the_same(
    name: str, toml: str, words: str, value: Any, tmp_path: Path
) -> None:
    of_file, of_words = given("--config", write(tmp_path, f"{name} = {toml}")), given(*words.split())
    assert of_file == of_words == {name: value, "options": {}}


def test_every_setting_is_an_option_of_the_command_line_with_a_line_of_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And every field of a run's specifications that can be set is a setting."""
    with pytest.raises(SystemExit):
        parse(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for row in settings.SETTINGS:
        option = f"--{'no-' if row.kind.usual else ''}{row.name.replace('_', '-')}"
        assert row.help in text
        assert row.name == "task" or f"[{option}" in text
        assert row.group in settings.GROUPS
    fixed = {"input_size", "network", "name", "betas"}
    for kind in (ModelSpec, OptimizerSpec, RunSpec):
        assert {field.name for field in fields(kind)} - fixed <= settings.BY_NAME.keys()


def test_none_takes_back_what_a_task_sets() -> None:
    words = ["places", "--clip-norm", "none", "--patience", "None", "--batch-size", "none", "--forget-bias", "none"]
    chosen = given(*words)
    data = datasets.load("places")
    own, run = settings.run_spec({}, data, "LSTM"), settings.run_spec(chosen, data, "LSTM")
    before = (own.optimizer.clip_norm, own.patience, own.batch_size, own.network.model.forget_bias)
    assert None not in before
    assert (run.optimizer.clip_norm, run.patience, run.batch_size, run.network.model.forget_bias) == (None,) * 4

"""The command that a record of a training run gives trains the same network in the same way, whatever was set."""

import shlex

import pytest

from common import cli
from common.cli.train import chosen_settings
from common.datasets.task import Dataset
from common.equivalence.reproduce import train_command
from common.model.run import RunSpec
from common.study.runs import run_data
from common.training import settings

# Tasks with different defaults, small where that is quicker.
TASKS = {
    "sine": ["--reading", "article", "--set", "window=4"],
    "adding": ["--set", "steps=20", "--set", "train=40", "--set", "validation=5", "--set", "test=5"],
    "reber": ["--set", "train=30", "--set", "validation=5", "--set", "test=5"],
}
SETTINGS = [
    "",
    "--momentum 0.5 --optimizer sgd",
    "--optimizer rmsprop --alpha 0.5 --eps 0.001",
    "--batch-size 7",
    "--batch-size none",
    "--clip-norm none",
    "--patience 3 --epochs 2 --lr 0.3 --seed 7",
    "--schedule step --schedule-steps 5 --schedule-factor 0.5",
    "--num-layers 2 --dropout 0.25",
    "--no-bias --hidden-size 5 --dtype float32",
    "--nonlinearity relu",
    "--cell LSTM --proj-size 2 --bidirectional",
    "--cell LSTM --forget-bias none",
    "--cell LSTM --forget-bias 0.5",
    "--cell GRU --no-reset-after",
    "--cell LSTM1997 --num-layers 2",
    "--cell LSTM1997 --input-bias=-2.5",
    "--cell LSTM1997 --input-bias none",
]
CASES = [(task, text) for task in TASKS for text in SETTINGS if (task, "--bidirectional" in text) != ("reber", True)]
CASES += [("reber", "--inputs embedding --embedding-size 4"), ("reber", "--inputs one_hot --cell LSTM --proj-size 2")]


def resolved(words: list[str]) -> tuple[dict, Dataset, RunSpec]:
    """The options of the task, the data and the run of a command line."""
    chosen = chosen_settings(cli.parse(words))
    ((data, run),) = settings.resolve(chosen)
    return settings.task_options(chosen), data, run


@pytest.mark.parametrize(("task", "text"), CASES)
def test_the_command_of_a_run_makes_the_same_run(task: str, text: str) -> None:
    options, data, run = resolved(["train", task, *TASKS[task], *text.split()])
    model = run.network.model
    command = train_command(run_data(task, data.reading, run, options), [model.cell], [model.dtype], ["numpy"])
    program, *words = shlex.split(command)
    again, same, repeated = resolved(words)
    assert (program, again, same.reading, repeated) == ("rosetta", options, data.reading, run)

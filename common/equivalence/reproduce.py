"""The command that repeats one comparison or one training run, made from the data of its record."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from common.equivalence.comparison import ORACLES
from common.equivalence.variants import DEFAULTS
from common.errors import InvalidInput, mismatch
from common.model.cells import TABLE
from common.model.run import OptimizerSpec
from common.model.spec import DROPOUTS
from common.record_parts import CheckedFile, Problem, Run, Spec
from common.record_types import Check
from common.training.settings import RULES

# The tasks whose own settings leave out everything that is optional, so that nothing has to be undone with "none".
BARE = ("sine",)


def row_command(row: Check) -> str:
    """The shortest run that repeats the comparison of a check record, on the smallest problem that fails if known."""
    backends = [name for name in (row["a"], row["b"]) if name not in ORACLES]
    if row["run"] is not None:
        return train_command(row["run"], [row["cell"]], [row["dtype"]], backends)
    if "file" in row and row["problem"] is not None:
        return file_command(row["file"], row["problem"], backends)
    problem = row["smallest"] if "smallest" in row else row["problem"]
    if problem is None:
        raise InvalidInput(mismatch("a check record", "a problem or a run", "neither"))
    return check_command(problem, backends)


def check_command(problem: Problem, backends: Sequence[str]) -> str:
    """``rosetta check`` on this problem alone, in some backends."""
    return shlex.join(["rosetta", "check", *problem_words(problem), *_each("backend", backends)])


def file_command(file: CheckedFile, problem: Problem, backends: Sequence[str]) -> str:
    """``rosetta check FILE`` on this problem, in those of these participants that are backends."""
    spec = problem["spec"]
    words = ["rosetta", "check", file["path"], *(_option("layer", file["layer"]) if file["layer"] else [])]
    for name in ("inputs", "expect"):
        words += _option(name, file[name]) if file[name] is not None else []
    words += ["--batch-first"] if file["batch_first"] else []
    words += _option("dtype", spec["dtype"])
    if TABLE[spec["cell"]].layer not in ("RNN", "LSTM", "GRU"):
        words += _option("cell", spec["cell"])
    if spec["nonlinearity"] != DEFAULTS["nonlinearity"]:
        words += _option("nonlinearity", spec["nonlinearity"])
    words += [] if spec["reset_after"] else ["--no-reset-after"]
    if file["inputs"] is None:
        words += _option("steps", problem["steps"]) + _option("batch", problem["batch"])
    words += _valid_words(problem) + _option("seed", problem["seed"])
    return shlex.join([*words, *_each("backend", [name for name in backends if name not in file["guests"]])])


def arguments(problem: Problem) -> str:
    """The options with which ``rosetta check`` compares on this problem alone, quoted for a shell."""
    return shlex.join(problem_words(problem))


def problem_words(problem: Problem) -> list[str]:
    """The same, word by word."""
    spec = problem["spec"]
    words = ["--cell", spec["cell"], "--dtype", spec["dtype"]]
    words += _option("input-size", spec["input_size"]) + _option("hidden-size", spec["hidden_size"])
    words += _model_words(spec) + _option("steps", problem["steps"]) + _option("batch", problem["batch"])
    words += _valid_words(problem)
    if not problem["training"]:
        words.append("--eval")
    if problem["regime"] != "plain":
        words += _option("regime", problem["regime"])
    return words + _option("seed", problem["seed"])


def train_command(run: Run, cells: Sequence[str], dtypes: Sequence[str], backends: Sequence[str]) -> str:
    """``rosetta train`` for a run, in some cells, dtypes and backends at once."""
    words = ["rosetta", "train", run["task"], "--reading", run["reading"]]
    for name, value in run["options"].items():
        words += ["--set", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    if run["inputs"] != "features":
        words += _option("inputs", run["inputs"])
    if run["inputs"] == "embedding":
        words += _option("embedding-size", run["spec"]["input_size"])
    words += _optimizer_words(run)
    words += _option("epochs", run["epochs"])
    for name in ("batch_size", "patience", "input_bias"):
        words += _optional(run, name, run[name])
    words += _option("hidden-size", run["spec"]["hidden_size"]) + _model_words(run["spec"])
    if run["spec"]["forget_bias"] is None:
        words += _optional(run, "forget_bias", None)
    words += _each("cell", cells) + _each("dtype", dtypes) + _each("backend", backends)
    return shlex.join(words + _option("seed", run["seed"]))


def _optimizer_words(run: Run) -> list[str]:
    rule = run["optimizer"]
    words = _option("optimizer", rule["name"]) + _option("lr", rule["lr"])
    if rule["momentum"]:
        words += _option("momentum", rule["momentum"])
    for name, rules in RULES.items():
        if rule["name"] in rules and rule[name] != getattr(OptimizerSpec, name):
            words += _option(name, rule[name])
    words += _optional(run, "clip_norm", rule["clip_norm"])
    if rule["schedule"] != "constant":
        for name in ("schedule", "schedule_steps", "schedule_factor"):
            words += _option(name, rule[name])
    return words


def _model_words(spec: Spec) -> list[str]:
    """The options of a model, where they are not torch's defaults; without its sizes."""
    words = []
    for name in ("num_layers", "nonlinearity", "proj_size", *DROPOUTS, "forget_bias"):
        if spec[name] != DEFAULTS[name]:
            words += _option(name, spec[name])
    if spec["bidirectional"]:
        words.append("--bidirectional")
    words += [f"--no-{name.replace('_', '-')}" for name in ("bias", "reset_after") if not spec[name]]
    return words


def _valid_words(problem: Problem) -> list[str]:
    """The options that say which steps are valid and where they start."""
    words = []
    if problem["lengths"]:
        words += _option("lengths", ",".join(map(str, problem["lengths"])))
    if problem["mask"]:
        words += _option("mask", ",".join(problem["mask"]))
    return words if problem["given_state"] else [*words, "--no-state"]


def _optional(run: Run, name: str, value: Any) -> list[str]:
    """A setting that may be none, which must be stated unless the task's own is none."""
    if value is not None:
        return _option(name, value)
    return [] if run["task"] in BARE else _option(name, "none")


def _option(name: str, value: Any) -> list[str]:
    return ["--" + name.replace("_", "-"), str(value)]


def _each(name: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in _option(name, value)]

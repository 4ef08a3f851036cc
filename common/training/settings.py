"""What to train and how: the command line over a configuration file over the defaults of the task.

A configuration file is TOML, with the names of the command line's options (``_`` for ``-``), and a table ``options``
with those of the task:

    task = "adding"
    cell = ["RNN", "LSTM"]
    epochs = 20
    [options]
    steps = 50
"""

import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from common import datasets
from common.datasets.task import Dataset
from common.errors import InvalidInput, InvalidType, choice, mismatch, unknown
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import CELLS, ModelSpec
from common.model.validate import require_positive_int

# The learning rate of a rule that is not the task's own.
RATES = {"sgd": 0.05, "adam": 0.01, "rmsprop": 0.003}
MODEL = tuple(field.name for field in fields(ModelSpec) if field.name not in ("cell", "input_size", "dtype"))
OPTIMIZER = tuple(field.name for field in fields(OptimizerSpec) if field.name not in ("name", "betas"))
RUN = ("epochs", "batch_size", "patience", "seed")
DATA = ("task", "reading", "inputs", "embedding_size", "text")
LISTS = ("cell", "dtype", "backend")
WORDS = ("task", "reading", "inputs", "text", "optimizer", "schedule", "nonlinearity")
# The rules that have a setting of ``OptimizerSpec`` which others ignore.
RULES = {"alpha": ("rmsprop",), "eps": ("adam", "rmsprop")}
# What a task may set and "none" takes back.
OPTIONAL = ("clip_norm", "patience", "batch_size", "forget_bias")
KEYS = (*DATA, *LISTS, "optimizer", *RUN, *MODEL, *OPTIMIZER)


def read(path: str) -> dict[str, Any]:
    """The settings of a configuration file, the task's own under ``options``."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(mismatch("--config", "a readable file", f"{path} ({error})")) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(mismatch(f"--config {path}", "TOML", str(error))) from error
    for name in found:
        if name not in (*KEYS, "options"):
            raise InvalidInput(unknown(f"setting in {path}", [*KEYS, "options"], name))
    if not isinstance(found.get("options", {}), dict):
        raise InvalidType(mismatch(f"options in {path}", "a table", type(found["options"]).__name__))
    for name in found:
        if name in WORDS and not isinstance(found[name], str):
            raise InvalidType(mismatch(f"{name} in {path}", "a name", repr(found[name])))
        if name in LISTS:
            found[name] = _names(f"{name} in {path}", found[name])
    return found


def _names(what: str, value: Any) -> list[str]:
    """A name, or a list of some."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InvalidType(mismatch(what, "a name or a list of names", repr(value)))
    return names


def given(options: Namespace) -> dict[str, Any]:
    """The settings of the command line over those of its configuration file."""
    of_file = read(options.config) if options.config else {}
    named = {name: getattr(options, name) for name in KEYS if getattr(options, name, None) is not None}
    pairs = dict(_pair(text) for text in options.set or ())
    texts = [{"text": source.pop("text")} if "text" in source else {} for source in (of_file, named)]
    return of_file | named | {"options": of_file.get("options", {}) | texts[0] | pairs | texts[1]}


def _pair(text: str) -> tuple[str, Any]:
    """``name=value`` -> the name, and the value as TOML reads it, or as it stands."""
    name, equals, value = text.partition("=")
    if not equals or not name or "\n" in text:
        raise InvalidInput(mismatch("--set", "NAME=VALUE", repr(text)))
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def resolve(settings: Mapping[str, Any]) -> Iterator[tuple[Dataset, RunSpec]]:
    """The data and the run for every dtype and cell."""
    cells = dict.fromkeys(_cell(name) for name in settings.get("cell", ["RNN"]))
    for dtype in dict.fromkeys(settings.get("dtype", ["float64"])):
        data = load(settings, dtype)
        for cell in cells:
            yield data, run_spec(settings, data, cell)


def _cell(name: str) -> str:
    """A cell, whatever the case of its letters."""
    for cell in CELLS:
        if cell.lower() == str(name).lower():
            return cell
    raise InvalidInput(unknown("cell", CELLS, name))


def task_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task that the settings name."""
    return settings.get("options", {}) | ({"text": settings["text"]} if "text" in settings else {})


def load(settings: Mapping[str, Any], dtype: str) -> Dataset:
    """The data that the settings describe."""
    return datasets.load(settings.get("task", "sine"), settings.get("reading"), dtype, **task_options(settings))


def run_spec(settings: Mapping[str, Any], data: Dataset, cell: str) -> RunSpec:
    """The run that the settings describe, on this data; what they leave open is the task's own."""
    own = data.training
    settings = {k: None if k in OPTIONAL and value == "none" else value for k, value in settings.items()}
    _check(settings, data)
    model: dict[str, Any] = {name: settings[name] for name in MODEL if name in settings}
    if cell.startswith("LSTM") and own.forget_bias is not None and model.get("bias", True):
        model = {"forget_bias": own.forget_bias} | model
    if cell.endswith("Cell") and own.bidirectional:
        model = {"bidirectional": False} | model
    for name, key in (("inputs", "inputs"), ("input_size", "embedding_size")):
        if key in settings:
            model[name] = settings[key]
    network = data.network(cell, model.pop("hidden_size", own.hidden_size), **model)
    run = {name: settings[name] for name in RUN if name in settings}
    run = {"epochs": own.epochs, "batch_size": own.batch_size, "patience": own.patience} | run
    return RunSpec(network=network, optimizer=optimizer(settings, own.optimizer), **run)


def _check(settings: Mapping[str, Any], data: Dataset) -> None:
    """Raise for what this data cannot do, and would otherwise ignore."""
    inputs = settings.get("inputs", data.inputs)
    possible = ["features"] if data.inputs == "features" else ["one_hot", "embedding"]
    if inputs not in possible:
        raise InvalidInput(choice(f"inputs of {data.task}", possible, inputs))
    if "embedding_size" in settings and inputs != "embedding":
        raise InvalidInput(mismatch("embedding_size", "inputs=embedding beside it", inputs))
    if settings.get("bidirectional") and data.outputs.readout == "every_step" and data.symbols == data.outputs.symbols:
        wanted = f"one direction for {data.task}: the other would read the symbol that is to be predicted"
        raise InvalidInput(mismatch("bidirectional", wanted, True))
    if data.training.chunk and settings.get("batch_size") is not None:
        wanted = f"none for {data.task}, whose sequences are all read side by side"
        raise InvalidInput(mismatch("batch_size", wanted, settings["batch_size"]))
    for name in ("hidden_size", "embedding_size"):
        if name in settings:
            require_positive_int(name, settings[name])


def optimizer(settings: Mapping[str, Any], own: OptimizerSpec) -> OptimizerSpec:
    """The task's optimiser with what the settings change; another rule brings a rate of its own."""
    changes = {name: settings[name] for name in OPTIMIZER if name in settings}
    name = settings.get("optimizer", own.name)
    if name != own.name:
        own = OptimizerSpec(name=name, lr=RATES.get(name, own.lr), clip_norm=own.clip_norm)
    for setting, rules in RULES.items():
        if setting in changes and name not in rules:
            raise InvalidInput(mismatch(setting, f"none for {name}, which has none", changes[setting]))
    if changes.get("schedule", own.schedule) == "constant":
        if "schedule_factor" in changes:
            wanted = "a schedule beside it, such as --schedule step"
            raise InvalidInput(mismatch("schedule_factor", wanted, changes["schedule_factor"]))
        changes = {"schedule_steps": None} | changes
    return replace(own, **changes)

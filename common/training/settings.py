"""What to train and how: the command line, over a configuration file, over the defaults of the task.

``SETTINGS`` is the one table of what can be set: ``rosetta train`` makes its options from it, and ``read`` checks a
configuration file against it. Such a file is TOML, with the names of the command line (``_`` for ``-``), and a table
``options`` for the options of the task:

    task = "adding"
    cell = ["RNN", "LSTM"]
    epochs = 20
    [options]
    steps = 50

>>> from common import datasets
>>> from common.training.settings import run_spec
>>> run = run_spec({"optimizer": "rmsprop", "hidden_size": 16}, datasets.load("sine"), "LSTM")
>>> run.network.model.hidden_size, run.optimizer.name, run.epochs
(16, 'rmsprop', 100)
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from common import datasets
from common.backend import registry
from common.datasets.task import Dataset
from common.errors import InvalidInput, InvalidType, choice, mismatch, unknown
from common.model.cells import CELLS, TABLE
from common.model.network import INPUTS
from common.model.run import OPTIMIZERS, SCHEDULES, OptimizerSpec, RunSpec
from common.model.spec import DTYPES, NONLINEARITIES
from common.model.validate import require_positive_int

BACKEND = f"one of {', '.join(registry.BUILTIN)}, or package.module:attribute (default: numpy)"
PATIENCE = "stop after this many epochs without a lower validation loss, or none; the best parameters are kept"


class Kind(NamedTuple):
    """What a setting may be: a ``type``, one of ``choices`` if there are any, not below ``least`` if that is given.

    ``optional`` allows "none", which stands for None. ``several`` makes it a list; on the command line the option is
    repeated. ``usual`` is the value of a flag that is not set.
    """

    type: type
    choices: tuple[str, ...] = ()
    least: int | None = None
    optional: bool = False
    several: bool = False
    usual: bool = False

    @property
    def expected(self) -> str:
        """The same in words, for errors."""
        words = {str: "a string", int: "an integer", float: "a finite number", bool: "true or false"}[self.type]
        if self.choices:
            words = f"one of {', '.join(self.choices)}"
        if self.least is not None:
            words += f" of at least {self.least}"
        if self.several:
            words += ", or a list of such strings"
        return f'{words}, or "none"' if self.optional else words


class Setting(NamedTuple):
    """A row of the table: the name, with ``_``; what it may be; its group in the help; and its line there."""

    name: str
    kind: Kind
    group: str
    help: str


TEXT, NUMBER, COUNT = Kind(str), Kind(float), Kind(int, least=1)
OPTIONAL_NUMBER, OPTIONAL_COUNT = NUMBER._replace(optional=True), COUNT._replace(optional=True)


def _one_of(names: Iterable[str]) -> Kind:
    return Kind(str, choices=tuple(names))


def _some_of(names: Iterable[str]) -> Kind:
    return Kind(str, choices=tuple(names), several=True)


def _listed(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


DATA, MODEL, OPTIMIZER, TRAINING = GROUPS = ("data", "model", "optimizer", "training")
SETTINGS = (
    Setting("task", TEXT, DATA, "a task of `rosetta ls tasks` (default: sine)"),
    Setting("reading", TEXT, DATA, "variant of the data, see `rosetta ls tasks` (default: the first)"),
    Setting("text", TEXT, DATA, "UTF-8 file for the task text (default: Python's help topics)"),
    Setting("inputs", _one_of(INPUTS), DATA, "how symbols enter: one_hot (default) or embedding"),
    Setting("embedding_size", COUNT, DATA, "size of a symbol's embedding, with --inputs embedding (default: 32)"),
    Setting("cell", _some_of(CELLS), MODEL, f"{_listed(CELLS)} (default: RNN)"),
    Setting("dtype", _some_of(DTYPES), MODEL, f"{_listed(DTYPES)} (default: float64)"),
    Setting("hidden_size", COUNT, MODEL, "features of h"),
    Setting("num_layers", COUNT, MODEL, "layers on top of one another (default: 1)"),
    Setting("nonlinearity", _one_of(NONLINEARITIES), MODEL, "tanh or relu, for RNN and RNNCell (default: tanh)"),
    Setting("reset_after", Kind(bool, usual=True), MODEL, "GRU of Cho et al. 2014: r scales h before the product"),
    Setting("bias", Kind(bool, usual=True), MODEL, "leave out both biases"),
    Setting("dropout", NUMBER, MODEL, "probability of dropout between layers, in training (default: 0)"),
    Setting("input_dropout", NUMBER, MODEL, "dropout probability of x, by one mask for all steps (default: 0)"),
    Setting("recurrent_dropout", NUMBER, MODEL, "dropout probability of h where it enters W_hh, likewise (default: 0)"),
    Setting("bidirectional", Kind(bool), MODEL, "read each sequence in both directions"),
    Setting("proj_size", Kind(int, least=0), MODEL, "size to which the LSTM projects h (default: 0, no projection)"),
    Setting("forget_bias", OPTIONAL_NUMBER, MODEL, "initial bias of the LSTM's forget gate, or none: as in PyTorch"),
    Setting("optimizer", _one_of(OPTIMIZERS), OPTIMIZER, _listed(OPTIMIZERS)),
    Setting("lr", NUMBER, OPTIMIZER, "learning rate"),
    Setting("momentum", NUMBER, OPTIMIZER, "momentum, for sgd and rmsprop"),
    Setting("alpha", NUMBER, OPTIMIZER, "decay of the mean square, for rmsprop (default: 0.99)"),
    Setting("eps", NUMBER, OPTIMIZER, "added to the denominator, for adam and rmsprop (default: 1e-8)"),
    Setting("clip_norm", OPTIONAL_NUMBER, OPTIMIZER, "largest norm of all gradients together, or none"),
    Setting("schedule", _one_of(SCHEDULES), OPTIMIZER, f"of the learning rate, {_listed(SCHEDULES)}"),
    Setting("schedule_steps", COUNT, OPTIMIZER, "updates until the schedule ends, or from one step to the next"),
    Setting("schedule_factor", NUMBER, OPTIMIZER, "factor of the rate at the end, or at each step (default: 0.1)"),
    Setting("epochs", COUNT, TRAINING, "passes over the data"),
    Setting("batch_size", OPTIONAL_COUNT, TRAINING, "sequences in a mini-batch, or none: all of them"),
    Setting("patience", OPTIONAL_COUNT, TRAINING, PATIENCE),
    Setting("input_bias", OPTIONAL_NUMBER, TRAINING, "initial bias of the input gate, or none: drawn like all others"),
    Setting("seed", Kind(int, least=0), TRAINING, "seed of all random numbers (default: 0)"),
    Setting("backend", Kind(str, several=True), TRAINING, BACKEND),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}
KEYS = (*BY_NAME, "options")
# The learning rate of an optimiser other than the task's.
RATES = {"sgd": 0.05, "adam": 0.01, "rmsprop": 0.003}
# Settings of an optimiser that only some have, and which the others would ignore.
RULES = {"alpha": ("rmsprop",), "eps": ("adam", "rmsprop")}


def read(path: str) -> dict[str, Any]:
    """The settings of a configuration file, with those of the task under ``options``.

    Raises ``InvalidInput`` or ``InvalidType`` for a file that is not TOML, an unknown name, and a value that is not of
    the setting's kind.
    """
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(mismatch("--config", "a readable file", f"{path} ({error})")) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(mismatch(f"--config {path}", "TOML", str(error))) from error
    for name in settings:
        if name not in KEYS:
            raise InvalidInput(unknown(f"setting in {path}", KEYS, name))
    options = settings.pop("options", {})
    if not isinstance(options, dict):
        raise InvalidType(mismatch(f"options in {path}", "a table", repr(options)))
    values = {name: value_of(f"{name} in {path}", BY_NAME[name].kind, value) for name, value in settings.items()}
    return values | {"options": options}


def value_of(what: str, kind: Kind, value: Any) -> Any:
    """A value of TOML as one of this kind: a choice in its own spelling, "none" as None, one of several as a list.

    Raises, beginning with ``what``, for a value of another kind.
    """
    if kind.several:
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str) for one in values):
            raise InvalidType(mismatch(what, kind.expected, repr(value)))
        return [value_of(what, kind._replace(several=False), one) for one in values]
    if kind.optional and isinstance(value, str) and value.lower() == "none":
        return None
    types = (int, float) if kind.type is float else (kind.type,)
    if type(value) not in types:
        raise InvalidType(mismatch(what, kind.expected, repr(value)))
    if isinstance(value, str):
        names = {name.lower(): name for name in kind.choices or (value,)}
        if value.lower() not in names:
            raise InvalidInput(unknown(what, kind.choices, value))
        return names[value.lower()]
    if not isfinite(value) or (kind.least is not None and value < kind.least):
        raise InvalidInput(mismatch(what, kind.expected, value))
    return value


def combined(named: Mapping[str, Any], pairs: Mapping[str, Any], config: str | None = None) -> dict[str, Any]:
    """The settings of the command line over those of its configuration file, with those of the task under ``options``.

    ``named`` are the settings that were given by name, ``pairs`` the options of the task. ``text`` is both a setting
    and an option of its task.
    """
    of_file = read(config) if config else {}
    of_command = dict(named)
    options = of_file.pop("options", {}) | _text(of_file) | pairs | _text(of_command)
    return of_file | of_command | {"options": options}


def _text(settings: dict[str, Any]) -> dict[str, Any]:
    """The setting ``text`` as an option; it is taken out of the settings."""
    return {"text": settings.pop("text")} if "text" in settings else {}


def pair(text: str) -> tuple[str, Any]:
    """``name=value`` -> the name, and the value as TOML reads it, or as text where TOML cannot read it."""
    name, equals, value = text.partition("=")
    if not equals or not name or "\n" in text:
        raise InvalidInput(mismatch("--set", "NAME=VALUE", repr(text)))
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def resolve(settings: Mapping[str, Any]) -> Iterator[tuple[Dataset, RunSpec]]:
    """The data and the run for every dtype and cell."""
    cells = dict.fromkeys(value_of("cell", _one_of(CELLS), name) for name in settings.get("cell", ["RNN"]))
    for dtype in dict.fromkeys(settings.get("dtype", ["float64"])):
        data = load(settings, dtype)
        for cell in cells:
            yield data, run_spec(settings, data, cell)


def task_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task that the settings name."""
    return settings.get("options", {}) | ({"text": settings["text"]} if "text" in settings else {})


def load(settings: Mapping[str, Any], dtype: str) -> Dataset:
    """The data that the settings describe."""
    return datasets.load(settings.get("task", "sine"), settings.get("reading"), dtype, **task_options(settings))


def run_spec(settings: Mapping[str, Any], data: Dataset, cell: str) -> RunSpec:
    """The run on this data that the settings describe; what they leave out falls back to the task's default."""
    usual, takes = data.training, TABLE[cell].options
    _require_possible(settings, data)
    model: dict[str, Any] = _of_group(settings, MODEL)
    if "forget_bias" in takes and usual.forget_bias is not None and model.get("bias", True):
        model.setdefault("forget_bias", usual.forget_bias)
    if "bidirectional" not in takes and usual.bidirectional:
        model.setdefault("bidirectional", False)
    for name, key in (("inputs", "inputs"), ("input_size", "embedding_size")):
        if key in settings:
            model[name] = settings[key]
    network = data.network(cell, model.pop("hidden_size", usual.hidden_size), **model)
    run: dict[str, Any] = {"epochs": usual.epochs, "batch_size": usual.batch_size, "patience": usual.patience}
    if network.model.bias and "i" in network.model.kind.letters:
        run["input_bias"] = usual.input_bias
    run |= _of_group(settings, TRAINING)
    return RunSpec(network=network, optimizer=optimizer(settings, usual.optimizer), **run)


def _of_group(settings: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The settings of a group, except for lists, each value of which makes a run."""
    return {
        row.name: settings[row.name]
        for row in SETTINGS
        if (row.group, row.kind.several) == (group, False) and row.name in settings
    }


def _require_possible(settings: Mapping[str, Any], data: Dataset) -> None:
    """Raise for settings that do not fit this data, or that would be ignored."""
    inputs = settings.get("inputs", data.inputs)
    possible = ["features"] if data.inputs == "features" else ["one_hot", "embedding"]
    if inputs not in possible:
        raise InvalidInput(choice(f"inputs of {data.task}", possible, inputs))
    if "embedding_size" in settings and inputs != "embedding":
        raise InvalidInput(mismatch("embedding_size", "inputs=embedding with it", inputs))
    if settings.get("bidirectional") and data.outputs.readout == "every_step" and data.symbols == data.outputs.symbols:
        wanted = f"one direction for {data.task}: the other would read the symbol that is to be predicted"
        raise InvalidInput(mismatch("bidirectional", wanted, True))
    if data.training.chunk and settings.get("batch_size") is not None:
        wanted = f"none for {data.task}, whose sequences are all trained side by side"
        raise InvalidInput(mismatch("batch_size", wanted, settings["batch_size"]))
    for name in ("hidden_size", "embedding_size"):
        if name in settings:
            require_positive_int(name, settings[name])


def optimizer(settings: Mapping[str, Any], usual: OptimizerSpec) -> OptimizerSpec:
    """The task's optimiser with the settings' changes; an optimiser of another name has a learning rate of its own."""
    changes = _of_group(settings, OPTIMIZER)
    name = changes.pop("optimizer", usual.name)
    if name != usual.name:
        usual = OptimizerSpec(name=name, lr=RATES.get(name, usual.lr), clip_norm=usual.clip_norm)
    for setting, rules in RULES.items():
        if setting in changes and name not in rules:
            cause = f"only {' and '.join(rules)} {'has' if len(rules) == 1 else 'have'} it"
            raise InvalidInput(mismatch(setting, f"none for {name}", changes[setting], cause))
    if changes.get("schedule", usual.schedule) == "constant":
        if "schedule_factor" in changes:
            wanted = "a schedule with it, such as --schedule step"
            raise InvalidInput(mismatch("schedule_factor", wanted, changes["schedule_factor"]))
        changes = {"schedule_steps": None} | changes
    return replace(usual, **changes)

"""What the configuration of one recurrent layer or cell of Keras says: its layout, its options, what is refused."""

from collections.abc import Mapping
from typing import Any, NamedTuple

# Class of a layer or cell -> the cell of the project.
CELLS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN", "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
# Arguments that act in training only.
DROPOUTS = ("dropout", "recurrent_dropout", "dropout_W", "dropout_U")


class Described(NamedTuple):
    """``layout`` is a key of ``systems.LAYOUTS``, or "" for a cell that the project does not have."""

    layout: str
    options: Mapping[str, Any]
    units: str
    notes: tuple[str, ...]
    problem: str


def config_of(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of an object that Keras has written; empty if it is not one."""
    config = one.get("config")
    return config if isinstance(config, dict) else {}


def name_of(one: Mapping[str, Any]) -> str:
    """The name of a layer; "" if it has none."""
    name = config_of(one).get("name", one.get("name"))
    return name if isinstance(name, str) else ""


def described(kind: str, cell: Mapping[str, Any], layer: Mapping[str, Any], is_half: bool) -> Described:
    """``cell`` is the configuration of the cell, ``layer`` that of the layer around it, which may be the same.

    ``is_half`` says that the layer is a direction of a Bidirectional, which turns its output round.
    """
    name = kind.rpartition(">")[2]
    stem = name.removesuffix("Cell") if name not in CELLS else name
    if stem not in CELLS:
        return Described("", {}, str(cell.get("units")), (), f"{name}, a cell that RNN Rosetta does not have")
    notes = [
        f"{option} = {layer[option]} acts in training only and is left out"
        for option in DROPOUTS
        if isinstance(layer.get(option), int | float) and layer[option]
    ]
    if layer.get("stateful") is True:
        notes.append("stateful: Keras starts a batch from the states that the one before left")
    if layer.get("time_major") is True:
        notes.append("time_major: its input and output have the time first")
    policy = _policy(layer.get("dtype"))
    if policy.startswith("mixed"):
        notes.append(f"Keras computes it under the policy {policy}; the weights have the dtype of the file")
    problem = ""
    if layer.get("go_backwards") is True and not is_half:
        problem = "go_backwards=True: it runs from the end, and returns the last step first"
    if policy and any(word in policy for word in ("int8", "int4", "float8")):
        problem = f"its weights are quantized ({policy})"
    options: dict[str, Any] = {}
    wanted = {} if stem.startswith("CuDNN") else {"activation": ("tanh",), "recurrent_activation": ("sigmoid",)}
    if stem == "SimpleRNN":
        wanted = {"activation": ("tanh", "relu")}
    for argument, names in wanted.items():
        activation = _function(cell.get(argument, names[0]))
        if activation not in names:
            problem = problem or f"{argument}={activation!r} (expected {' or '.join(names)})"
    if stem == "SimpleRNN" and not problem:
        options["nonlinearity"] = _function(cell.get("activation", "tanh"))
    layout = f"keras {stem}" if stem.startswith("CuDNN") else f"keras {CELLS[stem]}"
    if stem == "GRU" and cell.get("reset_after", False) is not True:
        layout = "keras GRU, reset_after=False"
    return Described(layout, options, str(cell.get("units")), tuple(dict.fromkeys(notes)), problem)


def _function(value: Any) -> str:
    """The name of an activation, whichever way it is spelt; Keras writes None as linear."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("class_name", "?")
        return {"Tanh": "tanh", "Sigmoid": "sigmoid", "ReLU": "relu"}.get(value, str(value))
    return "linear" if value is None else str(value)


def _policy(value: Any) -> str:
    if isinstance(value, dict):
        return str(config_of(value).get("name") or "")
    return value if isinstance(value, str) else ""

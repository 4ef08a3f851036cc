"""Haiku's names: a module and a parameter in it, ``lstm/linear`` and ``w``, as ``{module: {name: array}}`` in memory.

A pickle of such a tree is read without running anything of it. In a file of arrays the two are one name, which is how
most people save such a tree::

    arrays = {f"{module}/{name}": array for module, tree in params.items() for name, array in tree.items()}
    np.savez("params.npz", **arrays)

Between module and parameter may stand ``/``, ``.``, ``~``, ``:`` or ``|``. A module that was created in another's
``__init__`` has ``/~/`` in its path, which is kept. The parameters do not say of which class a module is: a ``Linear``
in it, or two, are an LSTM's or an Elman network's only if the name of the module says so (``lstm``, ``encoder_lstm``,
``lstm_1``, ``vanilla_rnn``, or one that ends in ``_l0``, ``_l0_reverse``, ...), and any GRU is recognised by ``w_i``,
``w_h`` and ``b``. ``hk.DeepRNN`` and ``hk.ResetCore`` have no parameters: the cores in them are found each on its own.

Haiku has neither layers nor directions, so a model is written as one core for each, named ``lstm_l0``,
``lstm_l0_reverse``, ``lstm_l1`` and so on (``gru``, ``vanilla_rnn``). Its user reads it back with

    params = {}
    for key, array in np.load("params.npz").items():
        module, _, name = key.rpartition("/")
        params.setdefault(module, {})[name] = array

and runs ``hk.dynamic_unroll`` of ``hk.LSTM(H, name="lstm_l0")``, and of ``hk.LSTM(H, name="lstm_l0_reverse")`` with
``reverse=True``, joins their outputs along the last axis, and gives them to ``lstm_l1``.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from common.conversions.systems import LAYOUTS
from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.schemes.layers import found, stacked
from common.weights.source import Found, Where

NAME = re.compile(r"(.+?)[/.~:|]+(w|b|w_i|w_h)", re.DOTALL)
# What may stand after the class in the name of a module.
_AFTER = r"(?:_?\d+)?(?:_l\d{1,6}|_fw|_bw|_forward|_backward)?(?:_reverse)?"
LSTM = re.compile(rf"(?:.*_)?lstm{_AFTER}|.*_l\d{{1,6}}(?:_reverse)?", re.IGNORECASE)
ELMAN = re.compile(rf"(?:.*_)?rnn{_AFTER}|.*_l\d{{1,6}}(?:_reverse)?", re.IGNORECASE)
CORES = {"RNN": "vanilla_rnn", "LSTM": "lstm", "GRU": "gru"}
CONVOLUTIONAL = "weights of {} axes: a convolutional LSTM, which this project does not have"


def find(arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
    """Every core of Haiku's; those that are named as one stack are one layer."""
    modules: dict[str, dict[str, str]] = {}
    for name in arrays:
        if match := NAME.fullmatch(name):
            modules.setdefault(match[1], {})[match[2]] = name
    cores = [core for path in modules if (core := _core(path, modules))]
    yield from stacked(_found(path, layout, parts, arrays) for path, layout, parts in cores)


def _core(path: str, modules: Mapping[str, Mapping[str, str]]) -> tuple[str, str, dict[str, str]] | None:
    """The path, the layout and the parts of the core that a module is, or whose first part it is; or None."""
    parts = dict(modules[path])
    if set(parts) >= {"w_i", "w_h"}:
        return path, "haiku GRU", parts
    parent, _, child = path.rpartition("/")
    name = parent.rpartition("/")[2]
    parts = {f"{child}/{part}": array for part, array in parts.items()}
    second = modules.get(f"{parent}/linear_1" if child == "linear" else f"{parent}/hidden_to_hidden", {})
    more = {f"linear_1/{part}": array for part, array in second.items()}
    if child == "linear" and "w" in second and ELMAN.fullmatch(name):
        return parent, "haiku RNN" if "b" in second else "haiku RNN, double_bias=False", parts | more
    if child == "linear" and not second and LSTM.fullmatch(name):
        return parent, "haiku LSTM", parts
    return (parent, "", parts) if child == "input_to_hidden" and second and "lstm" in name else None


def _found(path: str, layout: str, parts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Found:
    where: Where = {"_l0": dict(parts)}
    if layout:
        return found(path, layout, where, arrays)
    axes = max(arrays[name].ndim for name in parts.values())
    return Found(path, "haiku LSTM", where, None, {}, (), CONVOLUTIONAL.format(axes))


def places(spec: ModelSpec) -> tuple[str, Where]:
    """Raises ``InvalidInput`` for what Haiku has no core for."""
    layer = spec.kind.layer
    if layer not in CORES:
        raise InvalidInput(mismatch("cell", f"one that Haiku has ({', '.join(CORES)})", layer))
    if layer == "RNN" and spec.nonlinearity != "relu":
        raise InvalidInput(mismatch("nonlinearity", "relu, the only one of haiku.VanillaRNN", spec.nonlinearity))
    if layer == "GRU" and spec.reset_after:
        cause = "haiku.GRU resets h before the product, torch.nn after it: no weights make them equal"
        raise InvalidInput(mismatch("reset_after", False, True, cause))
    if spec.proj_size:
        raise InvalidInput(mismatch("proj_size", "0, as haiku.LSTM has no projection", spec.proj_size))
    layout = f"haiku {layer}"
    parts = [part.name for part in LAYOUTS[layout].parts]
    return layout, {s: {part: f"{CORES[layer]}{s}/{part}" for part in parts} for s in layer_suffixes(spec)}

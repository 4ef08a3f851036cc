"""The full square of formats: from each to each and back, to the bit or with exactly what is merged or added.

What a format keeps of the biases is written here once more, from the documentation of the libraries: by target, not by
layout. ``python -m tests.weights.converting.square`` proves the same conversions in the libraries themselves.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from common.errors import InvalidInput
from common.model.layout import Parameters, layer_suffixes
from common.model.spec import ModelSpec
from common.weights import files
from common.weights.layer import select
from common.weights.targets import TARGETS
from common.weights.writing import keep, written
from tests.weights.converting.sources import CASES, parameters, spec_of, told

NAMES = tuple(TARGETS)
STATE_DICTS = ("npz", "torch", "torch-checkpoint", "safetensors")
# What torch would load without a word.
PYTORCH, OF_TORCH = ("torch", "torch-checkpoint", "torchscript"), "one that torch.nn has"
FLAX, NNX = ("flax-orbax", "flax-msgpack", "flax-npz"), ("nnx-orbax", "nnx-npz")
KERAS = ("keras", "keras-weights", "keras2")
# A process of its own reads them, which takes a second: in one case alone.
SLOW, SLOW_IN = ("flax-orbax", "nnx-orbax"), ("RNN", "float32")
RESET, NO_PROJECTION, NO_1997 = "reset_after: expected", "projection", "cell: expected"
OTHERS = tuple(name for name in NAMES if name not in (*STATE_DICTS, "torchscript"))
# Case -> what no target but these can hold, and what the refusal says.
REFUSED: dict[str, dict[str, str]] = {
    "LSTM": {},
    "LSTM-no-bias": {},
    "GRU": dict.fromkeys(("haiku", "tf1"), RESET) | dict.fromkeys(NNX, "bias_hh of the candidate: expected zeros"),
    "RNN": {"haiku": "nonlinearity: expected relu", "equinox": "cell: expected LSTM or GRU", "cudnn": "LSTM or a GRU"},
    "RNN-relu": {"equinox": "cell: expected LSTM or GRU", "cudnn": "LSTM or a GRU"},
    "GRU-before": dict.fromkeys((*FLAX, *NNX, "equinox"), RESET)
    | dict.fromkeys(PYTORCH, OF_TORCH)
    | {"cudnn": "GRU with reset_after"},
    "LSTM-proj": dict.fromkeys((name for name in OTHERS if name != "tf1"), NO_PROJECTION),
    "LSTM1997": dict.fromkeys(OTHERS, NO_1997) | dict.fromkeys(PYTORCH, OF_TORCH),
}
# What has one bias for each gate, where it has not two; and what cannot do without.
ALWAYS_BIASED = (*FLAX, *NNX, "cudnn", "haiku", "tf1")
ADDS_ONE = ("haiku", "tf1")


class Stored(NamedTuple):
    """What was read from a file, and what was said when it was written."""

    spec: ModelSpec
    params: Parameters
    notes: tuple[str, ...]


class Formats:
    """Files written and read, each content once: a target is told nothing of the source but the weights."""

    def __init__(self, folder: Path):
        self.folder, self.known = folder, {}

    def through(self, target: str, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> Stored | str:
        """What a target gives back of a model, or the refusal."""
        key = target, spec, *((name, value.tobytes(), value.strides) for name, value in params.items())
        if key not in self.known:
            self.known[key] = self._through(target, spec, params)
        return self.known[key]

    def _through(self, target: str, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> Stored | str:
        path = self.folder / f"{len(self.known)}{TARGETS[target].suffix}"
        before = os.listdir(self.folder)
        try:
            with written(path, target, spec, params) as made:
                keep(made, path)
                notes = made.notes
        except InvalidInput as error:
            assert os.listdir(self.folder) == before
            return str(error)
        layer = select(files.read(path), **told(spec))
        assert layer.spec is not None
        return Stored(layer.spec, layer.params, notes)


def one_bias(target: str, spec: ModelSpec) -> str:
    """The gates of which a system has one bias, in torch's order, as letters; "-" for the one of an RNN."""
    both = spec.cell == "GRU" and spec.reset_after and target in KERAS
    if target in (*STATE_DICTS, "torchscript", "onnx", "cudnn") or both or (target, spec.cell) == ("haiku", "RNN"):
        return ""
    letters = {"LSTM": "ifgo", "GRU": "rz" if spec.reset_after else "rzn", "RNN": "-"}
    return letters[spec.cell]


def kept(target: str, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> Parameters:
    """The weights that a file of a target holds of a model."""
    result = dict(params)
    if not spec.bias and target not in ALWAYS_BIASED:
        return result
    order = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "-"}.get(spec.cell, "")
    for suffix in layer_suffixes(spec):
        zeros = np.zeros(len(params[f"weight_ih{suffix}"]), spec.dtype)
        of_x, of_h = (params.get(f"{name}{suffix}", zeros).copy() for name in ("bias_ih", "bias_hh"))
        for gate in one_bias(target, spec):
            rows = slice(order.index(gate) * spec.hidden_size, (order.index(gate) + 1) * spec.hidden_size)
            added = of_x.dtype.type(spec.cell == "LSTM" and gate == "f" and target in ADDS_ONE)
            of_x[rows] += of_h[rows] - added
            of_h[rows] = added
        result |= {f"bias_ih{suffix}": of_x, f"bias_hh{suffix}": of_h}
    return result


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Names, dtypes and bits."""
    assert a.keys() == b.keys()
    return all((a[n].dtype, a[n].tobytes()) == (b[n].dtype, b[n].tobytes()) for n in a)


def start_of(source: str, spec: ModelSpec) -> Parameters:
    """Random weights, without the bias that ``nnx.GRUCell`` has no place for where the source is one."""
    params = parameters(spec)
    if spec.cell == "GRU" and source in NNX:
        for name in (name for name in params if name.startswith("bias_hh")):
            params[name][2 * spec.hidden_size :] = 0
    return params


def names_in(case: str, dtype: str) -> tuple[str, ...]:
    return tuple(name for name in NAMES if name not in SLOW or (case, dtype) == SLOW_IN)


def refusal(target: str, case: str, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> str:
    """What the table says of a target, which nnx takes back where it is about numbers that are zero."""
    said = REFUSED[case].get(target, "")
    inner = [value[2 * spec.hidden_size :] for name, value in params.items() if name.startswith("bias_hh")]
    return "" if said.startswith("bias_hh") and not np.any(inner) else said


def require_told(target: str, given: Mapping[str, np.ndarray], stored: Stored) -> None:
    """Two biases are told to be merged where one was not zero and is gone, and whatever else has changed is told."""
    pairs = [(given[name], value) for name, value in stored.params.items() if "bias_hh" in name and name in given]
    merged = any(((a != b) & (a != 0)).any() for a, b in pairs)
    assert any("merged into one" in note for note in stored.notes) == merged
    added = any("zeros were added" in note for note in stored.notes)
    assert added == (given.keys() != stored.params.keys())
    subtracted = any("was subtracted" in note for note in stored.notes)
    assert subtracted == (stored.spec.cell == "LSTM" and target in ADDS_ONE)
    if not (merged or added or subtracted):
        assert same(given, stored.params)


@pytest.fixture(autouse=True, name="registered")
def registered_fixture() -> None:
    """The real formats and libraries, in place of those of the other tests of conversion."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_every_format_to_every_other_and_back(case: str, dtype: str, tmp_path: Path) -> None:
    spec, formats, names = spec_of(case, dtype), Formats(tmp_path), names_in(case, dtype)
    for source in names:
        start = start_of(source, spec)
        first = formats.through(source, spec, start)
        said = refusal(source, case, spec, start)
        if isinstance(first, str):
            assert said, f"{source} refuses the model: {first}"
            assert said in first
            continue
        assert not said, f"{source} does not refuse the model"
        assert first.spec == spec_as(source, spec)
        assert same(first.params, kept(source, spec, start))
        require_told(source, start, first)
        for target in names:
            there = formats.through(target, first.spec, first.params)
            said = refusal(target, case, spec, first.params)
            if isinstance(there, str):
                assert said, f"{source} -> {target} is refused: {there}"
                assert said in there
                continue
            assert not said, f"{source} -> {target} is not refused"
            assert there.spec == spec_as(target, first.spec)
            expected = kept(target, first.spec, first.params)
            assert same(there.params, expected), (source, target)
            require_told(target, first.params, there)
            back = formats.through(source, there.spec, there.params)
            assert isinstance(back, Stored), (source, target, back)
            assert same(back.params, kept(source, there.spec, expected)), (source, target, source)
            if same_if_alike(there.params, first.params):
                assert same(back.params, first.params), (source, target, source)


def spec_as(target: str, spec: ModelSpec) -> ModelSpec:
    """With biases, where a system cannot do without."""
    return replace(spec, bias=spec.bias or target in ALWAYS_BIASED)


def same_if_alike(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and same(a, b)


def test_every_target_has_a_refusal_or_holds_the_model() -> None:
    """The table names no target that there is not, and all cells are in it."""
    assert REFUSED.keys() == CASES.keys()
    assert set().union(*REFUSED.values()) <= set(NAMES)

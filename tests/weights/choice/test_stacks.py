"""Modules of one layer that are named as layers of one stack become one, and no others."""

from typing import Any

import numpy as np
import pytest

from common.model.spec import ModelSpec
from common.weights.schemes.layers import stacked
from common.weights.source import Found
from tests.weights.choice.models import H, I, single

LSTM, GRU = "tf1 LSTM", "keras GRU"


def test_layers_by_their_numbers_whatever_their_order() -> None:
    lower, upper, other = (
        single("net/rnn_l0", LSTM, 1),
        single("net/rnn_l1", LSTM, 2, input_size=H),
        single("x", LSTM, 3),
    )
    layer, left = stacked([upper, other, lower])
    assert left is other
    assert (layer.path, layer.layout, layer.problem) == ("net/rnn", LSTM, "")
    assert layer.spec == ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2)
    for module, number in ((lower, 0), (upper, 1)):
        assert layer.where[f"_l{number}"] == module.where["_l0"]
        for name, value in module.params.items():
            assert np.array_equal(layer.params[name.replace("_l0", f"_l{number}")], value)
    assert layer.notes == lower.notes
    assert len(layer.notes) == 1


def test_two_directions_in_a_module_or_in_two() -> None:
    pair = [
        single("rnn_l0", GRU, 1, bidirectional=True),
        single("rnn_l1", GRU, 2, bidirectional=True, input_size=2 * H),
    ]
    (layer,) = stacked(pair)
    wanted = ModelSpec(cell="GRU", input_size=I, hidden_size=H, num_layers=2, bidirectional=True)
    assert (layer.path, layer.spec) == ("rnn", wanted)
    assert np.array_equal(layer.params["weight_hh_l1_reverse"], pair[1].params["weight_hh_l0_reverse"])
    assert layer.recorded == {"reset_after"}
    (layer,) = stacked([pair[0]._replace(recorded=frozenset()), pair[1]])
    assert layer.recorded == set()
    names = ("rnn_l0", "rnn_l0_reverse", "rnn_l1", "rnn_l1_reverse")
    apart = [single(name, GRU, k, input_size=2 * H if "l1" in name else I) for k, name in enumerate(names)]
    (layer,) = stacked(apart)
    assert (layer.path, layer.spec) == ("rnn", wanted)
    for name, module in zip(names, apart, strict=True):
        suffix = name.removeprefix("rnn")
        assert np.array_equal(layer.params[f"bias_hh{suffix}"], module.params["bias_hh_l0"])
        assert layer.where[suffix] == module.where["_l0"]
    (layer,) = stacked(apart[:2])
    assert layer.spec == ModelSpec(cell="GRU", input_size=I, hidden_size=H, bidirectional=True)


def test_steps_become_layers() -> None:
    modules = [single("rnn_l0", LSTM, 1, cell="LSTMCell"), single("rnn_l1", LSTM, 2, cell="LSTMCell", input_size=H)]
    (layer,) = stacked(modules)
    assert layer.spec == ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2)
    assert np.array_equal(layer.params["bias_ih_l1"], modules[1].params["bias_ih"])


LOWER: tuple[Any, ...] = ("rnn_l0", GRU, 1)
BROKEN = Found("rnn_l1", GRU, {"_l0": {}}, None, {}, (), "an array is missing")


@pytest.mark.parametrize(
    "modules",
    [
        [single(*LOWER)],
        [single(*LOWER), single("rnn_l2", GRU, 2, input_size=H)],
        [single("rnn_l1", GRU, 2, input_size=H), single("rnn_l2", GRU, 2, input_size=H)],
        [single(*LOWER), single("rnn_l1", GRU, 2, input_size=H + 1)],
        [single(*LOWER), single("rnn_l1", GRU, 2, input_size=H, hidden_size=H + 1)],
        [single(*LOWER), single("rnn_l1", GRU, 2, input_size=H, dtype="float32")],
        [single(*LOWER), single("rnn_l1", GRU, 2, input_size=H, bidirectional=True)],
        [single(*LOWER), single("rnn_l1", "keras GRU, reset_after=False", 2, input_size=H, reset_after=False)],
        [single(*LOWER), single("rnn_l1", LSTM, 2, input_size=H)],
        [single(*LOWER), single("other_l1", GRU, 2, input_size=H)],
        [single(*LOWER), single("a/rnn_l1", GRU, 2, input_size=H)],
        [single(*LOWER), single("rnn_l1", GRU, 2, input_size=H), single("rnn", GRU, 3)],
        [single(*LOWER), single("rnn_l0_reverse", GRU, 2, input_size=I + 1)],
        [single(*LOWER), single("rnn_l1_reverse", GRU, 2)],
        [single(*LOWER), BROKEN],
    ],
    ids=lambda modules: "+".join(module.path for module in modules),
)
def test_what_does_not_fit_is_left_as_it_is(modules: list[Found]) -> None:
    left = stacked(modules)
    assert len(left) == len(modules)
    assert all(found is module for found, module in zip(left, modules, strict=True))

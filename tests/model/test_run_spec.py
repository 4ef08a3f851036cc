"""What is around a model is checked when it is built; a network's parameters have one place and one seed each."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput, InvalidType
from common.model import layout
from common.model.initial import initial_network, initial_parameters, initial_run
from common.model.layout import network_shapes
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from tests.refusals import refused

I, H, O, S = 3, 4, 5, 7
MODEL = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
NETWORK = NetworkSpec(model=MODEL, readout_size=O)
NAN, INF = float("nan"), float("inf")
OPTIMIZER: dict[str, Any] = {"name": "rmsprop", "lr": 0.01}
SCHEDULED: dict[str, Any] = OPTIMIZER | {"schedule": "step", "schedule_steps": 7}
PLAIN: dict[str, Any] = {"model": MODEL, "readout_size": O}
ONE_HOT: dict[str, Any] = PLAIN | {
    "inputs": "one_hot",
    "vocabulary": I,
    "readout": "every_step",
    "loss": "cross_entropy",
}
TABLES: dict[str, Any] = PLAIN | {
    "inputs": "embedding",
    "vocabulary": S,
    "readout": "encoder_decoder",
    "loss": "cross_entropy",
}
RUN: dict[str, Any] = {"network": NETWORK, "optimizer": OptimizerSpec()}
GATED: dict[str, Any] = RUN | {"network": NetworkSpec(model=replace(MODEL, cell="LSTM"), readout_size=O)}
WITH_GATE = "a finite number, with bias=True"


def network(base: dict[str, Any], **changes: Any) -> NetworkSpec:
    return NetworkSpec(**(base | changes))


AN_INT, A_NUMBER, LEAST, ABOVE = "an int", "a number", "at least 1", "a finite number above 0"
HALF_OPEN, PAIR = "a number in [0, 1)", "a tuple of two numbers in [0, 1)"
READOUT_NAMES = "last_step, last_sequence, every_step, final_state, encoder_decoder"
# The class, good arguments, the wrong one, its values, the exception, and what the message says was expected.
REFUSALS: list[tuple[type, dict[str, Any], str, list[Any], type[Exception], str]] = [
    (OptimizerSpec, OPTIMIZER, "name", ["adamw", "SGD", "", None], InvalidInput, "one of sgd, adam, rmsprop"),
    (OptimizerSpec, OPTIMIZER, "lr", [0, 0.0, -0.1, NAN, INF], InvalidInput, ABOVE),
    (OptimizerSpec, OPTIMIZER, "lr", [True, "0.1", None], InvalidType, A_NUMBER),
    (OptimizerSpec, OPTIMIZER, "eps", [0.0, -1e-8, NAN, INF], InvalidInput, ABOVE),
    (OptimizerSpec, OPTIMIZER, "eps", [True, "1e-8", None], InvalidType, A_NUMBER),
    (OptimizerSpec, OPTIMIZER, "momentum", [1, 1.0, -0.1, NAN, INF], InvalidInput, HALF_OPEN),
    (OptimizerSpec, OPTIMIZER, "momentum", [True, "0.9", None], InvalidType, A_NUMBER),
    (OptimizerSpec, {"name": "adam"}, "momentum", [0.9], InvalidInput, "0 for adam, whose first beta is one"),
    (OptimizerSpec, OPTIMIZER, "alpha", [1, 1.0, -0.1, NAN, INF], InvalidInput, HALF_OPEN),
    (OptimizerSpec, OPTIMIZER, "alpha", [False, "0.9", None], InvalidType, A_NUMBER),
    (OptimizerSpec, OPTIMIZER, "betas", [(0.9,), (0.9, 0.9, 0.9), (1.0, 0.9), (0.9, -0.1)], InvalidInput, PAIR),
    (OptimizerSpec, OPTIMIZER, "betas", [(NAN, 0.9), (0.9, "b"), [0.9, 0.9], 0.9, None], InvalidInput, PAIR),
    (OptimizerSpec, OPTIMIZER, "clip_norm", [0, 0.0, -1, NAN, INF], InvalidInput, ABOVE),
    (OptimizerSpec, OPTIMIZER, "clip_norm", [True, "1"], InvalidType, A_NUMBER),
    (OptimizerSpec, OPTIMIZER, "schedule", ["exp", None], InvalidInput, "one of constant, step, linear, cosine"),
    (OptimizerSpec, OPTIMIZER, "schedule_steps", [7], InvalidInput, "None with a constant schedule"),
    (OptimizerSpec, SCHEDULED, "schedule_steps", [0, -7], InvalidInput, LEAST),
    (OptimizerSpec, SCHEDULED, "schedule_steps", [None, True, 7.0], InvalidType, AN_INT),
    (OptimizerSpec, SCHEDULED, "schedule_factor", [-0.1, 1.1, NAN, INF], InvalidInput, "a number in [0, 1]"),
    (OptimizerSpec, SCHEDULED, "schedule_factor", [None, True, "1"], InvalidType, A_NUMBER),
    (NetworkSpec, PLAIN, "model", [None, "RNN"], InvalidType, "a ModelSpec"),
    (NetworkSpec, PLAIN, "readout_size", [0, -1], InvalidInput, LEAST),
    (NetworkSpec, PLAIN, "readout_size", [1.0, True, None], InvalidType, AN_INT),
    (NetworkSpec, PLAIN, "readout", ["first_step", "", None], InvalidInput, f"one of {READOUT_NAMES}"),
    (NetworkSpec, PLAIN, "loss", ["mae", None], InvalidInput, "one of mse, cross_entropy"),
    (NetworkSpec, PLAIN, "inputs", ["text", None], InvalidInput, "one of features, one_hot, embedding"),
    (NetworkSpec, PLAIN, "vocabulary", [I], InvalidInput, "None for features"),
    (NetworkSpec, ONE_HOT, "vocabulary", [I + 1, I - 1], InvalidInput, f"input_size={I} for one_hot"),
    (NetworkSpec, ONE_HOT, "vocabulary", [0], InvalidInput, LEAST),
    (NetworkSpec, TABLES, "vocabulary", [None, 7.0, True], InvalidType, AN_INT),
    (NetworkSpec, TABLES, "loss", ["mse"], InvalidInput, "cross_entropy for encoder_decoder"),
    (RunSpec, RUN, "network", [MODEL, None], InvalidType, "a NetworkSpec"),
    (RunSpec, RUN, "optimizer", ["sgd", None], InvalidType, "a OptimizerSpec"),
    (RunSpec, RUN, "epochs", [0, -1], InvalidInput, LEAST),
    (RunSpec, RUN, "epochs", [1.5, True, None], InvalidType, AN_INT),
    (RunSpec, RUN, "seed", [-1], InvalidInput, "at least 0"),
    (RunSpec, RUN, "seed", [0.5, True, None], InvalidType, AN_INT),
    (RunSpec, RUN, "batch_size", [0, -1], InvalidInput, LEAST),
    (RunSpec, RUN, "batch_size", [2.0, True, "2"], InvalidType, AN_INT),
    (RunSpec, RUN, "patience", [0, -1], InvalidInput, LEAST),
    (RunSpec, RUN, "patience", [2.0, True, "2"], InvalidType, AN_INT),
    (RunSpec, GATED, "input_bias", [True, "1"], InvalidType, A_NUMBER),
    (RunSpec, GATED, "input_bias", [NAN, INF], InvalidInput, WITH_GATE),
]
TABLE = [(kind, good, name, value, *text) for kind, good, name, values, *text in REFUSALS for value in values]


@pytest.mark.parametrize(("kind", "good", "name", "value", "error", "expected"), TABLE)
def test_a_wrong_argument_is_refused(kind, good, name, value, error, expected) -> None:
    kind(**good)
    with pytest.raises(error) as caught:
        kind(**(good | {name: value}))
    shown = type(value).__name__ if error is InvalidType else repr(value) if "one of" in expected else value
    said = "optimizer" if kind is OptimizerSpec and name == "name" else name
    assert str(caught.value) == f"{said}: expected {expected}, got {shown}"


def test_a_decoder_reads_symbols_in_one_direction() -> None:
    with refused("inputs", "one_hot", "embedding", got="features", cause=""):
        network(TABLES, inputs="features", vocabulary=None)
    with refused("bidirectional", "False", "encoder_decoder", got=True, cause=""):
        network(TABLES, model=replace(MODEL, bidirectional=True))


LIMITS: list[dict[str, Any]] = [
    {"momentum": 0, "alpha": 0, "betas": (0, 0), "clip_norm": 1, "lr": 1},
    {"schedule": "cosine", "schedule_steps": 1, "schedule_factor": 0},
    {"schedule": "linear", "schedule_steps": 1, "schedule_factor": 1},
    {"name": "adam", "momentum": 0.0},
]


@pytest.mark.parametrize("options", LIMITS, ids=str)
def test_the_limits_are_allowed(options: dict[str, Any]) -> None:
    spec = OptimizerSpec(**options)
    assert {name: getattr(spec, name) for name in options} == options


def test_the_decoder_is_the_encoder_for_the_symbols_that_are_read_out() -> None:
    layers = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2, dropout=0.5, proj_size=2, bias=False)
    embedded = network(TABLES, model=layers)
    one_hot = replace(embedded, inputs="one_hot", vocabulary=I)
    assert (embedded.decoder, one_hot.decoder) == (layers, replace(layers, input_size=O))
    for spec in (embedded, one_hot):
        assert spec.has_decoder
        assert spec.models == {"rnn": layers, "decoder": spec.decoder}
    assert not network(ONE_HOT).has_decoder
    assert network(ONE_HOT).models == {"rnn": MODEL}


def test_each_kind_of_embedded_symbol_has_a_table() -> None:
    embedded = network(TABLES)
    assert embedded.tables == {"embedding": (S, I), "decoder_embedding": (O, I)}
    assert replace(embedded, readout="final_state").tables == {"embedding": (S, I)}
    assert network(PLAIN).tables == network(ONE_HOT).tables == {}


def recurrent(prefix: str, columns: int) -> dict[str, tuple[int, ...]]:
    shapes = {"weight_ih": (H, columns), "weight_hh": (H, H), "bias_ih": (H,), "bias_hh": (H,)}
    return {f"{prefix}.{name}_l0": shape for name, shape in shapes.items()}


READOUT = {"readout.weight": (O, H), "readout.bias": (O,)}
SHAPED = [
    (PLAIN, recurrent("rnn", I) | READOUT),
    (ONE_HOT, recurrent("rnn", I) | READOUT),
    (PLAIN | {"inputs": "embedding", "vocabulary": S}, recurrent("rnn", I) | READOUT | {"embedding.weight": (S, I)}),
    (ONE_HOT | {"readout": "encoder_decoder"}, recurrent("rnn", I) | recurrent("decoder", O) | READOUT),
    (
        TABLES,
        recurrent("rnn", I)
        | recurrent("decoder", I)
        | READOUT
        | {"embedding.weight": (S, I), "decoder_embedding.weight": (O, I)},
    ),
]


@pytest.mark.parametrize(("options", "expected"), SHAPED)
def test_every_parameter_of_a_network_has_its_place(options: dict[str, Any], expected: dict) -> None:
    spec = network(options)
    params = initial_network(spec, 3)
    assert list(network_shapes(spec).items()) == list(expected.items())
    assert [(name, value.shape) for name, value in params.items()] == list(expected.items())
    layout.require_network(spec, params)
    assert layout.join_network(layout.split_network(params)) == params
    drawn = np.concatenate([value.ravel() for value in params.values()])
    assert len(np.unique(drawn)) == drawn.size, "the same numbers for two parameters"
    for part, own in layout.split_network(params).items():
        assert list(own) == [name.removeprefix(f"{part}.") for name in expected if name.startswith(f"{part}.")]


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_tables_change_no_other_initial_value(cell: str) -> None:
    model = replace(MODEL, cell=cell)
    plain = initial_network(NetworkSpec(model=model, readout_size=O), 5)
    embedded = initial_network(
        NetworkSpec(model=model, readout_size=O, inputs="embedding", vocabulary=S, readout="every_step"), 5
    )
    assert embedded.keys() - plain.keys() == {"embedding.weight"}
    assert all(np.array_equal(embedded[name], value) for name, value in plain.items())
    alone = initial_parameters(model, 5)
    decoding = initial_network(network(TABLES, model=model), 5)
    for params in (plain, embedded, decoding):
        assert all(np.array_equal(params[f"rnn.{name}"], value) for name, value in alone.items())


def test_tables_are_standard_normal_and_follow_the_seed() -> None:
    large = network(TABLES, model=replace(MODEL, input_size=30), vocabulary=200, readout_size=100)
    first, again, other = (initial_network(large, seed) for seed in (5, 5, 6))
    for name in ("embedding.weight", "decoder_embedding.weight"):
        table = first[name]
        assert np.array_equal(table, again[name])
        assert not np.isin(table, other[name]).any()
        assert abs(table.mean()) < 4 / np.sqrt(table.size)
        assert abs(table.std() - 1) < 4 / np.sqrt(2 * table.size)
        assert abs(table).max() > 3
    narrow = initial_network(replace(large, model=large.model.with_dtype("float32")), 5)
    for name, value in first.items():
        assert narrow[name].dtype == "float32"
        assert np.array_equal(value.astype("float32"), narrow[name]), name


@pytest.mark.parametrize(("cell", "given"), [("LSTM", -2.5), ("LSTM1997", -2.5), ("LSTM1997", 0.0)])
def test_the_input_gates_of_both_models_get_the_bias_of_the_run(cell: str, given: float) -> None:
    model = ModelSpec(cell=cell, input_size=I, hidden_size=H)
    run = RunSpec(network=network(TABLES, model=model), optimizer=OptimizerSpec(), input_bias=given)
    params, plain = initial_run(run), initial_network(run.network, run.seed)
    gate = slice(H)
    for name in ("rnn.bias_{}_l0", "decoder.bias_{}_l0"):
        for of, bias in (("ih", given), ("hh", 0)):
            assert (params[name.format(of)][gate] == bias).all()
            assert (plain[name.format(of)][gate] != bias).all()
            plain[name.format(of)][gate] = bias
    for name, value in plain.items():
        np.testing.assert_array_equal(params[name], value)


def test_the_forget_gates_of_both_models_get_their_bias() -> None:
    model = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2, forget_bias=1.5)
    params = initial_network(network(TABLES, model=model), 0)
    for name in ("rnn.bias_{}_l0", "rnn.bias_{}_l1", "decoder.bias_{}_l0", "decoder.bias_{}_l1"):
        of_x, of_h = params[name.format("ih")], params[name.format("hh")]
        assert (of_x[H : 2 * H] == 1.5).all()
        assert (of_h[H : 2 * H] == 0).all()
        for value in (of_x, of_h):
            assert not np.isin(np.delete(value, np.s_[H : 2 * H]), (0, 1.5)).any()
    assert not np.isin(params["readout.bias"], (0, 1.5)).any()


@pytest.mark.parametrize("bias", [-1.0, 0])
def test_only_a_cell_with_an_input_gate_has_a_bias_for_it(bias: float) -> None:
    RunSpec(**GATED, input_bias=bias)
    text = f"^input_bias: expected None for RNN, got {bias}; only LSTM, .* have an input gate$"
    with pytest.raises(InvalidInput, match=text):
        RunSpec(**RUN, input_bias=bias)

"""Specifications refuse what they cannot mean, by name; the neutral layout is torch's, value for value."""

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import InvalidInput, InvalidType
from common.model import cells, dtypes, layout
from common.model.initial import initial_network, initial_parameters
from common.model.layout import Parameters, parameter_shapes
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import CELLS, HALF_DTYPES, ModelSpec
from tests.backend.modules.references import MODULES
from tests.refusals import refused

I, H, O = 3, 7, 2
SPEC = ModelSpec(cell="RNN", input_size=I, hidden_size=H)
VALID: dict[type, dict[str, Any]] = {
    ModelSpec: {"cell": "RNN", "input_size": I, "hidden_size": H},
    OptimizerSpec: {"name": "adam", "lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8},
    NetworkSpec: {"model": SPEC, "readout_size": O},
    RunSpec: {"network": NetworkSpec(model=SPEC, readout_size=O), "optimizer": OptimizerSpec()},
}
every_cell = pytest.mark.parametrize("cell", CELLS)
every_layer = pytest.mark.parametrize("spec", [SPEC, ModelSpec(cell="LSTM", input_size=I, hidden_size=H, bias=False)])

NAN, INF = float("nan"), float("inf")
DTYPE_NAMES = "float64, float32, float16, bfloat16, complex128"
CELL_NAMES = "RNN, RNNCell, LSTM, LSTMCell, GRU, GRUCell, LSTM1997, LSTM1997Cell"
# The class, the argument, the values that it refuses, the exception, and what the message says was expected.
REFUSALS = [
    (ModelSpec, "cell", ["LSTM1998", "rnn", "", None], InvalidInput, f"one of {CELL_NAMES}"),
    (ModelSpec, "input_size", [0, -3], InvalidInput, "at least 1"),
    (ModelSpec, "input_size", [3.0, True, "3", None], InvalidType, "an int"),
    (ModelSpec, "hidden_size", [0, -7], InvalidInput, "at least 1"),
    (ModelSpec, "hidden_size", [7.0, True, "7", None], InvalidType, "an int"),
    (ModelSpec, "nonlinearity", ["sigmoid", "Tanh", None], InvalidInput, "one of tanh, relu"),
    (ModelSpec, "bias", [0, 1, None, "no"], InvalidType, "a bool"),
    (ModelSpec, "dtype", ["float8", "double", None], InvalidInput, f"one of {DTYPE_NAMES}"),
    (ModelSpec, "num_layers", [0, -1], InvalidInput, "at least 1"),
    (ModelSpec, "num_layers", [2.0, True, None], InvalidType, "an int"),
    (ModelSpec, "dropout", [-0.1, 1.1, NAN, INF], InvalidInput, "a probability in [0, 1]"),
    (ModelSpec, "dropout", [True, "0.5", None], InvalidType, "a number"),
    (ModelSpec, "bidirectional", [None, 0, 1], InvalidType, "a bool"),
    (ModelSpec, "proj_size", [4, -1], InvalidInput, "0 for RNN"),
    (ModelSpec, "proj_size", [None, 2.0, True], InvalidType, "an int"),
    (ModelSpec, "forget_bias", [1.0], InvalidInput, "None for RNN"),
    (ModelSpec, "forget_bias", [True, "1"], InvalidType, "a number"),
    (ModelSpec, "reset_after", [False], InvalidInput, "True for RNN"),
    (ModelSpec, "reset_after", [0, 1, None], InvalidType, "a bool"),
]
TABLE = [(kind, name, value, error, text) for kind, name, values, error, text in REFUSALS for value in values]


@pytest.mark.parametrize(("kind", "name", "value", "error", "expected"), TABLE)
def test_a_wrong_argument_is_refused(kind, name, value, error, expected) -> None:
    kind(**VALID[kind])
    with pytest.raises(error) as caught:
        kind(**(VALID[kind] | {name: value}))
    shown = type(value).__name__ if error is InvalidType else repr(value) if "one of" in expected else value
    assert str(caught.value).partition(";")[0] == f"{name}: expected {expected}, got {shown}"


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.startswith("RNN")])
def test_a_gated_cell_has_no_relu(cell: str) -> None:
    text = f"^nonlinearity: expected 'tanh' for {cell}, got 'relu'; only RNN and RNNCell have it$"
    with pytest.raises(InvalidInput, match=text):
        ModelSpec(cell=cell, input_size=I, hidden_size=H, nonlinearity="relu")


# The cell, its options, the argument that is named, and what the message says was expected.
COMBINATIONS = [
    (cell, {name: value}, name, f"{only} for {cell}")
    for cell in CELLS
    if cells.TABLE[cell].is_step
    for name, value, only in (("num_layers", 2, "1"), ("dropout", 0.5, "0.0"), ("bidirectional", True, "False"))
]
COMBINATIONS += [(cell, {"proj_size": 2}, "proj_size", f"0 for {cell}") for cell in CELLS if cell != "LSTM"]
COMBINATIONS += [("LSTM", {"proj_size": n}, "proj_size", r"0 \(no projection\) to 6, .*") for n in (-1, H, H + 1)]
for cell in CELLS:
    if cell not in ("LSTM", "LSTMCell"):
        COMBINATIONS += [(cell, {"forget_bias": 1.0}, "forget_bias", f"None for {cell}")]
    if cell not in ("GRU", "GRUCell"):
        COMBINATIONS += [(cell, {"reset_after": False}, "reset_after", f"True for {cell}")]
BIASED = "a finite number, with bias=True"
COMBINATIONS += [("LSTMCell", {"bias": False, "forget_bias": 1.0}, "forget_bias", BIASED)]
COMBINATIONS += [("LSTM", {"forget_bias": value}, "forget_bias", BIASED) for value in (NAN, INF)]


@pytest.mark.parametrize(("cell", "options", "name", "expected"), COMBINATIONS)
def test_options_that_a_cell_cannot_have_are_refused(cell: str, options: dict[str, Any], name: str, expected) -> None:
    with pytest.raises(InvalidInput, match=f"^{name}: expected {expected}, got {options[name]}(; .+)?$"):
        ModelSpec(cell=cell, input_size=I, hidden_size=H, **options)


@pytest.mark.parametrize("kind", VALID)
def test_specifications_are_values(kind: type) -> None:
    spec = kind(**VALID[kind])
    assert len({spec, kind(**VALID[kind])}) == 1
    with pytest.raises(FrozenInstanceError):
        setattr(spec, next(iter(VALID[kind])), 1)
    options = VALID[ModelSpec] | {"nonlinearity": "relu", "bias": False}
    assert ModelSpec(**options).with_dtype("float32") == ModelSpec(**options, dtype="float32")


SHAPED = [(cell, {"bias": bias}) for cell in CELLS for bias in (True, False)]
SHAPED += [(cell, {"num_layers": 3, "bidirectional": True}) for cell in cells.LAYERS]
SHAPED += [("LSTM", {"num_layers": 2, "bidirectional": two, "proj_size": 4, "bias": not two}) for two in (True, False)]


@pytest.mark.parametrize(("cell", "options"), SHAPED, ids=str)
def test_names_shapes_and_their_order_are_torchs(cell: str, options: dict[str, Any]) -> None:
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=H, **options)
    state = MODULES[cell](I, H, **options).state_dict()
    expected = [(name, tuple(value.shape)) for name, value in state.items()]
    assert list(parameter_shapes(spec).items()) == expected
    assert [(name, value.shape) for name, value in initial_parameters(spec, 0).items()] == expected


def check_uniform(params: Parameters, bound: float) -> None:
    for name, value in params.items():
        assert -bound <= value.min() < -0.95 * bound, name
        assert 0.95 * bound < value.max() <= bound, name
        assert abs(value.mean()) < 4 * bound / np.sqrt(3 * value.size), name


@every_cell
def test_initial_values_fill_the_bound_of_torch(cell: str) -> None:
    spec = ModelSpec(cell=cell, input_size=2, hidden_size=400)
    check_uniform(initial_parameters(spec, 0), 1 / 20)
    check_uniform(initial_network(NetworkSpec(model=spec, readout_size=150), 0), 1 / 20)
    module = MODULES[cell](2, 400)
    for name, value in module.state_dict().items():
        assert 0.95 / 20 < value.abs().max() <= 1 / 20, name


@every_cell
def test_the_seed_decides_every_value(cell: str) -> None:
    network = NetworkSpec(model=ModelSpec(cell=cell, input_size=I, hidden_size=H), readout_size=O)
    first, again, other = (initial_network(network, seed) for seed in (5, 5, 6))
    assert list(first) == list(layout.network_shapes(network))
    for name, value in first.items():
        assert np.array_equal(value, again[name]), name
        assert not np.isin(value, other[name]).any(), name
    drawn = np.concatenate([value.ravel() for value in first.values()])
    assert len(np.unique(drawn)) == drawn.size, "the same numbers for two parameters"


@pytest.mark.parametrize("dtype", ["float32", *HALF_DTYPES])
@every_cell
def test_narrow_dtypes_are_float64_rounded(cell: str, dtype: str) -> None:
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=H)
    wide, narrow = (initial_parameters(spec.with_dtype(kind), 3) for kind in ("float64", dtype))
    for name, value in wide.items():
        assert narrow[name].dtype == dtypes.numpy_dtype(dtype)
        assert np.array_equal(value.astype(narrow[name].dtype), narrow[name]), name


@pytest.mark.parametrize("cell", cells.LAYERS)
def test_a_cell_and_a_layer_share_their_values(cell: str) -> None:
    layer, step = (initial_parameters(ModelSpec(cell=c, input_size=I, hidden_size=H), 3) for c in (cell, cell + "Cell"))
    assert [name.removesuffix("_l0") for name in layer] == list(step)
    assert all(np.array_equal(a, b) for a, b in zip(layer.values(), step.values(), strict=True))


@every_layer
def test_split_and_join_are_inverse(spec: ModelSpec) -> None:
    params = initial_network(NetworkSpec(model=spec, readout_size=O), 0)
    parts = layout.split_network(params)
    assert list(parts) == ["rnn", "readout"]
    assert {name: value.shape for name, value in parts["rnn"].items()} == parameter_shapes(spec)
    assert {name: value.shape for name, value in parts["readout"].items()} == {"weight": (O, H), "bias": (O,)}
    joined = layout.join_network(parts)
    assert list(joined) == list(params)
    assert all(joined[name] is params[name] for name in params)


@every_layer
def test_weights_and_names_are_inverse(spec: ModelSpec) -> None:
    params = initial_parameters(spec, 0)
    (suffix,) = layout.layer_suffixes(spec)
    weights = layout.layer_weights(params, suffix)
    assert (weights.bias_ih is None, weights.bias_hh is None) == (not spec.bias,) * 2
    assert weights.weight_ih.shape[1] == I
    named = layout.named_weights(weights, suffix)
    assert list(named) == list(params)
    assert all(named[name] is params[name] for name in params)


def poked(value: np.ndarray, index: tuple[int, ...], number: float) -> np.ndarray:
    value = value.copy()
    value[index] = number
    return value


SHAPE, BIAS, DTYPE = (f"{what} for RNN(hidden_size={H})" for what in ("(7, 3)", "(7,)", "float64"))
ARRAY, FINITE = "a numpy.ndarray", "finite values"
# What is wrong, with which parameter, the exception, what the message says was expected, got, and the likely cause.
WRONG_ARRAYS = [
    (np.transpose, "weight_ih_l0", InvalidInput, SHAPE, "(3, 7); transposed?"),
    (np.ravel, "weight_ih_l0", InvalidInput, SHAPE, "(21,); an axis too many or too few?"),
    (lambda v: v[:4], "bias_ih_l0", InvalidInput, BIAS, "(4,)"),
    (lambda v: v.astype("float32"), "bias_ih_l0", InvalidType, DTYPE, "float32"),
    (lambda v: v.astype("int64"), "bias_hh_l0", InvalidType, DTYPE, "int64"),
    (lambda v: v.astype(">f8"), "bias_hh_l0", InvalidType, DTYPE, ">f8"),
    (torch.tensor, "bias_ih_l0", InvalidType, ARRAY, "Tensor"),
    (lambda v: poked(v, (4, 1), NAN), "weight_ih_l0", InvalidInput, FINITE, "nan at index (4, 1)"),
    (lambda v: poked(v, (6,), -INF), "bias_hh_l0", InvalidInput, FINITE, "-inf at index (6,)"),
]


@pytest.mark.parametrize(("change", "name", "error", "expected", "got"), WRONG_ARRAYS)
def test_a_wrong_parameter_is_refused(change, name, error, expected, got) -> None:
    network = NetworkSpec(model=SPEC, readout_size=O)
    params, both = initial_parameters(SPEC, 0), initial_network(network, 0)
    layout.require_parameters(SPEC, params)
    layout.require_network(network, both)
    with pytest.raises(error) as caught:
        layout.require_parameters(SPEC, params | {name: change(params[name])})
    assert str(caught.value) == f"{name}: expected {expected}, got {got}"
    with pytest.raises(error) as caught:
        layout.require_network(network, both | {f"rnn.{name}": change(both[f"rnn.{name}"])})
    assert str(caught.value) == f"rnn.{name}: expected {expected}, got {got}"


MISSING, EXTRA = "missing bias_hh_l0", "extra weight_hr_l0; a model with a proj_size?"
WRONG_NAMES = [("bias_hh_l0", "", MISSING), ("", "weight_hr_l0", EXTRA), ("bias_hh_l0", "x", f"{MISSING}; extra x")]


@pytest.mark.parametrize(("drop", "add", "got"), WRONG_NAMES)
def test_missing_and_extra_parameters_are_refused(drop: str, add: str, got: str) -> None:
    params = {name: value for name, value in initial_parameters(SPEC, 0).items() if name != drop}
    params |= {add: np.zeros(H)} if add else {}
    with refused("parameters", got="list", cause="", error=InvalidType):
        layout.require_parameters(SPEC, list(params))  # pyright: ignore
    with pytest.raises(InvalidInput) as caught:
        layout.require_parameters(SPEC, params)
    meant = "weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0"
    assert str(caught.value) == f"parameters of RNN: expected {meant}, got {got}"


def test_the_likely_cause_is_a_transpose_before_it_is_a_gru() -> None:
    """RNN(3, 4): a transposed weight has three quarters of the rows too. And an array without axes has no rows."""
    for array, got in ((np.zeros((3, 4)), "(3, 4); transposed?"), (np.zeros(()), "()")):
        with pytest.raises(InvalidInput) as caught:
            layout.require_array("weight_ih_l0", array, (4, 3), "float64", owner="RNN(hidden_size=4)")
        assert str(caught.value) == f"weight_ih_l0: expected (4, 3) for RNN(hidden_size=4), got {got}"


def test_axes_in_another_order_are_named() -> None:
    with refused("x", "(2, 3, 4)", got="(3, 2, 4)", cause="order"):
        layout.require_array("x", np.zeros((3, 2, 4)), (2, 3, 4), "float64")


@pytest.mark.parametrize(
    ("name", "shape", "cause"),
    [
        ("weight_ih_l0", (3 * H, I), "a GRU's or an LSTM1997's?"),
        ("weight_hh_l0", (H, 2), "an RNN's?"),
        ("weight_ih_l0", (3 * H + 1, I), ""),
        ("weight_hr_l0", (3 * H, H), ""),
    ],
)
def test_only_whole_gates_tell_the_cell_of_wrong_weights(name: str, shape: tuple[int, ...], cause: str) -> None:
    spec = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, proj_size=2)
    with pytest.raises(InvalidInput) as caught:
        layout.require_parameters(spec, initial_parameters(spec, 0) | {name: np.zeros(shape)})
    assert str(caught.value).partition("; ")[2] == cause

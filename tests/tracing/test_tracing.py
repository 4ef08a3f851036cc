"""A trace is the same from NumPy's lines, JAX, PyTorch and finite differences, and shows a fault where it is."""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import numpy_impl.lstm_cell
import numpy_impl.unroll
from common.backend import registry
from common.backend.guards import zero_state
from common.equivalence.planting import planted
from common.errors import InvalidInput
from common.model.spec import ModelSpec
from common.tracing import backends as tracing
from common.tracing.backends import FINITE_DIFFERENCES, TRACED
from common.tracing.finite_differences import forward_steps
from common.tracing.trace import Trace
from tests.tracing.small import DIFFERENCES, EXACT, GRU, LSTM, RNN, H, I, T, example

MODELS = [
    ModelSpec(cell=cell, input_size=I, hidden_size=H, nonlinearity=phi, bias=bias)
    for cell, phi in [("RNN", "tanh"), ("RNN", "relu"), ("RNNCell", "tanh"), ("LSTM", "tanh"), ("LSTMCell", "tanh")]
    for bias in (True, False)
]
MODELS += [
    ModelSpec(cell=cell, input_size=I, hidden_size=H, bias=bias, **options)
    for cell, bias, options in [
        ("GRU", True, {}),
        ("GRUCell", False, {}),
        ("GRUCell", True, {"reset_after": False}),
        ("LSTM1997Cell", True, {}),
    ]
]
# Layer -> the intermediates of its step, and those whose derivative NumPy has no line for.
FORWARD = {"RNN": {"a", "h"}, "LSTM": {"a", "i", "f", "g", "o", "c", "h"}, "LSTM1997": {"a", "i", "g", "o", "c", "h"}}
FORWARD["GRU"] = {"a", "q", "r", "z", "s", "q_n", "n", "h"}
ELSEWHERE = {"RNN": set(), "LSTM": {"di", "df", "dg", "do"}, "LSTM1997": {"di", "dg", "do"}, "GRU": {"dz", "dn"}}
WEIGHTS = {True: {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}, False: {"weight_ih", "weight_hh"}}
every_model = pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.label)


@cache
def traces(spec: ModelSpec, counted: tuple[int, ...] = (1, 1, 1, 1)) -> dict[str, Trace]:
    return tracing.everything(example(spec, counted))


def apart(found: Trace, wanted: Trace, tolerance: float = EXACT) -> dict[str, list[int]]:
    """Name -> the steps at which two traces differ, by the largest value, in what both have."""
    steps = {}
    for name in found.arrays.keys() & wanted.arrays.keys():
        a, b = found.arrays[name], wanted.arrays[name]
        assert a.shape == b.shape
        off = ~(abs(a - b) <= tolerance * abs(b).max())
        steps[name] = sorted({int(t) for t in np.argwhere(off)[:, 0]})
    return {name: places for name, places in steps.items() if places}


def derivatives(spec: ModelSpec) -> set[str]:
    """What every backend has besides the forward values and the derivatives of the gates' values."""
    own = {"da", "dh", "dx", "dh_prev"} | ({"dc", "dc_prev", "dc_next"} if "c" in spec.state_names else set())
    own |= {"dq", "dq_n", "ds", "dr"} if spec.kind.layer == "GRU" else set()
    return own | {f"d{name}{end}" for name in WEIGHTS[spec.bias] for end in ("", "_step")}


@every_model
@pytest.mark.parametrize("counted", [(1, 1, 1, 1), (0, 0, 0, 1), (0, 1, 0, 1)])
def test_the_four_agree(spec: ModelSpec, counted: tuple[int, ...]) -> None:
    found = traces(spec, counted)
    wanted = FORWARD[spec.kind.layer] | derivatives(spec)
    gates = ELSEWHERE[spec.kind.layer]
    assert found["numpy"].arrays.keys() >= wanted
    assert not found["numpy"].arrays.keys() & gates
    entering = {f"{name}_prev" for name in spec.state_names}
    assert found["torch"].arrays.keys() == found["jax"].arrays.keys() == wanted | gates | entering
    differences = found[FINITE_DIFFERENCES].arrays.keys()
    assert differences == {name for name in derivatives(spec) if not name.endswith("_step")} | gates
    for name in ("numpy", "torch"):
        assert not apart(found[name], found["jax"])
    assert not apart(found[FINITE_DIFFERENCES], found["jax"], DIFFERENCES)


@every_model
def test_shapes(spec: ModelSpec) -> None:
    """No batch axis; the agreement alone would not notice one."""
    rows = spec.num_blocks * H
    names = FORWARD[spec.kind.layer] | derivatives(spec) | ELSEWHERE[spec.kind.layer] | {"h_prev", "c_prev"}
    shapes: dict[str, Any] = dict.fromkeys(names, (T, H))
    shapes |= {"a": (T, rows), "da": (T, rows), "q": (T, 2 * H), "dq": (T, 2 * H), "dx": (T, I)}
    for end in ("", "_step"):
        shapes |= {f"dweight_ih{end}": (T, rows, I), f"dweight_hh{end}": (T, rows, H)}
        shapes |= {f"dbias_ih{end}": (T, rows), f"dbias_hh{end}": (T, rows)}
    for trace in traces(spec).values():
        shared = trace.arrays.keys() & shapes.keys()
        assert {name: trace.arrays[name].shape for name in shared} == {name: shapes[name] for name in shared}


@every_model
@pytest.mark.parametrize("name", TRACED)
@pytest.mark.parametrize("counted", [(1, 1, 1, 1), (0, 0, 0, 1)])
def test_it_is_the_trace_of_the_layer(spec: ModelSpec, name: str, counted: tuple[int, ...]) -> None:
    given, backend, arrays = example(spec, counted), registry.load(name), traces(spec, counted)[name].arrays
    y, _ = backend.forward(spec, given.params, given.x, given.state0)
    dy = np.array(counted)[:, None, None] * (y - given.target)
    grads = backend.vjp(spec, given.params, given.x, given.state0, dy, zero_state(spec, 1))
    wanted = {"h": y[:, 0], "dx": grads.x[:, 0]}
    wanted |= {f"d{state}_prev": part[0] for state, part in zip(spec.state_names, grads.state0, strict=True)}
    wanted |= {f"d{key.removesuffix('_l0')}": grad[None] for key, grad in grads.params.items()}
    firsts = {key: arrays[key][: len(value)] for key, value in wanted.items()}
    assert not apart(Trace(firsts), Trace(wanted))


def test_the_log_is_what_was_executed_in_order() -> None:
    log = traces(LSTM)["numpy"].events
    assert [step.t for step in log] == [*range(T), *reversed(range(T))]
    assert [step.phase for step in log] == ["forward"] * T + ["backward"] * T
    back = ["U1", *(f"K{number}" for number in range(9, 20)), "U2"]
    forth = [f"K{number}" for number in range(1, 9)]
    assert [[event.tag for event in step.events] for step in log] == [forth] * T + [back] * T
    sources: dict[str, ModuleType] = {"U": numpy_impl.unroll, "K": numpy_impl.lstm_cell}
    for event in log[0].events + log[-1].events:
        line = Path(sources[event.tag[0]].__file__ or "").read_text().splitlines()[event.number - 1]
        assert line.strip() == f"{event.code}  # ({event.tag})"
    arrays = traces(LSTM)["numpy"].arrays
    assert np.array_equal(log[-1].events[-1].values["total"].weight_ih, arrays["dweight_ih"][0])
    assert np.array_equal(log[-2].events[2].values["da_i"][0], arrays["da"][1, :H])


def test_a_model_without_bias_skips_its_lines() -> None:
    log = traces(MODELS[1])["numpy"].events
    assert [event.tag for event in log[0].events] == ["C1", "C3"]
    assert [event.tag for event in log[-1].events] == ["U1", "C4", "C5", "C6", "C8", "C9", "U2"]


@pytest.mark.parametrize("spec", [RNN, LSTM, GRU], ids=lambda spec: spec.cell)
def test_a_planted_fault_shows_where_it_is(spec: ModelSpec) -> None:
    wanted, accumulated = traces(spec)["jax"], {f"d{name}" for name in WEIGHTS[True]}
    with planted(("numpy_impl/unroll", "dstate[0] + dy[t]", "dy[t]")) as name:
        found = importlib.import_module(f"{name}.trace").trace(example(spec))
    wrong = {key: [0, 1, 2] for key in derivatives(spec)}
    # What the last step sends back is right.
    assert apart(found, wanted) == wrong | ({"dc_next": [0, 1]} if "dc_next" in wrong else {})
    with planted(("numpy_impl/unroll", "total = add(total, dw)", "total = dw")) as name:
        found = importlib.import_module(f"{name}.trace").trace(example(spec))
    assert apart(found, wanted) == {key: [0, 1, 2] for key in accumulated}


@pytest.mark.parametrize("package", TRACED)
def test_a_copy_of_a_package_traces_itself(package: str) -> None:
    with planted((f"{package}_impl/lstm_cell", "f * c_prev + i * g", "f * c_prev + i * o")) as name:
        found = apart(importlib.import_module(f"{name}.trace").trace(example(LSTM)), traces(LSTM)["numpy"])
    assert found["c"] == found["h"] == [0, 1, 2, 3]
    assert found["a"] == found["i"] == [1, 2, 3]


@pytest.mark.parametrize("package", TRACED)
def test_a_gru_s_intermediates_are_followed(package: str) -> None:
    """In PyTorch a state under a second name is one tensor; a fault that swaps it for another shows in ``s``."""
    with planted((f"{package}_impl/gru_cell", "s = h_prev if", "s = z * h_prev if")) as name:
        found = apart(importlib.import_module(f"{name}.trace").trace(example(GRU)), traces(GRU)["numpy"])
    assert found["s"] == found["q_n"] == found["n"] == found["h"] == [0, 1, 2, 3]
    assert "a" not in found  # only the input's side


def test_the_steps_of_finite_differences_are_counted() -> None:
    """Twice for each number that is moved, from the step on where it is moved."""
    for spec in (LSTM, GRU):
        numbers = sum(array[0].size for array in traces(spec)[FINITE_DIFFERENCES].arrays.values())
        numbers -= H if "c" in spec.state_names else 0  # dc_next is dc_prev of the next step
        assert forward_steps(example(spec)) == 2 * T * T * numbers


def test_what_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="one of numpy, jax, torch, got 'flax'"):
        tracing.load("flax")

    monkeypatch.setattr(registry, "load", {}.__getitem__)  # the registry's errors come first
    with pytest.raises(KeyError, match="jax"):
        tracing.load("jax")


def test_differences_of_some_units_are_those_of_all_units() -> None:
    own = example(ModelSpec(cell="LSTM", input_size=I, hidden_size=H))
    some, every = (tracing.everything(own, (), units)[FINITE_DIFFERENCES].arrays for units in ((0, 2), None))
    for name, array in every.items():
        wanted = array.copy()
        for axis in {"dx": (), "dweight_ih": (1,), "dweight_hh": (1, 2)}.get(name, (-1,)):
            np.moveaxis(wanted, axis, 0)[1::H] = np.nan
        np.testing.assert_array_equal(some[name], wanted)
        assert np.isnan(some[name]).any() == (name != "dx")

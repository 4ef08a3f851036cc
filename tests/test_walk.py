"""What the stepper's page shows is what was computed, by whom, and it tells right from wrong."""

import importlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from common import tracing
from common.layout import initial_parameters
from common.planting import planted
from common.spec import ModelSpec
from common.tracing import Example, Trace
from reports.teaching import sources, walk

ROOT = Path(__file__).parent.parent
H, I, T = 4, 3, 3
UNITS, INPUTS = (2, 0), (1,)
FACTORS = {"0.5": 0.5, "1.0": 1.0, "2.0": 2.0}
COUNTED = {"every": (1, 1, 1), "last": (0, 0, 1)}
WORLDS = [(loss, factor) for loss in COUNTED for factor in FACTORS]
OTHERS = ("jax", "torch", "finite differences")

SUMS = "dweight_ih dweight_hh dbias_ih dbias_hh"
PARTS = "dweight_ih_step dweight_hh_step dbias_ih_step dbias_hh_step"
RNN = f"da dx {SUMS} {PARTS}"
LSTM = f"dc dx da_i da_f da_g {SUMS} {PARTS}"
# Cell -> planted mistake -> (file, right, wrong), (tag, its line then), steps -> the quantities that are wrong there.
U1 = ("unroll", "later + own[t]", "own[t]")
U1_CODE = ("U1", "dstate = tuple(later if own is None else own[t] for own, later in used)")
U2, U2_CODE = ("unroll", "total = add(total, dw)", "total = dw"), ("U2", "total = dw")
BUGS: dict[str, dict[str, tuple[tuple[str, str, str], tuple[str, str], dict[tuple[int, ...], str]]]] = {
    "RNN": {
        "dh_next": (U1, U1_CODE, {(0, 1): f"{RNN} dh"}),
        "sum": (U2, U2_CODE, {(0, 1): SUMS}),
        "slope": (("rnn_cell", "dh * slope(tape.h)", "dh"), ("C4", "da = dh"), {(0, 1, 2): RNN, (0, 1): "dh"}),
    },
    "LSTM": {
        "dh_next": (U1, U1_CODE, {(0, 1): f"{LSTM} dh da_o"}),
        "sum": (U2, U2_CODE, {(0, 1): SUMS}),
        "dc_next": (
            ("lstm_cell", "dc_next + dh * o", "dh * o"),
            ("K9", "dc = dh * o * (1 - tanh_c * tanh_c)"),
            {(0, 1): LSTM, (0,): "dh da_o"},
        ),
        "slope": (
            ("lstm_cell", "dh * o * (1 - tanh_c * tanh_c)", "dh * o"),
            ("K9", "dc = dc_next + dh * o"),
            {(0, 1, 2): LSTM, (0, 1): "dh da_o"},
        ),
    },
}
# Of one step: the tag, and what its line sets.
MOMENTS = {
    "RNN": (
        ["C1 a", "C2 a", "C3 h"],
        ["U1 dh", "C4 da", "C5 dweight_ih_step", "C6 dweight_hh_step", "C7 dbias_ih_step dbias_hh_step", "C8 dx"]
        + ["C9 dh_prev", f"U2 {SUMS}"],
    ),
    "LSTM": (
        ["K1 a_i a_f a_g a_o", "K2 a_i a_f a_g a_o", "K3 i", "K4 f", "K5 g", "K6 o", "K7 c", "K8 h"],
        ["U1 dh dc_next", "K9 dc", "K10 da_i", "K11 da_f", "K12 da_g", "K13 da_o", "K14 dweight_ih_step"]
        + ["K15 dweight_hh_step", "K16 dbias_ih_step dbias_hh_step", "K17 dx", "K18 dh_prev", "K19 dc_prev"]
        + [f"U2 {SUMS}"],
    ),
}
both_cells = pytest.mark.parametrize("cell", list(BUGS))
Traces = dict[str, Trace]


def example_of(cell: str, bias: bool = True) -> Example:
    spec, rng = ModelSpec(cell=cell, input_size=I, hidden_size=H, bias=bias), np.random.default_rng(11)
    x, target = rng.standard_normal((T, 1, I)), rng.uniform(-0.8, 0.8, (T, 1, H))
    state0 = tuple(rng.standard_normal((1, 1, H)) for _ in spec.state_names)
    return Example(spec, initial_parameters(spec, 5), x, target, state0, np.ones(T))


def in_world(example: Example, loss: str, factor: str) -> Example:
    params = dict(example.params)
    params["weight_hh_l0"] = params["weight_hh_l0"] * FACTORS[factor]
    return example._replace(params=params, counted=np.array(COUNTED[loss], "float64"))


REAL, KNOWN = tracing.everything, {}


def everything(example: Example, *rest: Any, units: Any = None) -> Traces:
    """The real one, once for each example."""
    numbers = [*example.params.values(), example.x, example.target, *example.state0, example.counted]
    key = (example.spec, *(array.tobytes() for array in numbers), rest, units and tuple(units))
    if key not in KNOWN:
        KNOWN[key] = REAL(example, *rest, units=units)
    return dict(KNOWN[key])


def distinct(traces: Traces) -> Traces:
    """The others' numbers, each a little off in a way of its own."""
    for place, who in enumerate(OTHERS, start=1):
        off = {name: array * (1 + 1e-3 * place) for name, array in traces[who].arrays.items()}
        traces[who] = traces[who]._replace(arrays=off)
    return traces


def walked(example: Example, change: Callable[[Traces], Traces], units: Any = UNITS, inputs: Any = INPUTS) -> Any:
    """What the page gets, as JSON gives it back, if the traces are changed so."""

    def changed(*given: Any, **options: Any) -> Traces:
        return change(everything(*given, **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "everything", changed)
        return json.loads(json.dumps(walk.walk(example, units, inputs), allow_nan=False))


class Case(NamedTuple):
    """An example, and what the page gets of it: as it is, and with distinct numbers."""

    example: Example
    data: Any
    apart: Any


@cache
def case(cell: str) -> Case:
    example = example_of(cell)
    return Case(example, walked(example, lambda traces: traces), walked(example, distinct))


def parts(arrays: dict[str, np.ndarray], gates: int, units: Any = UNITS, inputs: Any = INPUTS) -> dict[str, np.ndarray]:
    """The shown part of every quantity that is shown, (T, rows) or (T, rows, columns)."""
    found = {}
    for name, array in arrays.items():
        if "weight" in name or "bias" in name:
            part = array.reshape(T, gates, H, *array.shape[2:])[:, :, list(units)]
            part = part.reshape(T, gates * len(units), *array.shape[2:])
            found[name] = part if "bias" in name else part[..., list(inputs if "ih" in name else units)]
        elif name in ("a", "da") and gates == 4:
            for place, gate in enumerate("ifgo"):
                found[f"{name}_{gate}"] = array.reshape(T, 4, H)[:, place, list(units)]
        elif name not in ("di", "df", "dg", "do"):
            found[name] = array[:, list(inputs if name in ("x", "dx") else units)]
    return found


def texts(array: np.ndarray) -> Any:
    return [texts(part) for part in array] if array.ndim else f"{array:.6g}"


def all_texts(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: texts(array) for name, array in arrays.items()}


@both_cells
def test_the_values_of_every_world_are_those_of_who_computed_them(cell: str) -> None:
    own, gates = case(cell), 4 if cell == "LSTM" else 1
    assert list(own.data["worlds"]) == [f"{loss}/{factor}" for loss, factor in WORLDS]
    for loss, factor in WORLDS:
        world = in_world(own.example, loss, factor)
        for data, traces in (
            (own.data, everything(world, units=UNITS)),
            (own.apart, distinct(everything(world, units=UNITS))),
        ):
            found = data["worlds"][f"{loss}/{factor}"]
            assert (found["loss"], found["factor"]) == (loss, FACTORS[factor])
            wanted: dict[str, Any] = {"x": {"given": texts(world.x[:, 0, list(INPUTS)])}}
            for who in OTHERS:
                for name, value in all_texts(parts(traces[who].arrays, gates)).items():
                    wanted.setdefault(name, {})[who] = value
            assert found["values"] == wanted
            start = {
                name: texts(part[0, 0, list(UNITS)]) for name, part in zip("hc", world.state0[:gates], strict=False)
            }
            target: list[Any] = texts(world.target[:, 0, list(UNITS)])
            assert found["given"]["start"] == start
            assert found["given"]["target"] == (target if loss == "every" else [None, None, target[2]])
    numbers = [own.apart["worlds"]["every/1.0"]["values"]["dx"][who] for who in OTHERS]
    assert all(a != b for a in numbers for b in numbers if a is not b)
    assert set(own.data["worlds"]["every/1.0"]["given"]["start"]) == ({"h", "c"} if gates == 4 else {"h"})


@both_cells
def test_the_runs_are_numpy_s_and_the_gaps_to_the_others(cell: str) -> None:
    own, gates = case(cell), 4 if cell == "LSTM" else 1
    assert len(own.data["runs"]) == 6 + 2 * len(BUGS[cell])
    assert list(own.data["bugs"]) == list(BUGS[cell])
    for loss, factor in WORLDS:
        world = in_world(own.example, loss, factor)
        real = everything(world, units=UNITS)
        for bug in ("", *BUGS[cell]) if factor == "1.0" else ("",):
            trace, changed = real["numpy"], {}
            if bug:
                (file, *change), (tag, code), _ = BUGS[cell][bug]
                with planted((f"numpy_impl/{file}", *change)) as name:
                    trace, changed = importlib.import_module(f"{name}.trace").trace(world), {tag: code}
            mine = parts(trace.arrays, gates)
            h = np.vstack([world.state[0], trace.arrays["h"][:-1]])
            a = world.x[:, 0] @ world.params["weight_ih_l0"].T + h @ world.params["weight_hh_l0"].T
            for data, traces in ((own.data, real), (own.apart, distinct(dict(real)))):
                found = data["runs"][f"{loss}/{factor}/{bug}"]
                assert found["values"] == all_texts(mine)
                assert found["changed"] == changed
                assert found["early"] == {"K1" if gates == 4 else "C1": all_texts(parts({"a": a}, gates))}
                gaps: dict[str, dict[str, list[str]]] = {}
                for who in OTHERS:
                    for name, theirs in parts(traces[who].arrays, gates).items():
                        off = [abs(mine[name][t] - theirs[t]).max() / abs(theirs).max() for t in range(T)]
                        gaps.setdefault(name, {})[who] = [f"{gap:.0e}" for gap in off]
                assert found["gaps"] == gaps
                assert found["agree"].keys() == gaps.keys()


@both_cells
def test_agreement_ends_exactly_where_a_planted_mistake_shows(cell: str) -> None:
    for key, run in case(cell).data["runs"].items():
        wrong = {name: [t for t, agrees in enumerate(found) if not agrees] for name, found in run["agree"].items()}
        assert {len(found) for found in run["agree"].values()} == {T}
        wanted = BUGS[cell][key.rpartition("/")[2]][2] if not key.endswith("/") else {}
        literal = {name: list(steps) for steps, names in wanted.items() for name in names.split()}
        assert {name: steps for name, steps in wrong.items() if steps} == literal, key


def test_one_number_of_anyone_that_is_a_little_off_ends_agreement() -> None:
    """Of those that are shown; finite differences may be off a little more."""

    def off(traces: Traces) -> Traces:
        for who, name, index, size in (
            ("jax", "h", (1, 2), 1e-9),
            ("torch", "dweight_hh", (2, 0, 2), -1e-9),
            ("finite differences", "dh", (0, 0), 1e-4),
            ("finite differences", "da", (1, 2), 1e-8),
            ("jax", "dx", (0, 1), 1e-13),
            ("torch", "a", (1, 1), 1.0),
            ("jax", "dx", (1, 0), 1.0),
            ("jax", "dweight_ih_step", (1, 0, 2), 1.0),
            ("torch", "dbias_hh_step", (1, 3), 1.0),
        ):
            array = traces[who].arrays[name].copy()
            array[index] += size * np.nanmax(abs(array))
            traces[who] = traces[who]._replace(arrays=traces[who].arrays | {name: array})
        return traces

    for key, run in walked(example_of("RNN"), off)["runs"].items():
        if key.endswith("/"):
            wrong = {name: [t for t in range(T) if not agrees[t]] for name, agrees in run["agree"].items()}
            assert {k: v for k, v in wrong.items() if v} == {"h": [1], "dweight_hh": [2], "dh": [0]}, key


@both_cells
def test_the_moments_are_the_lines_in_order(cell: str) -> None:
    data, (forward, backward) = case(cell).data, MOMENTS[cell]
    found = [(m["t"], m["phase"], " ".join([m["tag"], *m["sets"]])) for m in data["moments"]]
    wanted = [(t, "forward", line) for t in range(T) for line in forward]
    assert found == wanted + [(t, "backward", line) for t in reversed(range(T)) for line in backward]
    for moment in data["moments"]:
        file = "unroll" if moment["tag"][0] == "U" else f"{cell.lower()}_cell"
        row = (ROOT / "numpy_impl" / f"{file}.py").read_text("utf-8").splitlines()[moment["number"] - 1]
        assert row.endswith(f"  # ({moment['tag']})")
    assert list(data["tags"]) == [line.split()[0] for line in forward + backward]
    for tag, own in data["tags"].items():
        assert own == json.loads(json.dumps(sources.equation(tag)._asdict() | {"says": walk.SAYS[tag]}))


@both_cells
def test_what_is_shown_is_labelled(cell: str) -> None:
    data = case(cell).data
    assert (data["cell"], data["shown"]) == (cell, {"units": [3, 1], "inputs": [2]})
    assert data["sizes"] == {"steps": 3, "inputs": 3, "units": 4}
    assert (list(data["losses"]), data["factors"]) == (["every", "last"], [0.5, 1.0, 2.0])
    rows = ["i 3", "i 1", "f 3", "f 1", "g 3", "g 1", "o 3", "o 1"] if cell == "LSTM" else ["3", "1"]
    for name, own in data["quantities"].items():
        assert own["meaning"] == walk.MEANINGS[name]
        wide = {"dweight_ih": ["x 2"], "dweight_hh": ["h 3", "h 1"]}
        assert own["columns"] == wide.get(name.removesuffix("_step"))
        vector = ["2"] if name in ("x", "dx") else ["3", "1"]
        assert own["rows"] == (rows if name.startswith(("dweight", "dbias")) else vector)


def test_every_line_and_quantity_of_the_two_cells_is_explained_and_no_other() -> None:
    steps = [forward + backward for forward, backward in MOMENTS.values()]
    assert walk.SAYS.keys() == {line.split()[0] for lines in steps for line in lines}
    assert walk.MEANINGS.keys() == {"x"} | {name for lines in steps for line in lines for name in line.split()[1:]}


def test_a_model_without_biases_shows_other_units_and_inputs() -> None:
    example, units, inputs = example_of("RNN", bias=False), (3,), (2, 0)
    data = walked(example, lambda traces: traces, units, inputs)
    forward, backward = (
        [line for line in lines if line[:2] not in ("C2", "C7", "U2")]
        for lines in (MOMENTS["RNN"][0], MOMENTS["RNN"][1])
    )
    backward.append("U2 dweight_ih dweight_hh")
    found = [" ".join([moment["tag"], *moment["sets"]]) for moment in data["moments"]]
    assert found == forward * T + backward * T
    assert data["quantities"]["dweight_ih"]["columns"] == ["x 3", "x 1"]
    for key, run in data["runs"].items():
        loss, factor, bug = key.split("/")
        trace = everything(in_world(example, loss, factor), units=units)["numpy"]
        assert run["early"] == {}
        assert not [name for name in run["values"] if "bias" in name]
        assert bug or run["values"] == all_texts(parts(trace.arrays, 1, units, inputs))
        assert all(map(all, run["agree"].values())) == (not bug)

"""The data of the stepper are what each implementation computed, and they distinguish right from wrong."""

import importlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.equivalence.planting import planted
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.tracing import backends as tracing
from common.tracing.trace import Example, Trace
from reports.teaching import sources, walk, words

ROOT = Path(__file__).parents[2]
H, I, T = 4, 3, 3
UNITS, INPUTS = (2, 0), (1,)
WORLDS = [f"{loss}/{factor}" for loss in ("every", "last") for factor in ("0.5", "1.0", "2.0")]
OTHERS = ("jax", "torch", "finite differences")
SUMS, BIASES = "dweight_ih dweight_hh dbias_ih dbias_hh", "dbias_ih_step dbias_hh_step"
PARTS = f"dweight_ih_step dweight_hh_step {BIASES}"
RNN, LSTM = f"da dx dh_prev {SUMS} {PARTS}", f"dc dx da_i da_f da_g dh_prev dc_prev {SUMS} {PARTS}"
GRU, LSTM1997 = f"da_z da_n dq_n ds dr da_r dx dh_prev {SUMS} {PARTS}", LSTM.replace(" da_f", "")
LETTERS = {"RNN": "", "LSTM": "ifgo", "GRU": "rzn", "LSTM1997": "igo"}
DH_NEXT, SUM = ("unroll", "dstate[0] + dy[t]", "dy[t]"), ("unroll", "total = add(total, dw)", "total = dw")
DC_NEXT, SLOPE = (("lstm_cell", old, "dh * o") for old in ("dc_next + dh * o", "dh * o * (1 - tanh_c * tanh_c)"))
TRUNCATED = ("lstm1997_cell", "dh_prev = da @ w.weight_hh", "dh_prev = 0 * da @ w.weight_hh")
PATH = ("gru_cell", "dh * z + dq @ w", "dq @ w")
CANDIDATE = ("gru_cell", "dh * (h_prev - n) * z", "dh * h_prev * z")
RESET = ("gru_cell", "dq_n = da_n * r if", "dq_n = da_n if")
OF_RESET = "dq_n ds dweight_hh dweight_hh_step dbias_hh dbias_hh_step dh_prev"
BIAS = ("gru_cell", "np.concatenate([dq, dq_n], axis=1).sum(axis=0)", "da.sum(axis=0)")
# Cell -> planted mistake -> (file, right, wrong), and steps -> the quantities that are wrong there.
BUGS: dict[str, dict[str, tuple[tuple[str, str, str], dict[tuple[int, ...], str]]]] = {
    "RNN": {
        "dh_next": (DH_NEXT, {(0, 1): f"{RNN} dh"}),
        "sum": (SUM, {(0, 1): SUMS}),
        "slope": (("rnn_cell", "dh * slope(tape.h)", "dh"), {(0, 1, 2): RNN, (0, 1): "dh"}),
    },
    "LSTM": {
        "dh_next": (DH_NEXT, {(0, 1): f"{LSTM} dh da_o", (0,): "dc_next"}),
        "sum": (SUM, {(0, 1): SUMS}),
        "dc_next": (DC_NEXT, {(0, 1): LSTM, (0,): "dh da_o dc_next"}),
        "slope": (SLOPE, {(0, 1, 2): LSTM, (0, 1): "dh da_o dc_next"}),
    },
    "GRU": {
        "dh_next": (DH_NEXT, {(0, 1): f"{GRU} dh"}),
        "sum": (SUM, {(0, 1): SUMS}),
        "path": (PATH, {(0, 1): f"{GRU} dh", (0, 1, 2): "dh_prev"}),
        "candidate": (CANDIDATE, {(0, 1, 2): GRU, (0, 1): "dh da_n dq_n ds dr da_r"}),
        "reset": (RESET, {(0, 1): f"{GRU} dh", (0, 1, 2): OF_RESET}),
        "bias": (BIAS, {(0, 1, 2): "dbias_hh dbias_hh_step"}),
    },
    "LSTM1997": {
        "dh_next": (DH_NEXT, {(0, 1): f"{LSTM1997} dh da_o", (0,): "dc_next"}),
        "sum": (SUM, {(0, 1): SUMS}),
        "dc_next": (("lstm1997_cell", *DC_NEXT[1:]), {(0, 1): LSTM1997, (0,): "dh da_o dc_next"}),
        "truncated": (TRUNCATED, {(0, 1): f"{LSTM1997} dh da_o", (0, 1, 2): "dh_prev", (0,): "dc_next"}),
    },
}
# One forward and one backward step: each tag, and what its line sets.
MOMENTS = {
    "RNN": (
        "C1 a; C2 a; C3 h",
        f"U1 dh; C4 da; C5 dweight_ih_step; C6 dweight_hh_step; C7 {BIASES}; C8 dx; C9 dh_prev; U2 {SUMS}",
    ),
    "LSTM": (
        "K1 a_i a_f a_g a_o; K2 a_i a_f a_g a_o; K3 i; K4 f; K5 g; K6 o; K7 c; K8 h",
        "U1 dh dc_next; K9 dc; K10 da_i; K11 da_f; K12 da_g; K13 da_o; K14 dweight_ih_step; K15 dweight_hh_step; "
        f"K16 {BIASES}; K17 dx; K18 dh_prev; K19 dc_prev; U2 {SUMS}",
    ),
    "GRU": (
        "G1 a_r a_z a_n; G2 q_r q_z; G3 a_r a_z a_n; G4 q_r q_z; G5 r; G6 z; G7 s; G8 q_n; G9 q_n; G10 n; G11 h",
        "U1 dh; G12 da_z; G13 da_n; G14 dq_n; G15 ds; G16 dr; G17 da_r; G18 dweight_ih_step; G19 dweight_hh_step; "
        f"G20 dbias_ih_step; G21 dbias_hh_step; G22 dx; G23 dh_prev; U2 {SUMS}",
    ),
    "LSTM1997": (
        "V1 a_i a_g a_o; V2 a_i a_g a_o; V3 i; V4 g; V5 o; V6 c; V7 h",
        "U1 dh dc_next; V8 dc; V9 da_i; V10 da_g; V11 da_o; V12 dweight_ih_step; V13 dweight_hh_step; "
        f"V14 {BIASES}; V15 dx; V16 dh_prev; V17 dc_prev; U2 {SUMS}",
    ),
}
SHOWN = {name for lines in MOMENTS.values() for line in "; ".join(lines).split("; ") for name in line.split()[1:]}
every_cell = pytest.mark.parametrize("cell", list(BUGS))
Traces = dict[str, Trace]


def in_world(cell: str, key: str = "every/1.0", bias: bool = True) -> Example:
    spec, rng = ModelSpec(cell=cell, input_size=I, hidden_size=H, bias=bias), np.random.default_rng(11)
    x, target = rng.standard_normal((T, 1, I)), rng.uniform(-0.8, 0.8, (T, 1, H))
    state0 = tuple(rng.standard_normal((1, 1, H)) for _ in spec.state_names)
    params, (loss, factor, *_) = initial_parameters(spec, 5), key.split("/")
    params["weight_hh_l0"] *= float(factor)
    return Example(spec, params, x, target, state0, np.array([0.0, 0.0, 1.0]) if loss == "last" else np.ones(T))


REAL, KNOWN = tracing.everything, {}


def everything(example: Example, *rest: Any, units: Any = UNITS, features: Any = INPUTS) -> Traces:
    """The real function, called once for each example."""
    numbers = [*example.params.values(), example.x, example.target, *example.state0, example.counted]
    key = (example.spec, *(array.tobytes() for array in numbers), rest, tuple(units), tuple(features))
    if key not in KNOWN:
        KNOWN[key] = REAL(example, *rest, units=units, features=features)
    return dict(KNOWN[key])


def distinct(traces: Traces) -> Traces:
    """The numbers of the others, each shifted by a different factor."""
    for place, who in enumerate(OTHERS, start=1):
        traces[who] = Trace({name: array * (1 + 1e-3 * place) for name, array in traces[who].arrays.items()})
    return traces


def walked(example: Example, change: Callable[[Traces], Traces], units: Any = UNITS, inputs: Any = INPUTS) -> Any:
    """The data of the page if the traces are changed in this way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "everything", lambda *given, **options: change(everything(*given, **options)))
        return json.loads(json.dumps(walk.walk(example, units, inputs), allow_nan=False))


@cache
def data_of(cell: str, change: Callable[[Traces], Traces] = dict) -> Any:
    return walked(in_world(cell), change)


def parts(
    arrays: dict[str, np.ndarray], letters: str, units: Any = UNITS, inputs: Any = INPUTS
) -> dict[str, np.ndarray]:
    """The shown part of every quantity that is shown, (T, rows) or (T, rows, columns)."""
    found = {}
    for name, array in arrays.items():
        wide = array.shape[2:]
        rows = array.reshape(T, -1, H, *wide)[:, :, list(units)] if name != "dx" else array[:, list(inputs)]
        if letters and name in ("a", "q", "da"):
            found |= {f"{name}_{gate}": rows[:, place] for place, gate in enumerate(letters[: rows.shape[1]])}
        elif name in SHOWN:
            columns = list(inputs if "ih" in name else units) if wide else slice(None)
            found[name] = rows.reshape(T, -1, *wide)[..., columns]
    return found


def texts(own: Any) -> Any:
    if isinstance(own, dict):
        return {name: texts(array) for name, array in own.items()}
    return [texts(part) for part in own] if own.ndim else f"{own:.6g}"


@every_cell
def test_the_values_of_every_world_are_those_of_who_computed_them(cell: str) -> None:
    found = data_of(cell, distinct)["worlds"]
    assert list(found) == WORLDS
    for key, own in found.items():
        world = in_world(cell, key)
        wanted: dict[str, Any] = {"x": {"given": texts(world.x[:, 0, list(INPUTS)])}}
        traces = distinct(everything(world))
        for who in OTHERS:
            for name, array in parts(traces[who].arrays, LETTERS[cell]).items():
                wanted.setdefault(name, {})[who] = texts(array)
        assert own["values"] == wanted
        assert f"{own['loss']}/{own['factor']}" == key
        target, given = texts(world.target[:, 0, list(UNITS)]), own["given"]
        start = zip("hc", world.state0, strict=False)
        assert given["start"] == {name: texts(part[0, 0, list(UNITS)]) for name, part in start}
        assert given["target"] == ([None, None, target[2]] if "last" in key else target)
        dy = world.counted[:, None] * (traces["numpy"].arrays["h"] - world.target[:, 0])
        assert np.array_equal(np.array(given["dy"], "float64"), np.array(texts(dy[:, list(UNITS)]), "float64"))
        assert len({str(own["values"]["dx"][who]) for who in OTHERS}) == 3


def planted_trace(world: Example, file: str, old: str, new: str) -> tuple[Trace, dict[str, str]]:
    """The trace with a mistake, and the tag and code of its line."""
    rows = (ROOT / "numpy_impl" / f"{file}.py").read_text("utf-8").splitlines()
    code, _, tag = next(row for row in rows if old in row).replace(old, new).strip().partition("  # ")
    with planted((f"numpy_impl/{file}", old, new)) as name:
        return importlib.import_module(f"{name}.trace").trace(world), {tag.strip("()"): code}


@every_cell
def test_the_runs_are_numpy_s_and_the_gaps_to_the_others(cell: str) -> None:
    data = data_of(cell, distinct)
    assert list(data["bugs"]) == list(BUGS[cell])
    bugs = [f"{key}/{bug}" for key in WORLDS for bug in BUGS[cell] if key.endswith("1.0")]
    assert set(data["runs"]) == {*bugs, *(f"{key}/" for key in WORLDS)}
    for key, own in data["runs"].items():
        world, bug = in_world(cell, key), key.rpartition("/")[2]
        traces = distinct(everything(world))
        trace, changed = planted_trace(world, *BUGS[cell][bug][0]) if bug else (traces["numpy"], {})
        mine, h = parts(trace.arrays, LETTERS[cell]), np.vstack([world.state[0], trace.arrays["h"][:-1]])
        x, q = world.x[:, 0] @ world.params["weight_ih_l0"].T, h @ world.params["weight_hh_l0"].T
        early = {{"RNN": "C1", "LSTM": "K1", "LSTM1997": "V1"}.get(cell, ""): {"a": x + q}}
        if cell == "GRU":
            early = {"G1": {"a": x}, "G2": {"q": q[:, : 2 * H]}, "G8": {"q_n": q[:, 2 * H :]}}
        assert own["values"] == texts(mine)
        assert own["changed"] == changed
        assert own["early"] == {tag: texts(parts(arrays, LETTERS[cell])) for tag, arrays in early.items()}
        gaps: dict[str, dict[str, list[str]]] = {}
        for who in OTHERS:
            for name, array in parts(traces[who].arrays, LETTERS[cell]).items():
                off = [abs(mine[name][t] - array[t]).max() / abs(array).max() for t in range(T)]
                gaps.setdefault(name, {})[who] = [f"{gap:.0e}" for gap in off]
        assert (own["gaps"], own["agree"].keys()) == (gaps, gaps.keys())


def wrong(run: Any) -> dict[str, list[int]]:
    """Quantity -> the steps at which somebody disagrees."""
    found = {name: [t for t in range(T) if not agrees[t]] for name, agrees in run["agree"].items()}
    return {name: steps for name, steps in found.items() if steps}


@every_cell
def test_agreement_ends_exactly_where_a_planted_mistake_shows(cell: str) -> None:
    for key, run in data_of(cell)["runs"].items():
        wanted = BUGS[cell][bug][1] if (bug := key.rpartition("/")[2]) else {}
        assert wrong(run) == {name: list(steps) for steps, names in wanted.items() for name in names.split()}, key


def test_one_number_of_anyone_that_is_a_little_off_ends_agreement() -> None:
    """Only numbers that are shown count, and finite differences may be off a little more."""
    jax, torch, differences = OTHERS
    seen = (jax, "h 1 2", 1e-9), (torch, "dweight_hh 2 0 2", -1e-9), (differences, "dh 0 0", 1e-4)
    small = (jax, "dx 0 1", 1e-13), (differences, "da 1 2", 1e-8)
    hidden = (torch, "a 1 1", 1.0), (jax, "dx 1 0", 1.0), (jax, "dweight_ih 1 0 2", 1.0), (torch, "dbias_hh 1 3", 1.0)

    def off(traces: Traces) -> Traces:
        for who, what, size in seen + small + hidden:
            name, *index = what.split()
            array = traces[who].arrays[name].copy()
            array[tuple(map(int, index))] += size * np.nanmax(abs(array))
            traces[who] = Trace(traces[who].arrays | {name: array})
        return traces

    for key, run in walked(in_world("RNN"), off)["runs"].items():
        assert key[-1] != "/" or wrong(run) == {"h": [1], "dweight_hh": [2], "dh": [0]}, key


@every_cell
def test_the_moments_are_the_lines_in_order(cell: str) -> None:
    data, (forward, backward) = data_of(cell), (lines.split("; ") for lines in MOMENTS[cell])
    found = [(own["t"], own["phase"], " ".join([own["tag"], *own["sets"]])) for own in data["moments"]]
    wanted = [(t, "forward", line) for t in range(T) for line in forward]
    assert found == wanted + [(t, "backward", line) for t in reversed(range(T)) for line in backward]
    for own in data["moments"]:
        file = "unroll" if own["tag"][0] == "U" else f"{cell.lower()}_cell"
        row = (ROOT / "numpy_impl" / f"{file}.py").read_text("utf-8").splitlines()[own["number"] - 1]
        assert row.endswith(f"  # ({own['tag']})")
    assert list(data["tags"]) == [line.split()[0] for line in forward + backward]
    for tag, own in data["tags"].items():
        assert own == json.loads(json.dumps(sources.equation(tag)._asdict() | {"says": words.SAYS[tag]}))


@every_cell
def test_what_is_shown_is_labelled_and_explained_and_nothing_else(cell: str) -> None:
    data = data_of(cell)
    assert words.SAYS.keys() == {line.split()[0] for own in MOMENTS.values() for line in "; ".join(own).split("; ")}
    assert words.meanings("GRU").keys() == {"x"} | SHOWN
    assert words.RESET_BEFORE.keys() < words.SAYS.keys()
    assert (data["cell"], data["shown"]) == (cell, {"units": [3, 1], "inputs": [2]})
    assert data["sizes"] == {"steps": 3, "inputs": 3, "units": 4}
    assert (list(data["losses"]), data["factors"]) == (["every", "last"], [0.5, 1.0, 2.0])
    assert data["quantities"].keys() >= {"x"} | {name for own in data["moments"] for name in own["sets"]}
    rows = [f"{gate} {unit}".strip() for gate in LETTERS[cell] or " " for unit in (3, 1)]
    wide = {"dweight_ih": ["x 2"], "dweight_hh": ["h 3", "h 1"]}
    for name, own in data["quantities"].items():
        assert (own["meaning"], own["columns"]) == (words.meanings(cell)[name], wide.get(name.removesuffix("_step")))
        vector = ["2"] if name in ("x", "dx") else ["3", "1"]
        assert own["rows"] == (rows if name.startswith(("dweight", "dbias")) else vector)


def test_a_model_without_biases_shows_other_units_and_inputs() -> None:
    units, inputs = (3,), (2, 0)
    data = walked(in_world("RNN", bias=False), dict, units, inputs)
    found = [" ".join([own["tag"], *own["sets"]]) for own in data["moments"]]
    forward, backward = "C1 a; C3 h", "U1 dh; C4 da; C5 dweight_ih_step; C6 dweight_hh_step; C8 dx; C9 dh_prev; U2 "
    assert found == [*forward.split("; ") * T, *(backward + "dweight_ih dweight_hh").split("; ") * T]
    assert data["quantities"]["dweight_ih"]["columns"] == ["x 3", "x 1"]
    for key, run in data["runs"].items():
        trace = everything(in_world("RNN", key, bias=False), units=units)["numpy"]
        assert (run["early"], [name for name in run["values"] if "bias" in name]) == ({}, [])
        assert key[-1] != "/" or run["values"] == texts(parts(trace.arrays, "", units, inputs))
        assert bool(wrong(run)) == (key[-1] != "/")

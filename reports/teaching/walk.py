"""What the stepper walks through, as plain data: every tagged line executed in NumPy, and every value by everyone.

A *world* is a loss and a factor of W_hh; JAX, PyTorch and finite differences have one set of values in each. A *run* is
NumPy's way through a world, perhaps with a mistake planted in its source.
"""

import importlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from common.equivalence.planting import planted
from common.model.layout import GATES
from common.tracing import backends as tracing
from common.tracing import collect, finite_differences
from common.tracing.backends import FINITE_DIFFERENCES
from common.tracing.trace import Example, Step, Trace

from . import sources

LOSSES = {"every": "the state after every step", "last": "the last state alone"}
FACTORS = (0.5, 1.0, 2.0)
# Two implementations agree below this difference, relative to the largest value. Finite differences are less exact, and
# the rounding of the loss, divided by their step, gives them an absolute error that small gradients drown in.
CLOSE = {"jax": 1e-11, "torch": 1e-11, FINITE_DIFFERENCES: 1e-6}
ACCUMULATED = ("dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")


class Bug(NamedTuple):
    """A mistake that a reader can plant: what stands in a file of ``numpy_impl``, and what is put there instead.

    ``means`` says what follows from it.
    """

    key: str
    title: str
    means: str
    file: str
    old: str
    new: str


BOTH = (
    Bug(
        "dh_next",
        "drop dh_next: what later steps send back is forgotten",
        "Each step gets the gradient of its own loss alone, and nothing flows back in time. At the last step nothing "
        "is wrong, as no later step sends anything, so a check with one step would see no mistake.",
        "unroll",
        "dstate[0] + dy[t]",
        "dy[t]",
    ),
    Bug(
        "sum",
        "forget the +=: each part replaces the sum",
        "All that flows back in time is right, but of the weights' gradient only the part computed last is left, "
        "that of step 1. A check with one step would see no mistake.",
        "unroll",
        "total = add(total, dw)",
        "total = dw",
    ),
)
SLOPE = "The gradient passes the nonlinearity as if it were not there, at every step, the last one included."
OF_RNN = (Bug("slope", "forget the slope of tanh", SLOPE, "rnn_cell", "da = dh * slope(tape.h)", "da = dh"),)
OF_LSTM = (
    Bug(
        "dc_next",
        "drop dc_next: the straight road is cut",
        "The gradient no longer goes back along the cell state, the way that an LSTM is made for; what goes back "
        "through h is left.",
        "lstm_cell",
        "dc = dc_next + dh",
        "dc = dh",
    ),
    Bug("slope", "forget the slope of tanh(c)", SLOPE, "lstm_cell", "dh * o * (1 - tanh_c * tanh_c)", "dh * o"),
)

GATE_NAMES = dict(zip(GATES, ("input gate", "forget gate", "candidate", "output gate"), strict=True))
MEANINGS = {
    "x": "input",
    "a": "pre-activation",
    "h": "hidden state",
    "c": "cell state",
    "dh": "gradient of h: what the loss of this step and later steps send back",
    "dc_next": "gradient of c that later steps send back",
    "dc": "gradient of c: through h of this step, and from later steps",
    "da": "gradient of the pre-activation",
    "dx": "gradient of the input",
    "dh_prev": "gradient sent to the state before; it becomes dh_next of the step before",
    "dc_prev": "gradient sent to the cell state before; it becomes dc_next of the step before",
    **GATE_NAMES,
    **{f"a_{gate}": f"pre-activation of the {name}" for gate, name in GATE_NAMES.items()},
    **{f"da_{gate}": f"gradient of the {name}'s pre-activation" for gate, name in GATE_NAMES.items()},
    **{f"{name}_step": f"this step's part of the gradient of {name[1:]}" for name in ACCUMULATED},
    **{name: f"gradient of {name[1:]}, added up so far on the way back" for name in ACCUMULATED},
}
SAYS = {
    "C1": "The input and the state before, each multiplied by its weights, are added.",
    "C2": "Both biases are added.",
    "C3": "tanh (or relu) turns it into the new hidden state.",
    "C4": "Back through the nonlinearity: multiply by its slope.",
    "C5": "This step's part of the gradient of the input's weights.",
    "C6": "This step's part of the gradient of the recurrent weights.",
    "C7": "Each of the two biases gets the same: the gradient of their sum.",
    "C8": "The gradient of the input.",
    "C9": "The gradient sent to the state before. One step back in time it is called dh_next.",
    "K1": "The input and the state before, each multiplied by its weights, are added: four pre-activations at once.",
    "K2": "Both biases are added.",
    "K3": "The input gate: how much of the candidate is written.",
    "K4": "The forget gate: how much of the cell state is kept.",
    "K5": "The candidate: what could be written.",
    "K6": "The output gate: how much of the cell state is shown.",
    "K7": "The new cell state: keep and write. No matrix on this road.",
    "K8": "The new hidden state: what the output gate lets through.",
    "K9": "The cell state's gradient: along the straight road from later steps, and through h of this step.",
    "K10": "Back through the input gate.",
    "K11": "Back through the forget gate.",
    "K12": "Back through the candidate.",
    "K13": "Back through the output gate.",
    "K14": "This step's part of the gradient of the input's weights.",
    "K15": "This step's part of the gradient of the recurrent weights.",
    "K16": "Each of the two biases gets the same: the gradient of their sum.",
    "K17": "The gradient of the input.",
    "K18": "The gradient sent to the state before. One step back in time it is called dh_next.",
    "K19": "The gradient sent to the cell state before: one factor, f. One step back in time it is called dc_next.",
    "U1": "A state has up to two uses, the loss and the next step: their gradients are added.",
    "U2": "All steps share the weights: this step's part is added to the sum.",
}


def bugs(example: Example) -> tuple[Bug, ...]:
    return BOTH + (OF_LSTM if example.spec.is_lstm else OF_RNN)


def walk(example: Example, units: Sequence[int], inputs: Sequence[int]) -> dict[str, Any]:
    """Everything that the page shows, of these hidden units and inputs (numbers from 0)."""
    pick = Pick(example, units, inputs)
    worlds, runs = {}, {}
    steps: tuple[Step, ...] = ()
    for (loss, factor), key in ((world, "/".join(map(str, world))) for world in product(LOSSES, FACTORS)):
        own = _in_world(example, loss, factor)
        traces = tracing.everything(own, units=units)
        worlds[key] = {
            "loss": loss,
            "factor": factor,
            "values": pick.all(traces, own),
            "given": pick.given(own, traces["numpy"]),
        }
        floor = 8 * np.finfo("float64").eps * max(1.0, _loss(own, traces["numpy"])) / finite_differences.STEP
        runs[f"{key}/"] = _run(pick, traces["numpy"], traces, floor)
        steps = steps or traces["numpy"].events
        for bug in bugs(example) if factor == 1 else ():
            with planted((f"numpy_impl/{bug.file}", bug.old, bug.new)) as name:
                wrong = importlib.import_module(f"{name}.trace").trace(own)
            changed = _changed(steps, wrong.events)
            runs[f"{key}/{bug.key}"] = _run(pick, wrong, traces, floor) | {"changed": changed}
    moments = _moments(steps, pick)
    tags = dict.fromkeys(moment["tag"] for moment in moments)
    return {
        "cell": "LSTM" if example.spec.is_lstm else "RNN",
        "sizes": {"steps": len(example.x), "inputs": example.spec.input_size, "units": example.spec.hidden_size},
        "shown": {"units": [unit + 1 for unit in units], "inputs": [number + 1 for number in inputs]},
        "losses": LOSSES,
        "factors": FACTORS,
        "bugs": {bug.key: bug.title for bug in bugs(example)},
        "means": {bug.key: bug.means for bug in bugs(example)},
        "quantities": pick.quantities(),
        "tags": {tag: sources.equation(tag)._asdict() | {"says": SAYS[tag]} for tag in tags},
        "moments": moments,
        "worlds": worlds,
        "runs": runs,
    }


def _in_world(example: Example, loss: str, factor: float) -> Example:
    params = {k: v * factor if k.startswith("weight_hh") else v for k, v in example.params.items()}
    counted = np.ones(len(example.x))
    if loss == "last":
        counted[:-1] = 0
    return example._replace(params=params, counted=counted)


class Pick:
    """Which numbers of each quantity are shown, and as what."""

    def __init__(self, example: Example, units: Sequence[int], inputs: Sequence[int]):
        self.example, self.units, self.inputs = example, list(units), list(inputs)
        self.gates = GATES if example.spec.is_lstm else ("",)
        self.rows = [place * example.spec.hidden_size + unit for place in range(len(self.gates)) for unit in units]

    def __call__(self, name: str, array: np.ndarray) -> list[Any]:
        """The shown part of a quantity (T, ...), in text of six digits."""
        return _texts(self.part(name, array))

    def part(self, name: str, array: np.ndarray) -> np.ndarray:
        if "weight" in name:
            columns = self.inputs if "weight_ih" in name else self.units
            return array[:, self.rows][:, :, columns]
        if "bias" in name:
            return array[:, self.rows]
        return array[:, self.inputs if name in ("x", "dx") else self.units]

    def arrays(self, trace: Trace) -> dict[str, np.ndarray]:
        """The quantities of a trace, those of four gates apart."""
        found = dict(trace.arrays)
        if self.example.spec.is_lstm:
            for name in ("a", "da"):
                if name in found:
                    found |= {
                        f"{name}_{gate}": part
                        for gate, part in zip(GATES, np.split(found.pop(name), 4, axis=1), strict=True)
                    }
        return {name: array for name, array in found.items() if name in MEANINGS}

    def all(self, traces: Mapping[str, Trace], example: Example) -> dict[str, dict[str, Any]]:
        """Quantity -> who computed it, NumPy apart -> the numbers."""
        found: dict[str, dict[str, Any]] = {"x": {"given": self("x", example.x[:, 0])}}
        for who, trace in traces.items():
            for name, array in self.arrays(trace).items() if who != "numpy" else ():
                found.setdefault(name, {})[who] = self(name, array)
        return found

    def given(self, example: Example, trace: Trace) -> dict[str, Any]:
        """The initial state, each step's target where it counts in the loss, and dy, the gradient from it."""
        start = zip(example.spec.state_names, example.state0, strict=True)
        target = [
            row if counts else None
            for row, counts in zip(self("h", example.target[:, 0]), example.counted, strict=True)
        ]
        return {
            "start": {name: _texts(part[0, 0][self.units]) for name, part in start},
            "target": target,
            "dy": self("h", trace.arrays["dy"]),
        }

    def names(self, assigned: str) -> list[str]:
        """The quantities that a line assigns to when it assigns to this name."""
        biases = ["bias_ih", "bias_hh"] if self.example.spec.bias else []
        match assigned:
            case "a" if self.example.spec.is_lstm:
                return [f"a_{gate}" for gate in GATES]
            case "dstate":
                return ["dh", "dc_next"] if self.example.spec.is_lstm else ["dh"]
            case "total":
                return [f"d{name}" for name in ("weight_ih", "weight_hh", *biases)]
            case _:
                return [f"{assigned}_step"] if assigned in ACCUMULATED else [assigned]

    def quantities(self) -> dict[str, dict[str, Any]]:
        """Name -> what it is, and the labels of its rows and columns."""
        found = {}
        units, inputs = ([str(number + 1) for number in own] for own in (self.units, self.inputs))
        rows = [f"{gate} {unit}".strip() for gate in self.gates for unit in units]
        for name, meaning in MEANINGS.items():
            columns = None
            if "weight" in name:
                columns = [f"x {n}" for n in inputs] if "weight_ih" in name else [f"h {n}" for n in units]
            labels = rows if "weight" in name or "bias" in name else inputs if name in ("x", "dx") else units
            found[name] = {"meaning": meaning, "rows": labels, "columns": columns}
        return found


def _texts(values: np.ndarray) -> Any:
    return [_texts(part) for part in values] if values.ndim else f"{float(values):.6g}"


def _loss(example: Example, trace: Trace) -> float:
    """The loss of a trace's states."""
    return float((example.counted[:, None] * (trace.arrays["h"] - example.target[:, 0]) ** 2).sum() / 2)


def _run(pick: Pick, trace: Trace, others: Mapping[str, Trace], floor: float) -> dict[str, Any]:
    """NumPy's values, and at every step how far the others are from them; ``agree`` where none is too far.

    ``floor`` is the absolute error that finite differences may have.
    """
    own = pick.arrays(trace)
    values = {name: pick(name, array) for name, array in own.items()}
    gaps: dict[str, dict[str, list[str]]] = {}
    agree: dict[str, list[bool]] = {}
    for who, other in others.items():
        for name, array in pick.arrays(other).items() if who != "numpy" else ():
            if name not in own:
                continue
            mine, theirs = pick.part(name, own[name]), pick.part(name, array)
            axes = tuple(range(1, mine.ndim))
            size = np.abs(theirs).max() or 1.0
            gap = np.abs(mine - theirs).max(axis=axes) / size
            gaps.setdefault(name, {})[who] = [f"{value:.0e}" for value in gap]
            close = gap <= CLOSE[who] + (floor / size if who == FINITE_DIFFERENCES else 0)
            agree[name] = [bool(a and b) for a, b in zip(agree.get(name, [True] * len(gap)), close, strict=True)]
    return {"values": values, "early": _early(pick, trace), "gaps": gaps, "agree": agree, "changed": {}}


def _early(pick: Pick, trace: Trace) -> dict[str, dict[str, Any]]:
    """Tag -> quantity -> what the line sets at every step, where a later line of the step sets the same name again."""
    steps = [step.events for step in trace.events if step.phase == "forward"]
    found = {}
    for place, event in enumerate(steps[0]):
        names = event.values.keys() & {name for later in steps[0][place + 1 :] for name in later.values}
        if names:
            arrays = collect.stacked([{name: events[place].values[name] for name in names} for events in steps])
            found[event.tag] = {name: pick(name, array) for name, array in pick.arrays(Trace(arrays)).items()}
    return found


def _changed(right: Sequence[Step], wrong: Sequence[Step]) -> dict[str, str]:
    """Tag -> the line of code in the mistaken source, where it differs."""
    log = {event.tag: event.code for step in right for event in step.events}
    other = {event.tag: event.code for step in wrong for event in step.events}
    return {tag: code for tag, code in other.items() if code != log[tag]}


def _moments(steps: Sequence[Step], pick: Pick) -> list[dict[str, Any]]:
    """One a line executed, in order: its step, the way, its tag and number, and the quantities that it sets."""
    return [
        {
            "t": step.t,
            "phase": step.phase,
            "tag": event.tag,
            "number": event.number,
            "sets": [name for assigned in event.values for name in pick.names(assigned)],
        }
        for step in steps
        for event in step.events
    ]

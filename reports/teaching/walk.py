"""What the stepper walks through, as plain data: every tagged line that NumPy executed, and every value from each
implementation.

A *world* is a loss and a factor of W_hh; in each, JAX, PyTorch and finite differences have one set of values. A *run*
is NumPy's way through a world, possibly with a mistake planted in its source.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from common.equivalence.planting import planted
from common.tracing import backends as tracing
from common.tracing import collect, finite_differences
from common.tracing.backends import FINITE_DIFFERENCES
from common.tracing.trace import Example, Step, Trace
from reports.teaching import sources
from reports.teaching.mistakes import mistakes
from reports.teaching.pick import Pick
from reports.teaching.words import BACKWARD, FORWARD, says

LOSSES = {"every": "the state after every step", "last": "only the last state"}
FACTORS = (0.5, 1.0, 2.0)
WORLDS = len(LOSSES) * len(FACTORS)
# Two implementations agree below this difference, relative to the largest value. Finite differences are less exact: the
# rounding of the loss, divided by their step, gives them an absolute error that swamps small gradients.
CLOSE = {"jax": 1e-11, "torch": 1e-11, FINITE_DIFFERENCES: 1e-6}


def walk(
    example: Example, units: Sequence[int], inputs: Sequence[int], done: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Everything that the page shows of these hidden units and inputs (counted from 0).

    ``done`` is called after each of the ``WORLDS``.
    """
    pick = Pick(example, units, inputs)
    cell, possible = example.spec.kind.layer, mistakes(example.spec)
    worlds, runs = {}, {}
    steps: tuple[Step, ...] = ()
    for (loss, factor), key in ((world, "/".join(map(str, world))) for world in product(LOSSES, FACTORS)):
        changed_example = _in_world(example, loss, factor)
        traces = tracing.everything(changed_example, units=units, features=inputs)
        worlds[key] = {
            "loss": loss,
            "factor": factor,
            "values": pick.all(traces, changed_example),
            "given": pick.given(changed_example, traces["numpy"]),
        }
        size = max(1.0, _loss(changed_example, traces["numpy"]))
        floor = 8 * np.finfo("float64").eps * size / finite_differences.STEP
        runs[f"{key}/"] = _run(pick, traces["numpy"], traces, floor)
        steps = steps or traces["numpy"].events
        for mistake in possible if factor == 1 else ():
            with planted((f"numpy_impl/{mistake.file}", mistake.old, mistake.new)) as name:
                wrong = importlib.import_module(f"{name}.trace").trace(changed_example)
            changed = _changed(steps, wrong.events)
            runs[f"{key}/{mistake.key}"] = _run(pick, wrong, traces, floor) | {"changed": changed}
        done()
    moments = _moments(steps, pick)
    tags = dict.fromkeys(moment["tag"] for moment in moments)
    return {
        "cell": cell,
        "form": "" if example.spec.reset_after else " with reset_after=False",
        "states": example.spec.state_names,
        "sent_back": [f"d{name}" for name in example.entering],
        "forward": FORWARD[cell],
        "backward": BACKWARD[cell],
        "sizes": {"steps": len(example.x), "inputs": example.spec.input_size, "units": example.spec.hidden_size},
        "shown": {"units": [unit + 1 for unit in units], "inputs": [number + 1 for number in inputs]},
        "losses": LOSSES,
        "factors": FACTORS,
        "bugs": {mistake.key: mistake.title for mistake in possible},
        "means": {mistake.key: mistake.means for mistake in possible},
        "quantities": pick.quantities(),
        "tags": {tag: sources.equation(tag)._asdict() | {"says": says(tag, example.spec)} for tag in tags},
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


def _loss(example: Example, trace: Trace) -> float:
    """The loss of the states of a trace."""
    return float((example.counted[:, None] * (trace.arrays["h"] - example.target[:, 0]) ** 2).sum() / 2)


def _run(pick: Pick, trace: Trace, others: Mapping[str, Trace], floor: float) -> dict[str, Any]:
    """NumPy's values, and for every step how far the others are from them; ``agree`` where all are close enough.

    ``floor`` is the absolute error that finite differences may have.
    """
    of_numpy = pick.arrays(trace)
    values = {name: pick(name, array) for name, array in of_numpy.items()}
    gaps: dict[str, dict[str, list[str]]] = {}
    agree: dict[str, list[bool]] = {}
    for who, other in others.items():
        for name, array in pick.arrays(other).items():
            if who == "numpy" or name not in of_numpy:
                continue
            mine, theirs = pick.part(name, of_numpy[name]), pick.part(name, array)
            axes = tuple(range(1, mine.ndim))
            size = np.abs(theirs).max() or 1.0
            gap = np.abs(mine - theirs).max(axis=axes) / size
            gaps.setdefault(name, {})[who] = [f"{value:.0e}" for value in gap]
            close = gap <= CLOSE[who] + (floor / size if who == FINITE_DIFFERENCES else 0)
            agree[name] = [bool(a and b) for a, b in zip(agree.get(name, [True] * len(gap)), close, strict=True)]
    return {"values": values, "early": _early(pick, trace), "gaps": gaps, "agree": agree, "changed": {}}


def _early(pick: Pick, trace: Trace) -> dict[str, dict[str, Any]]:
    """Tag -> quantity -> what that line sets in every step, where a later line of the step sets the same name again."""
    steps = [step.events for step in trace.events if step.phase == "forward"]
    early = {}
    for place, event in enumerate(steps[0]):
        names = event.values.keys() & {name for later in steps[0][place + 1 :] for name in later.values}
        if names:
            arrays = collect.stacked([{name: events[place].values[name] for name in names} for events in steps])
            early[event.tag] = {name: pick(name, array) for name, array in pick.arrays(Trace(arrays)).items()}
    return early


def _changed(right: Sequence[Step], wrong: Sequence[Step]) -> dict[str, str]:
    """Tag -> the line of code in the source with the mistake, where it differs."""
    log = {event.tag: event.code for step in right for event in step.events}
    other = {event.tag: event.code for step in wrong for event in step.events}
    return {tag: code for tag, code in other.items() if code != log[tag]}


def _moments(steps: Sequence[Step], pick: Pick) -> list[dict[str, Any]]:
    """One for each line executed, in order: its step, the direction, its tag and number, and the quantities it sets."""
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

"""The commands for learners: lessons, the stepper's page, a trace."""

import importlib
import importlib.util
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from common import record_types, records
from common.backend import registry
from common.cli import console
from common.cli.arguments import given
from common.equivalence.gaps import relative_distance
from common.errors import BackendMissing, InvalidInput, mismatch
from common.model.layout import GATES, Weights, named_weights
from common.model.spec import ModelSpec
from common.tracing import examples, finite_differences
from common.tracing import trace as tracing
from common.tracing.trace import Example, Trace

LIBRARIES = ("jinja2", "matplotlib", "markdown_it", "mdit_py_plugins", "pygments", "latex2mathml")
NOTEBOOKS = ("jupytext", "nbformat")
SHOWN_UNITS, SHOWN_INPUTS, MOST_STEPS = 4, 3, 20
# Forward steps that take about ten seconds.
LONG = 200_000


def load_teaching(module: str, notebooks: bool = False) -> Any:
    """A module of ``reports.teaching``, whose libraries and backends are an extra."""
    extra = "notebooks" if notebooks else "lessons"
    for library in LIBRARIES + NOTEBOOKS * notebooks:
        if importlib.util.find_spec(library) is None:
            text = f"the lessons need {library}, which is not installed; run: pip install -e '.[{extra}]'"
            raise BackendMissing(text)
    for name in tracing.TRACED:
        registry.load(name)
    return importlib.import_module(f"reports.teaching.{module}")


def lessons(options: Namespace) -> int:
    """Run the lessons and write their pages."""
    build = load_teaching("build", options.notebooks)
    numbers = tuple(number for some in options.lesson or () for number in some)
    with console.Stages() as stages:
        done = stages.stage("pages", build.count(numbers))
        files = build.build(Path(options.out), numbers, options.notebooks, options.jobs, done)
    if options.json:
        for file in files:
            print(records.dumps({"file": str(file), "bytes": file.stat().st_size}))
    else:
        console.line(f"Lessons: {Path(options.out) / 'index.html'}")
    return 0


def stepper(options: Namespace) -> int:
    """Write the page that walks through one example."""
    module = load_teaching("stepper")
    if options.steps > MOST_STEPS:
        raise InvalidInput(mismatch("--steps", f"at most {MOST_STEPS} for a page", options.steps))
    example = _example(options)
    spec = example.spec
    units = _shown("--units", options.units, spec.hidden_size, SHOWN_UNITS)
    inputs = _shown("--inputs", options.inputs, spec.input_size, SHOWN_INPUTS)
    file = module.write(example, units, inputs, Path(options.out), options.weights or "")
    if options.json:
        print(records.dumps({"file": str(file), "bytes": file.stat().st_size}))
    else:
        console.line(f"Stepper: {file}")
        hidden = [f"{len(units)} of {spec.hidden_size} hidden units"] * (len(units) < spec.hidden_size)
        hidden += [f"{len(inputs)} of {spec.input_size} inputs"] * (len(inputs) < spec.input_size)
        if hidden:
            console.message(f"It shows {' and '.join(hidden)}; --units and --inputs choose others")
    return 0


def _shown(what: str, chosen: tuple[int, ...] | None, size: int, usual: int) -> list[int]:
    """Numbers from 0 for the user's from 1."""
    numbers = chosen or tuple(range(1, min(size, usual) + 1))
    examples.require_numbers(what, numbers, size)
    return [number - 1 for number in numbers]


def _example(options: Namespace) -> Example:
    """The example that the options describe."""
    if not options.weights:
        sizes = {"input_size": 2, "hidden_size": 3} | given(options, ("input_size", "hidden_size"))
        spec = ModelSpec(cell=options.cell or "RNN", **sizes, **given(options, ("nonlinearity", "bias")))
        return _checked(examples.example(spec, steps=options.steps, seed=options.seed), options)
    refused = given(options, ("input_size", "hidden_size", "bias"))
    if refused:
        name = next(iter(refused)).replace("_", "-").replace("bias", "no-bias")
        raise InvalidInput(mismatch(f"--{name}", "none beside --weights, whose file tells it", refused.popitem()[1]))
    found = examples.read_weights(Path(options.weights), options.cell, **given(options, ("nonlinearity",)))
    return _checked(examples.example(*found, steps=options.steps, seed=options.seed), options)


def _checked(example: Example, options: Namespace) -> Example:
    """With the loss that was asked for."""
    if options.loss == "last":
        example.counted[:-1] = 0
    tracing.require_example(example)
    return example


def trace(options: Namespace) -> int:
    """Every intermediate of one example."""
    names = tuple(dict.fromkeys(options.backend or tracing.TRACED))
    for name in names:
        tracing.load(name)
    example = _example(options)
    if not options.finite_differences:
        traces = tracing.everything(example, names, ())
    else:
        needed = finite_differences.forward_steps(example)
        if needed > LONG:
            console.message(
                f"Finite differences take {needed:,} forward steps; --no-finite-differences leaves them out"
            )
        traces = tracing.everything(example, names)
    if options.json:
        with records.writing(sys.stdout, options.command, options.seed) as writer:
            for record in _records(example, traces):
                writer.write(record)
        return 0
    _print_trace(example, traces)
    return 0


def _records(example: Example, traces: dict[str, Trace]) -> list[record_types.Trace]:
    """One of the example, one a backend; arrays as nested lists with the step first."""
    arrays = {name: array.tolist() for name, array in _given(example).items()}
    cell = example.spec.cell
    found = [record_types.Trace(kind="trace", backend="", cell=cell, arrays=arrays, lines=[])]
    for name, own in traces.items():
        lines = [
            record_types.Line(t=step.t + 1, phase=step.phase, tag=event.tag, line=event.number, code=event.code)
            for step in own.events
            for event in step.events
        ]
        arrays = {quantity: array.tolist() for quantity, array in own.arrays.items()}
        found.append(record_types.Trace(kind="trace", backend=name, cell=cell, arrays=arrays, lines=lines))
    return found


def _print_trace(example: Example, traces: dict[str, Trace]) -> None:
    """The example; what was executed, line by line with its values; how far the others are from it.

    Without NumPy, which alone has a log, the values of the first backend, quantity by quantity.
    """
    for name, value in _given(example).items():
        _print_value(name, value)
    first = next(iter(traces))
    log = next((own.events for own in traces.values() if own.events), ())
    for name, array in {} if log else traces[first].arrays.items():
        for t, value in enumerate(array, start=1):
            _print_value(f"{first}, step {t}: {name}", value)
    for step in log:
        console.line(f"step {step.t + 1} of {len(example.x)}, {step.phase}")
        for event in step.events:
            console.line(f"  ({event.tag}) {event.code}")
            for name, value in event.values.items():
                for part, own in _named(example, name, value).items():
                    _print_value(f"      {part}", own)
    who = [name for name in traces if name != first]
    rows = []
    for name, array in traces[first].arrays.items():
        gaps = [_gap(array, traces[other].arrays.get(name)) for other in who]
        if any(gaps):
            rows.append((name, str(array.shape), *gaps))
    if rows:
        title = f"largest difference from {first}, relative to the largest value"
        console.table(title, ("quantity", "shape", *who), rows, numeric=who)


def _given(example: Example) -> dict[str, np.ndarray]:
    """What the example holds."""
    arrays = {"x": example.x[:, 0], "target": example.target[:, 0], "counted": example.counted}
    start = {f"{name}_0": part[0, 0] for name, part in zip(example.spec.state_names, example.state0, strict=True)}
    return arrays | start | example.params


def _named(example: Example, name: str, value: Any) -> dict[str, np.ndarray]:
    """What a line assigned, under the names of a trace: the states' gradients and the sums are tuples."""
    if name == "a" and example.spec.is_lstm:
        return {f"a_{gate}": part for gate, part in zip(GATES, np.split(value, 4, axis=1), strict=True)}
    if name == "dstate":
        return dict(zip(("dh", "dc_next"), value, strict=False))
    if isinstance(value, Weights):
        return {f"d{part} so far": own for part, own in named_weights(value, "").items()}
    return {name: value}


def _print_value(name: str, value: np.ndarray) -> None:
    rows = (" ".join(f"{number:+.6f}" for number in row) for row in np.atleast_2d(value))
    console.line(f"{name} = " + ("\n" + " " * (3 + len(name))).join(rows))


def _gap(own: np.ndarray, other: np.ndarray | None) -> str:
    if other is None:
        return ""
    return f"{relative_distance(other, own):.1e}"

"""``rosetta lessons``, ``stepper`` and ``trace``: the lessons, and one example step by step, as a page and as text."""

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
from common.cli.options import (
    MODEL_ROWS,
    Parser,
    Verbs,
    add_jobs,
    add_rows,
    add_seed,
    add_verb,
    at_least,
    given,
    integers,
    named,
)
from common.equivalence.comparison import relative_distance
from common.errors import BackendMissing, InvalidInput, mismatch
from common.model.cells import CELLS
from common.model.layout import Weights, named_weights
from common.model.spec import ModelSpec
from common.tracing import backends, examples, finite_differences
from common.tracing.trace import Example, Trace, require_example
from common.weights import files
from common.weights.layer import single_layer

LIBRARIES = ("jinja2", "matplotlib", "markdown_it", "mdit_py_plugins", "pygments", "latex2mathml")
NOTEBOOKS = ("jupytext", "nbformat")
SHOWN_UNITS, SHOWN_INPUTS, MOST_STEPS = 4, 3, 20
# The sizes of an example without --weights.
SIZES: dict[str, Any] = {"input_size": 2, "hidden_size": 3}
# Forward steps that take about ten seconds.
LONG = 200_000


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "trace", trace, "print every intermediate of one example, forward and backward")
    _add_example(parser)
    text = f"one of {', '.join(backends.TRACED)}; repeat it for several (default: all)"
    parser.add_argument("--backend", action="append", metavar="NAME", help=text)
    text = "leave out finite differences, which take long for many units"
    parser.add_argument("--no-finite-differences", dest="finite_differences", action="store_false", help=text)
    text = "states that the loss compares with a target: every state, or the last (default: every)"
    parser.add_argument("--loss", type=named(("every", "last")), default="every", metavar="NAME", help=text)

    text = "write a page that walks through one example, forward and backward"
    parser = add_verb(verbs, "stepper", stepper, text)
    _add_example(parser)
    text = f"numbers of the hidden units to show (default: the first {SHOWN_UNITS})"
    parser.add_argument("--units", type=integers, metavar="N,N,...", help=text)
    text = f"numbers of the inputs to show (default: the first {SHOWN_INPUTS})"
    parser.add_argument("--inputs", type=integers, metavar="N,N,...", help=text)
    text = "file to write (default: reports/latest/stepper.html)"
    parser.add_argument("--out", default="reports/latest/stepper.html", metavar="FILE", help=text)
    parser.set_defaults(loss="every")

    parser = add_verb(verbs, "lessons", lessons, "run the lessons and write their pages, with the steppers")
    text = "output folder (default: reports/latest/lessons)"
    parser.add_argument("--out", default="reports/latest/lessons", metavar="FOLDER", help=text)
    parser.add_argument("--lesson", type=integers, action="append", metavar="N,N,...", help="build only these lessons")
    parser.add_argument("--notebooks", action="store_true", help="write Jupyter notebooks too")
    add_jobs(parser)


def _add_example(parser: Parser) -> None:
    """What ``trace`` and ``stepper`` walk through."""
    text = f"one of {', '.join(CELLS)}, of one layer in one direction (default: that of --weights, or {CELLS[0]})"
    parser.add_argument("--cell", type=named(CELLS), metavar="NAME", help=text)
    text = "weights of one layer in one direction, without a projection: a file of `rosetta train`, an .npz, or a "
    text += "state_dict of PyTorch (default: random weights)"
    parser.add_argument("--weights", metavar="FILE", help=text)
    parser.add_argument("--steps", type=at_least(1), default=5, metavar="T", help="time steps (default: 5)")
    add_seed(parser, "seed of the example")
    sized = [
        MODEL_ROWS[name]._replace(help=f"{MODEL_ROWS[name].help} (default: {size})") for name, size in SIZES.items()
    ]
    add_rows(parser, "model", [*sized, *(MODEL_ROWS[name] for name in ("nonlinearity", "reset_after", "bias"))])


def load_teaching(module: str, notebooks: bool = False) -> Any:
    """A module of ``reports.teaching``. Raises ``BackendMissing`` if its libraries or backends are not installed."""
    extra, needed = ("notebooks", LIBRARIES + NOTEBOOKS) if notebooks else ("lessons", LIBRARIES)
    for library in needed:
        if importlib.util.find_spec(library) is None:
            text = f"the lessons need {library}, which is not installed; run: pip install -e '.[{extra}]'"
            raise BackendMissing(text)
    for name in backends.TRACED:
        registry.load(name)
    return importlib.import_module(f"reports.teaching.{module}")


def lessons(options: Namespace) -> int:
    """Run the lessons and write their pages."""
    build = load_teaching("build", options.notebooks)
    numbers = tuple(number for some in options.lesson or () for number in some)
    with console.Stages() as stages:
        done = stages.stage("pages", build.count(numbers))
        written = build.build(Path(options.out), numbers, options.notebooks, options.jobs, done)
    if options.json:
        for file in written:
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
    units = _chosen("--units", options.units, spec.hidden_size, SHOWN_UNITS)
    inputs = _chosen("--inputs", options.inputs, spec.input_size, SHOWN_INPUTS)
    file = module.write(example, units, inputs, Path(options.out), options.weights or "")
    if options.json:
        print(records.dumps({"file": str(file), "bytes": file.stat().st_size}))
        return 0
    console.line(f"Stepper: {file}")
    counts = {"hidden units": (len(units), spec.hidden_size), "inputs": (len(inputs), spec.input_size)}
    if some := [f"{count} of {size} {what}" for what, (count, size) in counts.items() if count < size]:
        console.message(f"It shows {' and '.join(some)}; --units and --inputs choose others")
    return 0


def _chosen(what: str, numbers: tuple[int, ...] | None, size: int, usual: int) -> list[int]:
    """The user's numbers, which count from 1, as numbers from 0; they must be different and at most ``size``."""
    numbers = tuple(range(1, min(size, usual) + 1)) if numbers is None else numbers
    if not numbers or len(set(numbers)) < len(numbers) or not all(1 <= number <= size for number in numbers):
        raise InvalidInput(mismatch(what, f"different numbers from 1 to {size}", ",".join(map(str, numbers)) or "none"))
    return [number - 1 for number in numbers]


def _example(options: Namespace) -> Example:
    """The example that the options describe."""
    chosen = given(options, ("input_size", "hidden_size", "nonlinearity", "reset_after", "bias"))
    if options.weights:
        for name, option in (("input_size", "input-size"), ("hidden_size", "hidden-size"), ("bias", "no-bias")):
            if name in chosen:
                cause = "the file decides it"
                raise InvalidInput(mismatch(f"--{option}", "none with --weights", chosen[name], cause))
        file = files.read(Path(options.weights), "--weights")
        unrecorded = (chosen.get(name) for name in ("nonlinearity", "reset_after"))
        spec, params, notes = single_layer(file, options.cell, *unrecorded)
        for note in notes:
            console.message(note)
    else:
        spec, params = ModelSpec(cell=options.cell or CELLS[0], **SIZES | chosen), None
    example = examples.example(spec, params, steps=options.steps, seed=options.seed)
    if options.loss == "last":
        example.counted[:-1] = 0
    require_example(example)
    return example


def trace(options: Namespace) -> int:
    """Every intermediate of one example."""
    names = tuple(dict.fromkeys(options.backend or backends.TRACED))
    for name in names:
        backends.load(name)
    example = _example(options)
    needed = finite_differences.forward_steps(example) if options.finite_differences else 0
    if needed > LONG:
        console.message(f"Finite differences take {needed:,} forward steps; --no-finite-differences leaves them out")
    traces = backends.everything(example, names, None if options.finite_differences else ())
    if not options.json:
        _print_trace(example, traces)
        return 0
    with records.writing(sys.stdout, options.command, options.seed) as writer:
        for record in _records(example, traces):
            writer.write(record)
    return 0


def _records(example: Example, traces: dict[str, Trace]) -> list[record_types.Trace]:
    """One record of the example and one for each backend; arrays are nested lists with the step first."""
    arrays = {name: array.tolist() for name, array in _arrays(example).items()}
    cell = example.spec.cell
    rows = [record_types.Trace(kind="trace", backend="", cell=cell, arrays=arrays, lines=[])]
    for name, trace in traces.items():
        lines = [
            record_types.Line(t=step.t + 1, phase=step.phase, tag=event.tag, line=event.number, code=event.code)
            for step in trace.events
            for event in step.events
        ]
        arrays = {quantity: array.tolist() for quantity, array in trace.arrays.items()}
        rows.append(record_types.Trace(kind="trace", backend=name, cell=cell, arrays=arrays, lines=lines))
    return rows


def _print_trace(example: Example, traces: dict[str, Trace]) -> None:
    """Print the example, each line that was executed with its values, and how far the other backends are from them.

    Only NumPy has a log of lines; without it, the values of the first backend are printed quantity by quantity.
    """
    console.line(f"one sequence through a loop over {example.spec.label}")
    for name, value in _arrays(example).items():
        _print_value(name, value)
    first = next(iter(traces))
    log = next((trace.events for trace in traces.values() if trace.events), ())
    for name, array in {} if log else traces[first].arrays.items():
        for t, value in enumerate(array, start=1):
            _print_value(f"{first}, step {t}: {name}", value)
    for step in log:
        console.line(f"step {step.t + 1} of {len(example.x)}, {step.phase}")
        for event in step.events:
            console.line(f"  ({event.tag}) {event.code}")
            for name, value in event.values.items():
                for quantity, array in _named(example, name, value).items():
                    _print_value(f"      {quantity}", array)
    others = [name for name in traces if name != first]
    rows = []
    for name, array in traces[first].arrays.items():
        gaps = [_gap(array, traces[other].arrays.get(name)) for other in others]
        if any(gaps):
            rows.append((name, str(array.shape), *gaps))
    if rows:
        title = f"largest difference from {first}, relative to the largest value"
        console.table(title, ("quantity", "shape", *others), rows, numeric=others)


def _arrays(example: Example) -> dict[str, np.ndarray]:
    """The arrays of the example, without the batch axis."""
    arrays = {"x": example.x[:, 0], "target": example.target[:, 0], "counted": example.counted}
    start = {f"{name}_0": part[0, 0] for name, part in zip(example.spec.state_names, example.state0, strict=True)}
    return arrays | start | example.params


def _named(example: Example, name: str, value: Any) -> dict[str, np.ndarray]:
    """What a line assigned, under the names of a trace: the states' gradients and the sums are tuples."""
    letters = example.spec.kind.letters
    if name in ("a", "q") and letters:
        parts = np.split(value, value.shape[1] // example.spec.hidden_size, axis=1)
        return {f"{name}_{gate}": part for gate, part in zip(letters, parts, strict=False)}
    if name == "dstate":
        return dict(zip(("dh", "dc_next"), value, strict=False))
    if isinstance(value, Weights):
        return {f"d{part} so far": array for part, array in named_weights(value, "").items()}
    return {name: value}


def _print_value(name: str, value: np.ndarray) -> None:
    rows = (" ".join(f"{number:+.6f}" for number in row) for row in np.atleast_2d(value))
    console.line(f"{name} = " + ("\n" + " " * (3 + len(name))).join(rows))


def _gap(first: np.ndarray, other: np.ndarray | None) -> str:
    """The largest difference over the largest value."""
    return "" if other is None else f"{relative_distance(other, first):.1e}"

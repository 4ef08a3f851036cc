"""``rosetta lessons``, ``stepper`` and ``trace``: the lessons, and one example step by step, as a page and as text."""

import importlib
import importlib.util
import sys
import textwrap
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from common import record_types, records
from common.backend import registry
from common.cli import console
from common.cli.layers import example as examples
from common.cli.options import Verbs, add_jobs, add_verb, integers, named
from common.equivalence.comparison import relative_distance
from common.errors import BackendMissing
from common.model.layout import Weights, named_weights
from common.tracing import backends, finite_differences
from common.tracing.backends import FINITE_DIFFERENCES
from common.tracing.shown import Shown, shown
from common.tracing.trace import Example, Trace

LIBRARIES = ("jinja2", "matplotlib", "markdown_it", "mdit_py_plugins", "pygments", "latex2mathml")
NOTEBOOKS = ("jupytext", "nbformat")
MOST_STEPS = 20
WIDTH = 80
# Seconds of finite differences that are not asked for, and of which a bar is shown.
LONG, NOTICED = 30, 3


def add(verbs: Verbs) -> None:
    parser = add_verb(verbs, "trace", trace, "print every intermediate of one example, forward and backward")
    examples.add(parser)
    text = f"one of {', '.join(backends.TRACED)}; repeat it for several (default: all)"
    parser.add_argument("--backend", action="append", metavar="NAME", help=text)
    text = f"compute finite differences even where they take more than {LONG} seconds"
    parser.add_argument("--finite-differences", action="store_true", default=None, help=text)
    text = "leave out finite differences, which take long for many units"
    parser.add_argument("--no-finite-differences", dest="finite_differences", action="store_false", help=text)
    text = "states that the loss compares with a target: every state, or the last (default: every)"
    parser.add_argument("--loss", type=named(("every", "last")), default="every", metavar="NAME", help=text)
    examples.add_shown(parser)
    parser.add_argument("--all", action="store_true", help="print every unit, feature and step")

    text = "write a page that walks through one example, forward and backward"
    parser = add_verb(verbs, "stepper", stepper, text)
    examples.add(parser)
    examples.add_shown(parser)
    text = "file to write (default: reports/latest/stepper.html)"
    parser.add_argument("--out", default="reports/latest/stepper.html", metavar="FILE", help=text)
    parser.set_defaults(loss="every")

    parser = add_verb(verbs, "lessons", lessons, "run the lessons and write their pages, with the steppers")
    text = "output folder (default: reports/latest/lessons)"
    parser.add_argument("--out", default="reports/latest/lessons", metavar="FOLDER", help=text)
    parser.add_argument("--lesson", type=integers, action="append", metavar="N,N,...", help="build only these lessons")
    parser.add_argument("--notebooks", action="store_true", help="write Jupyter notebooks too")
    add_jobs(parser)


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
    example, source = examples.example(options, MOST_STEPS)
    part = shown(example, *examples.chosen(options, example), everything=False)
    units, inputs = part.units, part.features
    worlds = importlib.import_module("reports.teaching.walk").WORLDS
    needed = worlds * finite_differences.seconds(example, units, inputs)
    with _bars(needed) as stages:
        done = stages.stage("runs", worlds)
        file = module.write(example, units, inputs, Path(options.out), source, options.inputs or "", done)
    if options.json:
        print(records.dumps({"file": str(file), "bytes": file.stat().st_size}))
        return 0
    console.line(f"Stepper: {file}")
    if part._replace(steps=part.sizes[2]).left_out:
        left = part._replace(steps=part.sizes[2]).left_out.replace(", ", " and ")
        console.message(f"It shows {left}; --units and --features choose others")
    return 0


def _bars(seconds: float) -> console.Stages:
    """Progress on a terminal, and elsewhere only a line after each part of what takes long."""
    return console.Stages(quiet=seconds < NOTICED and not sys.stderr.isatty())


def trace(options: Namespace) -> int:
    """Every intermediate of one example."""
    names = tuple(dict.fromkeys(options.backend or backends.TRACED))
    for name in names:
        backends.load(name)
    example, _ = examples.example(options, None, len(names))
    part = shown(example, *examples.chosen(options, example), options.all)
    if part.left_out:
        console.message(f"It shows {part.left_out}; --all shows everything, --units and --features choose others")
    units, features = _differences(options, example, part)
    heavy = len(example.x) * sum(value.size for value in example.params.values()) / 1e6
    with _bars(heavy if units == () else heavy + finite_differences.seconds(example, units, features)) as stages:
        traces = backends.everything(example, names, units, features, stages.stage)
    if not options.json:
        _print_trace(example, traces, part)
    else:
        with records.writing(sys.stdout, options.command, options.seed) as writer:
            for record in _records(example, traces, part):
                writer.write(record)
    return 0


def _differences(options: Namespace, example: Example, part: Shown) -> tuple[tuple[int, ...] | None, Any]:
    """The units and features whose finite differences are computed: those that are shown, () for none."""
    if options.finite_differences is False:
        return (), None
    chosen = (None, None) if options.all else (part.units, part.features)
    needed = finite_differences.seconds(example, *chosen)
    if needed > LONG and not options.finite_differences:
        text = f"Finite differences are left out, as they would take about {_time(needed)}; --finite-differences "
        console.message(text + "computes them, and fewer --units or --steps take less")
        return (), None
    if needed > NOTICED:
        console.message(f"Finite differences take about {_time(needed)}; --no-finite-differences leaves them out")
    return chosen


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _records(example: Example, traces: dict[str, Trace], part: Shown) -> list[record_types.Trace]:
    """One record of the example and one for each backend; arrays are nested lists with the step first."""
    arrays = {name: array.tolist() for name, array in _arrays(example, part).items()}
    cell = example.spec.cell
    numbers = {"units": part.units, "features": part.features, "steps": range(part.steps)}
    shown = {name: [number + 1 for number in some] for name, some in numbers.items()}
    rows = [record_types.Trace(kind="trace", backend="", cell=cell, arrays=arrays, lines=[], shown=shown)]
    for name, trace in traces.items():
        lines = [
            record_types.Line(t=step.t + 1, phase=step.phase, tag=event.tag, line=event.number, code=event.code)
            for step in trace.events
            if step.t < part.steps
            for event in step.events
        ]
        arrays = {quantity: part.of_steps(quantity, array).tolist() for quantity, array in trace.arrays.items()}
        record = record_types.Trace(kind="trace", backend=name, cell=cell, arrays=arrays, lines=lines, shown=shown)
        rows.append(record)
    return rows


def _print_trace(example: Example, traces: dict[str, Trace], part: Shown) -> None:
    """Print the example, each line that was executed with its values, and how far the other backends are from them.

    Only NumPy has a log of lines; without it, the values of the first backend are printed quantity by quantity.
    """
    console.line(f"one sequence through a loop over {example.spec.label}")
    for name, value in _arrays(example, part).items():
        _print_value(name, value)
    first = next(iter(traces))
    log = next((trace.events for trace in traces.values() if trace.events), ())
    for name, array in {} if log else traces[first].arrays.items():
        for t, value in enumerate(part.of_steps(name, array), start=1):
            _print_value(f"{first}, step {t}: {name}", value)
    for step in log:
        if step.t >= part.steps:
            continue
        console.line(f"step {step.t + 1} of {len(example.x)}, {step.phase}")
        for event in step.events:
            console.line(f"  ({event.tag}) {event.code}")
            for name, value in event.values.items():
                for quantity, array in _named(example, name, value).items():
                    _print_value(f"      {quantity}", part.of(quantity, array))
    others = [name for name in traces if name != first]
    rows = []
    for name, array in traces[first].arrays.items():
        gaps = [_gap(part, name, array, other, traces[other].arrays.get(name)) for other in others]
        if any(gaps):
            rows.append((name, str(array.shape), *gaps))
    if rows:
        title = f"largest difference from {first}, relative to the largest value"
        console.table(title, ("quantity", "shape", *others), rows, numeric=others)


def _arrays(example: Example, part: Shown) -> dict[str, np.ndarray]:
    """The arrays of the example that are shown, without the batch axis."""
    arrays = {"x": example.x[:, 0], "target": example.target[:, 0], "counted": example.counted}
    arrays = {name: part.of_steps(name, array) for name, array in arrays.items()}
    start = {f"{name}_0": part[0, 0] for name, part in zip(example.spec.state_names, example.state0, strict=True)}
    return arrays | {name: part.of(name, array) for name, array in (start | example.params).items()}


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
    """The rows of a value, each folded where it is longer than the line, its further lines two columns to the right."""
    indent = 3 + len(name)
    fold = textwrap.TextWrapper(max(WIDTH - indent, 1), subsequent_indent="  ", break_long_words=False)
    rows = (fold.fill(" ".join(f"{number:+.6f}" for number in row)) for row in np.atleast_2d(value))
    console.line(f"{name} = " + "\n".join(rows).replace("\n", "\n" + " " * indent))


def _gap(part: Shown, name: str, first: np.ndarray, of: str, other: np.ndarray | None) -> str:
    """The largest difference over the largest value; finite differences are there only for what is shown."""
    if other is None:
        return ""
    if of == FINITE_DIFFERENCES and np.isnan(other).any():
        first, other = part.of(name, first), part.of(name, other)
    return f"{relative_distance(other, first):.1e}"

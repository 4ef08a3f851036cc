"""Every intermediate of a cell's forward and backward pass on one example, as each implementation computes it.

The example is one sequence, B = 1, through a cell applied T times, with L = 1/2 sum_t counted_t ||h_t - target_t||^2.
NumPy's values are what its tagged lines assigned (``watching``). The other derivatives come from PyTorch's graph, from
JAX with a zero added to every intermediate (``perturbed``), and from finite differences over the same.
"""

import ast
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from common.backend import registry
from common.backend.contract import check_input, check_state
from common.errors import InvalidInput, InvalidType, choice, mismatch
from common.model.layout import (
    Parameters,
    Weights,
    check_array,
    check_ndarray,
    check_parameters,
    layer_suffixes,
    layer_weights,
)
from common.model.spec import ModelSpec
from common.tracing.equations import Line, lines_of

TRACED = ("numpy", "jax", "torch")
FINITE_DIFFERENCES = "finite differences"


class Event(NamedTuple):
    """A tagged line that was executed: its number in the file, its code, and the values that it assigned."""

    tag: str
    number: int
    code: str
    values: dict[str, Any]


class Step(NamedTuple):
    """The tagged lines executed for step t, in order; ``phase`` is "forward" or "backward"."""

    t: int
    phase: str
    events: tuple[Event, ...]


class Example(NamedTuple):
    """One sequence: x (T, 1, I), target (T, 1, H), each of state0 (1, 1, H), counted (T,) of zeros and ones.

    The model has one layer and one direction, no projection, and computes in float64.
    """

    spec: ModelSpec
    params: Parameters
    x: np.ndarray
    target: np.ndarray
    state0: tuple[np.ndarray, ...]
    counted: np.ndarray

    @property
    def weights(self) -> Weights:
        return layer_weights(self.params, layer_suffixes(self.spec)[0])

    @property
    def state(self) -> tuple[np.ndarray, ...]:
        """The initial state of a cell, each (1, H)."""
        return tuple(part[0] for part in self.state0)

    @property
    def entering(self) -> tuple[str, ...]:
        """The names of the state that enters a step."""
        return tuple(f"{name}_prev" for name in self.spec.state_names)

    @property
    def options(self) -> dict[str, str]:
        """What a cell's step takes by name."""
        return {} if self.spec.is_lstm else {"nonlinearity": self.spec.nonlinearity}


class Trace(NamedTuple):
    """Quantities by name, each with leading axis T and without the batch axis, and NumPy's log in order of execution.

    Forward: ``a`` (with the biases; (T, 4H) for an LSTM), its ``i``, ``f``, ``g``, ``o``, ``c``, and ``h``; ``h_prev``
    and ``c_prev``, which enter the step. Backward: ``d`` and the name, the derivative of L through everything that
    follows, that of ``h_prev`` and ``c_prev`` through this step alone; ``dc_next``, the ``dc_prev`` of the step after;
    ``dx``; ``dweight_ih_step``, ..., what step t contributes; ``dweight_ih``, ..., the sum of the contributions of
    steps T-1 to t, so that entry 0 is the gradient.
    """

    arrays: dict[str, np.ndarray]
    events: tuple[Step, ...] = ()


def check_example(example: Example) -> None:
    """Raise unless this is an example as ``Example`` says."""
    spec = example.spec
    if not isinstance(spec, ModelSpec):
        raise InvalidType(mismatch("spec", "a ModelSpec", type(spec).__name__))
    if spec.options:
        raise InvalidInput(mismatch("model to trace", "one layer in one direction", ", ".join(spec.options)))
    if spec.dtype != "float64":
        raise InvalidType(mismatch("dtype to trace in", "float64", spec.dtype))
    check_parameters(spec, example.params)
    batch, steps = check_input(spec, example.x), len(example.x)
    if batch != 1:
        raise InvalidInput(mismatch("x", "one sequence, (T, 1, I)", example.x.shape))
    check_state(spec, "state0", example.state0, 1)
    check_array("target", example.target, (steps, 1, spec.hidden_size), spec.dtype, spec.label)
    counted = example.counted
    check_ndarray("counted", counted)
    if counted.shape != (steps,) or not np.isin(counted, (0, 1)).all():
        raise InvalidInput(mismatch("counted", f"({steps},) zeros and ones", f"{counted.shape}: {counted}"))


def kept(value: Any) -> Any:
    """A copy of an array, alone or in tuples; everything else as it is."""
    if isinstance(value, tuple):
        parts = map(kept, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.copy() if isinstance(value, np.ndarray) else value


@contextmanager
def watching(*paths: Path, keep: Callable[[Any], Any] = kept) -> Iterator[list[Event]]:
    """An event for every tagged line that a function of these files executes, in this thread, within the block.

    A line that raises makes none. A tracer that was there before, a debugger's or that of coverage, is left out
    meanwhile.
    """
    files = {str(path): {line.number: line for line in lines_of(path)} for path in paths}
    events: list[Event] = []

    def enter(frame: FrameType, what: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in files or code.co_name.startswith("<"):
            return None
        return follow(files[code.co_filename])

    def follow(lines: dict[int, Line]) -> Any:
        begun: Line | None = None

        def local(frame: FrameType, what: str, _: Any) -> Any:
            nonlocal begun
            if begun and what == "line" and frame.f_lineno == begun.number:
                return local  # a comprehension in the line: from Python 3.12 on each of its rounds is a line event
            if begun and what in ("line", "return"):
                values = {name: keep(eval(name, frame.f_globals, frame.f_locals)) for name in begun.targets}
                events.append(Event(begun.tag, begun.number, begun.code, values))
            begun = lines.get(frame.f_lineno) if what == "line" else None
            return local

        return local

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield events
    finally:
        sys.settrace(before)


def by_step(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """The events of every step; the tag of the first event begins each."""
    if not events:
        raise InvalidInput(mismatch("tagged lines executed", "at least one", 0))
    begins = [place for place, event in enumerate(events) if event.tag == events[0].tag]
    return [tuple(events[start:end]) for start, end in zip(begins, [*begins[1:], len(events)], strict=True)]


def assigned(events: Sequence[Event]) -> dict[str, Any]:
    """Name -> the value that it has in the end."""
    return {name: value for event in events for name, value in event.values.items()}


def stacked(steps: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The values of every step, each (1, H) but for weights and biases -> arrays (T, H)."""
    arrays = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
    return {k: v if k.startswith(("dweight", "dbias")) else v[:, 0] for k, v in arrays.items()}


def gathered(
    values: Sequence[Mapping[str, Any]],
    dweights: Sequence[Weights],
    dx: Sequence[Any],
    dvalues: Sequence[Mapping[str, Any]],
) -> Trace:
    """The trace of the values and derivatives of every step, each step with weights of its own."""
    steps = []
    for of_value, dw, dx_t, d in zip(values, dweights, dx, dvalues, strict=True):
        own = {f"d{name}_step": part for name, part in dw._asdict().items() if part is not None}
        steps.append({**of_value, **{f"d{name}": part for name, part in d.items()}, "dx": dx_t, **own})
    arrays = stacked(steps)
    for name in [name for name in arrays if name.endswith("_step")]:
        arrays[name.removesuffix("_step")] = arrays[name][::-1].cumsum(axis=0)[::-1]
    return Trace(arrays | from_later(arrays))


def from_later(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``dc_next``, which arrives at a step: what the step after sends back, and nothing at the last step."""
    sent = arrays.get("dc_prev")
    return {} if sent is None else {"dc_next": np.concatenate([sent[1:], 0 * sent[:1]])}


def perturbed(module: ModuleType, function_name: str) -> ModuleType:
    """A copy of a module in which a function takes ``eps``, a dict, and adds ``eps[name]`` to what its tags name.

    A name is moved once: behind its last tagged assignment, or where that stands in a block, which need not run, behind
    the block. Not for functions with loops. The copy does not enter ``sys.modules``.
    """
    path = Path(module.__file__ or "")
    tree, tagged = ast.parse(path.read_text(encoding="utf-8")), {line.number: line.targets for line in lines_of(path)}
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function_name]
    if not found:
        raise InvalidInput(mismatch(f"module {module.__name__}", f"a function {function_name}", "none"))
    (function,) = found
    last = {
        name: place
        for place, statement in enumerate(function.body)
        for number in range(statement.lineno, (statement.end_lineno or 0) + 1)
        for name in tagged.get(number, ())
        if name.isidentifier()
    }
    for name, place in sorted(last.items(), key=lambda item: -item[1]):  # from the end, so that the places stay right
        function.body[place + 1 : place + 1] = ast.parse(f"{name} = {name} + eps.get({name!r}, 0)").body
    function.args.kwonlyargs.append(ast.arg("eps"))
    function.args.kw_defaults.append(None)
    copy = ModuleType(module.__name__)
    copy.__package__, copy.__file__ = module.__package__, module.__file__
    exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), vars(copy))
    return copy


def load(name: str) -> Callable[[Example], Trace]:
    """Backend name -> its trace function, imported on first use."""
    if name not in TRACED:
        raise InvalidInput(choice("backend to trace", TRACED, name))
    registry.load(name)  # for its errors, where the framework is missing
    return importlib.import_module(f"{name}_impl.trace").trace


def everything(example: Example, names: Sequence[str] = TRACED, units: Sequence[int] | None = None) -> dict[str, Trace]:
    """Backend name -> trace, and that of finite differences over NumPy's forward step.

    ``units``, numbers from 0, limits the finite differences, which take long: (), and they are left out.
    """
    from common.tracing import finite_differences  # here, as it needs this module

    cell = importlib.import_module(f"numpy_impl.{'lstm' if example.spec.is_lstm else 'rnn'}_cell")
    traces = {name: load(name)(example) for name in names}
    if units is not None and not units:
        return traces
    return traces | {FINITE_DIFFERENCES: finite_differences.trace(example, cell, units)}

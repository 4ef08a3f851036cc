"""The comparisons on the weights of a file: every backend, the library that owns the format, and what was recorded;
a trial is one problem in one dtype, with the exact result and the bounds of the harness (``rounding``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Backend, Grads, Problem
from common.backend.guards import unsupported
from common.equivalence.comparison import EXACT, EXPECTED, Row, array_gradient, compare, gradient_name, named_outputs
from common.equivalence.ladder import Rung, check_problem, each
from common.equivalence.rounding import Answer, answers
from common.equivalence.tolerances import Bound, bounds
from common.equivalence.variants import Variant
from common.errors import BackendBroken, mismatch
from common.model.spec import COMPLEX
from common.parallel import Progress
from common.proof.problems import Draw, in_dtype, variant
from common.proof.recorded import Expected
from common.proof.subject import Subject, as_dtype, file_facts
from common.record_parts import CheckedFile
from common.weights.peers import Loaded, Peer
from common.weights.schemes.layers import file_gradients

# The dtype in which outputs that are recorded in float64 may have been computed, and the share of them that shows it.
NARROWER, MOST = "float32", 0.5


class Guest(NamedTuple):
    """The library that owns the format, and the layer as it has loaded it."""

    name: str
    peer: Peer
    loaded: Loaded


class Trial(NamedTuple):
    """One problem in one dtype: what was compared on it, rung by rung, and every answer that rounding allows."""

    variant: Variant
    problem: Problem
    backends: Mapping[str, Backend]
    answers: Sequence[Answer]
    rungs: tuple[Rung, ...]

    @property
    def rows(self) -> list[Row]:
        return [row for rung in self.rungs for row in rung.rows]


def without_results(trial: Trial) -> Trial:
    """The rows of a trial alone, without the arrays that they compare, which are as large as the weights."""
    return trial._replace(answers=(), rungs=tuple(rung._replace(results={}) for rung in trial.rungs))


class Plan(NamedTuple):
    """What is to be compared: a layer on a problem, in some dtypes, by whom, and what was recorded."""

    subject: Subject
    draw: Draw
    dtypes: Sequence[str]
    backends: Mapping[str, Backend]
    guest: Guest | None = None
    expected: Expected | None = None
    inputs: str | None = None
    batch_first: bool = False
    seed: int = 0

    @property
    def is_from_zeros(self) -> bool:
        """Whether the recorded outputs need a problem of their own, as they start from zeros and the other does not."""
        return self.expected is not None and self.inputs_without_state and self.draw.problem.state0 is not None

    @property
    def zeros(self) -> str:
        """What the origin says of recorded outputs that start from zeros."""
        return "" if self.expected is None else f"what {self.expected.path} holds starts from zeros"

    @property
    def inputs_without_state(self) -> bool:
        return not any(text.startswith("initial states from") for text in self.draw.origin)


def lacking(plan: Plan, backend: Backend, dtype: str) -> tuple[str, ...]:
    """What the trial in a dtype needs and a backend does not support."""
    about = variant(plan.subject.spec, plan.draw.problem, dtype, plan.seed)
    return unsupported(backend, about.spec, about.called)


def peer_lacks(plan: Plan, peer: Peer) -> tuple[str, ...]:
    """What the trial in the dtype of the file needs and the library that owns the format does not support."""
    spec, problem = plan.subject.spec, plan.draw.problem
    used = [name for name in spec.options if name not in ("num_layers", "bidirectional", "proj_size", "reset_before")]
    if problem.lengths is not None and "lengths" not in peer.options:
        used.append("lengths")
    if problem.lengths is not None and (problem.lengths == 0).any():
        used.append("sequences without a step")
    if problem.mask is not None:
        used.append("mask")
    return (*([spec.dtype] if spec.dtype not in peer.dtypes else []), *used)


def one_thread() -> AbstractContextManager[Any]:
    """The products of NumPy and of PyTorch run in one thread: those of a step are small, and the threads of a busy
    machine would spend most of their time waiting for each other.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def trials(plan: Plan, progress: Progress) -> Iterator[Trial]:
    """A trial in each dtype, and one of the outputs alone where what was recorded starts from another state."""
    exact: dict[bytes, Answer] = {}
    judged: dict[bytes, dict[str, Grads]] = {}
    for dtype in plan.dtypes:
        problem = in_dtype(plan.draw.problem, dtype, plan.subject.params(dtype))
        with one_thread():
            trial = _trial(plan, problem, dtype, exact, judged, progress, backward=True)
        yield trial
        if plan.is_from_zeros and plan.expected is not None and plan.expected.dtype == dtype:
            with one_thread():
                trial = _trial(plan, problem._replace(state0=None), dtype, {}, {}, progress, backward=False)
            yield trial
        with one_thread():
            second = _as_computed(plan, trial, progress)
        if second is not None:
            yield second


def computed_in(plan: Plan, trial: Trial) -> str:
    """float32 if what was recorded as float64 fails as such, and most of it is as near as rounding in float32; else
    "".
    """
    rungs = [rung for rung in trial.rungs if EXPECTED in rung.results]
    if not rungs or trial.variant.spec.dtype != "float64":
        return ""
    problem = in_dtype(trial.problem, NARROWER, plan.subject.params(NARROWER))
    spec = trial.variant.spec.with_dtype(NARROWER)
    outputs = [named_outputs(spec, *answer[:2]) for answer in answers(spec, problem, plan.seed, backward=False)]
    limits = bounds(outputs, NARROWER)
    coarse: list[np.ndarray] = []
    for quantity, value in rungs[0].results[EXPECTED].items():
        is_wrong = abs(value - rungs[0].results[EXACT][quantity]) > rungs[0].bounds[quantity].allowed
        is_near = abs(value - outputs[0][quantity]) <= limits[quantity].allowed
        coarse.append((is_wrong & is_near).ravel())
    return NARROWER if np.concatenate(coarse).mean() > MOST else ""


def _as_computed(plan: Plan, trial: Trial, progress: Progress) -> Trial | None:
    """The outputs alone, with what was recorded rounded to the dtype in which it was computed, if that is another."""
    dtype, problem = computed_in(plan, trial), trial.problem
    if not dtype or plan.expected is None:
        return None
    values = {name: as_dtype(value, dtype) for name, value in plan.expected.values.items()}
    rounded = plan._replace(expected=plan.expected._replace(values=values, dtype=dtype))
    given = in_dtype(problem, dtype, plan.subject.params(dtype))
    return _trial(rounded, given, dtype, {}, {}, progress, backward=False, title=f"{dtype}, as computed")


def _trial(
    plan: Plan,
    problem: Problem,
    dtype: str,
    exact: dict[bytes, Answer],
    judged: dict[bytes, dict[str, Grads]],
    progress: Progress,
    *,
    backward: bool,
    title: str = "",
) -> Trial:
    about = variant(plan.subject.spec, problem, dtype, plan.seed)
    backends = {name: backend for name, backend in plan.backends.items() if not lacking(plan, backend, dtype)}
    guest = plan.guest if plan.subject.spec.dtype == dtype else None
    recorded = plan.expected
    if recorded is not None and (recorded.dtype != dtype or (backward and plan.is_from_zeros)):
        recorded = None
    steps = 1 + len(backends) * (2 if backward else 1) + (guest is not None)
    steps += sum(COMPLEX in backend.dtypes for backend in backends.values()) if backward else 0
    done = progress(title or f"{dtype}{'' if backward else ', from zeros'}", steps)
    key = _values(problem)
    found = answers(about.spec, problem, plan.seed, exact.get(key), backward=backward)
    exact.setdefault(key, found[0])
    done()
    rungs: list[Rung] = []
    for rung in check_problem(
        backends,
        about,
        problem,
        found,
        elementwise=False,
        backward=backward,
        judged=judged.setdefault(key, {}),
        done=done,
    ):
        rungs.append(rung)
        if rung.check == "forward" and recorded is not None:
            rungs.append(_guest_rung(about, rung, EXPECTED, recorded.values, rung.bounds))
    if guest is not None:
        rungs += _peer_rungs(plan, guest, about, problem, found, rungs, backward=backward)
        done()
    guests = [*([guest.name] if guest else []), *([EXPECTED] if recorded is not None else [])]
    facts = file_facts(
        plan.subject,
        problem,
        inputs=plan.inputs,
        expect=None if plan.expected is None else plan.expected.path,
        batch_first=plan.batch_first,
        guests=guests,
    )
    return Trial(about, problem, backends, found, tuple(_of_file(rung, facts) for rung in rungs))


def _of_file(rung: Rung, facts: CheckedFile) -> Rung:
    return rung._replace(rows=tuple(replace(row, file=facts) for row in rung.rows))


def _values(problem: Problem) -> bytes:
    """The values of a problem whatever their dtype; alike in two dtypes, it has the same exact result in both."""
    arrays = (*problem.params.values(), problem.x, *(problem.state0 or ()), problem.dy, *problem.dstate)
    return b"".join(hash(array.astype("float64").tobytes()).to_bytes(8, "little", signed=True) for array in arrays)


def _guest_rung(
    about: Variant, rung: Rung, name: str, values: Mapping[str, np.ndarray], limits: Mapping[str, Bound]
) -> Rung:
    """A guest against every participant of a rung, in the quantities that the guest has."""
    results = {other: {quantity: named[quantity] for quantity in values} for other, named in rung.results.items()}
    rows = [
        compare(rung.check, about, quantity, (name, other), value, named[quantity], bound=limits[quantity])
        for other, named in results.items()
        for quantity, value in values.items()
    ]
    return Rung(rung.check, {name: values, **results}, {q: limits[q] for q in values}, tuple(rows))


def _peer_rungs(
    plan: Plan,
    guest: Guest,
    about: Variant,
    problem: Problem,
    found: Sequence[Answer],
    rungs: Sequence[Rung],
    *,
    backward: bool,
) -> Iterator[Rung]:
    """The library that owns the format: outputs and final states, and gradients under the names of the file."""
    spec, lengths = about.spec, problem.lengths
    state0 = problem.state0
    if state0 is None:
        state0 = tuple(np.zeros_like(part) for part in problem.dstate)
    loaded: Any = guest.loaded

    def run(function: Callable[[], Any]) -> Any:
        return each({guest.name: loaded}, lambda _: function())[guest.name]

    y, final = run(lambda: loaded.forward(problem.x, state0, lengths))
    forward = next(rung for rung in rungs if rung.check == "forward")
    values = _shaped(guest.name, named_outputs(spec, y, final), forward.results[EXACT])
    yield _guest_rung(about, forward, guest.name, values, forward.bounds)
    gradient = next((rung for rung in rungs if rung.check == "gradient"), None)
    if not guest.peer.has_gradients or gradient is None or not backward:
        return
    grads = run(lambda: loaded.vjp(problem.x, state0, problem.dy, problem.dstate, lengths))
    starts = {f"d{name}_0": part for name, part in zip(spec.state_names, grads.state0, strict=True)}
    of_arrays = {array_gradient(name): value for name, value in grads.arrays.items()}
    translated = {name: _of_arrays(plan, named) for name, named in gradient.results.items()}
    by_answer = [_of_arrays(plan, _named(spec.state_names, answer[2])) for answer in found]
    values = _shaped(guest.name, of_arrays | {"dx": grads.x} | starts, translated[EXACT])
    limits = bounds(by_answer, spec.dtype)
    yield _guest_rung(about, gradient._replace(results=translated), guest.name, values, limits)


def _named(states: Sequence[str], grads: Grads) -> dict[str, np.ndarray]:
    starts = {f"d{name}_0": part for name, part in zip(states, grads.state0, strict=True)}
    return {gradient_name(name): grad for name, grad in grads.params.items()} | {"dx": grads.x} | starts


def _of_arrays(plan: Plan, named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients under the names of the arrays of the file, and those of x and the initial states."""
    params = {name: named[gradient_name(name)] for name in plan.subject.layer.params}
    others = {name: value for name, value in named.items() if name not in {gradient_name(p) for p in params}}
    of_file = file_gradients(plan.subject.layer, params)
    return {array_gradient(name): grad for name, grad in of_file.items()} | others


def _shaped(name: str, values: Mapping[str, Any], wanted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a library computed, as arrays in the shapes of the exact result; what is missing is an error."""
    found = {quantity: np.asarray(value) for quantity, value in values.items()}
    shapes = {quantity: value.shape for quantity, value in wanted.items()}
    if missing := shapes.keys() - found.keys():
        raise BackendBroken(mismatch(f"results of {name}", ", ".join(shapes), f"none of {', '.join(sorted(missing))}"))
    for quantity, shape in shapes.items():
        if found[quantity].shape != shape:
            raise BackendBroken(mismatch(f"{quantity} of {name}", shape, found[quantity].shape))
    return {quantity: found[quantity] for quantity in shapes}

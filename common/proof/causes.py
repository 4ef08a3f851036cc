"""Which known mistake would explain an output that was recorded elsewhere: a wrong order of gates, one step too few.

Each suspicion is another model, problem or order of axes; what it gives is computed exactly and held to what was
recorded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np

from common.backend.contract import Problem
from common.conversions.systems import LAYOUTS
from common.equivalence.comparison import named_outputs
from common.equivalence.monte_carlo import ROUNDOFF
from common.equivalence.rounding import exact_outputs
from common.equivalence.tolerances import Bound, largest
from common.model.spec import HALF_DTYPES, ModelSpec
from common.proof.subject import is_rounded
from common.proof.trials import Trial

# How many steps before the last a final state is looked for, and how far off an explanation may be, in bounds.
STEPS_BACK, NEAR = 12, 10
# Runs with weights that are moved by a rounding, and how many times larger or smaller than theirs errors may be that
# rounding of the weights explains.
DRAWS, LIKE = 4, 4

Outputs = Mapping[str, np.ndarray]


class Suspicion(NamedTuple):
    """A mistake in words, and a function of the right model, problem and outputs to those that it would give.

    ``is_causal`` says that its first outputs depend on the first inputs alone, so that two steps can refute it.
    """

    text: str
    outputs: Callable[[ModelSpec, Problem, Outputs], Outputs]
    is_causal: bool = False


def explanation(trial: Trial, layout: str, recorded: Outputs, limits: Mapping[str, Bound]) -> str:
    """The first mistake that gives what was recorded, in words; "" if none of those that are known does.

    ``layout`` is that of the file, a key of ``systems.LAYOUTS``.
    """
    spec, problem = trial.variant.spec.with_dtype("float64"), trial.problem
    y, state, _ = trial.answers[0]
    right = named_outputs(spec, y, state)
    wrong = {name: value for name, value in recorded.items() if not _near(right[name], value, limits[name], 1)}
    batch_first = any(row.file is not None and row.file["batch_first"] for row in trial.rows[:1])
    for suspicion in suspicions(spec, problem, layout, batch_first):
        if suspicion.is_causal and "y" in wrong and not spec.bidirectional:
            first = suspicion.outputs(spec, _cut(problem, 2), right)["y"]
            if not _near(first, wrong["y"][:2], limits["y"]):
                continue
        given = suspicion.outputs(spec, problem, right)
        if wrong and all(_near(given.get(name), value, limits[name]) for name, value in wrong.items()):
            return suspicion.text
    return _rounded_weights(spec, problem, right, wrong)


def _rounded_weights(spec: ModelSpec, problem: Problem, right: Outputs, wrong: Outputs) -> str:
    """Whether the errors are those of outputs that were recorded before 16 bits rounded the weights."""
    weights = list(problem.params.values())
    dtype = next((one for one in HALF_DTYPES[::-1] if not any(is_rounded(value, one) for value in weights)), "")
    if not dtype or not wrong:
        return ""
    rng, unit = np.random.default_rng(0), ROUNDOFF[dtype]
    made: dict[str, list[np.ndarray]] = {name: [] for name in wrong}
    for _ in range(DRAWS):
        moved = {k: w.astype("float64") * (1 + unit * rng.uniform(-1, 1, w.shape)) for k, w in problem.params.items()}
        given = _run(spec, problem._replace(params=moved))
        for name, errors in made.items():
            errors.append(given[name] - right[name])
    for name, value in wrong.items():
        errors = value.astype("float64") - right[name]
        usual = float(np.sqrt(np.mean(np.square(made[name]))))
        is_usual = usual / LIKE <= float(np.sqrt(np.mean(np.square(errors)))) <= usual * LIKE
        if not is_usual or largest(errors) > LIKE * max(map(largest, made[name])):
            return ""
    text = f"the weights are rounded to {dtype}, which makes errors of this size, "
    return f"{text}and the outputs were recorded with weights that were not"


def _near(given: np.ndarray | None, recorded: np.ndarray, limit: Bound, times: float = NEAR) -> bool:
    if given is None or given.shape != recorded.shape:
        return False
    error = largest(given - recorded.astype("float64"))
    return error <= times * float(np.max(limit.allowed)) and error <= 0.01 * float(np.max(limit.scale))


def suspicions(spec: ModelSpec, problem: Problem, layout: str, batch_first: bool = False) -> Iterator[Suspicion]:
    """Cheap ones first: orders of axes and of states, then options, biases, steps, and orders of gates."""
    yield from _orders(spec, problem, batch_first)
    yield from _options(spec)
    yield from _biases(spec)
    yield from _steps(spec, problem)
    yield from _gates(spec, layout)


def _orders(spec: ModelSpec, problem: Problem, batch_first: bool) -> Iterator[Suspicion]:
    steps, batch, _ = problem.x.shape
    yield Suspicion("y runs backwards in time", lambda _s, _p, out: {**out, "y": out["y"][::-1]})
    if problem.state0 is None and problem.lengths is None and problem.mask is None:
        text = "x and y hold the batch first: add --batch-first"
        text = "x and y hold the time first: leave out --batch-first" if batch_first else text
        yield Suspicion(text, _transposed)
    if steps == batch:
        text = "y has the batch first and x the time first: --batch-first is for both"
        yield Suspicion(text, lambda _s, _p, out: {**out, "y": out["y"].swapaxes(0, 1)})
        text = "x was read with time and batch exchanged: --batch-first?"
        yield Suspicion(text, lambda s, p, _: _run(s, p._replace(x=p.x.swapaxes(0, 1))))
    if len(spec.state_names) == 2 and not spec.proj_size:
        text = "h_n and c_n are exchanged"
        yield Suspicion(text, lambda _s, _p, out: {**out, "h_n": out["c_n"], "c_n": out["h_n"]})
        text = "y holds the cell states c in the place of h"
        yield Suspicion(text, lambda s, p, out: {**out, "y": _cells(s, p)} if s.is_single else {})
    if spec.bidirectional:
        halves = "the halves of y, forward and reverse, are exchanged"
        yield Suspicion(halves, lambda _s, _p, out: {**out, "y": np.roll(out["y"], out["y"].shape[2] // 2, axis=2)})
        text = "the reverse half of y stands in the order in which it was computed"
        yield Suspicion(text, lambda _s, _p, out: {**out, "y": _own_order(out["y"])})


def _transposed(spec: ModelSpec, problem: Problem, _: Outputs) -> Outputs:
    """What the model gives if the axes of time and batch of x and y are exchanged; no state is given."""
    batch = len(problem.x)
    swapped = problem._replace(
        x=problem.x.swapaxes(0, 1),
        dy=problem.dy.swapaxes(0, 1),
        dstate=tuple(np.zeros(shape) for shape in spec.state_shapes(batch)),
    )
    given = _run(spec, swapped)
    return {**given, "y": given["y"].swapaxes(0, 1)}


def _own_order(y: np.ndarray) -> np.ndarray:
    forward, reverse = np.split(y, 2, axis=2)
    return np.concatenate([forward, reverse[::-1]], axis=2)


def _cells(spec: ModelSpec, problem: Problem) -> np.ndarray:
    """c after each step (T, B, H), of one layer in one direction."""
    return np.concatenate([_run(spec, _cut(problem, t + 1))["c_n"] for t in range(len(problem.x))])


def _options(spec: ModelSpec) -> Iterator[Suspicion]:
    if "nonlinearity" in spec.kind.options:
        other = "relu" if spec.nonlinearity == "tanh" else "tanh"
        text = f"the nonlinearity is {other}: --nonlinearity {other}"
        yield Suspicion(text, lambda s, p, _: _run(replace(s, nonlinearity=other), p))
    if "reset_after" in spec.kind.options:
        way = " (--no-reset-after)" if spec.reset_after else ""
        text = f"the reset gate acts {'before' if spec.reset_after else 'after'} the product{way}"
        yield Suspicion(text, lambda s, p, _: _run(replace(s, reset_after=not s.reset_after), p))
        text = "z and 1 - z are exchanged"
        yield Suspicion(text, lambda s, p, _: _run(s, _changed(s, p, "", lambda b, g: -b if g == "z" else b)))


def _biases(spec: ModelSpec) -> Iterator[Suspicion]:
    if not spec.bias:
        return
    for side in ("bias_hh", "bias_ih"):
        text = f"{side} was left out"
        yield Suspicion(text, lambda s, p, _, side=side: _run(s, _changed(s, p, side, lambda b, _g: b * 0)))
    yield Suspicion("both biases were left out", lambda s, p, _: _run(s, _changed(s, p, "bias", lambda b, _g: b * 0)))
    if "f" in spec.kind.letters:
        for amount in (1.0, -1.0):
            text = f"{amount:g} was added to the bias of the forget gate"

            def shifted(s: ModelSpec, p: Problem, _: Outputs, amount: float = amount) -> Outputs:
                return _run(s, _changed(s, p, "bias_ih", lambda b, g: b + amount if g == "f" else b))

            yield Suspicion(text, shifted)


def _steps(spec: ModelSpec, problem: Problem) -> Iterator[Suspicion]:
    """Final states of an earlier step; y is right."""
    steps = len(problem.x)
    if problem.mask is None and problem.lengths is not None:
        text = "the final states are those after the padding: the lengths were not used"
        yield Suspicion(text, lambda s, p, out: {**_run(s, p._replace(lengths=None)), "y": out["y"]})
    for t in range(steps - 1, max(0, steps - 1 - STEPS_BACK), -1):
        text = f"the final states are those after step {t - 1}, not {steps - 1}"
        yield Suspicion(text, lambda s, p, out, t=t: {**_run(s, _cut(p, t)), "y": out["y"]})


def _cut(problem: Problem, steps: int) -> Problem:
    """The first steps of a problem."""
    lengths = None if problem.lengths is None else np.minimum(problem.lengths, steps)
    mask = None if problem.mask is None else problem.mask[:steps]
    return problem._replace(x=problem.x[:steps], dy=problem.dy[:steps], lengths=lengths, mask=mask)


def _gates(spec: ModelSpec, layout: str) -> Iterator[Suspicion]:
    """Every other order of the blocks in the file's arrays, those of known systems first."""
    letters = spec.kind.letters
    gates = [tuple(part.gates) for part in LAYOUTS[layout].parts if len(part.gates) == len(letters)]
    read_as = gates[0] if gates else letters
    known: dict[tuple[str, ...], list[str]] = {}
    for form in LAYOUTS.values():
        if form.cell == spec.kind.layer:
            for order in {tuple(part.gates) for part in form.parts if len(part.gates) == len(letters)}:
                known.setdefault(order, []).append(form.system)
    orders = [*known, *(order for order in permutations(letters) if order not in known)]
    for order in orders:
        if order == read_as:
            continue
        owners = " and ".join(dict.fromkeys(known.get(order, [])))
        text = f"the gates were taken in the order {' '.join(order)}{f' (that of {owners})' if owners else ''}, "
        text += f"where the file was read as {' '.join(read_as)}"
        yield Suspicion(text, lambda s, p, _, order=order: _run(s, _reordered(s, p, read_as, order)), True)


def _reordered(spec: ModelSpec, problem: Problem, read_as: Sequence[str], order: Sequence[str]) -> Problem:
    """The parameters as they are if the blocks of the file stand in ``order`` and were taken for ``read_as``."""
    letters = spec.kind.letters
    places = [letters.index(read_as[order.index(letter)]) for letter in letters]

    def moved(name: str, value: np.ndarray) -> np.ndarray:
        if name.startswith("weight_hr"):
            return value
        blocks = np.split(value, spec.num_blocks)
        return np.concatenate([blocks[place] for place in places])

    return problem._replace(params={name: moved(name, value) for name, value in problem.params.items()})


def _changed(
    spec: ModelSpec, problem: Problem, prefix: str, function: Callable[[np.ndarray, str], np.ndarray]
) -> Problem:
    """A function of each gate's block of the parameters whose names begin with ``prefix``."""
    letters = spec.kind.letters or ("",)

    def changed(name: str, value: np.ndarray) -> np.ndarray:
        if not name.startswith(prefix) or name.startswith("weight_hr"):
            return value
        blocks = np.split(value, len(letters))
        return np.concatenate([function(block, letter) for block, letter in zip(blocks, letters, strict=True)])

    return problem._replace(params={name: changed(name, value) for name, value in problem.params.items()})


def _run(spec: ModelSpec, problem: Problem) -> Outputs:
    y, state = exact_outputs(spec, problem)
    return named_outputs(spec, y, state)

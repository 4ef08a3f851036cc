"""Where a comparison failed: which elements, how large the errors are, and in which step and layer they begin."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from common.backend.contract import Backend, Problem
from common.equivalence.comparison import EXACT, FAILED, Row, gradient_name
from common.equivalence.ladder import Rung
from common.equivalence.rounding import answers
from common.equivalence.tolerances import bounds
from common.equivalence.variants import Variant
from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.proof.trials import Trial

# How many elements are listed, and how wide a line of the histogram may be.
SHOWN, WIDTH = 5, 80


class Compared(Protocol):
    """The comparisons on one problem, with what was compared: a trial of a check or of a conversion."""

    @property
    def variant(self) -> Variant: ...
    @property
    def problem(self) -> Problem: ...
    @property
    def rungs(self) -> tuple[Rung, ...]: ...


class Element(NamedTuple):
    """One element of two results."""

    place: tuple[int, ...]
    a: float
    b: float


class Diagnosis(NamedTuple):
    """A failed comparison: its worst elements, and in sentences where its errors stand; ``histogram`` is in lines."""

    row: Row
    elements: int
    beyond: int
    worst: tuple[Element, ...]
    places: tuple[str, ...]
    histogram: tuple[str, ...]


def diagnose(trial: Compared, rung: Rung, row: Row) -> Diagnosis:
    """The elements of two results that are too far apart; those that are not finite count as too far."""
    a, b = (np.asarray(np.real(rung.results[name][row.quantity]), dtype="float64") for name in (row.a, row.b))
    limit = float(np.max(rung.bounds[row.quantity].allowed))
    with np.errstate(invalid="ignore"):
        errors = abs(a - b)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    wrong = errors > limit
    order = np.argsort(errors, axis=None)[::-1][:SHOWN]
    indices = [np.unravel_index(place, errors.shape) for place in order if errors.flat[place] > limit]
    worst = tuple(Element(tuple(int(i) for i in index), float(a[index]), float(b[index])) for index in indices)
    places = tuple(_places(trial, row.quantity, wrong)) if row.check != "complex step" else ()
    return Diagnosis(row, errors.size, int(wrong.sum()), worst, places, tuple(histogram(errors, limit)))


def axes(trial: Compared, quantity: str) -> tuple[str, ...]:
    """What the axes of a quantity count, or nothing where its index says enough."""
    if quantity in ("y", "dx"):
        return "step", "sequence", "unit" if quantity == "y" else "input"
    if quantity.removesuffix("_n") in trial.variant.spec.state_names or quantity.endswith("_0"):
        return "layer", "sequence", "unit"
    return ()


def place_text(trial: Compared, quantity: str, place: tuple[int, ...]) -> str:
    """The index of an element, with the layer and direction of a state by name."""
    words = list(map(str, place))
    if axes(trial, quantity)[:1] == ("layer",):
        words[0] = layer_suffixes(trial.variant.spec)[place[0]].removeprefix("_") or "0"
    return ",".join(words)


def _places(trial: Compared, quantity: str, wrong: np.ndarray) -> Iterator[str]:
    """Sentences on where the wrong elements of a quantity stand."""
    spec = trial.variant.spec
    if not wrong.any():
        return
    if quantity == "y":
        yield from _steps_of_y(spec, wrong)
    elif quantity == "dx":
        yield _steps_of_dx(wrong)
    elif quantity.endswith(("_n", "_0")) and wrong.ndim == 3:
        rows = [suffix or "the cell" for suffix in layer_suffixes(spec)]
        where = [f"{row.removeprefix('_')}: {int(part.sum())}" for row, part in zip(rows, wrong, strict=True)]
        yield f"wrong elements by layer and direction: {', '.join(where)} of {wrong[0].size}"
    elif quantity in map(gradient_name, trial.problem.params) and "weight_hr" not in quantity and spec.kind.letters:
        blocks = np.split(wrong, spec.num_blocks)
        where = [f"{letter}: {int(block.sum())}" for letter, block in zip(spec.kind.letters, blocks, strict=True)]
        yield f"wrong elements by gate: {', '.join(where)} of {blocks[0].size}"
    yield from _sequences(quantity, wrong)


def _steps_of_y(spec: ModelSpec, wrong: np.ndarray) -> Iterator[str]:
    """The first step that is wrong, for each direction in its own order of time."""
    names = ("",) if spec.num_directions == 1 else (" of the forward direction", " of the reverse direction")
    for name, part in zip(names, _halves(spec, wrong), strict=True):
        steps = np.flatnonzero(part.any(axis=(1, 2)))
        if not steps.size:
            yield f"the outputs{name} agree"
            continue
        is_reverse = "reverse" in name
        first = int(steps[-1] if is_reverse else steps[0])
        before = len(part) - 1 - first if is_reverse else first
        text = f"the outputs{name} depart at step {first} of 0 to {len(part) - 1}"
        if before:
            text += f"; the {before} {'after' if is_reverse else 'before'} it agree"
        yield text + ("" if len(steps) > 1 else "; no other step is wrong")


def _halves(spec: ModelSpec, wrong: np.ndarray) -> list[np.ndarray]:
    return np.split(wrong, spec.num_directions, axis=-1)


def _steps_of_dx(wrong: np.ndarray) -> str:
    """Gradients run from the last step to the first: how far they agree from there."""
    last = len(wrong) - 1
    latest = int(np.flatnonzero(wrong.any(axis=(1, 2)))[-1])
    if latest == last:
        return f"dx departs at the last step, {last}"
    return f"dx agrees from the last step, {last}, back to step {latest + 1}, and departs at step {latest}"


def _sequences(quantity: str, wrong: np.ndarray) -> Iterator[str]:
    """Which sequences are wrong, if not all."""
    if not (quantity in ("y", "dx") or quantity.endswith(("_n", "_0"))) or wrong.ndim != 3:
        return
    which = np.flatnonzero(wrong.any(axis=(0, 2)))
    if len(which) < wrong.shape[1]:
        shown = ", ".join(map(str, which[:10])) + (", ..." if len(which) > 10 else "")
        yield f"wrong in {len(which)} of {wrong.shape[1]} sequences: {shown}"


def by_layer(trial: Trial, name: str) -> str:
    """The first layer whose outputs depart, from stacks of the first layer, the first two, ... of the same weights.

    "" for a model of one layer, and where a backend cannot run them.
    """
    spec, problem = trial.variant.spec, trial.problem
    if spec.num_layers == 1 or name not in trial.backends:
        return ""
    for layers in range(1, spec.num_layers + 1):
        part, given = _first_layers(spec, problem, layers)
        departs = _departs(trial.backends[name], part, given, trial.variant.seed)
        if departs is not None:
            below = {1: "", 2: "layer 0 agrees, and "}.get(layers, f"layers 0 to {layers - 2} agree, and ")
            return f"{below}layer {layers - 1} departs, at step {departs}"
    return ""


def _first_layers(spec: ModelSpec, problem: Problem, layers: int) -> tuple[ModelSpec, Problem]:
    part = replace(spec, num_layers=layers)
    suffixes = layer_suffixes(part)
    rows = len(suffixes)
    params = {
        f"{name}{suffix}": problem.params[f"{name}{suffix}"]
        for suffix in suffixes
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        if f"{name}{suffix}" in problem.params
    }
    start = None if problem.state0 is None else tuple(state[:rows] for state in problem.state0)
    return part, problem._replace(params=params, state0=start, dstate=tuple(one[:rows] for one in problem.dstate))


def _departs(backend: Backend, spec: ModelSpec, problem: Problem, seed: int) -> int | None:
    """The first step at which the outputs of a backend are wrong, None if none is."""
    y, _ = backend.forward(spec, problem.params, problem.x, problem.state0, **problem.keywords)
    found = answers(spec, problem, seed, backward=False)
    limit = bounds([{"y": answer[0]} for answer in found], spec.dtype)["y"].allowed
    wrong = ~(abs(y.astype("float64") - found[0][0]) <= limit)
    steps = np.flatnonzero(wrong.any(axis=(1, 2)))
    return int(steps[0]) if steps.size else None


def histogram(errors: np.ndarray, limit: float) -> Iterator[str]:
    """The errors by powers of ten, at most 80 columns wide; a bar's length is by the logarithm of its count."""
    zero, finite = int((errors == 0).sum()), errors[np.isfinite(errors) & (errors > 0)]
    powers = np.floor(np.log10(finite)).astype(int) if finite.size else np.empty(0, int)
    counts: dict[int, int] = dict(zip(*(part.tolist() for part in np.unique(powers, return_counts=True)), strict=True))
    bound = int(np.floor(np.log10(limit))) if 0 < limit < np.inf else None
    powers_shown = [*counts, *([] if bound is None else [bound])]
    shown = range(min(powers_shown), max(powers_shown) + 1) if powers_shown else range(0)
    rows = [("0", zero, "")] if zero else []
    for power in shown:
        mark = f"  <- the bound, {limit:.2g}" if power == bound else ""
        rows.append((f"1e{power:+03d}", counts.get(power, 0), mark))
    if infinite := errors.size - zero - finite.size:
        rows.append(("not finite", infinite, ""))
    widest = max((count for _, count, _ in rows), default=1)
    room = WIDTH - 10 - 2 - 10 - 1 - 24
    for name, count, mark in rows:
        length = round(room * np.log1p(count) / np.log1p(widest))
        yield f"{name:>10}  {'#' * length}{' ' * bool(length)}{count:,}{mark}"


def chosen(trial: Compared, limit: int = 3) -> Iterator[tuple[Rung, Row]]:
    """The failed comparisons of a trial that say most: against the exact result where there is one, the outputs before
    the gradients, and of these y and dx first; at most ``limit`` for each participant.
    """
    order = {"y": 0, "dx": 1}
    seen: dict[str, int] = {}
    failed = [(rung, row) for rung in trial.rungs for row in rung.rows if row.verdict == FAILED]
    against_exact = {row.a for _, row in failed if row.b == EXACT}
    blamed = [(rung, row) for rung, row in failed if row.b == EXACT or not {row.a, row.b} & against_exact]
    rungs = {id(rung): place for place, rung in enumerate(trial.rungs)}
    for rung, row in sorted(blamed, key=lambda pair: (rungs[id(pair[0])], order.get(pair[1].quantity, 2))):
        seen[row.a] = seen.get(row.a, 0) + 1
        if seen[row.a] <= limit:
            yield rung, row

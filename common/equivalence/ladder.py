"""The harness: identical weights and data go in, one row for each comparison comes out.

A ladder of checks, from the ground up:

1. ``complex step``: the gradients of every backend that computes in complex128 (NumPy does) against the complex-step
   derivative of its own forward pass (Squire & Trapp 1998), which has no rounding error to speak of.
2. ``forward``: outputs and final states, every pair of backends, and each against the exact result (``rounding``).
3. ``gradient``: the same for the gradients of every parameter, of x and of the initial states, for random cotangents of
   the outputs and of the final states.
4. ``loss``: every readout and loss on top, over features and symbols, and the gradient of that loss, every pair.
5. ``training``: the loss at each step of SGD, Adam and RMSprop, with momentum, clipping, schedules and a carried state,
   and the parameters after them, every pair.

Every row is relative to the largest value of the exact result, records how small an error it would have caught, and
passes only if that is small enough. Nothing passes for lack of a comparison: a row fails if it compared no element or
met a value that is not finite, and a run fails if it has no rows, or if no row could have shown an error in some
quantity.

The first three rungs also run on variants drawn at random from all combinations of options, with one row for each rung
and pair.

>>> from common.backend import registry
>>> from common.equivalence.ladder import check_model
>>> from common.equivalence.variants import Variant
>>> from common.model.spec import ModelSpec
>>> variant = Variant(spec=ModelSpec(cell="LSTM", input_size=3, hidden_size=5), steps=4, batch=2)
>>> rows = list(check_model(registry.load_all(["numpy", "torch"]), variant))
>>> sorted({row.check for row in rows}), {row.verdict for row in rows}
(['complex step', 'forward', 'gradient'], {'passed'})
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Backend, Grads, Problem
from common.backend.guards import require_supported, unsupported
from common.equivalence.comparison import (
    COMPLEX_STEP,
    EXACT,
    ORACLES,
    Decision,
    Row,
    compare_all,
    named_grads,
    named_outputs,
)
from common.equivalence.complex_step import complex_step, directions, inner
from common.equivalence.rounding import Answer, answers
from common.equivalence.tally import badness, tally
from common.equivalence.tolerances import Bound, bounds
from common.equivalence.training_rungs import check_training, is_trained
from common.equivalence.variants import Variant, problem
from common.errors import BackendBroken, InvalidInput, InvalidType, mismatch
from common.model.dtypes import numpy_dtype
from common.model.spec import COMPLEX, HALF_DTYPES, OTHER_FORMS, ModelSpec
from common.record_types import Record

CHECKS = {
    "complex step": "gradients by hand against the complex-step derivative of the same forward pass",
    "forward": "outputs and final states",
    "gradient": "gradients of every parameter, of x and of the initial states, for random cotangents",
    "loss": "every readout and loss on top, over features and symbols, and its gradient",
    "training": "SGD, Adam and RMSprop for 20 to 100 steps: every loss, and the parameters at the end",
    "task": "a task, under its own name: the losses of the first 10 updates (sine: 100), and the prediction after them",
}

# For a problem with more numbers than this, the complex step takes directions, as its cost grows with their square.
ELEMENTWISE = 2000


def each(
    backends: Mapping[str, Backend], function: Callable[[Backend], Any], done: Callable[..., None] = lambda *_: None
) -> dict[str, Any]:
    """``function`` of every backend, by name; a backend that raises is named in the error."""
    results = {}
    for name, backend in backends.items():
        try:
            results[name] = function(backend)
        except (InvalidInput, InvalidType):
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"backend {name} fails while it computes: {type(error).__name__}: {error}"
            text += f" ({Path(where.filename).name}, line {where.lineno})"
            raise BackendBroken(text) from error
        done()
    return results


class Rung(NamedTuple):
    """What one rung compared on a problem: the results of every participant by quantity, that of ``EXACT`` or
    ``COMPLEX_STEP`` last, how far two of them may be apart, and a row for every pair.
    """

    check: str
    results: Mapping[str, Mapping[str, Any]]
    bounds: Mapping[str, Bound]
    rows: tuple[Row, ...]


def check_model(backends: Mapping[str, Backend], variant: Variant, *, elementwise: bool = True) -> Iterator[Row]:
    """The first three rungs, on one variant: every pair of backends, and each of them against the exact result.

    The complex step judges every element of a gradient; for a large model, or without ``elementwise``, it judges the
    derivatives in random directions. With relu in 16 bits, only the outputs are compared: two backends may round an
    input near the kink to different sides of it, and their gradients then differ by a whole slope.
    """
    args = problem(variant)
    expected = answers(variant.spec, args, variant.seed)
    for rung in check_problem(backends, variant, args, expected, elementwise=elementwise):
        yield from rung.rows


def check_problem(
    backends: Mapping[str, Backend],
    variant: Variant,
    args: Problem,
    expected: Sequence[Answer],
    *,
    elementwise: bool = True,
    backward: bool = True,
    judged: dict[str, Grads] | None = None,
    done: Callable[..., None] = lambda *_: None,
) -> Iterator[Rung]:
    """The first three rungs on a problem, which ``variant`` describes, or, without ``backward``, the outputs alone.

    ``expected`` is from ``answers``. ``judged`` keeps the complex-step derivatives by backend, for the same problem in
    another dtype. ``done`` is called after each part of the work.
    """
    spec = variant.spec
    outputs = each(backends, lambda backend: _outputs(backend, spec, args), done)
    named = [named_outputs(spec, y, state) for y, state, _ in expected]
    yield _rung("forward", variant, outputs, named)
    if not backward or (spec.nonlinearity == "relu" and spec.dtype in HALF_DTYPES):
        return
    grads_of = each(backends, lambda backend: _gradients(backend, spec, args), done)
    named = [named_grads(spec, grads) for *_, grads in expected]
    yield _rung("gradient", variant, {name: named_grads(spec, grads) for name, grads in grads_of.items()}, named)
    judged = {} if judged is None else judged
    for name, backend in backends.items():
        if COMPLEX in backend.dtypes:
            yield _complex_step(name, backend, variant, args, grads_of[name], expected, elementwise, judged)
            done()


def _outputs(backend: Backend, spec: ModelSpec, args: Problem) -> dict[str, Any]:
    given = deepcopy(args)
    y, state = backend.forward(spec, given.params, given.x, given.state0, **given.keywords)
    _require_untouched(args, given)
    return named_outputs(spec, y, state)


def _gradients(backend: Backend, spec: ModelSpec, args: Problem) -> Grads:
    given = deepcopy(args)
    grads = backend.vjp(spec, *given[:5], **given.keywords)
    _require_untouched(args, given)
    return Grads(dict(grads.params), grads.x, tuple(grads.state0))


def _require_untouched(given: Problem, after: Problem) -> None:
    """Raise if a backend changed its arguments, of which it had copies."""
    for name, before in given._asdict().items():
        for a, b in zip(_arrays(before), _arrays(getattr(after, name)), strict=True):
            if not np.array_equal(a, b):
                raise RuntimeError(f"{name}, an argument, was changed in place")


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, Mapping):
        return list(value.values())
    arrays = value if isinstance(value, tuple) else (value,)
    return [array for array in arrays if array is not None]


def _rung(
    check: str,
    variant: Variant,
    results: Mapping[str, Mapping[str, Any]],
    expected: Sequence[Mapping[str, np.ndarray]],
) -> Rung:
    """Every pair of backends, and each against the exact result, rounded to the dtype; ``expected`` is from
    ``answers``.

    Raises, naming the backend, unless every result is an array in the shape of the exact one.
    """
    exact, dtype = expected[0], numpy_dtype(variant.spec.dtype)
    for backend, quantities in results.items():
        if quantities.keys() != exact.keys():
            raise BackendBroken(mismatch(f"results of backend {backend}", ", ".join(exact), ", ".join(quantities)))
        for quantity, value in exact.items():
            got = quantities[quantity]
            if not isinstance(got, np.ndarray) or got.shape != value.shape:
                shape = got.shape if isinstance(got, np.ndarray) else type(got).__name__
                wanted = f"an array of shape {value.shape}"
                raise BackendBroken(mismatch(f"{quantity} of backend {backend}", wanted, shape))
    exact = {quantity: value.astype(dtype) for quantity, value in exact.items()}
    return _compared(check, variant, {**results, EXACT: exact}, expected)


def _compared(
    check: str,
    variant: Variant,
    results: Mapping[str, Mapping[str, Any]],
    expected: Sequence[Mapping[str, np.ndarray]],
) -> Rung:
    limits = bounds(expected, variant.spec.dtype)
    return Rung(check, results, limits, tuple(compare_all(check, variant, results, bounds=limits)))


def _complex_step(
    name: str,
    backend: Backend,
    variant: Variant,
    args: Problem,
    hand: Grads,
    expected: Sequence[Answer],
    elementwise: bool,
    judged: dict[str, Grads],
) -> Rung:
    """The gradients by hand of one backend against the complex-step derivative of its own forward pass."""
    spec, grads = variant.spec, [grads for *_, grads in expected]
    along = None
    if not elementwise or sum(grad.size for grad in named_grads(spec, grads[0]).values()) > ELEMENTWISE:
        along = directions(grads[0], np.random.default_rng([variant.seed, 13]))
        hand, *grads = (inner(one, along) for one in (hand, *grads))
    if name not in judged:
        judged |= each({name: backend}, lambda backend: complex_step(backend, spec, args, along))
    results = {name: named_grads(spec, hand), COMPLEX_STEP: named_grads(spec, judged[name])}
    return _compared(COMPLEX_STEP, variant, results, [named_grads(spec, one) for one in grads])


def is_excused(backend: Backend, variant: Variant) -> bool:
    """Whether a backend is excused from a variant: only a framework's own layers are, where they lack this form."""
    lacking = unsupported(backend, variant.spec, variant.called)
    return backend.oracle and bool(lacking) and OTHER_FORMS.issuperset(lacking)


def require_all_supported(backends: Mapping[str, Backend], chosen: Sequence[Variant]) -> None:
    """Raise unless every backend supports every variant from which it is not excused, and none has an oracle's name."""
    for name in ORACLES:
        if name in backends:
            raise InvalidInput(mismatch("the name of a backend", f"another than {', '.join(ORACLES)}", repr(name)))
    for variant, backend in product(chosen, backends.values()):
        if not is_excused(backend, variant):
            require_supported(backend, variant.spec, variant.called)


def check(backends: Mapping[str, Backend], chosen: Sequence[Variant]) -> Iterator[Row]:
    """The whole ladder, variant by variant."""
    require_all_supported(backends, chosen)
    for variant in chosen:
        asked = {name: backend for name, backend in backends.items() if not is_excused(backend, variant)}
        yield from check_model(asked, variant)
        if is_trained(variant):
            yield from check_training(asked, variant, each)


def check_drawn(backends: Mapping[str, Backend], variant: Variant) -> list[Row]:
    """The first three rungs on a variant drawn at random, in the backends that support it: a row for each rung and
    pair.

    Each row is the worst of its rung and pair, counts the elements of all of them, and has the resolution of each.
    """
    able = {
        name: backend for name, backend in backends.items() if not unsupported(backend, variant.spec, variant.called)
    }
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in check_model(able, variant, elementwise=False):
        groups.setdefault((row.check, row.a, row.b), []).append(row)
    return [_worst(rows) for rows in groups.values()]


def _worst(rows: list[Row]) -> Row:
    """The worst of several rows, which stands for all of them."""
    worst = max(rows, key=lambda row: badness(row.record()))
    decision = Decision(
        resolutions={row.quantity: row.resolution for row in rows},
        verdicts={row.quantity: row.verdict for row in rows},
        reason=worst.decision.reason,
    )
    measured = replace(worst.measured, count=sum(row.measured.count for row in rows))
    return replace(worst, measured=measured, decision=decision, drawn=True)


def all_passed(records: Iterable[Record]) -> bool:
    """True if the records hold a comparison, every comparison that decides something passed, and every quantity of
    every check was seen (``tally``).
    """
    return tally(records).equivalent

"""Proof that a converted file computes what its source does: both ends run the same inputs and are compared.

The source runs in NumPy, from what our reader found in it, and in the library that owns its format; the target runs in
the library that owns its own. The exact result (``common.equivalence.rounding``) is computed from the source, and
bounds every comparison. Gradients of weights have no names that two systems share, so those of each file are compared,
under the names of its own arrays, with the exact ones and with NumPy's; those of x and of the initial states in all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.backend import registry
from common.backend.contract import Grads, Problem
from common.equivalence.comparison import EXACT, FAILED, Row, array_gradient, compare_all, named_outputs
from common.equivalence.ladder import Rung
from common.equivalence.rounding import Answer, answers
from common.equivalence.tolerances import bounds
from common.equivalence.variants import Variant
from common.errors import BackendBroken, BackendMissing, InvalidInput, NotEquivalent, mismatch
from common.model.dtypes import numpy_dtype
from common.model.layout import Parameters, layer_suffixes
from common.model.spec import OPTIONS, ModelSpec
from common.printable import plain_line
from common.proof.problems import Asked, draw, in_dtype, variant
from common.proof.recorded import Inputs
from common.proof.subject import Subject
from common.weights import peers
from common.weights.peers import Loaded, Peer, PeerGradients
from common.weights.schemes.layers import file_gradients
from common.weights.source import Found
from common.weights.writing import as_layer

NUMPY = "numpy"
# The steps of the sequences of a ragged batch.
LENGTHS = (9, 7, 5, 3, 1)
# What is done, by name, and a function to call after each part of it.
Progress = Callable[[str], None]


class End(NamedTuple):
    """One end of a conversion in the library that owns its format; ``name`` is how rows call it."""

    name: str
    peer: Peer
    layer: Found
    loaded: Loaded


class Trial(NamedTuple):
    """The comparisons on one problem, and in words where it is from."""

    variant: Variant
    problem: Problem
    rungs: tuple[Rung, ...]
    origin: tuple[str, ...]

    @property
    def rows(self) -> list[Row]:
        return [row for rung in self.rungs for row in rung.rows]


class Proof(NamedTuple):
    """The trials, and what could not be compared, with the reason."""

    trials: list[Trial]
    notes: list[str]

    @property
    def rows(self) -> list[Row]:
        return [row for trial in self.trials for row in trial.rows]


def source_end(subject: Subject) -> tuple[End | None, str]:
    """The source in its own library, or None and the reason as a sentence: it is not required to be installed."""
    layer, path = subject.layer, subject.file.path
    name = peers.owner(layer)
    if not subject.is_whole:
        return None, "our reader alone has read the source: a library runs whole layers of a file"
    if not name:
        return None, "no library was asked to load the source: our reader alone has read it"
    if layer.spec is None or layer.spec.dtype != subject.spec.dtype:
        return None, f"our reader alone has read the source: {name} would compute in the dtype of the file"
    try:
        peer = peers.load(name)
        require_able(peer, subject.spec)
        return End(f"{peer.name} (in)", peer, layer, peer.load(path.absolute(), layer)), ""
    except BackendMissing as error:
        return None, f"the source was read by our reader alone: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a library raises for a file that it does not take
        return None, f"{name} was not asked to run the source, which our reader alone has read: {_line(error)}"


def target_end(path: Path, name: str, layer: Found) -> End:
    """The target in its own library.

    Raises ``BackendMissing``, ``InvalidInput`` for a model that the library cannot run, and ``NotEquivalent`` if it
    cannot load the file.
    """
    peer = peers.load(name)
    require_able(peer, layer.spec)
    try:
        return End(f"{peer.name} (out)", peer, layer, peer.load(path.absolute(), layer))
    except (BackendMissing, BackendBroken):
        raise
    except Exception as error:
        raise NotEquivalent(f"{peer.name} cannot load the file that was written: {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidInput) else f"{type(error).__name__}: {plain_line(str(error))}"


def require_able(peer: Peer, spec: ModelSpec | None) -> None:
    """Raise unless a peer computes in this dtype with these options."""
    assert spec is not None
    if spec.dtype not in peer.dtypes:
        raise InvalidInput(mismatch(f"dtype for {peer.name}", " or ".join(sorted(peer.dtypes)), spec.dtype))
    for option in spec.options:
        if option not in peer.options:
            able = ", ".join(name for name in OPTIONS if name in peer.options) or "none"
            raise InvalidInput(mismatch(f"options for {peer.name}", able, option))


def prove(
    subject: Subject, inputs: Inputs | None, source: End | None, target: End, seed: int, progress: Progress
) -> Proof:
    """Run both ends on the inputs that were recorded, or drawn as for a check, and compare them.

    If the target's library takes lengths, a ragged batch of drawn inputs is compared too.
    """
    trials: list[Trial] = []
    notes = []
    asked = [Asked(inputs=inputs, seed=seed)]
    if "lengths" in target.peer.options:
        asked.append(Asked(seed=seed + 1, lengths=LENGTHS))
    else:
        notes.append(f"ragged batches were not compared, as {target.peer.name} takes no lengths")
    ends = [end for end in (source, target) if end is not None]
    able = [NUMPY, *(end.name for end in ends if end.peer.has_gradients)]
    notes += [
        f"gradients were not compared in {end.name}, as {end.peer.name} computes none; "
        f"those that were compared are of {' and '.join(able)}"
        for end in ends
        if not end.peer.has_gradients
    ]
    for one in asked:
        drawn = draw(subject, one, [subject.spec.dtype])
        problem = in_dtype(drawn.problem, subject.spec.dtype, subject.params(subject.spec.dtype))
        spec, params = as_layer(subject.spec, problem.params)
        assert target.layer.spec is not None
        if target.layer.spec.bias and not spec.bias:
            spec, params = with_zero_biases(spec, params)
        problem = problem._replace(params=params)
        about = variant(spec, problem, spec.dtype, one.seed)
        taking = [end for end in ends if one.lengths is None or "lengths" in end.peer.options]
        expected = answers(spec, problem, one.seed)
        progress("exact results")
        rungs = list(_forward(about, problem, taking, expected))
        progress("outputs and final states")
        rungs += _gradients(about, problem, taking, expected)
        progress("gradients")
        if not any(row.verdict == FAILED for rung in rungs for row in rung.rows):
            rungs = [rung._replace(results={}) for rung in rungs]
        trials.append(Trial(about, problem, tuple(rungs), (*drawn.origin, f"seed {one.seed}")))
    return Proof(trials, notes)


def parts(target: Peer) -> int:
    """How often ``prove`` calls ``progress``."""
    return 6 if "lengths" in target.options else 3


def with_zero_biases(spec: ModelSpec, params: Parameters) -> tuple[ModelSpec, Parameters]:
    """The same function with biases of zero, as a file has them whose system cannot do without."""
    rows, dtype = spec.num_blocks * spec.hidden_size, numpy_dtype(spec.dtype)
    names = [f"{name}{suffix}" for suffix in layer_suffixes(spec) for name in ("bias_ih", "bias_hh")]
    return replace(spec, bias=True), params | {name: np.zeros(rows, dtype) for name in names}


def _forward(variant: Variant, problem: Problem, ends: Sequence[End], expected: Sequence[Answer]) -> Iterator[Rung]:
    spec = variant.spec
    numpy = registry.load(NUMPY)
    y, state = numpy.forward(spec, problem.params, problem.x, problem.state0, lengths=problem.lengths)
    results = {NUMPY: named_outputs(spec, y, state)}
    for end in ends:
        x, state0, *_ = _copies(problem)
        y, state = _asked(end, end.loaded.forward, x, state0, problem.lengths)
        _require_states(f"final states of {end.name}", spec, state)
        results[end.name] = named_outputs(spec, y, state)
    named = [named_outputs(spec, y, state) for y, state, _ in expected]
    yield _compared("forward", variant, results, named)


def _gradients(variant: Variant, problem: Problem, ends: Sequence[End], expected: Sequence[Answer]) -> Iterator[Rung]:
    """Those of x and of the states of all ends together, and those of the arrays of each file."""
    able = [end for end in ends if end.peer.has_gradients]
    by_hand = registry.load(NUMPY).vjp(variant.spec, *problem[:5], lengths=problem.lengths)
    exact = [grads for *_, grads in expected]
    found: dict[str, PeerGradients] = {}
    for end in able:
        found[end.name] = _asked(end, end.loaded.vjp, *_copies(problem), problem.lengths)
        _require_states(f"gradients of the initial states of {end.name}", variant.spec, found[end.name].state0)
    of_inputs = {name: _of_inputs(variant.spec, grads) for name, grads in {NUMPY: by_hand, **found}.items()}
    yield _compared("gradient", variant, of_inputs, [_of_inputs(variant.spec, grads) for grads in exact])
    for end in able:
        named = [_of_arrays(end.layer, grads.params) for grads in exact]
        arrays = found[end.name].arrays
        theirs = {array_gradient(name): arrays[name] for name in end.layer.names if name in arrays}
        results = {NUMPY: _of_arrays(end.layer, by_hand.params), end.name: theirs}
        yield _compared("gradient", variant, results, named)


def _of_inputs(spec: ModelSpec, grads: Grads | PeerGradients) -> dict[str, Any]:
    return {"dx": grads.x} | {f"d{name}_0": part for name, part in zip(spec.state_names, grads.state0, strict=True)}


def _of_arrays(layer: Found, grads: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The gradients of the arrays of a file; a step has them under names without a layer."""
    assert layer.spec is not None
    if layer.spec.is_cell:
        grads = {name.removesuffix("_l0"): value for name, value in grads.items()}
    return {array_gradient(name): value for name, value in file_gradients(layer, grads).items()}


def _copies(problem: Problem) -> tuple[Any, Any, Any, Any]:
    """Copies of x, the initial states and the cotangents, so that no library can change what others get."""
    assert problem.state0 is not None
    state0, dstate = (tuple(map(np.copy, state)) for state in (problem.state0, problem.dstate))
    return np.copy(problem.x), state0, np.copy(problem.dy), dstate


def _asked(end: End, function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a library; whatever it raises names it."""
    try:
        return function(*arguments)
    except Exception as error:
        raise NotEquivalent(f"{end.name} fails while it computes: {_line(error)}") from error


def _require_states(what: str, spec: ModelSpec, state: Sequence[Any]) -> None:
    if len(state) != len(spec.state_names):
        raise NotEquivalent(mismatch(what, f"{len(spec.state_names)} ({', '.join(spec.state_names)})", len(state)))


def _compared(
    check: str,
    variant: Variant,
    results: Mapping[str, Mapping[str, Any]],
    expected: Sequence[Mapping[str, np.ndarray]],
) -> Rung:
    """Every pair, and each against the exact result. Raises ``NotEquivalent`` for other names or shapes."""
    exact = {name: value.astype(numpy_dtype(variant.spec.dtype)) for name, value in expected[0].items()}
    for end, quantities in results.items():
        if quantities.keys() != exact.keys():
            raise NotEquivalent(mismatch(f"results of {end}", ", ".join(exact), ", ".join(quantities)))
        for name, value in exact.items():
            shape = getattr(quantities[name], "shape", type(quantities[name]).__name__)
            if shape != value.shape:
                raise NotEquivalent(mismatch(f"{name} of {end}", f"an array of shape {value.shape}", shape))
    limits = bounds(expected, variant.spec.dtype)
    compared = {**results, EXACT: exact}
    return Rung(check, compared, limits, tuple(compare_all(check, variant, compared, bounds=limits)))

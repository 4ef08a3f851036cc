"""The harness: identical weights and data in, one row a comparison out.

A ladder of checks, from the ground up:

1. ``complex step``: the gradients of every backend that computes in complex128 (NumPy does) against the complex-step
   derivative of its own forward pass (Squire & Trapp 1998), which has no rounding error to speak of.
2. ``forward``: outputs and final states, every pair of backends.
3. ``gradient``: of every parameter, of x and of the initial states, for random cotangents of the outputs and of the
   final states, every pair.
4. ``loss``: a readout and the mean squared error on top, and the gradient of that loss, every pair.
5. ``training``: the loss at each of 100 steps of SGD and of 20 of Adam, and the parameters after them, every pair.

Every row is relative to the largest reference value, and nothing passes for lack of a comparison: a row that compared
no element, or met a value that is not finite, has failed, and so has a run without rows.

The first three rungs are climbed by variants drawn from the product of all options too, with one row for each rung and
pair.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

from common.complex_step import complex_step, directions, inner
from common.contract import Backend, Batch, Grads, State, check_supported, unsupported
from common.errors import BackendBroken, InvalidInput, InvalidType
from common.layout import initial_network, numpy_dtype
from common.records import Record
from common.spec import COMPLEX, DTYPES, HALF_DTYPES, ModelSpec, NetworkSpec, OptimizerSpec, RunSpec
from common.summands import gradient_name, summands
from common.training import fit
from common.variants import Variant, problem

CHECKS = {
    "complex step": "gradients by hand against the complex-step derivative of the same forward pass",
    "forward": "outputs and final states",
    "gradient": "gradients of every parameter, of x and of the initial states, for random cotangents",
    "loss": "a readout and the mean squared error, and its gradient",
    "training": "100 steps of SGD and 20 of Adam: every loss, and the parameters at the end",
    "sine": "the sine wave over 100 epochs: every loss, and the prediction at the end",
}
O = 2  # the size of the readout
# Readout -> the optimiser and the number of steps that it is trained with.
TRAINING = {
    "last_step": (OptimizerSpec(name="sgd", lr=0.05), 100),
    "last_sequence": (OptimizerSpec(name="adam", lr=0.01), 20),
}


class Tolerance(NamedTuple):
    """|a - b| <= atol * size + rtol * max|reference|, for a curve atol + rtol * (1 + growth * step) * |reference|.

    ``size`` is that of the summands (``summands``): where they cancel, or a gate is shut and the result all but
    vanishes, what remains is their rounding.
    """

    rtol: float
    atol: float
    growth: float = 0.0

    def bound(self, scale: np.ndarray, size: float) -> np.ndarray:
        steps = np.arange(scale.size).reshape(scale.shape)
        return self.atol * size + self.rtol * (1 + self.growth * steps) * scale


# The growth of a curve's bound comes from the sine wave over 12 seeds and 100 epochs: the worst run used 1/8 of it in
# float32 (RNN, Adam) and 1/1000 in float64.
RTOL_ATOL = {"float64": (1e-11, 1e-14), "float32": (1e-5, 5e-7), "float16": (5e-3, 2e-3), "bfloat16": (4e-2, 1.6e-2)}
TOLERANCES = {
    (check, dtype): Tolerance(*numbers)
    for check in ("complex step", "forward", "gradient")
    for dtype, numbers in RTOL_ATOL.items()
} | {
    ("loss", "float64"): Tolerance(1e-11, 1e-14),
    ("loss", "float32"): Tolerance(1e-5, 1e-8),
    ("training", "float64"): Tolerance(1e-11, 1e-14, growth=0.1),
    ("training", "float32"): Tolerance(1e-5, 1e-8, growth=0.5),
    ("sine", "float64"): Tolerance(1e-11, 1e-14, growth=0.1),
    ("sine", "float32"): Tolerance(1e-5, 1e-8, growth=0.5),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. ``error`` is max|a - b| and ``tolerance`` what it may be, both absolute, at the worst element.

    ``arguments`` are those of ``rosetta check`` for this variant alone. ``drawn`` marks a variant drawn at random, and
    the worst quantity of the rung and pair.
    """

    check: str
    cell: str
    variant: str
    dtype: str
    quantity: str
    a: str
    b: str
    count: int
    error: float
    scale: float
    tolerance: float
    ratio: float
    passed: bool
    options: tuple[str, ...]
    arguments: str
    drawn: bool = False

    def record(self) -> Record:
        return {"kind": "check", **asdict(self)}


def compare(
    check: str,
    variant: Variant,
    quantity: str,
    names: tuple[str, str],
    a: Any,
    b: Any,
    *,
    curve: bool = False,
    size: float = 1.0,
) -> Row:
    """One row. A curve is held to its bound step by step; anything else to the largest reference value.

    What is empty, not finite or not in the variant's dtype has failed, without a number.
    """
    dtype = variant.spec.dtype
    right_dtype = all(
        name == "complex step" or not isinstance(value, np.ndarray) or value.dtype == numpy_dtype(dtype)
        for name, value in zip(names, (a, b), strict=True)
    )
    a, b = (np.asarray(np.real(value), dtype="float64") for value in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"{quantity}: {names[0]} gives shape {a.shape}, {names[1]} gives {b.shape}")
    tolerance = TOLERANCES[check, dtype]
    finite = right_dtype and a.size > 0 and bool(np.isfinite(a).all() and np.isfinite(b).all())
    error, scale, allowed = float("nan"), float("nan"), float("nan")
    if finite:
        scales = np.maximum(abs(a), abs(b))
        if not curve:
            scales = np.full((), scales.max())
        errors = abs(a - b) if curve else abs(a - b).max()
        bounds = tolerance.bound(scales, size)
        worst = int(np.argmax(errors / bounds))
        error, scale, allowed = (float(np.ravel(v)[worst]) for v in (errors, scales, bounds))
    return Row(
        check=check,
        cell=variant.spec.cell,
        variant=variant.label,
        dtype=dtype,
        quantity=quantity,
        a=names[0],
        b=names[1],
        count=a.size,
        error=error,
        scale=scale,
        tolerance=allowed,
        ratio=error / allowed,
        passed=finite and error <= allowed,
        options=variant.options,
        arguments=variant.arguments,
    )


def compare_all(
    check: str,
    variant: Variant,
    results: Mapping[str, Mapping[str, Any]],
    *,
    curve: bool = False,
    sizes: Mapping[str, float] | None = None,
) -> Iterator[Row]:
    """A row for every quantity and every pair of backends; each backend must give the same quantities."""
    for (a, left), (b, right) in combinations(results.items(), 2):
        if left.keys() != right.keys():
            raise ValueError(f"{check}: {a} gives {sorted(left)}, {b} gives {sorted(right)}")
        for quantity in left:
            values, size = (left[quantity], right[quantity]), (sizes or {}).get(quantity, 1.0)
            yield compare(check, variant, quantity, (a, b), *values, curve=curve, size=size)


def named_outputs(spec: ModelSpec, y: np.ndarray, state: State) -> dict[str, np.ndarray]:
    return {"y": y} | {f"{name}_n": part for name, part in zip(spec.state_names, state, strict=True)}


def named_grads(spec: ModelSpec, grads: Grads) -> dict[str, np.ndarray]:
    states = {f"d{name}_0": part for name, part in zip(spec.state_names, grads.state0, strict=True)}
    return {gradient_name(name): grad for name, grad in grads.params.items()} | {"dx": grads.x} | states


def each(backends: Mapping[str, Backend], function: Callable[[Backend], Any]) -> dict[str, Any]:
    """``function`` of every backend, by name; a backend that raises is named in the error."""
    results = {}
    for name, backend in backends.items():
        try:
            results[name] = function(backend)
        except (InvalidInput, InvalidType):
            raise
        except Exception as error:
            text = f"backend {name} fails while it computes: {type(error).__name__}: {error}"
            raise BackendBroken(text) from error
    return results


def check_model(backends: Mapping[str, Backend], variant: Variant, *, elementwise: bool = True) -> Iterator[Row]:
    """The first three rungs, on one variant; without ``elementwise`` the complex step takes one direction a tensor.

    Of relu in 16 bits the outputs only: two backends round an input near the kink to different sides of it, and their
    gradients then differ by a whole slope.
    """
    spec, args = variant.spec, problem(variant)
    sizes = summands(spec, args)
    inputs = args.params, args.x, args.state0
    outputs = each(backends, lambda backend: named_outputs(spec, *backend.forward(spec, *inputs, **args.keywords)))
    if spec.nonlinearity == "relu" and spec.dtype in HALF_DTYPES:
        yield from compare_all("forward", variant, outputs, sizes=sizes)
        return
    found = each(backends, lambda backend: backend.vjp(spec, *args[:5], **args.keywords))
    grads = {name: named_grads(spec, own) for name, own in found.items()}
    for name, backend in backends.items():
        if COMPLEX not in backend.dtypes:
            continue
        along = None if elementwise else directions(found[name])
        judge = each({name: backend}, lambda backend, along=along: complex_step(backend, spec, args, along))[name]
        hand = found[name] if along is None else inner(found[name], along)
        results = {name: named_grads(spec, hand), "complex step": named_grads(spec, judge)}
        yield from compare_all("complex step", variant, results, sizes=sizes)
    yield from compare_all("forward", variant, outputs, sizes=sizes)
    yield from compare_all("gradient", variant, grads, sizes=sizes)


def check_training(backends: Mapping[str, Backend], variant: Variant) -> Iterator[Row]:
    """The last two rungs, on one variant; training starts from a zero state.

    Only with bias: training adds the optimiser to gradients that the third rung has compared without bias too.
    """
    args, seed = problem(variant), variant.seed
    for readout, (optimizer, steps) in TRAINING.items():
        network = NetworkSpec(model=variant.spec, readout_size=O, readout=readout)
        rows = variant.steps if readout == "last_sequence" else variant.batch
        target = np.random.default_rng([seed, 2]).standard_normal((rows, O)).astype(variant.spec.dtype)
        batch, start = Batch(args.x, target), initial_network(network, seed)
        run = RunSpec(network=network, optimizer=optimizer, epochs=steps, seed=seed)

        def trained(backend: Backend, run: RunSpec = run, batch: Batch = batch, start: Any = start) -> tuple[Any, ...]:
            trainer, rule = backend.trainer(run, start), run.optimizer.name
            loss = named_loss(run.network.readout, *trainer.gradients(batch))
            curve = {f"{rule} curve": fit(trainer, batch, run.epochs)}
            return loss, curve, {f"{rule} {name}": value for name, value in trainer.params().items()}

        results = each(backends, trained)
        losses, curves, ends = ({name: found[k] for name, found in results.items()} for k in range(3))
        yield from compare_all("loss", variant, losses)
        yield from compare_all("training", variant, curves, curve=True)
        yield from compare_all("training", variant, ends)


def check_all_supported(backends: Mapping[str, Backend], chosen: Sequence[Variant]) -> None:
    """Raise unless every backend supports every variant: none is left out of a comparison."""
    for variant, backend in product(chosen, backends.values()):
        check_supported(backend, variant.spec, variant.lengths is not None)


def check(backends: Mapping[str, Backend], chosen: Sequence[Variant]) -> Iterator[Row]:
    """The whole ladder, variant by variant."""
    check_all_supported(backends, chosen)
    for variant in chosen:
        yield from check_model(backends, variant)
        if variant.spec.bias and not variant.given_state and variant.spec.dtype in DTYPES:
            yield from check_training(backends, variant)


def check_drawn(backends: Mapping[str, Backend], variant: Variant) -> list[Row]:
    """The first three rungs on a variant drawn at random, among the backends that support it: a row a rung and pair.

    Each row is the worst of its rung and pair, and counts the elements of all of them.
    """
    able = {name: own for name, own in backends.items() if not unsupported(own, variant.spec, bool(variant.lengths))}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in check_model(able, variant, elementwise=False):
        groups.setdefault((row.check, row.a, row.b), []).append(row)
    return [
        replace(max(rows, key=badness), count=sum(row.count for row in rows), drawn=True) for rows in groups.values()
    ]


def badness(row: Row) -> float:
    """Error over tolerance, infinite for a row that failed without a number."""
    return row.ratio if row.passed or row.ratio > 1 else float("inf")


def all_passed(records: Iterable[Record]) -> bool:
    """True if the records hold a comparison, and every comparison passed."""
    rows = [record for record in records if record["kind"] == "check"]
    return bool(rows) and all(row["passed"] and row["count"] > 0 for row in rows)


def named_loss(readout: str, loss: float, grads: Mapping[str, np.ndarray]) -> dict[str, Any]:
    short = {name.removeprefix("rnn.").removesuffix("_l0"): grad for name, grad in grads.items()}
    return {f"{readout} loss": loss} | {f"{readout} d{name}": grad for name, grad in short.items()}

"""What the harness compares on: a model with all its options, and the problem that it is given.

Some variants are fixed. Others are drawn at random from all combinations of options, and are shrunk when they fail.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from common.backend.contract import Problem
from common.errors import InvalidInput, choice, mismatch
from common.model.cells import TABLE
from common.model.dtypes import numpy_dtype
from common.model.initial import dropout_masks, initial_parameters
from common.model.spec import CELLS, DTYPES, HALF_DTYPES, ModelSpec
from common.record_types import Problem as Data
from common.record_types import Spec

# Distinct and larger than 1, so that no two axes can be confused; 4H differs from all of them too.
T, B, I, H = 9, 5, 3, 7
# How the numbers of a problem differ from the usual ones.
REGIMES = {
    "plain": "standard normal inputs, states and cotangents, weights as they are initialised",
    "saturated": "input weights and biases enlarged until pre-activations are about ±5: most gates are shut or open",
    "zero": "all inputs zero",
    "huge": "inputs 10,000 times as large (100 times in 16 bits)",
}
# The options that change the equations of a step, with their values.
FORMS: dict[str, tuple[Any, ...]] = {"nonlinearity": ("tanh", "relu"), "reset_after": (True, False)}
# The spread, one standard deviation, of the saturated pre-activations.
SATURATED = 5
PROBLEMS = 4  # for each model drawn at random
EMPTY = 0.2  # the share of sequences without a step in its ragged batches
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(ModelSpec)}
# What ``Variant.options`` names, in the order of tables.
OPTIONS = ("tanh", "relu", "reset_after", "reset_before", "num_layers", "bidirectional", "dropout", "proj_size")
OPTIONS += ("no bias", "lengths")
OPTIONS += ("given state", "no state", "T=1", "B=1", "H=1", *REGIMES)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model, the sizes T and B of its problem, and how the problem is made.

    ``lengths`` are those of a ragged batch, from 0. ``training`` draws dropout masks, where the model has dropout.
    """

    spec: ModelSpec
    steps: int = T
    batch: int = B
    lengths: tuple[int, ...] | None = None
    given_state: bool = True
    training: bool = True
    regime: str = "plain"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise InvalidInput(choice("regime", list(REGIMES), self.regime))
        if self.lengths is not None and len(self.lengths) != self.batch:
            raise InvalidInput(mismatch("lengths", f"{self.batch}, one for each sequence", len(self.lengths)))

    @property
    def label(self) -> str:
        words = [self.spec.label]
        if self.spec.dropout > 0:
            words.append(f"dropout {self.spec.dropout:g}")
            if not self.training:
                words.append("evaluation")
        if self.lengths is not None:
            words.append("lengths")
        if self.regime != "plain":
            words.append(self.regime)
        return " ".join(words) + ("" if self.given_state else ", zero state")

    @property
    def options(self) -> tuple[str, ...]:
        """What the variant exercises, as the table of coverage names it."""
        spec = self.spec
        present = {*spec.options, self.regime, "given state" if self.given_state else "no state"}
        if "nonlinearity" in spec.kind.options:
            present.add(spec.nonlinearity)
        if "reset_after" in spec.kind.options and spec.reset_after:
            present.add("reset_after")
        on = {"no bias": not spec.bias, "lengths": self.lengths is not None}
        on |= {"T=1": self.steps == 1, "B=1": self.batch == 1, "H=1": spec.hidden_size == 1}
        present |= {name for name, is_on in on.items() if is_on}
        return tuple(name for name in OPTIONS if name in present)

    @property
    def data(self) -> Data:
        """The variant as it stands in a record, from which the command that reproduces it is made."""
        return Data(
            spec=Spec(**asdict(self.spec)),
            steps=self.steps,
            batch=self.batch,
            lengths=None if self.lengths is None else list(self.lengths),
            given_state=self.given_state,
            training=self.training,
            regime=self.regime,
            seed=self.seed,
        )


def variants(cells: Sequence[str] = CELLS, dtypes: Sequence[str] = DTYPES, seed: int = 0) -> list[Variant]:
    """Every cell and form of its equations, with and without bias, the initial state given or not, in every dtype."""
    chosen = []
    for dtype, cell in product(dtypes, cells):
        for form, bias, given_state in product(forms(cell), (True, False), (True, False)):
            spec = ModelSpec(cell=cell, input_size=I, hidden_size=H, bias=bias, dtype=dtype, **form)
            chosen.append(Variant(spec=spec, given_state=given_state, seed=seed))
    return chosen


def forms(cell: str) -> list[dict[str, Any]]:
    """Every combination of the options that change the equations of a cell, the default first."""
    able = [name for name in FORMS if name in TABLE[cell].options]
    return [dict(zip(able, values, strict=True)) for values in product(*(FORMS[name] for name in able))]


def draw(cell: str, dtype: str, seed: int, number: int) -> Variant:
    """A model of this cell with options drawn by the seed from all combinations, and the problem with this number.

    The problems of a model differ in everything but shapes, so that JAX compiles once for all of them.
    """
    of_model = np.random.default_rng([seed, CELLS.index(cell)])
    of_problem = np.random.default_rng([seed, CELLS.index(cell), number])
    of_empty = np.random.default_rng([seed, CELLS.index(cell), number, 9])

    def pick(rng: np.random.Generator, *values: Any) -> Any:
        return values[rng.integers(len(values))]

    options: dict[str, Any] = {"hidden_size": pick(of_model, 1, 2, 3, 4, 6), "input_size": pick(of_model, 1, 2, 3, 5)}
    options["bias"] = pick(of_model, True, True, False)
    able = TABLE[cell].options
    options |= {name: pick(of_model, *values) for name, values in FORMS.items() if name in able}
    if "num_layers" in able:
        options["num_layers"] = pick(of_model, 1, 1, 2, 2, 3)
        options["bidirectional"] = pick(of_model, True, False)
        if options["num_layers"] > 1:
            options["dropout"] = pick(of_model, 0.0, 0.3, 0.6)
    if "proj_size" in able and options["hidden_size"] > 1:
        options["proj_size"] = pick(of_model, 0, int(of_model.integers(1, options["hidden_size"])))
    steps, batch = pick(of_model, 1, 2, 3, 5, 8), pick(of_model, 1, 2, 3, 4)
    ragged, training = pick(of_model, True, False), pick(of_model, True, True, False)
    regimes = ["plain", "plain", *REGIMES]
    if dtype in HALF_DTYPES and options.get("nonlinearity") == "relu":
        regimes = ["plain", "zero"]  # the other regimes overflow float16
    lengths = of_problem.integers(1, steps + 1, batch) * (of_empty.random(batch) >= EMPTY) if ragged else None
    return Variant(
        spec=ModelSpec(cell=cell, dtype=dtype, **options),
        steps=steps,
        batch=batch,
        lengths=None if lengths is None else tuple(lengths.tolist()),
        given_state=pick(of_problem, True, True, False),
        training=training,
        regime=pick(of_problem, *regimes),
        seed=PROBLEMS * seed + number,
    )


def drawn(count: int, cells: Sequence[str], dtypes: Sequence[str], seed: int) -> list[Variant]:
    """``count`` variants per dtype, ``PROBLEMS`` per model; the cells take turns, and each dtype has other models."""
    chosen = []
    models = -(-count // PROBLEMS)
    for place, dtype in enumerate(dtypes):
        for index in range(count):
            model, number = divmod(index, PROBLEMS)
            chosen.append(draw(cells[model % len(cells)], dtype, seed + place * models + model, number))
    return chosen


def problem(variant: Variant) -> Problem:
    """The problem on which a variant is checked."""
    spec = variant.spec
    args = random_problem(spec, variant.steps, variant.batch, variant.seed)
    if variant.lengths is not None:
        args = args._replace(lengths=np.array(variant.lengths))
    if spec.num_layers > 1 and spec.dropout > 0 and variant.training:
        rng = np.random.default_rng([variant.seed, 3])
        args = args._replace(masks=dropout_masks(spec, variant.steps, variant.batch, rng))
    if variant.regime == "saturated":
        # The spread of the sum of I products with x and two biases, all uniform in +-1/sqrt(H), is sqrt((I + 2) / 3H).
        factor = SATURATED * (3 * spec.hidden_size / (spec.input_size + 2)) ** 0.5
        scaled = {k: v if k.startswith(("weight_hh", "weight_hr")) else factor * v for k, v in args.params.items()}
        args = args._replace(params={name: value.astype(args.x.dtype) for name, value in scaled.items()})
    if variant.regime in ("zero", "huge"):
        factor = {"zero": 0, "huge": 1e2 if args.x.dtype.itemsize == 2 else 1e4}[variant.regime]
        args = args._replace(x=(args.x * factor).astype(args.x.dtype))
    return args if variant.given_state else args._replace(state0=None)


def random_problem(spec: ModelSpec, steps: int, batch: int, seed: int) -> Problem:
    """Random parameters, input, initial state and cotangents; equal in all dtypes up to rounding."""
    rng = np.random.default_rng([seed, 1])

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(numpy_dtype(spec.dtype))

    x, dy = draw(steps, batch, spec.input_size), draw(steps, batch, spec.output_size)
    state0, dstate = (tuple(draw(*shape) for shape in spec.state_shapes(batch)) for _ in range(2))
    return Problem(initial_parameters(spec, seed), x, state0, dy, dstate)


def shrink(variant: Variant, fails: Callable[[Variant], bool], trials: int = 200) -> Variant:
    """The simplest variant found that still fails: every change that keeps the failure is kept, until none does."""
    while True:
        for simpler in simplifications(variant):
            trials -= 1
            if trials < 0:
                return variant
            if fails(simpler):
                variant = simpler
                break
        else:
            return variant


def simplifications(variant: Variant) -> Iterator[Variant]:
    """Variants one change simpler, the largest changes first; sizes go to 2 before they go to 1."""
    spec = variant.spec
    for name in ("proj_size", "bidirectional", "dropout", "nonlinearity", "reset_after", "bias"):
        if getattr(spec, name) != DEFAULTS[name]:
            yield replace(variant, spec=replace(spec, **{name: DEFAULTS[name]}))
    for name, simple in (("regime", "plain"), ("lengths", None), ("given_state", False), ("training", True)):
        if getattr(variant, name) != simple:
            yield replace(variant, **{name: simple})
    if variant.lengths and 0 in variant.lengths:
        yield replace(variant, lengths=tuple(max(length, 1) for length in variant.lengths))
    if variant.lengths and max(variant.lengths) > 1:
        yield replace(variant, lengths=(1,) * variant.batch)
    for name, value in (
        ("num_layers", spec.num_layers),
        ("hidden_size", spec.hidden_size),
        ("input_size", spec.input_size),
    ):
        for less in _less(value):
            if name != "hidden_size" or less > spec.proj_size:
                extra = {"dropout": 0.0} if name == "num_layers" and less == 1 else {}
                yield replace(variant, spec=replace(spec, **{name: less}, **extra))
    for less in _less(variant.steps):
        lengths = variant.lengths and tuple(min(length, less) for length in variant.lengths)
        yield replace(variant, steps=less, lengths=lengths)
    for less in _less(variant.batch):
        yield replace(variant, batch=less, lengths=variant.lengths and variant.lengths[:less])


def _less(value: int) -> Iterator[int]:
    yield from (less for less in (2, 1) if less < value)

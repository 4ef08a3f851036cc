"""What the harness compares on: a model with all its options, and the problem that it is given.

Some variants are fixed. Others are drawn at random from all combinations of options.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

import numpy as np

from common.backend.contract import Problem
from common.backend.guards import refuse_both, used_by
from common.errors import InvalidInput, choice, mismatch
from common.model.cells import TABLE
from common.model.dtypes import numpy_dtype
from common.model.initial import initial_parameters
from common.model.masks import dropout_masks
from common.model.spec import CELLS, DROPOUTS, DTYPES, HALF_DTYPES, ModelSpec
from common.record_parts import Problem as Data
from common.record_parts import Spec

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
MASKED = 0.4  # the share of ragged batches with a mask in the place of lengths
VALID = 0.6  # the share of valid steps in a mask
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(ModelSpec)}
# What ``Variant.options`` names, in the order of tables.
OPTIONS = ("tanh", "relu", "reset_after", "reset_before", "num_layers", "bidirectional", *DROPOUTS, "proj_size")
OPTIONS += ("no bias", "lengths", "mask")
OPTIONS += ("given state", "no state", "T=1", "B=1", "H=1", *REGIMES)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model, the sizes T and B of its problem, and how the problem is made.

    ``lengths`` are those of a ragged batch, from 0; ``mask``, in their place, has a word for each sequence, such as
    "0110", with 1 for each valid step. ``training`` draws dropout masks, where the model has dropout.
    """

    spec: ModelSpec
    steps: int = T
    batch: int = B
    lengths: tuple[int, ...] | None = None
    mask: tuple[str, ...] | None = None
    given_state: bool = True
    training: bool = True
    regime: str = "plain"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise InvalidInput(choice("regime", list(REGIMES), self.regime))
        if self.lengths is not None and len(self.lengths) != self.batch:
            raise InvalidInput(mismatch("lengths", f"{self.batch}, one for each sequence", len(self.lengths)))
        if self.mask is not None:
            self._require_mask(self.mask)

    def _require_mask(self, mask: tuple[str, ...]) -> None:
        refuse_both(self.lengths, mask)
        if len(mask) != self.batch:
            raise InvalidInput(mismatch("mask", f"{self.batch} words, one for each sequence", len(mask)))
        for word in mask:
            if len(word) != self.steps or set(word) - {"0", "1"}:
                raise InvalidInput(mismatch("mask", f"words of {self.steps} letters 0 and 1", repr(word)))

    @property
    def label(self) -> str:
        words = [self.spec.label]
        drops = {name.replace("_", " "): getattr(self.spec, name) for name in DROPOUTS}
        words += [f"{name} {p:g}" for name, p in drops.items() if p > 0]
        if any(drops.values()) and not self.training:
            words.append("evaluation")
        words += self.called
        if self.regime != "plain":
            words.append(self.regime)
        return " ".join(words) + ("" if self.given_state else ", zero state")

    @property
    def called(self) -> tuple[str, ...]:
        """The names in ``spec.OPTIONS`` that the call uses, whatever the model is."""
        return used_by(self.lengths, self.mask)

    @property
    def options(self) -> tuple[str, ...]:
        """What the variant exercises, as the table of coverage names it."""
        spec = self.spec
        present = {*spec.options, *self.called, self.regime, "given state" if self.given_state else "no state"}
        if "nonlinearity" in spec.kind.options:
            present.add(spec.nonlinearity)
        if "reset_after" in spec.kind.options and spec.reset_after:
            present.add("reset_after")
        on = {"no bias": not spec.bias}
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
            mask=None if self.mask is None else list(self.mask),
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
    of_masks = np.random.default_rng([seed, CELLS.index(cell), 10])
    of_holes = np.random.default_rng([seed, CELLS.index(cell), number, 10])

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
        options["input_dropout"] = pick(of_masks, 0.0, 0.0, 0.3)
        options["recurrent_dropout"] = pick(of_masks, 0.0, 0.0, 0.4)
    if "proj_size" in able and options["hidden_size"] > 1:
        options["proj_size"] = pick(of_model, 0, int(of_model.integers(1, options["hidden_size"])))
    steps, batch = pick(of_model, 1, 2, 3, 5, 8), pick(of_model, 1, 2, 3, 4)
    ragged, training = pick(of_model, True, False), pick(of_model, True, True, False)
    regimes = ["plain", "plain", *REGIMES]
    if dtype in HALF_DTYPES and options.get("nonlinearity") == "relu":
        regimes = ["plain", "zero"]  # the other regimes overflow float16
    lengths, mask = None, None
    if ragged:
        lengths = of_problem.integers(1, steps + 1, batch) * (of_empty.random(batch) >= EMPTY)
        if of_masks.random() < MASKED:
            lengths, mask = None, word_rows(of_holes.random((batch, steps)) < VALID)
    return Variant(
        spec=ModelSpec(cell=cell, dtype=dtype, **options),
        steps=steps,
        batch=batch,
        lengths=None if lengths is None else tuple(lengths.tolist()),
        mask=mask,
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


def word_rows(valid: np.ndarray) -> tuple[str, ...]:
    """The words of ``Variant.mask`` for valid steps (B, T)."""
    return tuple("".join("1" if step else "0" for step in row) for row in valid)


def problem(variant: Variant) -> Problem:
    """The problem on which a variant is checked."""
    spec = variant.spec
    args = random_problem(spec, variant.steps, variant.batch, variant.seed)
    if variant.lengths is not None:
        args = args._replace(lengths=np.array(variant.lengths))
    if variant.mask is not None:
        args = args._replace(mask=np.array([[step == "1" for step in word] for word in variant.mask]).T)
    if variant.training:
        rng = np.random.default_rng([variant.seed, 3])
        args = args._replace(masks=dropout_masks(spec, variant.steps, variant.batch, rng).simplest)
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

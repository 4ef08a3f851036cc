"""The problem on which the layer of a file is checked: recorded inputs, or drawn ones of the scale that it sees."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from common.backend.contract import Problem
from common.backend.guards import require_valid_steps
from common.equivalence.rounding import exact_outputs
from common.equivalence.variants import Variant, word_rows
from common.errors import InvalidInput, mismatch
from common.model.dtypes import dtype_label, numpy_dtype
from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.proof.recorded import LARGEST, Inputs
from common.proof.subject import Subject, as_dtype, is_rounded, narrowest

# Steps and sequences where nothing is recorded.
STEPS, BATCH = 20, 5
# The most parameters of a layer: the exact result and a few roundings of it take about 50 bytes for each.
MOST = 1 << 27
# Part of the name of an array that is a table of embeddings.
EMBEDDING = re.compile(
    r"(?:^|[^a-z])(?:emb|embed|embedder|embedding|embeddings|embed_tokens|wte|lookup)(?:[^a-z]|$)", re.I
)


class Draw(NamedTuple):
    """The arrays of a problem other than the weights, x and state0 in their own dtypes, and in words where they are
    from. Numbers that were drawn are exact in every dtype of the check.
    """

    problem: Problem
    origin: tuple[str, ...]


class Asked(NamedTuple):
    """What the user says about the problem."""

    inputs: Inputs | None = None
    steps: int | None = None
    batch: int | None = None
    lengths: tuple[int, ...] | None = None
    mask: tuple[str, ...] | None = None
    given_state: bool = True
    seed: int = 0


def draw(subject: Subject, asked: Asked, dtypes: Sequence[str]) -> Draw:
    """The problem for a layer: x as recorded or drawn, initial states, cotangents, and which steps are valid.

    Drawn inputs are rows of the file's table of embeddings, if it has exactly one of the layer's input size, and else
    standard normal. Initial states that were not recorded are those that the layer reaches on x from zeros, each
    sequence starting where another has ended.
    """
    spec, shared = subject.spec.with_dtype("float64"), narrowest(dtypes)
    count = sum(value.size for value in subject.layer.params.values())
    if count > MOST:
        cause = "too much memory; --layer PATH:l0 takes one layer and direction"
        raise InvalidInput(mismatch(f"parameters of {subject.name}", f"at most {MOST:,}", f"{count:,}", cause))
    rng = np.random.default_rng([asked.seed, 17])
    x, origin = _inputs(subject, asked, shared, rng)
    steps, batch, _ = x.shape
    lengths = None if asked.lengths is None else np.array(asked.lengths)
    mask = None if asked.mask is None else _mask(asked.mask, steps, batch)
    require_valid_steps(lengths, mask, steps, batch)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(numpy_dtype(shared))

    dy, dstate = normal(steps, batch, spec.output_size), tuple(normal(*shape) for shape in spec.state_shapes(batch))
    problem = Problem(subject.params("float64"), x, None, dy, dstate, lengths=lengths, mask=mask)
    if asked.inputs is not None and asked.inputs.state0 is not None:
        start = asked.inputs.state0
        origin.append(f"initial states from {asked.inputs.path}")
    elif not asked.given_state:
        start = None
        origin.append("initial states of zeros")
    else:
        _, ends = exact_outputs(spec, in_dtype(problem, "float64", problem.params))
        start = tuple(np.roll(part, 1, axis=1).astype(numpy_dtype(shared)) for part in ends)
        origin.append("initial states: those that the layer reaches on x")
    return Draw(problem._replace(state0=start), tuple(origin))


def _inputs(subject: Subject, asked: Asked, dtype: str, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """x, and in words where it is from."""
    spec = subject.spec
    if asked.inputs is not None:
        x = asked.inputs.x
        for name, wanted, got in (("steps", asked.steps, x.shape[0]), ("batch", asked.batch, x.shape[1])):
            if wanted not in (None, got):
                raise InvalidInput(mismatch(f"--{name}", f"{got}, as in {asked.inputs.path}", wanted))
        return x, [f"x {_sizes(x)}, {dtype_label(x.dtype)}, from {asked.inputs.path}"]
    valid = asked.lengths or asked.mask or ()
    longest = max(asked.lengths or [len(word) for word in asked.mask or ()], default=STEPS)
    steps, batch = asked.steps or max(longest, 1), asked.batch or len(valid) or BATCH
    each = spec.input_size + 10 * len(spec.state_names) * spec.state_rows * spec.hidden_size
    if steps * batch * each > LARGEST:
        wanted = f"at most {LARGEST // each:,} in all for {subject.name}"
        raise InvalidInput(mismatch("steps of the sequences", wanted, f"{batch} sequences of {steps}", "memory"))
    name, table = embedding(subject)
    if table is None:
        x = rng.standard_normal((steps, batch, spec.input_size)).astype(numpy_dtype(dtype))
        return x, [f"x {_sizes(x)}, standard normal"]
    x = as_dtype(table[rng.integers(len(table), size=(steps, batch))], dtype)
    return x, [f"x {_sizes(x)}, random rows of {name} {table.shape}"]


def _sizes(x: np.ndarray) -> str:
    return "(" + ", ".join(f"{letter}={size}" for letter, size in zip("TBI", x.shape, strict=True)) + ")"


def embedding(subject: Subject) -> tuple[str, np.ndarray | None]:
    """The table of embeddings (V, I) that feeds the layer, if exactly one array of the file is named like one and
    fits, and its name.
    """
    fitting = {}
    for name in subject.file.others:
        value = subject.file.params[name]
        if value.ndim == 2 and value.shape[1] == subject.spec.input_size and len(value) > 1 and EMBEDDING.search(name):
            fitting[name] = value
    if len(fitting) != 1:
        return "", None
    ((name, table),) = fitting.items()
    floats = table.dtype.kind in "fV" and np.isfinite(table.astype("float64")).all()
    return (name, table) if floats else ("", None)


def _mask(mask: Sequence[str], steps: int, batch: int) -> np.ndarray:
    """The valid steps (T, B) of one word for each sequence."""
    if len(mask) != batch:
        raise InvalidInput(mismatch("mask", f"{batch} words, one for each sequence", len(mask)))
    for word in mask:
        if len(word) != steps or set(word) - {"0", "1"}:
            raise InvalidInput(mismatch("mask", f"words of {steps} letters 0 and 1", repr(word)))
    return np.array([[step == "1" for step in word] for word in mask]).T


def in_dtype(problem: Problem, dtype: str, params: Parameters) -> Problem:
    """The problem in a dtype, rounded where it is not exact in it."""
    start = problem.state0
    return problem._replace(
        params=params,
        x=as_dtype(problem.x, dtype),
        state0=None if start is None else tuple(as_dtype(part, dtype) for part in start),
        dy=as_dtype(problem.dy, dtype),
        dstate=tuple(as_dtype(part, dtype) for part in problem.dstate),
    )


def rounded(subject: Subject, problem: Problem, dtype: str) -> tuple[str, ...]:
    """What a dtype rounds, in words: the weights, x."""
    arrays = {"the weights": tuple(subject.layer.params.values()), "x": (problem.x,), "state0": problem.state0 or ()}
    return tuple(name for name, values in arrays.items() if any(is_rounded(value, dtype) for value in values))


def variant(spec: ModelSpec, problem: Problem, dtype: str, seed: int) -> Variant:
    """The description of a problem that was made here, for rows and records."""
    steps, batch, _ = problem.x.shape
    return Variant(
        spec=replace(spec, dtype=dtype),
        steps=steps,
        batch=batch,
        lengths=None if problem.lengths is None else tuple(problem.lengths.tolist()),
        mask=None if problem.mask is None else word_rows(problem.mask.T),
        given_state=problem.state0 is not None,
        seed=seed,
    )


def valid_steps(problem: Problem) -> np.ndarray:
    """(T, B), True where a step is valid."""
    steps, batch, _ = problem.x.shape
    if problem.mask is not None:
        return problem.mask
    lengths = np.full(batch, steps) if problem.lengths is None else problem.lengths
    return np.arange(steps)[:, None] < lengths

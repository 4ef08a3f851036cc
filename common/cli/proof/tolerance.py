"""``rosetta tolerance``: the rtol and atol that rounding justifies in a test of one layer, for each of its results."""

import argparse
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from common import records
from common.backend.contract import Problem
from common.cli import console
from common.cli.options import (
    MODEL_ROWS,
    Verbs,
    add_rows,
    add_selection,
    add_verb,
    cells,
    dtypes,
    given,
    model_variant,
    named,
)
from common.cli.proof.subjects import (
    add_file,
    add_sizes,
    add_valid,
    asked_of,
    drawn,
    headline,
    notes,
    require_no_file_options,
    subject_of,
)
from common.cli.proof.text import paragraph
from common.equivalence.comparison import gradient_name, named_grads, named_outputs
from common.equivalence.rounding import answers
from common.equivalence.tolerances import MARGIN
from common.equivalence.variants import B, T, problem
from common.model.layout import layer_suffixes, parameter_shapes
from common.model.spec import CELLS, HALF_DTYPES, ModelSpec
from common.proof.limits import LIBRARIES, Limit, limits, lines
from common.proof.problems import in_dtype

IMPORTS = {"torch": "import torch", "numpy": "import numpy as np", "pytest": "import pytest"}
USUAL = "float32"
MEANING = (
    "|a - b| <= atol + rtol * |b| holds for every element of every run in Monte Carlo arithmetic, with a margin of "
    f"{MARGIN}, and allows no more than the bound that `rosetta check` has. rtol is 0 where rounding does not grow "
    "with the element: the largest error then stands at a smaller value. Gradients are those of sum(dy * y) + "
    "sum(dh_n * h_n) + ... for standard normal cotangents; they scale with yours."
)
NO_STATE = "start from a state of zeros"


class Case(NamedTuple):
    """One model in one dtype on one problem."""

    title: str
    spec: ModelSpec
    problem: Problem


def add(verbs: Verbs) -> None:
    more = "It is measured on this model, in this dtype, for this T and B: the bounds are those of `rosetta check`."
    text = "print the rtol and atol that rounding justifies in a test of a port"
    parser = add_verb(verbs, "tolerance", run, text, more)
    add_file(parser)
    add_selection(parser, CELLS[2:3], (USUAL,))
    text = f"one of {', '.join(LIBRARIES)}; repeat it for several (default: all)"
    parser.add_argument("--for", dest="libraries", action="append", type=named(LIBRARIES), metavar="NAME", help=text)
    add_rows(parser, "model", MODEL_ROWS.values())
    group = parser.add_argument_group("problem", argument_default=argparse.SUPPRESS)
    add_sizes(group, T, B)
    add_valid(group)
    group.add_argument("--no-state", dest="given_state", action="store_false", help=NO_STATE)


def run(options: Namespace) -> int:
    """Print a table of tolerances and lines for tests."""
    libraries = list(dict.fromkeys(options.libraries or LIBRARIES))
    for case in _cases(options):
        found = _limits(case, options.seed)
        if options.json:
            for limit in found:
                print(records.dumps(_record(case, limit, libraries)))
        else:
            _print(case, found, libraries)
    return 0


def _cases(options: Namespace) -> list[Case]:
    if options.file is None:
        require_no_file_options(options)
        chosen = given(options, (*MODEL_ROWS, "steps", "batch", "lengths", "mask", "given_state"))
        variants = [model_variant(c, d, options.seed, chosen) for d in dtypes(options) for c in cells(options)]
        return [Case(_title(v.label, v.spec.dtype, v.steps, v.batch), v.spec, problem(v)) for v in variants]
    subject = subject_of(options)
    chosen = list(dict.fromkeys(options.dtype or (subject.spec.dtype,)))
    made = drawn(subject, asked_of(options, subject), chosen)
    for note in notes(subject):
        console.note(note)
    steps, batch, _ = made.problem.x.shape
    title = f"{headline(subject)}. On {'; '.join(made.origin)}."
    return [
        Case(
            _title(title, dtype, steps, batch),
            subject.spec.with_dtype(dtype),
            in_dtype(made.problem, dtype, subject.params(dtype)),
        )
        for dtype in chosen
    ]


def _title(what: str, dtype: str, steps: int, batch: int) -> str:
    return f"{what}\nTolerances in {dtype} for T={steps}, B={batch}"


def _limits(case: Case, seed: int) -> list[Limit]:
    """Outputs, final states and gradients; with relu in 16 bits, whose gradients jump, the outputs alone."""
    spec = case.spec
    backward = not (spec.nonlinearity == "relu" and spec.dtype in HALF_DTYPES)
    results = []
    for y, state, grads in answers(spec, case.problem, seed, backward=backward):
        results.append(named_outputs(spec, y, state) | (_in_order(spec, named_grads(spec, grads)) if backward else {}))
    return limits(results, spec.dtype)


def _in_order(spec: ModelSpec, grads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients layer by layer, then those of x and of the initial states.

    Names keep the suffix of the first layer, unless it is the only layer and has one direction.
    """
    names = {gradient_name(name): name for name in parameter_shapes(spec)}
    is_only = len(layer_suffixes(spec)) == 1
    ordered = {short if is_only else f"d{name}": grads[short] for short, name in names.items()}
    return ordered | {name: grad for name, grad in grads.items() if name not in names}


def _print(case: Case, found: Sequence[Limit], libraries: Sequence[str]) -> None:
    title, _, what = case.title.partition("\n")
    paragraph(title)
    rows = [
        (one.quantity, f"{one.scale:.2g}", _text(one.summed.rtol), _text(one.summed.atol), _text(one.bound))
        for one in found
    ]
    columns = ("result", "largest value", "rtol", "atol", "bound")
    console.table(what, columns, rows, numeric=columns[1:])
    paragraph(MEANING)
    for library in libraries:
        console.line("")
        console.line(IMPORTS[library])
        for one in found:
            console.line(lines(one, library))


def _text(value: float) -> str:
    return f"{value:.3g}"


def _record(case: Case, limit: Limit, libraries: Sequence[str]) -> dict[str, object]:
    pairs = {"torch": limit.summed, "numpy": limit.summed, "pytest": limit.larger}
    return {
        "dtype": case.spec.dtype,
        "steps": case.problem.x.shape[0],
        "batch": case.problem.x.shape[1],
        "quantity": limit.quantity,
        "largest": limit.scale,
        "bound": limit.bound,
        **{name: {**pairs[name]._asdict(), "line": lines(limit, name)} for name in libraries},
    }

"""``rosetta check``: the ladder of checks, on fixed models, on models drawn at random, on one model, or on a file."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from itertools import chain
from typing import Any

from common.backend import registry
from common.backend.guards import unsupported
from common.cli import console, tables
from common.cli.options import (
    MODEL_ROWS,
    PROBLEM,
    Verbs,
    add_backends,
    add_jobs,
    add_rows,
    add_selection,
    add_verb,
    at_least,
    backends,
    cells,
    dtypes,
    given,
    model_variant,
    named,
)
from common.cli.proof import check as of_file
from common.cli.proof.subjects import add_file, add_sizes, add_valid
from common.equivalence import ladder, processes, variants
from common.equivalence.variants import PROBLEMS, REGIMES, B, T, Variant
from common.errors import InvalidInput, mismatch
from common.model.spec import CELLS, DTYPES
from common.record_types import Record
from common.study.environment import environment


def add(verbs: Verbs) -> None:
    more = "With a file of weights, that layer is checked on recorded or drawn inputs, with the library that owns the "
    more += "format. Else, if an option of the model or of the problem is given, only that model is checked."
    parser = add_verb(verbs, "check", run, "compare outputs, gradients and training of all backends", more)
    of_file.add_expect(add_file(parser))
    add_backends(parser, registry.DEFAULT)
    add_selection(parser, CELLS, DTYPES)
    add_jobs(parser)
    text = f"check N problems in each dtype, on models drawn from all combinations of options, {PROBLEMS} on each model"
    parser.add_argument("--configs", type=at_least(1), metavar="N", help=text)
    add_rows(parser, "model", MODEL_ROWS.values())
    group = parser.add_argument_group("problem", argument_default=argparse.SUPPRESS)
    add_sizes(group, T, B)
    add_valid(group)
    group.add_argument("--no-state", dest="given_state", action="store_false", help="start from a state of zeros")
    group.add_argument("--eval", dest="training", action="store_false", help="without dropout")
    text = f"how the numbers are drawn, one of {', '.join(REGIMES)} (default: plain)"
    group.add_argument("--regime", type=named(list(REGIMES)), metavar="NAME", help=text)


def run(options: Namespace) -> int:
    """Compare the backends and print the result; returns the exit code."""
    if options.file is not None:
        return of_file.run(options)
    of_file.require_no_file(options)
    names, chosen_cells, chosen_dtypes = backends(options), cells(options), dtypes(options)
    one = given(options, (*MODEL_ROWS, *PROBLEM))
    if options.configs is None:
        check, chosen = processes.check, variants.variants(chosen_cells, chosen_dtypes, options.seed)
        if one:
            fitting = chosen_cells if options.cell else _fitting(chosen_cells, one)
            chosen = [model_variant(cell, dtype, options.seed, one) for dtype in chosen_dtypes for cell in fitting]
        names = names if options.backend else _able(names, chosen)
    else:
        if one:
            raise InvalidInput(mismatch("--configs", "no option of one model with it", ", ".join(one)))
        check, chosen = (
            processes.check_drawn,
            variants.drawn(options.configs, chosen_cells, chosen_dtypes, options.seed),
        )
    with console.Stages() as stages:
        stream = check(names, chosen, options.jobs, stages.stage)
        rows = console.collect(chain(environment(names), stream), options, options.seed)
    if not options.json:
        tables.print_checks(rows)
        if options.configs is not None:
            tables.print_coverage(rows, len(chosen))
    return 0 if ladder.all_passed(rows) and _all_compared(names, rows, options.backend) else 1


def _fitting(names: Sequence[str], one: dict[str, Any]) -> list[str]:
    """The cells that have the options; for the others, the reason is printed on stderr."""
    fitting, problems = [], []
    for cell in names:
        try:
            model_variant(cell, "float64", 0, one)
            fitting.append(cell)
        except InvalidInput as error:
            problems.append((cell, error))
    if not fitting:
        raise problems[0][1]
    for cell, error in problems:
        console.message(f"{cell} is left out: {error}")
    return fitting


def _able(names: list[str], chosen: Sequence[Variant]) -> list[str]:
    """The backends that support all variants; for the others, what they lack is printed on stderr."""
    able = []
    for name in names:
        backend = registry.load(name)
        asked = [variant for variant in chosen if not ladder.is_excused(backend, variant)]
        lacks = {what for v in asked for what in unsupported(backend, v.spec, v.called)}
        if lacks:
            console.message(f"{name} is left out: it does not support {', '.join(sorted(lacks))}")
        else:
            able.append(name)
    return able


def _all_compared(names: Sequence[str], rows: Sequence[Record], asked_for: Sequence[str] | None) -> bool:
    """False, with a message, if a backend that was asked for was not compared with anything."""
    seen = {row[side] for row in rows if row["kind"] == "check" for side in ("a", "b")}
    for name in names:
        if name not in seen:
            reason = "so the check fails" if asked_for else "as it supports none of these models"
            console.message(f"{name} was not compared with any other backend, {reason}.")
    return not asked_for or seen.issuperset(names)

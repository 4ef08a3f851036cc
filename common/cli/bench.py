"""``rosetta bench``: the implementations timed against torch.nn and Flax."""

from argparse import Namespace

from common.backend import registry
from common.cli import console, tables
from common.cli.options import (
    Verbs,
    add_backends,
    add_selection,
    add_verb,
    at_least,
    backends,
    cells,
    dtypes,
    named,
)
from common.record_types import Bench
from common.records import of_kind
from common.study import bench
from common.study.bench import SIZES
from common.study.study import BENCH_CELLS


def add(verbs: Verbs) -> None:
    more = "Each framework runs in a process of its own; the result is a ratio, which a busy machine does not distort."
    parser = add_verb(verbs, "bench", run, "time the implementations against torch.nn and Flax", more)
    add_backends(parser, registry.DEFAULT)
    add_selection(parser, BENCH_CELLS, ("float32",))
    text = f"one of {', '.join(SIZES)}; repeat it for several (default: all)"
    parser.add_argument("--size", action="append", type=named(list(SIZES)), metavar="NAME", help=text)
    text = "how many times each case is timed (default: 11)"
    parser.add_argument("--rounds", type=at_least(1), default=11, metavar="N", help=text)


def run(options: Namespace) -> int:
    """Time every case, print the medians."""
    names = backends(options)
    chosen = bench.cases(cells(options), options.size or list(SIZES), dtypes(options), options.seed)
    with console.Stages() as stages:
        advance = stages.stage("timings", len(chosen))
        stream = bench.bench(names, chosen, options.rounds, lambda _: advance())
        rows = console.collect(stream, options, options.seed)
    if not options.json:
        tables.print_bench(of_kind(rows, Bench))
    return 0

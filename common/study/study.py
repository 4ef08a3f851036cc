"""The study: the ladder of checks, the sine wave trained everywhere, the one-bias cell, the timings; as records.

What can run in parallel does so in processes, in pieces that are each named by plain values. The timings come last, and
run alone.
"""

from collections.abc import Iterator, Sequence

from common import parallel
from common.backend.registry import load_all
from common.equivalence import ladder
from common.equivalence.processes import check_groups, check_piece, drawn_piece, pieces
from common.equivalence.variants import drawn, variants
from common.parallel import Piece, Progress
from common.record_types import Record
from common.study import bench, tasks
from common.study.environment import environment
from common.study.runs import training_piece
from common.study.sine import one_bias, series, sine_runs

# How many variants are drawn at random in each dtype.
DRAWN = 48
BENCH_CELLS, BENCH_SIZES, ROUNDS = ("RNN", "LSTM", "GRU"), ("sine", "medium"), 9


def study(
    names: Sequence[str],
    cells: Sequence[str],
    dtypes: Sequence[str],
    seed: int,
    jobs: int,
    rounds: int,
    progress: Progress,
    full: bool = False,
) -> Iterator[Record]:
    """All records of the study, in an order that depends on nothing but the arguments; ``full`` trains every task."""
    fixed = variants(cells, dtypes, seed)
    ladder.require_all_supported(load_all(names), fixed)  # before anything is computed
    yield from environment(names)
    yield from series()
    groups = check_groups(fixed)
    random = drawn(DRAWN, cells, dtypes, seed)
    runs = sine_runs(cells, dtypes, seed)
    work = [training_piece(names, *run) for run in runs]  # the longest pieces first
    work += [check_piece(names, group) for group in reversed(groups)]
    work += [drawn_piece(names, group) for group in pieces(random)]
    if "numpy" in names and "RNN" in cells:
        work.append(Piece("the one-bias cell", one_bias, (seed,)))
    done = progress("checks and training", len(work))
    for records in parallel.run(work, jobs):
        yield from records
        done()
    if full:
        work = tasks.pieces(names, cells, seed)
        done = progress("tasks", len(work))
        for records in parallel.run(work, jobs):
            yield from records
            done()
    chosen = bench.cases([cell for cell in cells if cell in BENCH_CELLS], BENCH_SIZES, ["float32"], seed)
    if chosen:
        done = progress("timings", len(chosen))
        yield from bench.bench(names, chosen, rounds, lambda _: done())

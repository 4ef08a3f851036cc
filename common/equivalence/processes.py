"""The ladder of checks over several processes: the work is divided into pieces, which make the records."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from common import parallel
from common.backend.registry import load_all
from common.equivalence import comparison, ladder
from common.equivalence.reproduce import arguments, check_command
from common.equivalence.shrinking import shrink
from common.equivalence.variants import PROBLEMS, Variant
from common.errors import BackendBroken, InvalidInput
from common.parallel import Piece, Progress
from common.record_types import Record

# How many variants drawn at random make one piece of work.
DRAWN_PIECE = 2 * PROBLEMS


def check_groups(chosen: Sequence[Variant]) -> list[list[Variant]]:
    """Variants that differ in the initial state alone stay together, and share their compilations."""
    return [list(group) for _, group in groupby(chosen, key=lambda variant: variant.spec)]


def check_records(names: Sequence[str], chosen: Sequence[Variant]) -> list[Record]:
    """The ladder of checks on some variants."""
    return [row.record() for row in ladder.check(load_all(names), chosen)]


def check(names: Sequence[str], chosen: Sequence[Variant], jobs: int, progress: Progress) -> Iterator[Record]:
    """The ladder of checks, spread over processes."""
    ladder.require_all_supported(load_all(names), chosen)  # before anything is computed
    groups = check_groups(chosen)
    done = progress("checks", len(groups))
    for records in parallel.run([check_piece(names, group) for group in groups], jobs):
        yield from records
        done()


def check_piece(names: Sequence[str], group: Sequence[Variant]) -> Piece:
    return Piece(f"{group[0].label}, {group[0].spec.dtype}", check_records, (names, group))


def drawn_records(names: Sequence[str], chosen: Sequence[Variant]) -> list[Record]:
    """The first three rungs on variants drawn at random; a failed record has the smallest variant that fails in the
    same way.

    The variant is shrunk once, for the first of its rows that failed.
    """
    records: list[Record] = []
    for variant in chosen:
        try:
            rows = ladder.check_drawn(load_all(names), variant)
        except BackendBroken as error:
            raise BackendBroken(f"{error}; {check_command(variant.data, names)}") from error
        failures = [row for row in rows if row.verdict == comparison.FAILED]
        smallest = shrink(variant, partial(fails, failures[0])).data if failures else None
        for row in rows:
            record = row.record()
            if smallest is not None and row.verdict == comparison.FAILED:
                record["smallest"] = smallest
            records.append(record)
    return records


def pieces(chosen: Sequence[Variant]) -> list[Sequence[Variant]]:
    """Pieces of work that keep the problems of a model together."""
    return [chosen[start : start + DRAWN_PIECE] for start in range(0, len(chosen), DRAWN_PIECE)]


def fails(row: comparison.Row, variant: Variant) -> bool:
    """Whether the comparison of ``row`` fails on another variant too."""
    pair = load_all([name for name in (row.a, row.b) if name not in comparison.ORACLES])
    try:
        rows = ladder.check_drawn(pair, variant)
    except (BackendBroken, InvalidInput):
        return False
    return any(other.verdict == comparison.FAILED and other.check == row.check for other in rows)


def check_drawn(names: Sequence[str], chosen: Sequence[Variant], jobs: int, progress: Progress) -> Iterator[Record]:
    """Variants drawn at random, spread over processes, which are replaced because JAX keeps all that it compiled."""
    groups = pieces(chosen)
    work = [drawn_piece(names, group) for group in groups]
    done = progress("configurations", len(chosen))
    for group, records in zip(groups, parallel.run(work, jobs, pieces_a_process=20), strict=True):
        yield from records
        for _ in group:
            done()


def drawn_piece(names: Sequence[str], group: Sequence[Variant]) -> Piece:
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return Piece(f"{arguments(group[0].data)}{more}", drawn_records, (names, group))

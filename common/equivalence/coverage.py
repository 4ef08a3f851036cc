"""Which options the compared variants had in which backend."""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from common.equivalence import comparison
from common.equivalence.variants import OPTIONS
from common.records import Record


class Covered(NamedTuple):
    """The configurations in which a backend had an option, and the worst error over tolerance among them."""

    variants: int
    worst: float


def coverage(found: Iterable[Record]) -> dict[tuple[str, str], Covered]:
    """(option, backend) -> what was covered, over the check records that tell their options; "all" is every option."""
    seen: dict[tuple[str, str], tuple[set[str], float]] = {}
    for row in found:
        if row["kind"] != "check" or "options" not in row:
            continue
        for option, name in product(("all", *row["options"]), {row["a"], row["b"]} - {*comparison.ORACLES}):
            arguments, worst = seen.get((option, name), (set(), 0.0))
            seen[option, name] = (arguments | {row["arguments"]}, max(worst, comparison.used(row)))
    order = {option: place for place, option in enumerate(("all", *OPTIONS))}
    ranked = sorted(seen.items(), key=lambda item: order.get(item[0][0], len(order)))
    return {key: Covered(len(arguments), worst) for key, (arguments, worst) in ranked}

"""Which options the compared variants had in which backend."""

import json
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from common.equivalence.comparison import ORACLES
from common.equivalence.tally import used
from common.equivalence.variants import OPTIONS
from common.record_types import Check, Record
from common.records import of_kind


class Covered(NamedTuple):
    """The configurations in which a backend had an option, and the worst error over tolerance among them."""

    variants: int
    worst: float


def configuration(row: Check) -> str:
    """What distinguishes one configuration from another: its problem, or the model and seed of its training run."""
    run = row["run"]
    return json.dumps(row["problem"] if run is None else [run["spec"], run["seed"]], sort_keys=True)


def coverage(records: Iterable[Record]) -> dict[tuple[str, str], Covered]:
    """(option, backend) -> what the check records covered; the option "all" stands for every configuration."""
    seen: dict[tuple[str, str], tuple[set[str], float]] = {}
    for row in of_kind(records, Check):
        this, ratio = configuration(row), used(row)
        for option, name in product(("all", *row["options"]), {row["a"], row["b"]} - {*ORACLES}):
            configurations, worst = seen.get((option, name), (set(), 0.0))
            configurations.add(this)
            seen[option, name] = (configurations, max(worst, ratio))
    order = {option: place for place, option in enumerate(("all", *OPTIONS))}
    ranked = sorted(seen.items(), key=lambda item: order.get(item[0][0], len(order)))
    return {key: Covered(len(configurations), worst) for key, (configurations, worst) in ranked}

"""Do implementations agree, and how small a disagreement would have been noticed?

``variants`` says what is compared on: a model with its options, and a problem; ``shrinking`` makes a failing one small.
``ladder`` climbs from the complex step
to training (``training_rungs``), ``complex_step`` differentiates a forward pass, and ``processes`` spreads it over
processes. ``rounding`` measures how far rounding can move a result, ``tolerances`` derives bounds from that, and
``comparison`` holds two results to them. ``tally`` and ``coverage`` sum up check records, and ``reproduce`` makes the
command that repeats one. ``planting`` makes faulty copies of an
implementation, to show that the harness finds the fault.
"""

from common.equivalence.comparison import (
    Decision,
    Measurement,
    Row,
    compare,
    compare_all,
    relative_distance,
    relative_gaps,
)
from common.equivalence.ladder import CHECKS, all_passed, check, check_drawn, check_model
from common.equivalence.planting import planted
from common.equivalence.reproduce import row_command, train_command
from common.equivalence.rounding import answers
from common.equivalence.shrinking import shrink
from common.equivalence.tally import Tally, failed, used, verdicts
from common.equivalence.tolerances import A_PASS_MEANS, TOLERANCES, Bound, Tolerance, bounds, over_tolerance
from common.equivalence.variants import REGIMES, Variant, draw, drawn, problem

__all__ = [
    "A_PASS_MEANS",
    "CHECKS",
    "REGIMES",
    "TOLERANCES",
    "Bound",
    "Decision",
    "Measurement",
    "Row",
    "Tally",
    "Tolerance",
    "Variant",
    "all_passed",
    "answers",
    "bounds",
    "check",
    "check_drawn",
    "check_model",
    "compare",
    "compare_all",
    "draw",
    "drawn",
    "failed",
    "over_tolerance",
    "planted",
    "problem",
    "relative_distance",
    "relative_gaps",
    "row_command",
    "shrink",
    "train_command",
    "used",
    "verdicts",
]

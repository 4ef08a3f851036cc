"""Planted bugs: what one is, and which checks of the harness find it.

A bug is a piece of source text and what replaces it. The copy is imported under a name of its own (``conftest.plant``)
and compared with the real NumPy backend, on a cell alone or on one variant. Each bug states the exact set of checks
that find it, so that a check that goes blind is noticed.
"""

from typing import NamedTuple

from common.backend import registry
from common.backend.contract import Backend
from common.equivalence import ladder
from common.equivalence.variants import H, I, Variant
from common.model.spec import ModelSpec

TRAINED = {"loss", "training"}
# A wrong BPTT: the outputs are right.
BPTT = {"complex step", "gradient", *TRAINED}
ALL = {"complex step", "forward", "gradient", *TRAINED}
# JAX and PyTorch compute in no complex dtype here.
NO_STEP = ALL - {"complex step"}
# On one variant, where nothing is trained; a wrong way back leaves the outputs right.
RUNGS = {"complex step", "forward", "gradient"}
BACK = {"complex step", "gradient"}


class Bug(NamedTuple):
    """``on`` is a cell or the name of a variant."""

    name: str
    on: str
    file: str
    old: str
    new: str
    caught_by: set[str]

    @property
    def label(self) -> str:
        return f"{self.file}: {self.name}"


def found_by(mutant: Backend, on: str | Variant, dtype: str = "float64") -> set[str]:
    """The checks in which the mutant fails: a cell over a given and a zero initial state, or one variant."""
    pair = {"numpy": registry.load("numpy"), "mutant": mutant}
    if isinstance(on, str):
        spec = ModelSpec(cell=on, input_size=I, hidden_size=H, dtype=dtype)
        chosen = [Variant(spec=spec, given_state=given_state) for given_state in (True, False)]
        rows = list(ladder.check(pair, chosen))
        checks = ALL
    else:
        rows, checks = ladder.check_drawn(pair, on), RUNGS
    rows = [row for row in rows if "mutant" in (row.a, row.b)]
    assert {row.check for row in rows} >= checks - {"complex step"}
    return {row.check for row in rows if row.verdict == "failed"}

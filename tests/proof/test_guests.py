"""The library that owns a file: its outputs, final states and gradients are held to the bounds of the harness."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from common.backend import registry
from common.equivalence.comparison import EXACT, FAILED, PASSED, Row
from common.proof.problems import Asked, draw
from common.proof.subject import Subject
from common.proof.trials import Guest, Plan
from common.weights.peers import PeerGradients
from tests.proof.models import all_trials, made, opened, plan

OUTPUTS, STARTS = {"y", "h_n", "c_n"}, {"dx", "dh_0", "dc_0"}


class Library(NamedTuple):
    """PyTorch in the place of the library that owns the file, with an error in the largest element of each result.

    ``errors`` are absolute, by quantity. The gradients of parameters have the names of the file, ``rnn.NAME``.
    """

    subject: Subject
    errors: Mapping[str, float]

    def forward(self, x: np.ndarray, state0: Any, lengths: Any = None) -> Any:
        y, state = registry.load("torch").forward(self.subject.spec, self._params(), x, state0, lengths=lengths)
        ends = [self._wrong(f"{name}_n", part) for name, part in zip("hc", state, strict=True)]
        return self._wrong("y", y), tuple(ends)

    def vjp(self, x: np.ndarray, state0: Any, dy: np.ndarray, dstate: Any, lengths: Any = None) -> PeerGradients:
        backend = registry.load("torch")
        grads = backend.vjp(self.subject.spec, self._params(), x, state0, dy, dstate, lengths=lengths)
        arrays = {f"rnn.{name}": self._wrong(f"d(rnn.{name})", value) for name, value in grads.params.items()}
        starts = [self._wrong(f"d{name}_0", part) for name, part in zip("hc", grads.state0, strict=True)]
        return PeerGradients(arrays, self._wrong("dx", grads.x), tuple(starts))

    def _params(self) -> Any:
        return self.subject.params(self.subject.spec.dtype)

    def _wrong(self, quantity: str, value: np.ndarray) -> np.ndarray:
        value = value.copy()
        value.flat[abs(value).argmax()] += self.errors.get(quantity, 0.0)
        return value


class Peer:
    name, has_gradients = "library", True
    dtypes, options = frozenset({"float32"}), frozenset({"lengths"})


def rows(asked: Plan, errors: Mapping[str, float]) -> dict[str, Row]:
    """The comparison of every quantity of the library with the exact result."""
    peer: Any = Peer()
    loaded: Any = Library(asked.subject, errors)
    found = all_trials(asked._replace(guest=Guest("library", peer, loaded)))
    return {row.quantity: row for trial in found for row in trial.rows if (row.a, row.b) == ("library", EXACT)}


@pytest.mark.parametrize("lengths", [None, (7, 3, 5)])
def test_an_error_three_times_the_bound_fails_in_each_result(lengths: tuple[int, ...] | None, tmp_path: Path) -> None:
    """At most a thousandth of the largest value; without one all pass, in ragged batches too."""
    subject = opened(made(tmp_path, num_layers=2, bidirectional=True))
    asked = plan(subject, {"numpy": registry.load("numpy")})
    asked = asked._replace(draw=draw(subject, Asked(steps=7, batch=3, lengths=lengths), ("float32",)))
    right = rows(asked, {})
    assert {quantity for quantity, row in right.items() if row.check == "forward"} == OUTPUTS
    grads = {f"d(rnn.{name})" for name in subject.layer.params}
    assert {quantity for quantity, row in right.items() if row.check == "gradient"} == grads | STARTS
    assert {row.verdict for row in right.values()} == {PASSED}
    errors = {quantity: 3 * row.measured.tolerance for quantity, row in right.items()}
    assert max(errors[quantity] / row.measured.scale for quantity, row in right.items()) < 1e-3
    wrong = rows(asked, errors)
    assert {quantity for quantity, row in wrong.items() if row.verdict == FAILED} == set(right)

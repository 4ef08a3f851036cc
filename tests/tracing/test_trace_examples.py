"""The example that is traced: drawn by its seed, and refused where it is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput, InvalidType
from common.model.spec import ModelSpec
from common.tracing import backends as tracing
from common.tracing import examples
from common.tracing.backends import TRACED
from common.tracing.trace import require_example
from tests.tracing.small import RNN, H, I, T, example
from tests.weights.layers import spec_of


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"spec": ModelSpec(cell="RNN", input_size=I, hidden_size=H, num_layers=2)}, InvalidInput, "num_layers"),
        ({"spec": ModelSpec(cell="RNN", input_size=I, hidden_size=H, bidirectional=True)}, InvalidInput, "bidirection"),
        ({"spec": ModelSpec(cell="LSTM", input_size=I, hidden_size=H, proj_size=2)}, InvalidInput, "proj_size"),
        ({"spec": RNN.with_dtype("float32")}, InvalidType, "expected float64, got float32"),
        ({"spec": "RNN"}, InvalidType, "expected a ModelSpec, got str"),
        ({"x": np.ones((T, 2, I))}, InvalidInput, r"one sequence, \(T, 1, I\), got \(4, 2, 2\)"),
        ({"x": np.ones((T, 1, H))}, InvalidInput, r"x: expected \(4, 1, 2\)"),
        ({"target": np.ones((T, 1, I))}, InvalidInput, r"target: expected \(4, 1, 3\)"),
        ({"state0": (np.ones((1, H)),)}, InvalidInput, r"state0.h: expected \(1, 1, 3\)"),
        ({"params": {}}, InvalidInput, "missing bias_hh_l0"),
        ({"counted": np.ones(T + 1)}, InvalidInput, r"counted: expected \(4,\) zeros and ones, got \(5,\)"),
        ({"counted": np.full(T, 0.5)}, InvalidInput, "zeros and ones"),
        ({"counted": [1] * T}, InvalidType, "counted: expected a numpy.ndarray, got list"),
    ],
)
def test_what_is_no_example(change: dict[str, Any], error: type[Exception], message: str) -> None:
    given = example(RNN)._replace(**change)
    for name in TRACED:
        with pytest.raises(error, match=message):
            tracing.load(name)(given)


def test_an_example(tmp_path: Path) -> None:
    """It is seeded, and its initial state and every weight are not zero."""
    first, again, other = (examples.example(spec_of("LSTM"), steps=3, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.x, again.x)
    assert not np.isin(first.x, other.x).any()
    assert not np.isin(first.params["weight_hh_l0"], other.params["weight_hh_l0"]).any()
    assert all(part.all() for part in (*first.state0, *first.params.values()))
    assert abs(first.target).max() <= 0.8
    assert first.counted.tolist() == [1, 1, 1]
    require_example(first)

"""Arrays compared through tuples and dicts."""

from typing import Any

import jax
import numpy as np


def assert_close(a: Any, b: Any, atol: float = 0) -> None:
    """Array by array, through tuples and dicts; relative to the largest value where that is above 1."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=atol * max(1, np.abs(right).max()))

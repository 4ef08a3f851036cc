"""Symbols as vectors: rows of the identity (one-hot), or of a trained table."""

from collections.abc import Mapping
from typing import Any

import jax


def forward(params: Mapping[str, jax.Array] | None, x: jax.Array, size: int, dtype: Any) -> jax.Array:
    """Symbols x (T, B) -> (T, B, I); without a table one-hot of ``size``; features stay as they are."""
    if x.ndim == 3:
        return x
    return jax.nn.one_hot(x, size, dtype=dtype) if params is None else params["weight"][x]

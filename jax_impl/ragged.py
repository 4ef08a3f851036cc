"""Ragged batches inside the recurrence: steps that are not valid are frozen, and the state stays as it is.

The tag, (S9), names an equation of ``numpy_impl/DERIVATION.md``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

State = tuple[jax.Array, ...]


def freezing(step: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """The body of a scan over x, (state, x_t) -> (the next state, what is kept), as one of a scan over (x, valid).

    ``valid`` is (T, B, 1), or None where all steps are. The state that a frozen step computes is dropped; the step
    starts from zero, so that nothing in it overflows and causes a NaN in the backward pass.
    """

    def body(state: State, x_valid: tuple[jax.Array, jax.Array | None]) -> tuple[State, Any]:
        x_t, valid = x_valid
        if valid is None:
            return step(state, x_t)
        new, kept = step(tuple(jnp.where(valid, part, 0) for part in state), x_t)
        return jax.tree.map(partial(jnp.where, valid), new, state), kept  # (S9)

    return body

"""Dropout by a mask of one step, the same at each (Gal & Ghahramani 2016): of x, and of h inside the recurrence.

The tag, (D1), names an equation of ``numpy_impl/DERIVATION.md``.
"""

import jax


def drop(u: jax.Array, mask: jax.Array | None) -> jax.Array:
    """u (T, B, n), or of one step (B, n), with the mask (B, n); as it is without one."""
    return u if mask is None else u * mask  # (D1)

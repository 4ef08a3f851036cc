"""The GRU over a whole sequence: one product for the input of all steps, then ``lax.scan``.

The tags, such as (G5), name equations of ``numpy_impl/DERIVATION.md``; (G4) stands before the loop for the biases of r
and z, which may be added to the input's part.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from common.model.layout import Weights

from .dropout import drop
from .ragged import freezing


def forward(
    w: Weights,
    x: jax.Array,
    state0: tuple[jax.Array],
    reset_after: bool,
    valid: jax.Array | None = None,
    h_mask: jax.Array | None = None,
    record: bool = False,
) -> tuple[Any, tuple[jax.Array]]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> h (T, B, H) after every step, and the final state.

    Where ``valid`` (T, B, 1) is given and false, the step is frozen: h stays as it is. ``h_mask`` (B, H) is that of
    dropout of h inside the recurrence: of what the products with W_hh read, not of what z keeps.
    With ``record``, the first result is the tuple (h, r, z, n) of every step.
    """
    H = w.weight_hh.shape[1]
    of_gates, of_candidate = jnp.split(w.weight_hh, [2 * H])
    a = x @ w.weight_ih.T  # (G1)
    b_n = jnp.zeros((), x.dtype)
    if w.bias_ih is not None:
        b_gates, b_n = jnp.split(w.bias_hh, [2 * H])
        a = a + w.bias_ih  # (G3)
        a = a + jnp.pad(b_gates, (0, H))  # (G4)

    def step(state: tuple[jax.Array], a_t: jax.Array) -> tuple[tuple[jax.Array], Any]:
        (h_prev,) = state
        a_gates, a_n = jnp.split(a_t, [2 * H], axis=-1)
        read = drop(h_prev, h_mask)
        a_r, a_z = jnp.split(a_gates + read @ of_gates.T, 2, axis=-1)  # (G2)
        r = jax.nn.sigmoid(a_r)  # (G5)
        z = jax.nn.sigmoid(a_z)  # (G6)
        s = read if reset_after else r * read  # (G7)
        q_n = s @ of_candidate.T  # (G8)
        q_n = q_n + b_n  # (G9)
        n = jnp.tanh(a_n + (r * q_n if reset_after else q_n))  # (G10)
        h = (1 - z) * n + z * h_prev  # (G11)
        return (h,), (h, r, z, n) if record else h

    last, h = lax.scan(freezing(step), state0, (a, valid))
    return h, last

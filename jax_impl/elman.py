"""The Elman network over a whole sequence: one product for the input of all steps, then ``lax.scan``.

The tags, such as (E3), name equations of ``numpy_impl/DERIVATION.md``.
"""

import jax
from jax import lax

from common.layout import Weights

from .rnn_cell import NONLINEARITIES


def forward(w: Weights, x: jax.Array, state0: tuple[jax.Array], nonlinearity: str) -> tuple[tuple[jax.Array], ...]:
    """x (T, B, I) and state0 (h_0 (B, H),) -> the state after every step, (h (T, B, H),), and the last."""
    phi = NONLINEARITIES[nonlinearity]
    a_x = x @ w.weight_ih.T  # (E1)
    if w.bias_ih is not None:
        a_x = a_x + (w.bias_ih + w.bias_hh)  # (E2)

    def step(h_prev: jax.Array, a_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = phi(a_t + h_prev @ w.weight_hh.T)  # (E3)
        return h, h

    h_n, h = lax.scan(step, state0[0], a_x)
    return (h,), (h_n,)

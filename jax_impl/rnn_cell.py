"""One step of the Elman network (Elman 1990; ``torch.nn.RNNCell``). The derivative is JAX's.

The tags, such as (C3), name equations of ``numpy_impl/DERIVATION.md``.
"""

import jax
import jax.numpy as jnp

from common.model.layout import Weights

NONLINEARITIES = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def step(w: Weights, x: jax.Array, state: tuple[jax.Array], nonlinearity: str) -> tuple[jax.Array]:
    """x (B, I) and state (h (B, H),) -> the next state."""
    (h_prev,) = state
    a = x @ w.weight_ih.T + h_prev @ w.weight_hh.T  # (C1)
    if w.bias_ih is not None:
        a = a + w.bias_ih + w.bias_hh  # (C2)
    h = NONLINEARITIES[nonlinearity](a)  # (C3)
    return (h,)

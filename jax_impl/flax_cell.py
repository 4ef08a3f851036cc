"""Our cells where Flax wants one of its own: in ``nnx.RNN`` and ``nnx.Bidirectional``.

A cell of this package is called as torch's, ``cell(x, hx) -> state``, and one of Flax ``cell(carry, x) -> (carry, y)``:
``FlaxCell`` is the second around the first, and shares its parameters.

>>> import jax.numpy as jnp
>>> from flax import nnx
>>> from jax_impl import FlaxCell, LSTMCell
>>> cells = [FlaxCell(LSTMCell(3, 5, rngs=nnx.Rngs(seed))) for seed in (0, 1)]
>>> y = nnx.RNN(cells[0])(jnp.ones((2, 7, 3)))  # x (B, T, I), as in Flax
>>> y.shape
(2, 7, 5)
>>> both = nnx.Bidirectional(*map(nnx.RNN, cells))
>>> both(jnp.ones((2, 7, 3)), seq_lengths=jnp.array([7, 4])).shape
(2, 7, 10)
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.spec import CELLS, TABLE

from .base import Layer, Step

Carry = Any


class FlaxCell(nnx.RNNCellBase):
    """A cell of this package with the call of Flax's: the carry is h, or (c, h) for an LSTM, as Flax orders them."""

    def __init__(self, cell: Step):
        if not isinstance(cell, Step):
            steps = [name for name in CELLS if TABLE[name].is_step]
            cause = "a layer takes whole sequences, and needs no nnx.RNN" if isinstance(cell, Layer) else ""
            raise InvalidType(mismatch("cell", f"one of {', '.join(steps)}", type(cell).__name__, cause))
        self.cell = cell

    @property
    def num_feature_axes(self) -> int:
        """1: the last axis of x and of the carry is that of the features."""
        return 1

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Callable[..., jax.Array] | None = None,
    ) -> Carry:
        """The carry for x of shape (..., I): zeros (..., H) in the dtype of the parameters, which need no ``rngs``.

        ``carry_init(key, shape, dtype)`` makes other values, with a key of ``rngs.carry`` for each part.
        """
        spec, dtype = self.cell.spec, self.cell.param_dtype
        shape = (*input_shape[:-1], spec.hidden_size)
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        if carry_init is None:
            parts = tuple(jnp.zeros(shape, dtype) for _ in spec.state_names)
        elif stream is None:
            raise InvalidType(mismatch("rngs", "an nnx.Rngs for carry_init", "NoneType"))
        else:
            parts = tuple(carry_init(stream(), shape, dtype) for _ in spec.state_names)
        return packed(parts)

    def __call__(self, carry: Carry, inputs: jax.Array) -> tuple[Carry, jax.Array]:
        """The carry (..., H) and x (..., I) -> the next carry, and its h, which is the output."""
        if not hasattr(inputs, "shape"):
            raise InvalidType(mismatch("x", "an array of JAX or NumPy", type(inputs).__name__))
        lead = tuple(inputs.shape)[:-1]
        shape = (*lead, self.cell.spec.hidden_size)
        parts = self._state(carry, shape)
        if len(lead) > 1:
            inputs, *parts = (part.reshape(-1, part.shape[-1]) for part in (inputs, *parts))
        state = jax.tree.map(lambda part: part.reshape(shape), self.cell(inputs, packed(parts)))
        return (state[::-1], state[0]) if isinstance(state, tuple) else (state, state)

    def _state(self, carry: Carry, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The parts of a carry as a state, h first."""
        names = self.cell.spec.state_names[::-1]
        wanted = f"({', '.join(names)})" if len(names) > 1 else "one array"
        parts = tuple(carry) if isinstance(carry, tuple | list) else (carry,)
        if isinstance(carry, tuple | list) != (len(names) > 1) or len(parts) != len(names):
            count = f" of {len(parts)}" if isinstance(carry, tuple | list) else ""
            got = f"a {type(carry).__name__}{count}"
            raise InvalidType(mismatch("carry", f"{wanted} for {self.cell.spec.cell}", got))
        for name, part in zip(names, parts, strict=True):
            if tuple(getattr(part, "shape", ())) != shape:
                got = getattr(part, "shape", type(part).__name__)
                raise InvalidInput(mismatch(f"{name} of the carry", f"{shape}, the batch of x and hidden_size", got))
        return parts[::-1]


def packed(parts: Iterable[Any]) -> Any:
    """One array as it is, several as a tuple."""
    first, *rest = parts
    return (first, *rest) if rest else first

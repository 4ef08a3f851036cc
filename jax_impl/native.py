"""NumPy arrays to JAX and back, and the precision that everything runs under.

JAX would silently turn float64 into float32 unless 64-bit types are on, and may use TF32 in matrix products. Both
are set for a call and left as they were for the rest of the process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.backend.base import Boundary

MATMUL_PRECISION = "highest"


@contextmanager
def precision() -> Iterator[None]:
    """64-bit types on, and matrix products in full precision, within the block."""
    with jax.enable_x64(True), jax.default_matmul_precision(MATMUL_PRECISION):
        yield


def to_numpy(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


def to_jax(tree: Any) -> Any:
    return jax.tree.map(jnp.array, tree)


BOUNDARY = Boundary(to_native=to_jax, to_numpy=to_numpy, precision=precision, wait=jax.block_until_ready)

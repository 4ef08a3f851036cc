"""Weights of a file, of any format that the project reads, as a module of this package."""

import os
from typing import Any

from flax import nnx

from common.backend.loading import loaded

from . import modules
from .base import Module


def load(
    path: str | os.PathLike[str],
    layer: str | None = None,
    *,
    batch_first: bool = False,
    device: Any = None,
    cell: str | None = None,
    nonlinearity: str | None = None,
    reset_after: bool | None = None,
) -> Module:
    """The module for a recurrent layer of a file, with the file's weights in the file's dtype.

    ``layer`` is the path of the layer in the file, as ``rosetta inspect`` shows it; it may be left out where there is
    only one. ``a,b`` are two modules as the directions of one layer, ``a+b`` puts layers above one another, and
    ``PATH:l1_reverse`` is one layer in one direction (``common.weights.layer.select``). The class is that of the
    layer's cell, a step's where the file holds a step.
    ``cell``, ``nonlinearity`` and ``reset_after`` say what a file does not record; what is left out of them is assumed,
    with a warning, except that a GRU under the names of torch.nn is torch.nn's.
    The module lives on ``device``, as its constructor takes it. A file in float64 needs JAX's 64-bit mode.

    Raises ``InvalidInput`` for a file that cannot be read and for a layer that it does not have or that cannot be used.

    >>> import numpy as np
    >>> from jax_impl import load
    >>> from numpy_impl import LSTM
    >>> np.savez("model.npz", **LSTM(3, 5, seed=1).state_dict())
    >>> lstm = load("model.npz")
    >>> bool((lstm.weight_hh_l0 == LSTM(3, 5, seed=1).weight_hh_l0).all())
    True
    """
    options = {"cell": cell, "nonlinearity": nonlinearity, "reset_after": reset_after}
    more = {"dtype": str, "device": device, "rngs": nnx.Rngs(0)}
    return loaded(vars(modules), path, layer, batch_first, options, **more)

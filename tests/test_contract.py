"""The contract, backend by backend: wrong calls are refused by name, right ones leave everything else alone."""

import copy
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from common import registry
from common.contract import Batch, Problem
from common.equivalence import random_problem
from common.errors import InvalidInput, InvalidType
from common.layout import initial_network
from common.spec import COMPLEX, DTYPES, ModelSpec, NetworkSpec, OptimizerSpec, RunSpec
from jax_impl import stack as jax_stack
from jax_impl.backend import JaxBackend
from torch_impl import stack as torch_stack
from torch_impl.backend import TorchBackend

T, B, I, H, O = 4, 5, 3, 7, 2
every_backend = pytest.mark.parametrize("name", registry.BUILTIN)
VARIANTS = [
    (name, cell, dtype)
    for name in registry.BUILTIN
    for cell, dtype in (*(("RNN", d) for d in DTYPES), ("LSTM", "float64"), ("RNNCell", "float32"), ("LSTMCell", "float32"))
    if cell in registry.load(name).cells
]
every_variant = pytest.mark.parametrize(("name", "cell", "dtype"), VARIANTS)


def model(cell: str = "RNN", dtype: str = "float64") -> ModelSpec:
    return ModelSpec(cell=cell, input_size=I, hidden_size=H, dtype=dtype)


def training(spec: ModelSpec, readout: str = "last_step", **options: Any) -> tuple[RunSpec, dict[str, np.ndarray], Batch]:
    network = NetworkSpec(model=spec, readout_size=O, readout=readout)
    rows = B if readout == "last_step" else T
    target = np.random.default_rng(1).standard_normal((rows, O)).astype(spec.dtype)
    batch = Batch(random_problem(spec, T, B, 0).x, target)
    run = RunSpec(network=network, optimizer=OptimizerSpec(**options))
    return run, initial_network(network, 0), batch


def leaves(tree: Any) -> list[np.ndarray]:
    """The arrays in tuples and dicts."""
    if isinstance(tree, np.ndarray):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple) else ()
    return [leaf for part in parts for leaf in leaves(part)]


def equal(a: Any, b: Any) -> bool:
    pairs = list(zip(leaves(a), leaves(b), strict=True))
    return bool(pairs) and all(np.array_equal(x, y) for x, y in pairs)


def nan_at_1(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.ravel()[1] = np.nan
    return array


class Wrong(NamedTuple):
    """An argument, what is done to a good one, the exception, and the message: ``argument: expected .., got ..``."""

    argument: str
    change: Callable[[Any], Any]
    error: type[Exception]
    message: str
    cell: str = "RNN"


def for_array(argument: str, label: str, shape: tuple[int, ...], owner: str) -> list[Wrong]:
    """The same mistakes for any array: one row too few, wrong dtypes, no array, NaN; ``label`` is its name in messages."""
    short, nan = (shape[0] - 1, *shape[1:]), (0,) * (len(shape) - 1) + (1,)
    return []


X, EMPTY, NOT_YET = "x: expected 3 axes (T, B, I), got ", "x: expected at least one step and one sequence, got ", "got "
WRONG_X = [
    Wrong("x", lambda x: x[0], InvalidInput, X + "2 of shape (5, 3)"),
    Wrong("x", lambda x: x[None], InvalidInput, X + "4 of shape (1, 4, 5, 3)"),
    Wrong("x", lambda x: x[:0], InvalidInput, EMPTY + "shape (0, 5, 3)"),
    Wrong("x", lambda x: x[:, :0], InvalidInput, EMPTY + "shape (4, 0, 3)"),
    Wrong("x", lambda x: x[..., :2], InvalidInput, "x: expected (4, 5, 3) for RNN(input_size=3), got (4, 5, 2)"),
    Wrong("x", lambda x: x.astype("float32"), InvalidType, "x: expected float64 for RNN(input_size=3), got float32"),
    Wrong("x", lambda x: x.astype("int64"), InvalidType, "x: expected float64 for RNN(input_size=3), got int64"),
    Wrong("x", lambda x: x.tolist(), InvalidType, "x: expected a numpy.ndarray, got list"),
    Wrong("x", nan_at_1, InvalidInput, "x: expected finite values, got nan at index (0, 0, 1)"),
]


def wrong_state(name: str) -> list[Wrong]:
    one, two = f"{name}: expected a tuple (h) for RNN, got ", f"{name}: expected a tuple (h, c) for LSTM, got "
    h = f"{name}.h: expected "
    return [
        Wrong(name, lambda s: s[0], InvalidType, one + "ndarray"),
        Wrong(name, list, InvalidType, one + "list"),
        Wrong(name, lambda s: s * 2, InvalidInput, one + "2 arrays"),
        Wrong(name, lambda s: (), InvalidInput, one + "0 arrays"),
        Wrong(name, lambda s: s[0], InvalidType, two + "ndarray", "LSTM"),
        Wrong(name, lambda s: s[:1], InvalidInput, two + "1 arrays", "LSTM"),
        Wrong(name, lambda s: (*s, s[0]), InvalidInput, two + "3 arrays", "LSTM"),
        Wrong(name, lambda s: (s[0][:, 1:],), InvalidInput, h + "(1, 5, 7) for RNN, got (1, 4, 7)"),
        Wrong(name, lambda s: (s[0][..., 1:],), InvalidInput, h + "(1, 5, 7) for RNN, got (1, 5, 6)"),
        Wrong(name, lambda s: (s[0][0],), InvalidInput, h + "(1, 5, 7) for RNN, got (5, 7); an axis too many or too few?"),
        Wrong(name, lambda s: (s[0].astype("float32"),), InvalidType, h + "float64 for RNN, got float32"),
        Wrong(name, lambda s: (None,), InvalidType, h + "a numpy.ndarray, got NoneType"),
        Wrong(name, lambda s: (nan_at_1(s[0]),), InvalidInput, h + "finite values, got nan at index (0, 0, 1)"),
        Wrong(name, lambda s: (s[0], nan_at_1(s[1])), InvalidInput, f"{name}.c: expected finite values, got nan at index (0, 0, 1)", "LSTM"),
    ]

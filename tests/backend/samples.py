"""Every backend with each of its cells; models, training runs and arrays for them."""

from typing import Any

import jax
import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch
from common.equivalence.variants import random_problem
from common.model.initial import initial_network
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import CELLS, ModelSpec

T, B, I, H, O = 4, 5, 3, 7, 2
VARIANTS = [(name, cell) for name in registry.BUILTIN for cell in CELLS if cell in registry.load(name).cells]
every_variant = pytest.mark.parametrize(("name", "cell"), VARIANTS)
two_cells = pytest.mark.parametrize(("name", "cell"), [v for v in VARIANTS if v[1] in ("RNN", "LSTMCell")])


def model(cell: str = "RNN", dtype: str = "float64", **options: Any) -> ModelSpec:
    return ModelSpec(cell=cell, input_size=I, hidden_size=H, dtype=dtype, **options)


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy at an address that JAX would take over without copying."""
    memory = np.empty(array.nbytes + 64, "uint8")
    start = -memory.ctypes.data % 64
    result = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def training(spec: ModelSpec, readout: str = "last_step") -> tuple[RunSpec, Parameters, Batch]:
    network = NetworkSpec(model=spec, readout_size=O, readout=readout)
    target = np.random.default_rng(1).standard_normal((B if readout == "last_step" else T, O)).astype(spec.dtype)
    params = {name: aligned(value) for name, value in initial_network(network, 0).items()}
    batch = Batch(aligned(random_problem(spec, T, B, 0).x), aligned(target))
    return RunSpec(network=network, optimizer=OptimizerSpec(name="adam", lr=0.01)), params, batch


def assert_equal(a: Any, b: Any) -> None:
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


def spoil(tree: Any) -> None:
    for leaf in jax.tree.leaves(tree):
        leaf[...] = 9

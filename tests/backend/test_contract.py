"""The contract, backend by backend: a right call gives new arrays and leaves everything else alone."""

import copy
from itertools import combinations
from typing import Any

import jax
import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch, Problem
from common.equivalence.variants import random_problem
from common.errors import InvalidType
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import HALF_DTYPES, ModelSpec
from tests.backend.samples import B, H, O, T, aligned, assert_equal, every_variant, model, spoil, training, two_cells

HALF = [(name, dtype) for name in registry.BUILTIN for dtype in HALF_DTYPES if dtype in registry.load(name).dtypes]


@pytest.mark.parametrize(("name", "dtype"), HALF)
def test_sixteen_bits_compute_and_do_not_train(name: str, dtype: str) -> None:
    spec, backend = model(dtype=dtype), registry.load(name)
    y, _ = backend.forward(spec, *random_problem(spec, T, B, 0)[:3])
    assert y.dtype.name == dtype
    network = NetworkSpec(model=spec, readout_size=O)
    run = RunSpec(network=network, optimizer=OptimizerSpec())
    message = rf"^dtype of a training run: expected one of float64, float32, got '{dtype}'$"
    with pytest.raises(InvalidType, match=message):
        backend.trainer(run, initial_network(network, 0))


def everything(name: str, problem: Problem, spec: ModelSpec) -> tuple[Any, ...]:
    backend = registry.load(name)
    return *backend.forward(spec, *problem[:3]), *backend.vjp(spec, *problem[:5])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@two_cells
def test_results_are_new_arrays_and_arguments_stay(name: str, cell: str, dtype: str) -> None:
    spec = model(cell, dtype)
    problem = Problem(*(jax.tree.map(aligned, part) for part in random_problem(spec, T, B, 0)))
    before = copy.deepcopy(problem)
    results = everything(name, problem, spec)
    registry.load(name).timed(spec, problem, backward=True)()
    assert_equal(problem, before)
    found, kept = jax.tree.leaves(results), copy.deepcopy(results)
    assert {(type(leaf), leaf.dtype.name) for leaf in found} == {(np.ndarray, dtype)}
    assert not any(np.shares_memory(a, b) for a, b in combinations(found, 2))
    spoil(problem)
    assert_equal(results, kept)
    spoil(results)
    assert_equal(everything(name, before, spec), kept)


@every_variant
def test_no_state_is_a_zero_state(name: str, cell: str) -> None:
    spec = model(cell)
    problem = random_problem(spec, T, B, 0)
    zero = problem._replace(state0=tuple(np.zeros((1, B, H)) for _ in spec.state_names))
    results = everything(name, problem._replace(state0=None), spec)
    assert_equal(results, everything(name, zero, spec))
    assert_equal(results[:2], registry.load(name).forward(spec, problem.params, problem.x))
    assert all(abs(part).max() > 1e-3 for part in results[-1])


@pytest.mark.parametrize("name", registry.BUILTIN)
def test_any_array_in_memory_is_accepted(name: str) -> None:
    problem = random_problem(model(), T, B, 0)
    backwards = problem._replace(x=problem.x[::-1].copy()[::-1], dy=np.asfortranarray(problem.dy))
    backwards.dy.flags.writeable = False
    assert_equal(everything(name, backwards, model()), everything(name, problem, model()))


@two_cells
def test_a_trainer_shares_nothing_with_its_caller(name: str, cell: str) -> None:
    """It keeps in step with one that is left alone, whatever is done to its arguments and results."""
    run, params, batch = training(model(cell, "float32"), "last_step" if cell == "RNN" else "last_sequence")
    alone = registry.load(name).trainer(run, copy.deepcopy(params))
    trainer = registry.load(name).trainer(run, params)
    spoil(params)
    for _ in range(3):
        given = Batch(*map(aligned, batch[:2]))
        (loss, grads), (evaluated, prediction) = trainer.gradients(given), trainer.evaluate(given)
        arrays = [*grads.values(), prediction, *trainer.params().values()]
        assert {leaf.dtype.name for leaf in arrays} == {"float32"}
        assert prediction.shape == batch.target.shape
        assert {type(value) for value in (loss, evaluated)} == {float}
        spoil(arrays)
        assert trainer.step(given) == alone.step(batch) == loss
        assert_equal(given, batch)
        spoil(given)
    assert_equal(trainer.params(), alone.params())

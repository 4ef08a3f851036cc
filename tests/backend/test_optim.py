"""The optimisers are torch's, the schedules are torch's and their formulas, and three implementations are one."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from math import cos, pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim import lr_scheduler

from common.backend import registry
from common.backend.contract import Batch
from common.equivalence.variants import random_problem
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.run import SCHEDULES, OptimizerSpec, RunSpec
from common.model.spec import ModelSpec
from jax_impl import native
from jax_impl import optim as jax_optim
from numpy_impl import optim
from torch_impl import optim as torch_optim

SHAPES = {"weight": (4, 3), "bias": (4,), "readout": (2, 4)}
STEPS = 30


def gradients(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Over many orders of magnitude, so that epsilon shows; a third are zero, and some are zero at every step."""
    grads = {k: rng.standard_normal(s) * 10.0 ** rng.uniform(-10, 1, s) for k, s in SHAPES.items()}
    grads = {k: np.where(rng.random(g.shape) < 1 / 3, 0, g) for k, g in grads.items()}
    return grads | {"weight": grads["weight"] * [0, 1, 1]}


def starting() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def assert_close(a: Any, b: Any, rtol: float = 0, atol: float = 0) -> None:
    """Array by array, through tuples and dicts."""
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol)


def by_numpy(spec: OptimizerSpec, grads: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The parameters after each update; nothing that goes in is changed."""
    optimizer, params = optim.build(spec), starting()
    state = optimizer.init(params)
    for g in grads:
        given = (g, state, params)
        before = copy.deepcopy(given)
        params, state = optimizer.update(*given)
        assert_close(given, before)
        yield params


def by_torch(spec: OptimizerSpec, grads: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    params = {name: torch.tensor(value, requires_grad=True) for name, value in starting().items()}
    optimizer = torch_optim.Optimizer(spec, list(params.values()))
    for g in grads:
        for name, value in params.items():
            value.grad = torch.tensor(g[name])
        optimizer.step()
        yield {name: value.detach().numpy().copy() for name, value in params.items()}


def by_jax(spec: OptimizerSpec, grads: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    with native.precision():
        rule, params = jax_optim.build(spec), native.to_jax(starting())
        state, update = rule.init(params), jax.jit(rule.update)
        for g in grads:
            moves, state = update(native.to_jax(g), state, params)
            params: Any = optax.apply_updates(params, moves)
            yield native.to_numpy(params)


RULES = [
    OptimizerSpec(name="sgd", lr=0.05),
    OptimizerSpec(name="sgd", lr=0.05, momentum=0.9),
    OptimizerSpec(name="adam", lr=0.01),
    OptimizerSpec(name="adam", lr=0.3, betas=(0.5, 0.8), eps=1e-3),
    OptimizerSpec(name="adam", lr=0.01, betas=(0.0, 0.99)),
    OptimizerSpec(name="rmsprop", lr=0.01),
    OptimizerSpec(name="rmsprop", lr=0.02, alpha=0.7, eps=1e-3, momentum=0.8),
]


def torchs_own(spec: OptimizerSpec, params: Any) -> torch.optim.Optimizer:
    match spec.name:
        case "sgd":
            return torch.optim.SGD(params, lr=spec.lr, momentum=spec.momentum)
        case "adam":
            return torch.optim.Adam(params, lr=spec.lr, betas=spec.betas, eps=spec.eps)
        case _:
            return torch.optim.RMSprop(params, spec.lr, spec.alpha, spec.eps, momentum=spec.momentum)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_optimisers_are_torchs(rule: OptimizerSpec) -> None:
    rng = np.random.default_rng(0)
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in starting().items()}
    reference, grads = torchs_own(rule, theirs.values()), [gradients(rng) for _ in range(STEPS)]
    for g, params in zip(grads, by_numpy(rule, grads), strict=True):
        for name, value in theirs.items():
            value.grad = torch.tensor(g[name])
        reference.step()
        assert_close(params, {name: value.detach().numpy() for name, value in theirs.items()}, rtol=1e-12)
    moved = np.concatenate([abs(params[k] - start).ravel() for k, start in starting().items()])  # pyright: ignore
    assert moved.max() > 1e-2


# Combinations in which momentum, a changing rate and clipping meet; the rate ends before the updates do.
TOGETHER = [
    *RULES,
    replace(RULES[1], clip_norm=3.0, schedule="linear", schedule_steps=20, schedule_factor=0.2),
    replace(RULES[3], clip_norm=0.5, schedule="cosine", schedule_steps=20, schedule_factor=0.0),
    replace(RULES[6], clip_norm=1.0, schedule="step", schedule_steps=7, schedule_factor=0.5),
    replace(RULES[1], clip_norm=5.0, schedule="step", schedule_steps=7, schedule_factor=0.0),
    replace(RULES[6], schedule="cosine", schedule_steps=11),
]


@pytest.mark.parametrize("framework", [by_torch, by_jax])
@pytest.mark.parametrize("spec", TOGETHER, ids=str)
def test_three_implementations_are_one(spec: OptimizerSpec, framework: Any) -> None:
    rng = np.random.default_rng(1)
    grads = [gradients(rng) for _ in range(STEPS)]
    for found, expected in zip(framework(spec, grads), by_numpy(spec, grads), strict=True):
        assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_the_thresholds_above_clip_some_gradients_and_not_all() -> None:
    rng = np.random.default_rng(1)
    norms = [np.sqrt(sum((g**2).sum() for g in gradients(rng).values())) for _ in range(STEPS)]
    for largest in (spec.clip_norm for spec in TOGETHER if spec.clip_norm is not None):
        assert 0.1 < np.mean([norm > largest for norm in norms]) < 0.9


ENDS = [(schedule, n, g) for schedule in ("step", "linear", "cosine") for n in (1, 4, 9) for g in (0.0, 0.3, 1.0)]


def torchs_rates(schedule: str, n: int, g: float, lr: float, updates: int) -> list[float]:
    """The rates of torch's own schedulers; that of the cosine rises again past its end, and is stopped there."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler: Any = {
        "step": lambda: lr_scheduler.StepLR(optimizer, step_size=n, gamma=g),
        "linear": lambda: lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=g, total_iters=n),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=n, eta_min=g * lr),
    }[schedule]()
    rates = []
    for k in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule != "cosine" or k < n:
            scheduler.step()
    return rates


@pytest.mark.parametrize(("schedule", "n", "g"), ENDS)
def test_the_rates_are_torchs_and_the_documented_formulas(schedule: str, n: int, g: float) -> None:
    spec = OptimizerSpec(lr=0.7, schedule=schedule, schedule_steps=n, schedule_factor=g)
    updates = range(2 * n + 3)
    formula = [0.7 * eval(SCHEDULES[schedule], {"k": k, "n": n, "g": g, "cos": cos, "pi": pi}) for k in updates]
    assert_close(torchs_rates(schedule, n, g, 0.7, len(updates)), formula, rtol=1e-12, atol=1e-16)
    assert_close([0.7 * optim.factor(spec, k) for k in updates], formula, rtol=1e-15, atol=1e-17)
    ours = torch_optim.Optimizer(spec, [torch.zeros(1, requires_grad=True)])
    rates = []
    for _ in updates:
        rates.append(ours.rule.param_groups[0]["lr"])
        ours.step()
    assert_close(rates, formula, rtol=1e-12, atol=1e-16)
    rate: Any = jax_optim.schedule(spec)
    with native.precision():
        found = [float(rate(jnp.asarray(k, "int32"))) for k in updates]
    assert_close(found, formula, rtol=1e-14, atol=1e-16)
    assert formula[0] == 0.7
    if schedule != "step":
        assert_close(np.array(formula[n:]), np.full(n + 3, 0.7 * g), rtol=1e-15)


def test_a_constant_schedule_is_one() -> None:
    spec = OptimizerSpec(lr=0.7)
    assert [optim.factor(spec, k) for k in (0, 1, 1000)] == [1.0] * 3
    assert jax_optim.schedule(spec) == 0.7
    assert torch_optim.Optimizer(spec, [torch.zeros(1, requires_grad=True)]).schedule is None
    assert eval(SCHEDULES["constant"]) == 1


# Norm 13 over all arrays together, and 5, 12 and 0 within them.
CLIPPED = {"weight": np.array([[3.0, 0.0], [0.0, -4.0]]), "bias": np.array([12.0]), "zero": np.zeros(2)}


@pytest.mark.parametrize("largest", [0.5, 13 * (1 - 1e-9), 13 * (1 + 1e-9), 20.0])
def test_gradients_are_clipped_by_their_common_norm(largest: float) -> None:
    expected = {k: g * largest / 13 if largest < 13 else g for k, g in CLIPPED.items()}
    assert_close(optim.clip(CLIPPED, largest), expected, rtol=1e-15)
    tensors = {name: torch.tensor(g) for name, g in CLIPPED.items()}
    torch_optim.clip(list(tensors.values()), largest)
    assert_close({name: value.numpy() for name, value in tensors.items()}, expected, rtol=1e-15)
    with native.precision():
        rule = jax_optim.build(OptimizerSpec(lr=1.0, clip_norm=largest))
        zeros = native.to_jax({name: np.zeros_like(g) for name, g in CLIPPED.items()})
        moves, _ = rule.update(native.to_jax(CLIPPED), rule.init(zeros), zeros)
        assert_close({k: -move for k, move in native.to_numpy(moves).items()}, expected, rtol=1e-15)


@pytest.mark.parametrize("framework", [by_numpy, by_torch, by_jax])
def test_nothing_to_clip_is_left_alone(framework: Any) -> None:
    grads = [{name: np.zeros(shape) for name, shape in SHAPES.items()}] * 2
    for params in framework(OptimizerSpec(name="sgd", clip_norm=0.5), grads):
        assert_close(params, starting())


@pytest.mark.parametrize("spec", [TOGETHER[8], TOGETHER[9]], ids=str)
@pytest.mark.parametrize("name", [name for name in registry.BUILTIN if name not in ("numpy", "one-bias")])
def test_every_backend_hands_on_the_options_of_the_optimiser(name: str, spec: OptimizerSpec) -> None:
    """Options that are nobody's default: were one forgotten, the parameters would be others."""
    network = NetworkSpec(model=ModelSpec(cell="RNN", input_size=3, hidden_size=7), readout_size=7)
    spec = replace(spec, clip_norm=0.3, schedule_steps=3)
    run, problem = RunSpec(network=network, optimizer=spec), random_problem(network.model, 4, 5, 0)
    batch, start = Batch(problem.x, problem.dy[-1]), initial_network(network, 0)

    def trained(backend: str, rule: OptimizerSpec = spec) -> Any:
        trainer = registry.load(backend).trainer(replace(run, optimizer=rule), start)
        return [trainer.step(batch) for _ in range(6)], trainer.params()

    expected = trained("numpy")
    assert_close(trained(name), expected, rtol=1e-10, atol=1e-13)
    default = OptimizerSpec(name=spec.name)
    for field in ("lr", "momentum", "betas", "alpha", "eps", "clip_norm", "schedule_factor"):
        if getattr(spec, field) != getattr(default, field):
            other = trained("numpy", replace(spec, **{field: getattr(default, field)}))
            assert max(abs(other[1][k] - v).max() for k, v in expected[1].items()) > 1e-7, field

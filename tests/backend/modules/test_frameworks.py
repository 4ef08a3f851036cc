"""A module does what its framework's own do: copies, transforms, half precision."""

import copy
import pickle

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from torch.func import functional_call

import jax_impl
from tests.backend.modules.calls import (
    STACKED,
    TOLERANCE,
    B,
    H,
    I,
    T,
    assert_close,
    build,
    call,
    every_cell,
    jax_results,
    loaded,
    named,
    native,
    problem,
    torch_results,
    weights,
)

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.mark.parametrize("change", ["deepcopy", "pickle", "double"])
@every_cell
def test_torch_module_survives(cell, change):
    options = STACKED.get(cell, {})
    module = loaded("torch", cell, **options)
    twin = pickle.loads(pickle.dumps(module)) if change == "pickle" else copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data.zero_()  # of no effect on the twin
    dtype = "float64" if change == "double" else "float32"
    ours, theirs = (each.to(getattr(torch, dtype)) for each in (twin, loaded("torch.nn", cell, **options)))
    assert repr(ours) == repr(theirs)
    got, reference = (torch_results(module, *problem(cell, dtype, **options)) for module in (ours, theirs))
    assert_close(got, reference, TOLERANCE[dtype])


@every_cell
def test_torch_functional_call_under_func_grad(cell):
    options = STACKED.get(cell, {})
    inputs, cotangents = native("torch", problem(cell, "float64", **options))
    outside = native("torch", weights(cell, "float64", **options))
    bias_ih, bias_hh, *_ = (name for name in outside if name.startswith("bias"))

    def loss(params, package):
        module, params = (
            build(package, cell, dtype="float64", **options),
            params | {bias_hh: params[bias_ih]},
        )  # one under two names
        outputs = call(lambda *args: functional_call(module, params, args), *inputs)
        return sum((d * out).sum() for d, out in zip(cotangents, outputs, strict=True))

    ours, theirs = (named(of_params=torch.func.grad(loss)(outside, package)) for package in ("torch", "torch.nn"))
    assert_close(ours, theirs, 1e-11)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@every_cell
def test_torch_half_precision(cell, dtype):
    options, kind = STACKED.get(cell, {}), getattr(torch, dtype)
    ours, theirs = (build(package, cell, dtype=dtype, **options) for package in ("torch", "torch.nn"))
    assert ours.spec.dtype == dtype
    theirs.load_state_dict(ours.state_dict())
    inputs = [torch.tensor(array, dtype=kind) for array in problem(cell, **options)[0]]
    for got, reference in zip(call(ours, *inputs), call(theirs, *inputs), strict=True):
        assert (got.dtype, got.shape) == (kind, reference.shape)
        assert (got - reference).abs().max() <= 8 * torch.finfo(kind).eps


@every_cell
def test_jax_under_jit_follows_new_parameters(cell):
    module, compiled, p = loaded("jax", cell), nnx.jit(call), problem(cell)
    assert set(nnx.state(module)) == set(weights(cell))
    for seed, transform in ((2, nnx.jit), (3, lambda function: function)):
        module.load_state_dict(weights(cell, seed=seed))
        reference = torch_results(loaded("torch.nn", cell, seed=seed), *p)
        outputs = named(compiled(module, *p[0]))
        assert_close(outputs, {name: reference[name] for name in outputs}, 1e-5)
        assert_close(jax_results(nnx.merge(*nnx.split(module)), *p, transform=transform), reference, 1e-5)


def test_jax_vmap_over_inputs_and_over_modules():
    xs = np.random.default_rng(0).normal(size=(4, T, B, I)).astype("float32")
    modules = nnx.split_rngs(splits=4)(nnx.vmap(lambda rngs: jax_impl.LSTM(I, H, rngs=rngs)))(nnx.Rngs(0))
    together = nnx.vmap(lambda module, x: module(x)[0])(modules, xs)
    graph, state = nnx.split(modules)
    singles = [nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state)) for i in range(4)]
    np.testing.assert_allclose(together, [m(x)[0] for m, x in zip(singles, xs, strict=True)], atol=1e-6)
    assert len({m.state_dict()["weight_hh_l0"][0, 0] for m in singles}) == 4
    np.testing.assert_allclose(jax.vmap(lambda x: singles[0](x)[0])(xs), [singles[0](x)[0] for x in xs], atol=1e-6)

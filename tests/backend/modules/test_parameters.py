"""A module's parameters: initial values, ``state_dict``, what is loaded and what is assigned."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

import jax_impl
from common.errors import InvalidInput
from tests.backend.modules.calls import (
    H,
    I,
    assert_close,
    build,
    call,
    every_cell,
    every_model,
    loaded,
    named,
    numpy_backward,
    numpy_results,
    problem,
    weights,
)

pytestmark = pytest.mark.usefixtures("compile_quickly")


@every_model
def test_torch_state_dict_goes_both_ways(cell, options):
    ours, theirs = (build(package, cell, **options) for package in ("torch", "torch.nn"))
    for source, target in ((loaded("torch.nn", cell, **options), ours), (ours, theirs)):
        target.load_state_dict(source.state_dict(), strict=True)
        assert list(target.state_dict()) == list(source.state_dict())
        assert [name for name, _ in target.named_parameters()] == list(source.state_dict())
        assert_close(named(of_params=target.state_dict()), weights(cell, **options), 0)


@pytest.mark.parametrize("package", ["numpy", "jax"])
def test_state_dict_is_copied_and_checked(package):
    module, given = build(package, "RNN"), weights("RNN")
    module.load_state_dict(given)
    for params in (given, module.state_dict()):
        params["weight_hh_l0"][:] = 0
    assert_close(module.state_dict(), weights("RNN"), 0)
    with pytest.raises(InvalidInput, match=r"^weight_ih_l0: expected \(7, 3\) .+, got \(3, 7\); transposed"):
        module.load_state_dict(given | {"weight_ih_l0": np.zeros((I, H), "float32")})


@pytest.mark.parametrize("package", ["numpy", "jax"])
def test_parameters_of_torch_load_in_any_state(package):
    """Leaves of autograd, bfloat16, and names with a prefix, which the error says to remove."""
    theirs = loaded("torch.nn", "LSTM")
    module = build(package, "LSTM")
    module.load_state_dict(dict(theirs.named_parameters()))
    assert_close(module.state_dict(), weights("LSTM"), 0)
    narrow = build(package, "LSTM", dtype="bfloat16") if package == "jax" else None
    if narrow is not None:
        narrow.load_state_dict(theirs.to(torch.bfloat16).state_dict())
        wide = {name: value.float().numpy() for name, value in theirs.state_dict().items()}
        assert_close({k: v.astype("float32") for k, v in narrow.state_dict().items()}, wide, 0)
    with pytest.raises(InvalidInput, match=r"every name begins with 'module\.': take it off$"):
        module.load_state_dict({f"module.{name}": value for name, value in weights("LSTM").items()})
    more = weights("LSTM", num_layers=2, bidirectional=True, bias=False)
    with pytest.raises(InvalidInput, match=r"; a model with num_layers=2, bidirectional=True, bias=False\?$"):
        module.load_state_dict(more)
    gru = {k: v.detach().numpy() for k, v in torch.nn.GRU(I, H).state_dict().items()}
    with pytest.raises(InvalidInput, match=r"^weight_ih_l0: .*; a GRU's or an LSTM1997's\?$"):
        module.load_state_dict(gru)


def test_numpy_parameters_are_attributes():
    module, other = loaded("numpy", "RNN"), weights("RNN", seed=9)
    x = problem("RNN")[0][0]
    before = module(x)[0]
    assert module.weight_hh_l0 is module.params["weight_hh_l0"]
    module.weight_hh_l0 = other["weight_hh_l0"]
    assert np.array_equal(module.state_dict()["weight_hh_l0"], other["weight_hh_l0"])
    assert abs(module(x)[0] - before).max() > 1e-3
    with pytest.raises(InvalidInput, match=r"^weight_hh_l0: expected \(7, 7\)"):
        module.weight_hh_l0 = np.zeros((7, 6), "float32")
    with pytest.raises(AttributeError, match="has no attribute 'weight_hh_l1'"):
        _ = module.weight_hh_l1
    assert repr(module) == "RNN(3, 7)"


def test_torch_weights_follow_the_seed_or_torchs_own():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        first, second = (build("torch", "RNN").weight_hh_l0.detach().numpy() for _ in range(2))
        torch.manual_seed(4)
        again, seeded = (build("torch", "RNN", seed=seed).weight_hh_l0.detach().numpy() for seed in (None, 2))
    assert np.array_equal(again, first)
    assert not np.array_equal(second, first)
    assert np.array_equal(seeded, weights("RNN", seed=2)["weight_hh_l0"])


@pytest.mark.parametrize("transform", [lambda build: build, nnx.jit], ids=["eager", "traced"])
def test_jax_weights_follow_the_rngs(transform):
    key = np.asarray(jax.random.key_data(nnx.Rngs(5).params()), "<u4")
    module = transform(lambda: jax_impl.LSTM(I, H, rngs=nnx.Rngs(5)))()
    assert_close(module.state_dict(), weights("LSTM", seed=int.from_bytes(key.tobytes(), "little")), 0)


@every_cell
def test_numpy_backward_stands_by_its_call(cell):
    """What the caller changes between call and backward has no effect; a call has one backward."""
    inputs, cotangents = problem(cell, "float64")
    reference = numpy_results(loaded("numpy", cell, "float64"), inputs, cotangents)
    module = loaded("numpy", cell, "float64")
    none = r"^backward: expected a call of the module before it, got none; each call has one backward"
    with pytest.raises(InvalidInput, match=none):
        numpy_backward(module, cotangents)
    for array in [*call(module, *inputs), *inputs]:
        array[:] = 0
    module.load_state_dict(weights(cell, "float64", seed=3))
    got = named(dinputs=numpy_backward(module, cotangents), of_params=module.grads)
    assert_close(got, {name: reference[name] for name in got}, 0)
    for name, grad in module.grads.items():
        grad *= 2
        assert np.array_equal(grad, 2 * reference[name]), f"{name} shares memory"
    with pytest.raises(InvalidInput, match=none):
        numpy_backward(module, cotangents)
    call(module, *problem(cell, "float64")[0])
    cotangents[-1] = cotangents[-1][..., 1:, :]
    with pytest.raises(InvalidInput, match=r"^dhx.*: expected \(.+, 7\).+ a batch of 5, got \(.*4, 7\)$"):
        numpy_backward(module, cotangents)


def test_what_is_refused_in_place_is_refused_by_every_call_until_it_is_replaced():
    module, x = build("numpy", "LSTM"), np.ones((2, 3, I), "float32")
    sound = module.weight_hh_l0.copy()
    refused = r"^weight_hh_l0: expected finite values, got nan at index \(0, 0\)$"
    with pytest.raises(InvalidInput, match=refused):
        module.params["weight_hh_l0"] -= np.float32("nan")
    for _ in range(2):
        with pytest.raises(InvalidInput, match=refused):
            module(x)
    module.weight_hh_l0 = sound
    assert np.isfinite(module(x)[0]).all()
    with pytest.raises(InvalidInput, match=refused):
        module.weight_hh_l0 -= np.float32("nan")
    module.load_state_dict(weights("LSTM"))
    assert np.isfinite(module(x)[0]).all()

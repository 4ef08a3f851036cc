"""The idiomatic faces: each gives torch.nn's numbers, behaves as its framework expects, refuses what is wrong."""

import copy
import inspect
import pickle
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.func import functional_call

import jax_impl
import numpy_impl
import torch_impl
from common.errors import InvalidInput, InvalidType
from common.layout import initial_parameters
from common.spec import CELLS, ModelSpec

T, B, I, H = 9, 5, 3, 7
TOLERANCE = {"float64": 1e-11, "float32": 1e-5}
VARIANTS = [(cell, {"bias": bias}) for cell in CELLS for bias in (True, False)]
VARIANTS += [(cell, {"nonlinearity": "relu"}) for cell in ("RNN", "RNNCell")]
every_cell = pytest.mark.parametrize("cell", CELLS)
every_variant = pytest.mark.parametrize(("cell", "options"), VARIANTS, ids=str)
every_package = pytest.mark.parametrize("package", ["numpy", "jax", "torch"])
HOUSES = {"numpy": numpy_impl, "jax": jax_impl, "torch": torch_impl, "torch.nn": torch.nn}


def problem(cell, dtype="float32", with_hx=True):
    """The inputs [x, h, c] and the cotangents of the outputs [y, h, c], as far as the cell has them."""
    states = [(B, H) if "Cell" in cell else (1, B, H)] * (2 if "LSTM" in cell else 1)
    x, y = ((B, I), []) if "Cell" in cell else ((T, B, I), [(T, B, H)])
    rng = np.random.default_rng(1)
    draw = [rng.normal(size=shape).astype(dtype) for shape in [x, *states, *y, *states]]
    return draw[: 1 + len(states) * with_hx], draw[1 + len(states) :]


def weights(cell, dtype="float32", seed=2, **options):
    return initial_parameters(ModelSpec(cell=cell, input_size=I, hidden_size=H, dtype=dtype, **options), seed)


def build(house, cell, input_size=I, hidden_size=H, dtype="float32", **options):
    options["dtype"] = getattr(torch, dtype) if "torch" in house else dtype
    options |= {"rngs": nnx.Rngs(0)} if house == "jax" else {}
    return getattr(HOUSES[house], cell)(input_size, hidden_size, **options)


def loaded(house, cell, dtype="float32", seed=2, **options):
    """A face, or torch.nn's own module, with the weights of the seed."""
    module, params = build(house, cell, dtype=dtype, **options), weights(cell, dtype, seed, **options)
    module.load_state_dict(native("torch", params) if "torch" in house else params)
    return module


def native(package, tree):
    """NumPy arrays in a tree as the arrays that a user of the package has."""
    convert = {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.tensor}[package]
    return jax.tree.map(lambda leaf: convert(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def pack(arrays):
    """A state as a user hands it over: one array, a pair, or None."""
    return tuple(arrays) if len(arrays) == 2 else (*arrays, None)[0]


def call(module, x, *hx):
    return jax.tree.leaves(module(x, pack(hx)))


def named(outputs=(), dinputs=(), of_params=()):
    of_calls = {f"output {i}": value for i, value in enumerate(outputs)}
    of_calls |= {f"gradient of input {i}": value for i, value in enumerate(dinputs)}
    return {name: np.asarray(value) for name, value in (of_calls | dict(of_params)).items()}


def numpy_backward(module, cotangents):
    y, state = ([], cotangents) if module.spec.is_cell else (cotangents[:1], cotangents[1:])
    return jax.tree.leaves(module.backward(*y, pack(state)))


def numpy_results(module, inputs, cotangents):
    outputs = call(module, *inputs)
    return named(outputs, numpy_backward(module, cotangents)[: len(inputs)], module.grads)


def torch_results(module, inputs, cotangents):
    inputs = [torch.tensor(array, requires_grad=True) for array in inputs]
    params = dict(module.named_parameters())
    outputs = call(module, *inputs)
    grads = torch.autograd.grad(outputs, [*inputs, *params.values()], native("torch", cotangents))
    of_params = zip(params, grads[len(inputs) :], strict=True)
    return named([output.detach() for output in outputs], grads[: len(inputs)], of_params)


def jax_results(module, inputs, cotangents, transform=lambda function: function):
    def loss(module, *inputs):
        outputs = call(module, *inputs)
        return sum(jnp.vdot(d, out) for d, out in zip(cotangents, outputs, strict=True)), outputs

    gradient = transform(nnx.grad(loss, argnums=tuple(range(1 + len(inputs))), has_aux=True))
    with jax.default_matmul_precision("highest"):
        (of_params, *dinputs), outputs = gradient(module, *inputs)
    return named(outputs, dinputs, {name: value.get_value() for name, value in nnx.state(of_params).items()})


def assert_close(got, reference, tolerance):
    assert got.keys() == reference.keys()
    for name, value in reference.items():
        assert (got[name].shape, got[name].dtype) == (value.shape, value.dtype), name
        assert np.abs(got[name] - value).max() <= tolerance * np.abs(value).max(), name


@pytest.mark.parametrize("with_hx", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@every_variant
@every_package
def test_outputs_states_and_gradients_are_those_of_torch_nn(package, cell, options, dtype, with_hx):
    results = {"numpy": numpy_results, "jax": jax_results, "torch": torch_results}[package]
    p = problem(cell, dtype, with_hx)
    reference = torch_results(loaded("torch.nn", cell, dtype, **options), *p)
    with jax.enable_x64(dtype == "float64"):
        assert_close(results(loaded(package, cell, dtype, **options), *p), reference, TOLERANCE[dtype])


@every_cell
def test_constructors_take_what_torch_nn_takes_in_its_order(cell):
    def positional(init):
        parameters = inspect.signature((typing.get_overloads(init) or [init])[0]).parameters.values()
        return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    own = {house: positional(getattr(module, cell).__init__) for house, module in HOUSES.items()}
    assert own["torch"] == own["torch.nn"]
    assert own["numpy"] == own["jax"] == own["torch.nn"][:-2]  # all but device and dtype


@every_variant
def test_torch_state_dict_goes_both_ways(cell, options):
    ours, theirs = (build(house, cell, **options) for house in ("torch", "torch.nn"))
    for source, target in ((loaded("torch.nn", cell, **options), ours), (ours, theirs)):
        target.load_state_dict(source.state_dict(), strict=True)
        assert list(target.state_dict()) == list(source.state_dict())
        assert_close(named(of_params=target.state_dict()), weights(cell, **options), 0)


@pytest.mark.parametrize("change", ["deepcopy", "pickle", "double"])
@every_cell
def test_torch_module_survives(cell, change):
    module = loaded("torch", cell)
    twin = pickle.loads(pickle.dumps(module)) if change == "pickle" else copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data.zero_()  # of no effect on the twin
    dtype = "float64" if change == "double" else "float32"
    ours, theirs = (each.to(getattr(torch, dtype)) for each in (twin, loaded("torch.nn", cell)))
    assert repr(ours) == repr(theirs)
    got, reference = (torch_results(module, *problem(cell, dtype)) for module in (ours, theirs))
    assert_close(got, reference, TOLERANCE[dtype])


@every_cell
def test_torch_functional_call_under_func_grad(cell):
    inputs, cotangents = native("torch", problem(cell, "float64"))
    outside = native("torch", weights(cell, "float64"))
    bias_ih, bias_hh = (name for name in outside if name.startswith("bias"))

    def loss(params, house):
        module, params = build(house, cell, dtype="float64"), params | {bias_hh: params[bias_ih]}  # one under two names
        outputs = call(lambda *args: functional_call(module, params, args), *inputs)
        return sum((d * out).sum() for d, out in zip(cotangents, outputs, strict=True))

    ours, theirs = (named(of_params=torch.func.grad(loss)(outside, house)) for house in ("torch", "torch.nn"))
    assert_close(ours, theirs, 1e-11)


def test_torch_weights_follow_the_seed_or_torchs_own():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        first, second = (build("torch", "RNN").weight_hh_l0.detach().numpy() for _ in range(2))
        torch.manual_seed(4)
        again, seeded = (build("torch", "RNN", seed=seed).weight_hh_l0.detach().numpy() for seed in (None, 2))
    assert np.array_equal(again, first)
    assert not np.array_equal(second, first)
    assert np.array_equal(seeded, weights("RNN", seed=2)["weight_hh_l0"])


@every_cell
def test_jax_under_jit_follows_new_parameters(cell):
    module, compiled, p = loaded("jax", cell), nnx.jit(call), problem(cell)
    assert set(nnx.state(module)) == set(weights(cell))
    for seed in (2, 3):
        module.load_state_dict(weights(cell, seed=seed))
        reference = torch_results(loaded("torch.nn", cell, seed=seed), *p)
        outputs = named(compiled(module, *p[0]))
        assert_close(outputs, {name: reference[name] for name in outputs}, 1e-5)
        assert_close(jax_results(nnx.merge(*nnx.split(module)), *p, transform=nnx.jit), reference, 1e-5)


def test_jax_vmap_over_inputs_and_over_modules():
    xs = np.random.default_rng(0).normal(size=(4, T, B, I)).astype("float32")
    modules = nnx.split_rngs(splits=4)(nnx.vmap(lambda rngs: jax_impl.LSTM(I, H, rngs=rngs)))(nnx.Rngs(0))
    together = nnx.vmap(lambda module, x: module(x)[0])(modules, xs)
    graph, state = nnx.split(modules)
    singles = [nnx.merge(graph, jax.tree.map(lambda leaf, i=i: leaf[i], state)) for i in range(4)]
    np.testing.assert_allclose(together, [m(x)[0] for m, x in zip(singles, xs, strict=True)], atol=1e-6)
    assert len({m.state_dict()["weight_hh_l0"][0, 0] for m in singles}) == 4
    np.testing.assert_allclose(jax.vmap(lambda x: singles[0](x)[0])(xs), [singles[0](x)[0] for x in xs], atol=1e-6)


@pytest.mark.parametrize("transform", [lambda build: build, nnx.jit], ids=["eager", "traced"])
def test_jax_weights_follow_the_rngs(transform):
    key = np.asarray(jax.random.key_data(nnx.Rngs(5).params()), "<u4")
    module = transform(lambda: jax_impl.LSTM(I, H, rngs=nnx.Rngs(5)))()
    assert_close(module.state_dict(), weights("LSTM", seed=int.from_bytes(key.tobytes(), "little")), 0)


@every_cell
def test_jax_refuses_float64_without_x64(cell):
    with jax.enable_x64(True):
        module = build("jax", cell, dtype=jnp.float64)
    for refused in (lambda: build("jax", cell, dtype="float64"), lambda: module(problem(cell, "float64")[0][0])):
        with pytest.raises(InvalidInput, match=r"^dtype: expected float32, .+, got float64; run jax\.config\.update"):
            refused()


@pytest.mark.parametrize("package", ["numpy", "jax"])
def test_state_dict_is_copied_and_checked(package):
    module, given = build(package, "RNN"), weights("RNN")
    module.load_state_dict(given)
    for params in (given, module.state_dict()):
        params["weight_hh_l0"][:] = 0
    assert_close(module.state_dict(), weights("RNN"), 0)
    with pytest.raises(InvalidInput, match=r"^weight_ih_l0: expected \(7, 3\) .+, got \(3, 7\); transposed"):
        module.load_state_dict(given | {"weight_ih_l0": np.zeros((I, H), "float32")})


@every_cell
def test_numpy_backward_stands_by_its_call(cell):
    """What the caller changes between call and backward has no effect; a second backward adds nothing."""
    inputs, cotangents = problem(cell, "float64")
    reference = numpy_results(loaded("numpy", cell, "float64"), inputs, cotangents)
    module = loaded("numpy", cell, "float64")
    with pytest.raises(InvalidInput, match=r"^backward: expected a call of the module before it, got none$"):
        numpy_backward(module, cotangents)
    for array in [*call(module, *inputs), *inputs]:
        array[:] = 0
    module.load_state_dict(weights(cell, "float64", seed=3))
    for _ in range(2):
        got = named(dinputs=numpy_backward(module, cotangents), of_params=module.grads)
        assert_close(got, {name: reference[name] for name in got}, 0)
        for name, grad in module.grads.items():
            grad *= 2
            assert np.array_equal(grad, 2 * reference[name]), f"{name} shares memory"
    cotangents[-1] = cotangents[-1][..., 1:, :]
    with pytest.raises(InvalidInput, match=r"^dhx.*: expected \(.+, 7\).+ a batch of 5, got \(.*4, 7\)$"):
        numpy_backward(module, cotangents)


def wrong_calls(cell):
    """Arguments, the error that they must raise, and what its message must name."""

    def error(each):
        return InvalidType if isinstance(each, list) or each.dtype != "float32" else InvalidInput

    (x, *others, last), _ = problem(cell)
    for each in (x[0], x[None], x[..., :-1], x[:0], [x], x.astype("float16"), x.astype("int32")):
        yield (each,), error(each), "x"
    wrong = [last[0], last[None], last[..., :-1], last[..., :-1, :], last[..., :1, :], [last], last.astype("int32")]
    for each in wrong:
        yield (x, pack([*others, each])), error(each), "hx[1]" if others else "hx"
    yield (x, (last,)), InvalidInput if others else InvalidType, "hx"
    yield (x, last if others else (last, last)), InvalidType, "hx"


OPTIONS = {"num_layers": 2, "batch_first": True, "bidirectional": True, "dropout": 0.5}
WRONG = [(cell, {name: OPTIONS[name]}, (), InvalidInput, name) for cell in ("RNN", "LSTM") for name in OPTIONS]
WRONG += [(cell, {size: 0}, (), InvalidInput, size) for cell in CELLS for size in ("input_size", "hidden_size")]
WRONG += [(cell, {"nonlinearity": "gelu"}, (), InvalidInput, "nonlinearity") for cell in ("RNN", "RNNCell")]
WRONG += [("LSTM", {"proj_size": 2}, (), InvalidInput, "proj_size")]
WRONG += [(cell, {}, *wrong) for cell in CELLS for wrong in wrong_calls(cell)]


@pytest.mark.parametrize(("cell", "options", "arguments", "error", "name"), WRONG)
@every_package
def test_wrong_arguments_are_refused_by_name(package, cell, options, arguments, error, name):
    transform = nnx.jit if package == "jax" else lambda function: function  # traced arrays must be checked too
    with pytest.raises(error, match=rf"^{re.escape(name)}: expected .+, got .+"):
        transform(lambda module, *given: module(*given))(build(package, cell, **options), *native(package, arguments))


def test_torch_refuses_another_device():
    module, (x, h, c) = build("torch", "LSTM"), native("torch", problem("LSTM")[0])
    for name, arguments in (("x", (x.to("meta"),)), ("hx", (x, (h, c.to("meta"))))):
        with pytest.raises(InvalidInput, match=rf"^{name}: expected the parameters' device cpu, got meta$"):
            module(*arguments)

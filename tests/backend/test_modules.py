"""The idiomatic faces: each gives torch.nn's numbers and behaves as its framework expects.

Dropout, packed and padded sequences, and wrong calls have files of their own, which use the helpers here.
"""

import copy
import inspect
import io
import pickle
import typing
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import jax_impl
import numpy_impl
import torch_impl
from common.errors import InvalidInput, InvalidType
from common.model.initial import initial_parameters
from common.model.spec import CELLS, ModelSpec

T, B, I, H, P = 9, 5, 3, 7, 4
LENGTHS = np.array([4, 8, 1, 6, 8])  # not sorted, a tie, one step, and none as long as T
TOLERANCE = {"float64": 1e-11, "float32": 1e-5}
HOUSES = {"numpy": numpy_impl, "jax": jax_impl, "torch": torch_impl, "torch.nn": torch.nn}
# A cell, its options, and how it is called: "no hx", "unbatched", "lengths".
VARIANTS = [
    ("RNN", {}, ()),
    ("RNN", {"bias": False, "nonlinearity": "relu"}, ("no hx",)),
    ("RNN", {"num_layers": 2, "batch_first": True}, ()),
    ("RNN", {"bidirectional": True, "nonlinearity": "relu"}, ("unbatched",)),
    ("RNN", {"num_layers": 3, "bidirectional": True}, ("lengths",)),
    ("RNN", {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False}, ("lengths", "no hx")),
    ("RNN", {"num_layers": 3, "nonlinearity": "relu"}, ("unbatched", "no hx")),
    ("RNN", {"batch_first": True}, ("lengths",)),
    ("RNNCell", {}, ()),
    ("RNNCell", {"bias": False, "nonlinearity": "relu"}, ("no hx",)),
    ("RNNCell", {"nonlinearity": "relu"}, ("unbatched",)),
    ("RNNCell", {"bias": False}, ("unbatched", "no hx")),
    ("LSTM", {}, ()),
    ("LSTM", {"bias": False}, ("no hx",)),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}, ()),
    ("LSTM", {"num_layers": 3}, ("lengths",)),
    ("LSTM", {"proj_size": P}, ()),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True, "proj_size": P}, ("lengths",)),
    ("LSTM", {"num_layers": 3, "bias": False, "proj_size": P}, ("unbatched",)),
    ("LSTM", {"bidirectional": True}, ("unbatched", "no hx")),
    ("LSTM", {"bidirectional": True, "batch_first": True}, ("lengths", "no hx")),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "bias": False, "proj_size": P}, ("no hx",)),
    ("LSTM", {"num_layers": 2, "batch_first": True}, ("unbatched", "no hx")),
    ("LSTMCell", {}, ()),
    ("LSTMCell", {"bias": False}, ("no hx",)),
    ("LSTMCell", {}, ("unbatched",)),
]
MODELS = [v[:2] for i, v in enumerate(VARIANTS) if v[:2] not in [u[:2] for u in VARIANTS[:i]]]
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
every_cell = pytest.mark.parametrize("cell", CELLS)
every_model = pytest.mark.parametrize(("cell", "options"), MODELS, ids=str)
CASES = [(dtype, package, *v) for dtype in TOLERANCE for package in ("numpy", "jax", "torch") for v in VARIANTS]
CASES = CASES[: 4 * len(VARIANTS)] + CASES[4 * len(VARIANTS) : 5 * len(VARIANTS) : 2] + CASES[5 * len(VARIANTS) :]
every_package = pytest.mark.parametrize("package", ["numpy", "jax", "torch"])


@pytest.fixture(autouse=True, scope="module")
def compile_quickly() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def specify(cell, dtype="float32", batch_first=False, **options):
    return ModelSpec(cell=cell, input_size=I, hidden_size=H, dtype=dtype, **options)


def problem(cell, dtype="float32", words=(), **options):
    """The inputs [x, h, c] and the cotangents of the outputs [y, h, c], as far as the cell has them."""
    spec, batch = specify(cell, dtype, **options), [B] * ("unbatched" not in words)
    lead = batch if spec.is_cell else [*batch, T] if options.get("batch_first") else [T, *batch]
    states = [(*[spec.state_rows] * (not spec.is_cell), *batch, size) for size in spec.state_sizes]
    outputs = [(*lead, spec.output_size)] * (not spec.is_cell) + states
    rng = np.random.default_rng(1)
    draw = [rng.normal(size=shape).astype(dtype) for shape in [(*lead, I), *states, *outputs]]
    return draw[: 1 + len(states) * ("no hx" not in words)], draw[1 + len(states) :]


def weights(cell, dtype="float32", seed=2, **options):
    return initial_parameters(specify(cell, dtype, **options), seed)


def build(house, cell, input_size: Any = I, hidden_size: Any = H, dtype: Any = "float32", **options):
    options["dtype"] = getattr(torch, dtype) if "torch" in house and isinstance(dtype, str) else dtype
    options = ({"rngs": nnx.Rngs(0)} if house == "jax" else {}) | options
    return getattr(HOUSES[house], cell)(input_size, hidden_size, **options)


def loaded(house, cell, dtype="float32", seed=2, **options):
    """A face, or torch.nn's own module, with the weights of the seed."""
    module, params = build(house, cell, dtype=dtype, **options), weights(cell, dtype, seed, **options)
    module.load_state_dict(native("torch", params) if "torch" in house else params)
    return module


def native(package, tree):
    """NumPy arrays in a tree as the arrays that a user of the package has."""
    convert = {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.tensor, "torch.nn": torch.tensor}[package]
    return jax.tree.map(lambda leaf: convert(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def pack(arrays):
    """A state as a user hands it over: one array, a pair, or None."""
    return tuple(arrays) if len(arrays) == 2 else (*arrays, None)[0]


def call(module, x, *hx, lengths=None, **keywords):
    """y and the final state, flat. torch.nn's own module takes lengths by way of a packed sequence."""
    keywords |= {} if lengths is None else {"lengths": lengths}
    if lengths is None or not type(module).__module__.startswith("torch.nn"):
        return jax.tree.leaves(module(x, pack(hx), **keywords))
    packed = pack_padded_sequence(x, torch.as_tensor(lengths), module.batch_first, enforce_sorted=False)
    y, state = module(packed, pack(hx))
    return jax.tree.leaves((pad_packed_sequence(y, module.batch_first, total_length=T)[0], state))


def named(outputs=(), dinputs=(), of_params=()):
    of_calls = {f"output {i}": value for i, value in enumerate(outputs)}
    of_calls |= {f"gradient of input {i}": value for i, value in enumerate(dinputs)}
    return {name: np.asarray(value) for name, value in (of_calls | dict(of_params)).items()}


def numpy_backward(module, cotangents):
    y, state = ([], cotangents) if module.spec.is_cell else (cotangents[:1], cotangents[1:])
    return jax.tree.leaves(module.backward(*y, pack(state)))


def numpy_results(module, inputs, cotangents, **keywords):
    outputs = call(module, *inputs, **keywords)
    return named(outputs, numpy_backward(module, cotangents)[: len(inputs)], module.grads)


def torch_results(module, inputs, cotangents, **keywords):
    inputs = [torch.tensor(array, requires_grad=True) for array in inputs]
    params = dict(module.named_parameters())
    outputs = call(module, *inputs, **native("torch", keywords))
    grads = torch.autograd.grad(outputs, [*inputs, *params.values()], native("torch", cotangents))
    of_params = zip(params, grads[len(inputs) :], strict=True)
    return named([output.detach() for output in outputs], grads[: len(inputs)], of_params)


def jax_results(module, inputs, cotangents, transform=nnx.jit, **keywords):
    """Under nnx.jit the keywords are traced, as all arrays are."""

    def loss(module, keywords, *inputs):
        outputs = call(module, *inputs, **keywords)
        return sum(jnp.vdot(d, out) for d, out in zip(cotangents, outputs, strict=True)), outputs

    argnums = (0, *range(2, 2 + len(inputs)))
    with jax.default_matmul_precision("highest"):
        (of_params, *dinputs), outputs = transform(nnx.grad(loss, argnums=argnums, has_aux=True))(
            module, keywords, *inputs
        )
    return named(outputs, dinputs, {name: value.get_value() for name, value in nnx.state(of_params).items()})


RESULTS = {"numpy": numpy_results, "jax": jax_results, "torch": torch_results, "torch.nn": torch_results}


def assert_close(got, reference, tolerance):
    assert got.keys() == reference.keys()
    for name, value in reference.items():
        assert (got[name].shape, got[name].dtype) == (value.shape, value.dtype), name
        assert np.abs(got[name] - value).max() <= tolerance * np.abs(value).max(), name


@pytest.mark.parametrize(("dtype", "package", "cell", "options", "words"), CASES, ids=str)
def test_outputs_states_and_gradients_are_those_of_torch_nn(package, cell, options, words, dtype):
    p, keywords = problem(cell, dtype, words, **options), {"lengths": LENGTHS} if "lengths" in words else {}
    reference = torch_results(loaded("torch.nn", cell, dtype, **options), *p, **keywords)
    vanish = {"weight_hh"} if "no hx" in words and "Cell" in cell else set()  # a cell's one step from a zero state
    assert {name for name, value in reference.items() if np.abs(value).max() < 1e-3} == vanish
    with jax.enable_x64(dtype == "float64"):
        assert_close(
            RESULTS[package](loaded(package, cell, dtype, **options), *p, **keywords), reference, TOLERANCE[dtype]
        )


@every_cell
def test_constructors_take_what_torch_nn_takes_in_its_order(cell):
    def positional(init):
        parameters = inspect.signature((typing.get_overloads(init) or [init])[0]).parameters.values()
        return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    own = {house: positional(getattr(module, cell).__init__) for house, module in HOUSES.items()}
    assert own["numpy"] == own["jax"] == own["torch"] == own["torch.nn"]


@every_package
def test_the_dtype_is_float32_unless_given(package):
    values = build(package, "LSTM", dtype=None).state_dict().values()
    assert {np.asarray(value).dtype.name for value in values} == {"float32"}
    assert build(package, "LSTM", device=jax.devices("cpu")[0] if package == "jax" else "cpu").hidden_size == H


@pytest.mark.parametrize(("cell", "sizes"), [("LSTM", {"num_layers": 2, "bidirectional": True}), ("LSTMCell", {})])
@every_package
def test_forget_bias_is_the_sum_of_both_biases_of_the_forget_gate(package, cell, sizes):
    options = sizes | ({} if package == "jax" else {"seed": 5})

    def drawn(forget_bias):
        return named(of_params=build(package, cell, forget_bias=forget_bias, **options).state_dict())

    with_it, without = drawn(1.5), drawn(None)
    for name, value in without.items():
        forget = np.arange(len(value)) // H == 1
        if name.startswith("bias_ih"):
            assert np.all(with_it[name][forget] + with_it[name.replace("_ih", "_hh")][forget] == 1.5)
            assert not np.any(value[forget] + without[name.replace("_ih", "_hh")][forget] == 1.5)
        same = ~forget if name.startswith("bias") else slice(None)
        assert np.array_equal(with_it[name][same], value[same]), name
    with pytest.raises(TypeError, match="forget_bias"):
        build(package, "RNN", forget_bias=1.5)
    with pytest.raises(InvalidInput, match=r"^forget_bias: expected .* with bias=True, got 1.5$"):
        build(package, cell, forget_bias=1.5, bias=False)


@every_model
def test_torch_state_dict_goes_both_ways(cell, options):
    ours, theirs = (build(house, cell, **options) for house in ("torch", "torch.nn"))
    for source, target in ((loaded("torch.nn", cell, **options), ours), (ours, theirs)):
        target.load_state_dict(source.state_dict(), strict=True)
        assert list(target.state_dict()) == list(source.state_dict())
        assert [name for name, _ in target.named_parameters()] == list(source.state_dict())
        assert_close(named(of_params=target.state_dict()), weights(cell, **options), 0)


@every_model
def test_torch_attributes_and_repr_are_those_of_torch_nn(cell, options):
    ours, theirs = (build(house, cell, **options) for house in ("torch", "torch.nn"))
    shown = ", nonlinearity=relu" if options.get("nonlinearity") == "relu" else ""
    assert repr(ours) in (repr(theirs), repr(theirs)[:-1] + shown + ")")
    assert shown in repr(ours)
    names = ["input_size", "hidden_size", "num_layers", "bias", "dropout", "bidirectional", "proj_size", "batch_first"]
    for name in filter(lambda name: hasattr(theirs, name), names):
        for module in (ours, *(build(package, cell, **options) for package in ("numpy", "jax"))):
            assert getattr(module, name) == getattr(theirs, name), name
            if name != "batch_first":
                with pytest.raises(AttributeError):
                    setattr(module, name, 2)
    assert ours.flatten_parameters() is None


STACKED = {"RNN": {"num_layers": 2}, "LSTM": {"num_layers": 2, "bidirectional": True, "proj_size": P}}


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

    def loss(params, house):
        module, params = (
            build(house, cell, dtype="float64", **options),
            params | {bias_hh: params[bias_ih]},
        )  # one under two names
        outputs = call(lambda *args: functional_call(module, params, args), *inputs)
        return sum((d * out).sum() for d, out in zip(cotangents, outputs, strict=True))

    ours, theirs = (named(of_params=torch.func.grad(loss)(outside, house)) for house in ("torch", "torch.nn"))
    assert_close(ours, theirs, 1e-11)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@every_cell
def test_torch_half_precision(cell, dtype):
    options, kind = STACKED.get(cell, {}), getattr(torch, dtype)
    ours, theirs = (build(house, cell, dtype=dtype, **options) for house in ("torch", "torch.nn"))
    assert ours.spec.dtype == dtype
    theirs.load_state_dict(ours.state_dict())
    inputs = [torch.tensor(array, dtype=kind) for array in problem(cell, **options)[0]]
    for got, reference in zip(call(ours, *inputs), call(theirs, *inputs), strict=True):
        assert (got.dtype, got.shape) == (kind, reference.shape)
        assert (got - reference).abs().max() <= 8 * torch.finfo(kind).eps


@every_package
def test_a_trained_torch_module_predicts_the_same_in_every_face(package):
    options = STACKED["LSTM"]
    theirs, x = torch.nn.LSTM(I, H, **options), native("torch", problem("LSTM", **options)[0][0])
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (theirs(x)[0] - 1).square().mean().backward()
        optimizer.step()
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    module = build(package, "LSTM", **options)
    module.load_state_dict(torch.load(file))
    reference = named([leaf.detach() for leaf in call(theirs, x)])
    got = call(module, native(package, x.numpy()))
    assert_close(named([leaf.detach() if package == "torch" else leaf for leaf in got]), reference, 1e-5)


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


@pytest.mark.parametrize("transform", [lambda build: build, nnx.jit], ids=["eager", "traced"])
def test_jax_weights_follow_the_rngs(transform):
    key = np.asarray(jax.random.key_data(nnx.Rngs(5).params()), "<u4")
    module = transform(lambda: jax_impl.LSTM(I, H, rngs=nnx.Rngs(5)))()
    assert_close(module.state_dict(), weights("LSTM", seed=int.from_bytes(key.tobytes(), "little")), 0)


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


@pytest.mark.parametrize("package", ["numpy", "jax"])
def test_parameters_of_torch_load_in_any_state(package):
    """Leaves of autograd, bfloat16, and names with a prefix, which the error tells to take off."""
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
    with pytest.raises(InvalidInput, match=r"^weight_ih_l0: .*; a GRU's\?$"):
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


def test_a_swapped_batch_axis_is_guessed():
    x = np.zeros((B, T, I), "float32")
    for house in ("numpy", "jax", "torch"):
        hx = native(house, np.zeros((1, B, H), "float32"))
        with pytest.raises(InvalidInput, match=r"is x \(B, T, I\)\? then batch_first=True$"):
            build(house, "RNN")(native(house, x), hx)


def test_jax_takes_devices_by_name_and_refuses_rngs_without_dropout():
    assert build("jax", "RNN", device="cpu").weight_hh_l0.get_value().devices() == {jax.devices("cpu")[0]}
    with pytest.raises(InvalidInput, match=r"^device: expected a platform of JAX, such as 'cpu', got 'abacus'$"):
        build("jax", "RNN", device="abacus")
    with pytest.raises(InvalidInput, match=r"^rngs: expected a stream 'dropout' or 'default' for dropout, got"):
        jax_impl.RNN(I, H, 2, dropout=0.5, rngs=nnx.Rngs(params=0))
    with pytest.raises(InvalidType, match=r"^dtype: expected a dtype of NumPy or its name, got torch.float32$"):
        jax_impl.RNN(I, H, dtype=torch.float32, rngs=nnx.Rngs(0))

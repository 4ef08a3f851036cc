"""The modules of the three packages and torch.nn's own: how the tests here build one, call it, and differentiate it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import jax_impl
import numpy_impl
import torch_impl
from common.model.initial import initial_parameters
from common.model.spec import CELLS, ModelSpec
from tests.backend.modules.references import MODULES, TORCH_NN

T, B, I, H, P = 9, 5, 3, 7, 4
LENGTHS = np.array([4, 8, 1, 6, 8])  # not sorted, a tie, one step, and none as long as T
TOLERANCE = {"float64": 1e-11, "float32": 1e-5}
PACKAGES = {"numpy": numpy_impl, "jax": jax_impl, "torch": torch_impl, "torch.nn": TORCH_NN}
STACKED = {"RNN": {"num_layers": 2}, "LSTM": {"num_layers": 2, "bidirectional": True, "proj_size": P}}
STACKED |= {"GRU": {"num_layers": 2, "bidirectional": True}, "LSTM1997": {"num_layers": 2}}
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
    ("GRU", {}, ()),
    ("GRU", {"bias": False}, ("no hx",)),
    ("GRU", {"num_layers": 2, "bidirectional": True, "batch_first": True}, ("lengths",)),
    ("GRU", {"num_layers": 3}, ("unbatched",)),
    ("GRUCell", {}, ()),
    ("GRUCell", {"bias": False}, ("unbatched", "no hx")),
    ("LSTM1997", {}, ()),
    ("LSTM1997", {"num_layers": 2, "bidirectional": True, "batch_first": True}, ("lengths",)),
    ("LSTM1997", {"bias": False}, ("unbatched", "no hx")),
    ("LSTM1997Cell", {}, ()),
    ("LSTM1997Cell", {"bias": False}, ("unbatched",)),
]
MODELS = [v[:2] for i, v in enumerate(VARIANTS) if v[:2] not in [u[:2] for u in VARIANTS[:i]]]
every_cell = pytest.mark.parametrize("cell", CELLS)
every_model = pytest.mark.parametrize(("cell", "options"), MODELS, ids=str)
every_package = pytest.mark.parametrize("package", ["numpy", "jax", "torch"])


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


def build(package, cell, input_size: Any = I, hidden_size: Any = H, dtype: Any = "float32", **options):
    options["dtype"] = getattr(torch, dtype) if "torch" in package and isinstance(dtype, str) else dtype
    options = ({"rngs": nnx.Rngs(0)} if package == "jax" else {}) | options
    return getattr(PACKAGES[package], cell)(input_size, hidden_size, **options)


def loaded(package, cell, dtype="float32", seed=2, **options):
    """A module, or torch.nn's own module, with the weights of the seed."""
    module, params = build(package, cell, dtype=dtype, **options), weights(cell, dtype, seed, **options)
    module.load_state_dict(native("torch", params) if "torch" in package else params)
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
    if lengths is None or type(module) not in MODULES.values():
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


def transformed(way: str, run: Any, module: Any, *arguments: Any) -> Any:
    """A call of ``module`` as a trace or compiled by torch, or else compiled by JAX."""
    if way == "trace":
        module.requires_grad_(False)
        return torch.jit.trace(run, arguments, check_trace=False)
    if way == "compile":
        return torch.compile(run, backend="eager", fullgraph=True)
    return jax.jit(run)

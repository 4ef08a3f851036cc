"""What every step computed, from ``return_steps``, against the equations of each cell in a plain loop."""

import inspect
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.overrides import TorchFunctionMode

from common.errors import InvalidType
from common.model.cells import LAYERS
from common.model.layout import Weights, layer_suffixes, layer_weights
from common.model.spec import ModelSpec
from tests.backend.modules.calls import (
    LENGTHS,
    B,
    H,
    P,
    T,
    build,
    every_package,
    loaded,
    native,
    pack,
    problem,
    specify,
    transformed,
    weights,
)
from torch_impl import stack as torch_stack

pytestmark = pytest.mark.usefixtures("compile_quickly")
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
# A cell, its options, and how it is called.
CASES = [
    ("RNN", DEEP | {"batch_first": True}, ("lengths",)),
    ("LSTM", DEEP | {"proj_size": P}, ("lengths", "masks")),
    ("GRU", DEEP, ("lengths",)),
    ("LSTM1997", DEEP | {"batch_first": True}, ("lengths",)),
    ("LSTM", {"bidirectional": True}, ("unbatched",)),
    ("GRU", {"reset_after": False, "batch_first": True}, ()),
]
every_case = pytest.mark.parametrize(("cell", "options", "words"), CASES, ids=str)


def step(spec: ModelSpec, w: Weights, x: Any, h: Any, c: Any) -> dict[str, Any]:
    """One step of one sequence by definition: x (I,), h (P,) and c (H,) -> every quantity."""

    def sigmoid(a: Any) -> Any:
        return 1 / (1 + np.exp(-a))

    blocks = spec.kind.letters or ("h",)
    a = dict(zip(blocks, np.split(w.weight_ih @ x + w.bias_ih, len(blocks)), strict=True))
    q = dict(zip(blocks, np.split(w.weight_hh @ h + w.bias_hh, len(blocks)), strict=True))
    match spec.cell:
        case "RNN":
            return {"h": np.tanh(a["h"] + q["h"])}
        case "GRU":
            r, z = sigmoid(a["r"] + q["r"]), sigmoid(a["z"] + q["z"])
            before = w.weight_hh[2 * H :] @ (r * h) + w.bias_hh[2 * H :]
            n = np.tanh(a["n"] + (r * q["n"] if spec.reset_after else before))
            return {"h": (1 - z) * n + z * h, "r": r, "z": z, "n": n}
    gates = {name: (np.tanh if name == "g" else sigmoid)(a[name] + q[name]) for name in blocks}
    c = gates.get("f", 1) * c + gates["i"] * gates["g"]
    h = gates["o"] * np.tanh(c)
    return {"h": h if w.weight_hr is None else w.weight_hr @ h, "c": c} | gates


def by_definition(spec: ModelSpec, params: Any, x: Any, states: Any, lengths: Any, masks: Any) -> dict[str, Any]:
    """Every quantity (D*L, T, B, H) of a layer with these parameters, sequence by sequence; complex if they are."""
    D, kind = spec.num_directions, np.result_type(x, *states, *params.values())
    sizes = dict(zip(spec.state_names, spec.state_sizes, strict=True))
    shapes = {name: (spec.state_rows, T, x.shape[1], sizes.get(name, H)) for name in spec.kind.quantities}
    found = {name: np.zeros(shape, kind) for name, shape in shapes.items()}
    for row, suffix in enumerate(layer_suffixes(spec)):
        w, level = layer_weights(params, suffix), row // D
        if level and row % D == 0:
            x = np.concatenate(found["h"][row - D : row], axis=-1) * masks[level - 1]
        for b, length in enumerate(lengths):
            h, c = states[0][row, b], states[-1][row, b]
            for t in reversed(range(length)) if row % D else range(length):
                now = step(spec, w, x[t, b], h, c)
                h, c = now["h"], now.get("c")
                for name, value in now.items():
                    found[name][row, t, b] = value
    return found


class Case:
    """The arrays of a call, as a module takes them and, as ``core``, with the axes (T, B, ...)."""

    def __init__(self, cell: str, options: dict[str, Any], words: tuple[str, ...]):
        self.cell, self.options, self.words = cell, options, words
        self.spec, self.params = specify(cell, "float64", **options), weights(cell, "float64", **options)
        (x, *states), _ = problem(cell, "float64", words, **options)
        self.inputs, batch = [x, *states], B if "unbatched" not in words else 1
        self.lengths = LENGTHS if "lengths" in words else [T] * batch
        shape = self.spec.mask_shape(T, batch)
        self.masks = np.random.default_rng(5).choice([0.0, 2.0], shape) if "masks" in words else np.ones(shape)
        self.keywords = {name: getattr(self, name) for name in ("lengths", "masks") if name in words}
        self.core = self.to_core(self.inputs)
        if "lengths" in words:
            self.core[0][np.arange(T)[:, None] >= LENGTHS] = np.nan  # also in ``inputs``, of which it is a view
        self.shapes = {name: value.shape for name, value in self.expected(self.params, *self.core).items()}
        rng = np.random.default_rng(7)
        self.cotangents = {name: rng.normal(size=shape) for name, shape in self.shapes.items()}

    def expected(self, params: Any, x: Any, *states: Any) -> dict[str, Any]:
        return by_definition(self.spec, params, x, states, self.lengths, self.masks)

    def to_core(self, inputs: Any) -> list[Any]:
        """x (T, B, I) and the states (D*L, B, H) of the inputs of this call."""
        x, *states = [part[..., None, :] for part in inputs] if "unbatched" in self.words else inputs
        return [x.swapaxes(0, 1) if self.options.get("batch_first") else x, *states]

    def to_call(self, steps: dict[str, Any]) -> dict[str, Any]:
        """Quantities (D*L, T, B, H) with the axes of this call."""
        if "unbatched" in self.words:
            return {name: value[:, :, 0] for name, value in steps.items()}
        return {
            name: value.swapaxes(1, 2) if self.options.get("batch_first") else value for name, value in steps.items()
        }


def numpy_steps(case: Case) -> tuple[Any, dict[str, Any]]:
    module = loaded("numpy", case.cell, "float64", **case.options)
    return module(case.inputs[0], pack(case.inputs[1:]), **case.keywords, return_steps=True), {}


def torch_steps(case: Case) -> tuple[Any, dict[Any, Any]]:
    module = loaded("torch", case.cell, "float64", **case.options)
    params, inputs = dict(module.named_parameters()), [torch.tensor(a, requires_grad=True) for a in case.inputs]
    results = module(inputs[0], pack(inputs[1:]), **native("torch", case.keywords), return_steps=True)
    terms = [(results[2][name] * torch.tensor(d)).sum() for name, d in case.to_call(case.cotangents).items()]
    grads = map(np.asarray, torch.autograd.grad(terms, [*params.values(), *inputs]))
    return jax.tree.map(plain, results), dict(zip([*params, *range(3)], grads, strict=False))


def jax_steps(case: Case) -> tuple[Any, dict[Any, Any]]:
    def loss(module: Any, *inputs: Any) -> Any:
        results = module(inputs[0], pack(inputs[1:]), **case.keywords, return_steps=True)
        terms = jax.tree.map(jnp.vdot, results[2], case.to_call(case.cotangents))
        return sum(terms.values()), results

    with jax.enable_x64(True):
        module, inputs = loaded("jax", case.cell, "float64", **case.options), native("jax", case.inputs)
        differentiated = nnx.grad(loss, argnums=tuple(range(1 + len(inputs))), has_aux=True)
        (of_params, *of_inputs), results = nnx.jit(differentiated)(module, *inputs)
    return results, {name: of_params[name].get_value() for name in case.params} | dict(enumerate(of_inputs))


@every_case
def test_steps_and_their_gradients(cell: str, options: dict[str, Any], words: tuple[str, ...]) -> None:
    """Values by definition; the derivative in a random direction by the complex step through the definition."""
    case, of_package = Case(cell, options, words), {}
    expected = case.to_call(case.expected(case.params, *case.core))
    for compute in (numpy_steps, torch_steps, jax_steps):
        (y, _, steps), of_package[compute.__name__] = compute(case)
        assert steps.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(steps[name], value, rtol=0, atol=1e-13, err_msg=name)
        np.testing.assert_array_equal(y, np.concatenate(steps["h"][-case.spec.num_directions :], axis=-1))
    by_torch, by_jax = of_package["torch_steps"], of_package["jax_steps"]
    assert by_torch.keys() == by_jax.keys()
    for name, gradient in by_torch.items():
        np.testing.assert_allclose(by_jax[name], gradient, rtol=0, atol=1e-11 * np.abs(gradient).max(), err_msg=name)
    rng, tiny = np.random.default_rng(8), 1e-100
    moves = {name: rng.normal(size=gradient.shape) for name, gradient in by_torch.items()}
    params = {name: value + 1j * tiny * moves[name] for name, value in case.params.items()}
    core = case.to_core([part + 1j * tiny * moves[i] for i, part in enumerate(case.inputs)])
    moved = case.expected(params, *core)
    slope = sum((d * moved[name].imag).sum() for name, d in case.cotangents.items()) / tiny
    total = sum((moves[name] * gradient).sum() for name, gradient in by_torch.items())
    np.testing.assert_allclose(total, slope, rtol=1e-11)


def lstm(package: str) -> tuple[Any, Any]:
    module = loaded(package, "LSTM", bidirectional=True)
    return module, native(package, problem("LSTM", bidirectional=True)[0][:1])[0]


@every_package
def test_asking_changes_neither_y_nor_the_state(package: str) -> None:
    module, x = lstm(package)
    y, state, _ = module(x, lengths=LENGTHS, return_steps=True)
    without = module(x, lengths=LENGTHS)
    assert len(without) == 2
    for array, same in zip(jax.tree.leaves((y, state)), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(plain(array), plain(same))


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    """Each direction of each layer keeps h of every step alone: as an output of JAX's scan, as a stack in torch."""
    asked = {False: 1, True: 6}
    for return_steps, count in asked.items():
        module, x = lstm("jax")
        traced = jax.make_jaxpr(partial(module, return_steps=return_steps))(x)
        scans = [equation for equation in traced.eqns if equation.primitive.name == "scan"]
        assert [len(scan.outvars) - scan.params["num_carry"] for scan in scans] == [count] * 2
        module, x = lstm("torch")
        with Stacks() as stacks:
            module(x, return_steps=return_steps)
        assert stacks.count(T) == 2 * count
        assert len(stacks) == 2 * count + 2 + (6 if return_steps else 0)


class Stacks(TorchFunctionMode, list):
    """How many tensors each ``torch.stack`` in a block put together."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.stack:
            self.append(len(args[0]))
        return func(*args, **(kwargs or {}))


def test_a_long_sequence_without_a_graph_gives_them_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = lstm("torch")
    expected = module(x, lengths=LENGTHS, return_steps=True)
    monkeypatch.setattr(torch_stack, "BLOCK", 4)
    with torch.no_grad():
        torch.testing.assert_close(module(x, lengths=LENGTHS, return_steps=True), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
def test_those_of_a_packed_batch_are_padded(batch_first: bool) -> None:
    options: dict[str, Any] = {"bidirectional": True, "batch_first": batch_first}
    module, x = loaded("torch", "LSTM", **options), torch.tensor(problem("LSTM", **options)[0][0])
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first, enforce_sorted=False)
    y, state, steps = module(packed, return_steps=True)
    assert isinstance(y, PackedSequence)
    longest = x.narrow(1 if batch_first else 0, 0, max(LENGTHS))
    torch.testing.assert_close((state, steps), module(longest, lengths=LENGTHS, return_steps=True)[1:], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("way", ["trace", "compile", "jit"])
def test_traced_calls_give_them_for_other_lengths(way: str) -> None:
    """A length that is none makes no number in them either."""
    package = "jax" if way == "jit" else "torch"
    module, x = lstm(package)

    def run(x: Any, lengths: Any) -> Any:
        return tuple(module(x, lengths=lengths, return_steps=True)[2].values())

    first, good, wrong = native(package, [LENGTHS, LENGTHS[::-1].copy(), np.array([4, T + 1, 1, 6, 8])])
    written = transformed(way, run, module, x, first)
    for found, wanted in zip(written(x, good), run(x, good), strict=True):
        np.testing.assert_allclose(plain(found), plain(wanted), rtol=0, atol=1e-6)
    for found, wanted in zip(written(x, wrong), run(x, first), strict=True):
        assert np.isnan(plain(found)[:, :, 1]).all()
        np.testing.assert_allclose(np.delete(plain(found), 1, 2), np.delete(plain(wanted), 1, 2), rtol=0, atol=1e-6)


def plain(array: Any) -> np.ndarray:
    return np.asarray(array.detach() if isinstance(array, torch.Tensor) else array)


@pytest.mark.parametrize("cell", LAYERS)
def test_numpy_differentiates_as_it_was_when_they_are_changed(cell: str) -> None:
    (x, *_), (dy, *_) = problem(cell)
    found = []
    for value in (None, np.nan):
        module = loaded("numpy", cell)
        for array in module(x, return_steps=True)[2].values():
            array[:] = array if value is None else value
        found.append(module.backward(dy)[0])
    np.testing.assert_array_equal(*found)


@every_package
def test_a_wrong_flag_is_refused_and_a_cell_has_none(package: str) -> None:
    module, x = lstm(package)
    with pytest.raises(InvalidType, match=r"^return_steps: expected a bool, got int$"):
        module(x, return_steps=1)
    cell = build(package, "LSTMCell")
    assert "return_steps" not in inspect.signature(cell.forward if package == "torch" else cell.__call__).parameters

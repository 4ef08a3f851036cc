"""Calls of the modules with ``mask``, the valid steps, and with dropout by one mask for all steps."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from common.backend import registry
from common.errors import InvalidArray, InvalidInput
from common.model.layout import parameter_shapes
from common.model.masks import Masks
from common.model.spec import ModelSpec
from jax_impl import base as jax_base
from tests.backend.modules.calls import (
    LENGTHS,
    RESULTS,
    B,
    H,
    I,
    P,
    T,
    build,
    call,
    every_package,
    loaded,
    native,
    pack,
    problem,
    specify,
    transformed,
    weights,
)

pytestmark = [
    pytest.mark.usefixtures("compile_quickly"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
# Holes at the start, in the middle and at the end; a sequence of one step, one that lacks the first, and one whole.
HOLES = np.array([[int(letter) for letter in word] for word in ("011010110", "000010000", "011111111", "101010101")])
HOLES = np.concatenate([HOLES, np.ones((1, T), int)]).astype(bool).T
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
CASES = [("LSTM", DEEP | {"proj_size": P}), ("GRU", {"batch_first": True}), ("RNN", DEEP), ("LSTM1997", {})]
every_case = pytest.mark.parametrize(("cell", "options"), CASES, ids=str)
# Probabilities of dropout, each kind alone and two that differ.
DROPPED = [
    {"recurrent_dropout": 0.3},
    {"input_dropout": 0.3},
    {"dropout": 0.3},
    {"input_dropout": 0.2, "recurrent_dropout": 0.6},
    {"input_dropout": 0.6, "recurrent_dropout": 0.2},
]


def plain(array: Any) -> np.ndarray:
    return np.asarray(array.detach() if isinstance(array, torch.Tensor) else array)


def probe(package: str, name: str, size: int, batch: int, **options: Any) -> Any:
    """A module and its arguments, such that h of a step is the mask of x, or that of the state to the power t + 1."""
    spec = ModelSpec(cell="RNN", input_size=size, hidden_size=size, nonlinearity="relu", dtype="float32", **DEEP)
    params = {key: np.zeros(shape, "float32") for key, shape in parameter_shapes(spec).items()}
    for key, value in params.items():
        if key.startswith("weight_hh" if name == "recurrent" else "weight_ih_l0"):
            value[:] = np.eye(size)
    torch.manual_seed(1)
    module = build(package, "RNN", size, size, nonlinearity="relu", **DEEP, **options)
    module.load_state_dict(native(package, params))
    full = np.full if name == "recurrent" else (lambda shape, _, dtype: np.zeros(shape, dtype))
    x = np.ones((3, batch, size), "float32")
    return module, native(package, [x, full((4, batch, size), 1, "float32")])


def hidden(module: Any, arguments: Any, name: str) -> np.ndarray:
    """h of every step, for each row whose h shows the mask, in the order in which its direction takes the steps."""
    h = plain(module(*arguments, return_steps=True)[2]["h"])[: 4 if name == "recurrent" else 2].copy()
    h[1::2] = h[1::2, ::-1]
    return h


@pytest.mark.parametrize("options", DROPPED, ids=str)
@every_package
def test_masks_of_one_step_are_drawn_each_with_its_own_probability(package: str, options: dict[str, float]) -> None:
    """The rate, independent draws along every axis, one mask for all steps, another at the next call, none in eval."""
    for name in ("recurrent", "input"):
        p, powers = options.get(f"{name}_dropout", 0.0), np.arange(1, 4) if name == "recurrent" else np.ones(3)
        module, arguments = probe(package, name, 40, 30, **options)
        first, second = (hidden(module, arguments, name) for _ in range(2))
        mask = first[:, :1] > 0
        np.testing.assert_allclose(first, np.where(mask, (1 / (1 - p)) ** powers[:, None, None], 0), rtol=1e-5)
        if name == "input":
            assert np.array_equal(*mask), "one mask for both directions"
        drawn = mask[:, 0] if name == "recurrent" else mask[0, 0]
        assert abs(drawn.mean() - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / drawn.size), name
        for axis in range(drawn.ndim):
            differ, wanted = np.mean(np.diff(drawn, axis=axis)), 2 * p * (1 - p)
            assert abs(differ - wanted) <= 5 * np.sqrt(2 * wanted / drawn.size), axis
        assert np.array_equal(first, second) == (p == 0)
        module.eval()
        assert (hidden(module, arguments, name) == 1).all()


@every_package
def test_given_masks_act_also_when_every_step_is_asked_for(package: str) -> None:
    spec = specify("LSTM", **DEEP)
    (x, *hx), _ = problem("LSTM", **DEEP)
    rng = np.random.default_rng(6)
    shapes = (1, T, B, 2 * H), (B, I), (4, B, H)
    masks = Masks(*(rng.choice([0.0, 0.5, 2.0], shape).astype("float32") for shape in shapes))
    numpy, params = registry.load("numpy"), weights("LSTM", **DEEP)
    for given in (masks, Masks(input=masks.input), Masks(recurrent=masks.recurrent)):
        wanted, _ = numpy.forward(spec, params, x, tuple(hx), masks=given)
        arguments = native(package, x), pack(native(package, hx))
        keywords = {"masks": native(package, given), "mask": native(package, HOLES)}
        y, _, steps = loaded(package, "LSTM", **DEEP)(*arguments, masks=keywords["masks"], return_steps=True)
        np.testing.assert_allclose(plain(y), wanted, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(plain(y), np.concatenate(plain(steps["h"])[2:], axis=-1))
        wanted, _ = numpy.forward(spec, params, x, tuple(hx), masks=given, mask=HOLES)
        y = loaded(package, "LSTM", **DEEP)(*arguments, **keywords, return_steps=True)[0]
        np.testing.assert_allclose(plain(y), wanted, rtol=0, atol=1e-6)


@every_case
@every_package
def test_a_mask_leaves_the_valid_steps_as_a_sequence_of_their_own(
    package: str, cell: str, options: dict[str, Any]
) -> None:
    """Outputs, states, all gradients and every step; in JAX under jit. What is not valid may hold anything."""
    inputs, cotangents = problem(cell, "float64", **options)
    turned = partial(np.swapaxes, axis1=0, axis2=1) if options.get("batch_first") else np.asarray
    x, dy = turned(inputs[0]), turned(cotangents[0])  # (T, B, ...), views
    reference = {key: value for key, value in options.items() if key != "batch_first"}
    alone = []
    for b, valid in enumerate(HOLES.T):
        states = [[part[:, b : b + 1] for part in parts[1:]] for parts in (inputs, cotangents)]
        one = [x[valid, b : b + 1], *states[0]], [dy[valid, b : b + 1], *states[1]]
        alone.append(RESULTS["torch.nn"](loaded("torch.nn", cell, "float64", **reference), *one))
    x[~HOLES] = np.nan
    with jax.enable_x64(True):
        module = loaded(package, cell, "float64", **options)
        mask = np.ascontiguousarray(turned(HOLES))
        got = RESULTS[package](module, inputs, cotangents, mask=mask)
        steps = module(*native(package, [inputs[0], pack(inputs[1:])]), mask=native(package, mask), return_steps=True)[
            2
        ]
    for name in ("output 0", "gradient of input 0"):
        assert not turned(got[name])[~HOLES].any(), name
        for b, one in enumerate(alone):
            np.testing.assert_allclose(turned(got[name])[HOLES[:, b], b], one[name][:, 0], rtol=0, atol=1e-12)
    for i in range(1, len(inputs)):
        for name in (f"output {i}", f"gradient of input {i}"):
            wanted = np.concatenate([one[name] for one in alone], axis=1)
            np.testing.assert_allclose(got[name], wanted, rtol=0, atol=1e-12)
    for name in weights(cell, **options):
        np.testing.assert_allclose(got[name], sum(one[name] for one in alone), rtol=0, atol=1e-11)
    for name, value in steps.items():
        value = np.stack([turned(row) for row in plain(value)])
        assert not value[:, ~HOLES].any(), name
        assert value[:, HOLES].all(), name


@every_package
def test_a_mask_and_lengths_together_are_refused(package: str) -> None:
    module, x = build(package, "RNN"), native(package, problem("RNN")[0][0])
    for mask in (HOLES, native(package, HOLES)):
        with pytest.raises(InvalidInput, match=r"^mask: expected None where lengths are given, got both; "):
            module(x, lengths=LENGTHS, mask=mask)


def test_torch_refuses_a_mask_with_a_packed_sequence() -> None:
    packed = pack_padded_sequence(torch.zeros(T, B, I), torch.tensor(LENGTHS), enforce_sorted=False)
    with pytest.raises(InvalidInput, match=r"^mask: expected None with a PackedSequence, got Tensor$"):
        build("torch", "RNN")(packed, mask=torch.tensor(HOLES))


def test_torch_takes_a_mask_for_ragged_under_autocast() -> None:
    """c is then float32, as with lengths."""
    module, x = build("torch", "LSTM"), torch.tensor(problem("LSTM")[0][0])
    whole = torch.ones(T, B, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        results = [call(module, x, **keywords) for keywords in ({}, {"mask": whole}, {"lengths": np.full(B, T)})]
    of_x, of_mask, of_lengths = ([part.dtype for part in found] for found in results)
    assert of_mask == of_lengths != of_x


def test_torch_refuses_masks_of_dropout_on_another_device() -> None:
    module, x = build("torch", "RNN", num_layers=2), torch.zeros(T, B, I)
    layers, one, state = torch.ones(1, T, B, H), torch.ones(B, I), torch.ones(2, B, H)
    for masks, name in (
        (layers.to("meta"), "masks.layers"),
        (Masks(layers.to("meta"), one, state), "masks.layers"),
        (Masks(layers, one.to("meta"), state), "masks.input"),
        (Masks(layers, one, state.to("meta")), "masks.recurrent"),
    ):
        with pytest.raises(InvalidArray, match=rf"^{name}: expected the parameters' device cpu, got meta$"):
            module(x, masks=masks)


@pytest.mark.parametrize("cell", ["LSTM", "GRUCell"])
def test_torch_calls_a_module_without_memory(cell: str) -> None:
    module, real = build("torch", cell, device="meta"), build("torch", cell)
    x, *hx = native("torch", problem(cell)[0])
    found = call(module, x.to("meta"), *(part.to("meta") for part in hx))
    assert all(part.is_meta for part in found)
    assert [part.shape for part in found] == [part.shape for part in call(real, x, *hx)]


def test_numpy_keeps_a_mask_as_it_was_at_the_call() -> None:
    (x, *_), (dy, *_) = problem("RNN")
    found = []
    for spoil in (False, True):
        module, mask = loaded("numpy", "RNN"), HOLES.copy()
        module(x, mask=mask)
        mask[:] ^= spoil
        found.append(module.backward(dy)[0])
    assert np.array_equal(*found)


def shared(array: np.ndarray) -> np.ndarray:
    """A copy at an address that is a multiple of 64, whose memory JAX shares where it may."""
    buffer = np.empty(array.nbytes + 64, "uint8")
    start = -buffer.ctypes.data % 64
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


@pytest.mark.parametrize("name", ["lengths", "mask", "masks"])
def test_jax_copies_what_it_may_read_later(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"lengths": LENGTHS.astype("int32"), "mask": HOLES, "masks": np.ones((1, T, B, H), "float32")}
    given, entered, real = shared(arrays[name]), [], jax_base.stack.forward

    def forward(*arguments: Any, **keywords: Any) -> Any:
        entered.extend(jax.tree.leaves(arguments[4:]))
        return real(*arguments, **keywords)

    monkeypatch.setattr(jax_base.stack, "forward", forward)
    build("jax", "RNN", num_layers=2)(problem("RNN")[0][0], **{name: given})
    given[:] = 0
    (kept,) = entered
    assert np.array_equal(kept, arrays[name])


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("way", ["trace", "compile", "jit"])
def test_traced_calls_take_other_masks(way: str) -> None:
    package = "jax" if way == "jit" else "torch"
    module, x = loaded(package, "LSTM", bidirectional=True), native(package, problem("LSTM")[0][0])
    calls = []

    def run(x: Any, mask: Any) -> Any:
        calls.append(mask)
        y, (h, c), steps = module(x, mask=mask, return_steps=True)
        return y, h, c, steps["i"]

    first, other = native(package, [HOLES, HOLES[::-1].copy()])
    written = transformed(way, run, module, x, first)
    for mask in (first, other):
        found = written(x, mask)
        compiled = len(calls)
        for one, wanted in zip(found, run(x, mask), strict=True):
            np.testing.assert_allclose(plain(one), plain(wanted), rtol=0, atol=1e-6)
        calls[compiled:] = []
    if way != "compile":  # whose graph also runs the append
        assert len(calls) == 1
    assert np.abs(plain(run(x, first)[0]) - plain(run(x, other)[0])).max() > 1e-2

"""torch.jit.trace, torch.export and torch.compile: with other sizes a module gives its own numbers, or an error."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.errors import InvalidType
from common.model.cells import LAYERS
from tests.backend.modules.calls import B, I, T, build, every_cell, loaded, problem

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
Outputs = tuple[torch.Tensor, ...]


class Packed(torch.nn.Module):
    """A user's network around a PackedSequence."""

    def __init__(self, cell: str, **options: Any):
        super().__init__()
        self.rnn, self.batch_first = loaded("torch", cell, **options), options.get("batch_first", False)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Outputs:
        packed = pack_padded_sequence(x, lengths, self.batch_first, enforce_sorted=False)
        y, state = self.rnn(packed)
        y, _ = pad_packed_sequence(y, self.batch_first, total_length=x.shape[1 if self.batch_first else 0])
        return y, *flat(state)


class Padded(Packed):
    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Outputs:
        y, state = self.rnn(x, lengths=lengths)
        return y, *flat(state)


def flat(state: Any) -> Outputs:
    return state if isinstance(state, tuple) else (state,)


def batch(size: int, *, steps: int = T, batch_first: bool = False, seed: int = 0) -> torch.Tensor:
    shape = (size, steps, I) if batch_first else (steps, size, I)
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), dtype=torch.float32)


def traced(module: Callable[..., Any], *arguments: torch.Tensor) -> Any:
    with torch.no_grad():
        return torch.jit.trace(module, arguments, check_trace=False)


def assert_equal(found: Outputs, wanted: Outputs) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


OTHERS = [[9, 8, 1, 6, 8], [9, 9, 9, 9, 9], [1, 2, 3, 4, 9]]


@pytest.mark.parametrize("kind", [Packed, Padded])
@pytest.mark.parametrize(("cell", "options"), [("RNN", {}), ("LSTM", DEEP), ("GRU", {"batch_first": True})], ids=str)
def test_a_trace_takes_other_lengths_and_batches(kind: Any, cell: str, options: dict[str, Any]) -> None:
    net, first = kind(cell, **options), options.get("batch_first", False)
    trace = traced(net, batch(B, batch_first=first), torch.tensor([9, 4, 1, 6, 8]))
    empty = [[0, 9, 4, 0, 2], [0] * B] if kind is Padded else []
    for seed, lengths in enumerate([*OTHERS, *empty, [9, 2], [3, 9, 9, 1, 4, 7, 9]]):
        arguments = batch(len(lengths), batch_first=first, seed=seed), torch.tensor(lengths)
        assert_equal(trace(*arguments), net(*arguments))
    with pytest.raises(RuntimeError):
        trace(batch(B, steps=T - 1, batch_first=first), torch.tensor([8, 4, 1, 6, 8]))
    if kind is Padded:  # pack_padded_sequence itself leaves out sequences that have no length
        with pytest.raises(RuntimeError):
            trace(batch(B, batch_first=first), torch.tensor([9, 4]))


@pytest.mark.parametrize("way", ["trace", "export", "compile"])
@pytest.mark.parametrize("wrong", [-1, T + 1])
def test_a_length_that_is_none_makes_no_number(wrong: int, way: str) -> None:
    net, x, good = Padded("LSTM", **DEEP), batch(B), torch.tensor([9, 4, 1, 6, 8])
    match way:
        case "trace":
            written = traced(net, x, good)
        case "export":
            written = torch.export.export(net, (x, good)).module()
        case _:
            written = torch.compile(net, backend="eager", fullgraph=True)
    lengths = torch.tensor([9, wrong, 1, 6, 8])
    for found, wanted in zip(written(x, lengths), net(x, good), strict=True):
        assert found[:, 1].isnan().all()
        rest = [0, 2, 3, 4]
        torch.testing.assert_close(found[:, rest], wanted[:, rest], rtol=0, atol=1e-6)


def test_gradients_of_a_compiled_length_that_is_none_are_nan() -> None:
    net = Padded("RNN")
    y, _ = torch.compile(net, backend="eager", fullgraph=True)(batch(B), torch.tensor([9, -1, 1, 6, 8]))
    y[:, 0].sum().backward()  # not even of the sequence itself
    assert all(param.grad is not None and param.grad.isnan().all() for param in net.parameters())


@every_cell
def test_a_trace_takes_states_of_the_batch_alone(cell: str) -> None:
    module = loaded("torch", cell).requires_grad_(False)
    x, *hx = (torch.tensor(array) for array in problem(cell)[0])

    def run(x: torch.Tensor, *hx: torch.Tensor) -> Outputs:
        found = module(x, hx if len(hx) == 2 else hx[0])
        return (found[0], *flat(found[1])) if cell in LAYERS else flat(found)

    trace, axis = traced(run, x, *hx), -2
    fewer = [part.narrow(axis, 1, 3) for part in (x, *hx)]
    assert_equal(trace(*fewer), run(*fewer))
    for size in (1, 3):
        with pytest.raises(RuntimeError):
            trace(x, *(part.narrow(axis, 0, size) for part in hx))
    without = traced(lambda x: module(x), x)
    assert_equal(jax_flat(without(fewer[0])), jax_flat(module(fewer[0])))


def jax_flat(tree: Any) -> Outputs:
    return tuple(leaf for part in tree for leaf in jax_flat(part)) if isinstance(tree, tuple) else (tree,)


@pytest.mark.parametrize(("axes", "other"), [((T, I), (T, B, I)), ((T, B, I), (T, I))], ids=str)
def test_a_trace_with_a_batch_refuses_input_without_one(axes: tuple[int, ...], other: tuple[int, ...]) -> None:
    module = loaded("torch", "RNN").requires_grad_(False)
    trace = traced(lambda x: module(x)[0], torch.ones(axes))
    torch.testing.assert_close(trace(torch.ones(axes)), module(torch.ones(axes))[0])
    with pytest.raises(RuntimeError):
        trace(torch.ones(other))


@pytest.mark.parametrize("lengths", [[2], (2,), np.array([2])], ids=["list", "tuple", "array"])
def test_lengths_that_are_no_tensor_are_refused_while_tracing(lengths: Any) -> None:
    """The trace would keep their values, whatever it is called with."""
    module = loaded("torch", "RNN").requires_grad_(False)
    with pytest.raises(InvalidType, match=r"^lengths: expected a tensor under torch.jit.trace, got "):
        torch.jit.trace(lambda x: module(x, lengths=lengths)[0], batch(1), check_trace=False)
    mask = np.ones(batch(1).shape[:2], bool)
    with pytest.raises(InvalidType, match=r"^mask: expected a tensor under torch.jit.trace, got ndarray; a trace "):
        torch.jit.trace(lambda x: module(x, mask=mask)[0], batch(1), check_trace=False)


def test_transforms_of_torch_func_take_lengths() -> None:
    """Inside them a tensor has no values to check; one that is out of range makes NaN."""
    module, x = loaded("torch", "RNN"), batch(3)
    lengths = torch.tensor([4, 0, 2])

    def total(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return module(x, lengths=lengths)[0].square().sum()

    leaf = x.clone().requires_grad_()
    total(leaf, lengths).backward()
    torch.testing.assert_close(torch.func.grad(total)(x, lengths), leaf.grad)
    several = torch.stack([lengths, torch.tensor([1, 3, 3]), torch.tensor([1, 99, 3])])
    expected = torch.stack([total(x, lengths), total(x, several[1]), torch.tensor(torch.nan)])
    found = torch.func.vmap(total, in_dims=(None, 0))(x, several)
    torch.testing.assert_close(found, expected.to(found.dtype), equal_nan=True)


@pytest.mark.parametrize("packed", [True, False])
def test_a_trace_draws_masks_for_the_batch_that_it_is_given(packed: bool) -> None:
    net = build("torch", "RNN", num_layers=2, dropout=0.5).requires_grad_(False)

    def run(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if not packed:
            return net(x, lengths=lengths)[0]
        return pad_packed_sequence(net(pack_padded_sequence(x, lengths, enforce_sorted=False))[0], total_length=T)[0]

    trace, found = traced(run, batch(B), torch.tensor([9, 4, 1, 6, 8])), []
    for lengths in ([9, 9, 9, 9, 9], [9, 1, 1, 1, 1], [9, 3]):
        arguments = batch(len(lengths)), torch.tensor(lengths)
        for function in (trace, run):
            torch.manual_seed(2)
            found.append(function(*arguments))
        torch.testing.assert_close(*found[-2:])
    assert (found[0][:, :2] - found[-1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", [torch.tensor, list, np.array])
def test_compiled_and_exported_modules_take_other_lengths_and_batches(kind: Any) -> None:
    net = Padded("LSTM", **DEEP)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    for lengths in ([9, 4, 0, 6, 8], [1, 2, 3, 4, 9], [3, 9]):
        arguments = batch(len(lengths)), kind(lengths)
        assert_equal(compiled(*arguments), net(*arguments))
    if kind is torch.tensor:
        size = torch.export.Dim("size", min=2)
        given = batch(B), torch.tensor([9, 4, 1, 6, 8])
        exported = torch.export.export(net, given, dynamic_shapes=({1: size}, {0: size})).module()
        for lengths in ([9, 4, 0, 6, 8], [1, 2, 3, 4, 9], [3, 9]):
            arguments = batch(len(lengths)), kind(lengths)
            assert_equal(exported(*arguments), net(*arguments))
        with pytest.raises((RuntimeError, AssertionError)):
            exported(batch(B, steps=T - 1), torch.tensor([8, 4, 0, 6, 8]))

"""Autocast, torch.fx, torch.jit.script and FakeTensorMode: what torch.nn's modules do, ours do or refuse."""

from typing import Any

import pytest
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import pack_padded_sequence

import torch_impl
from common.errors import InvalidDtype, InvalidInput, InvalidType
from common.model.spec import CELLS
from tests.backend.in_torch.test_torch_drop_in import DEEP, LAYERS, PEERS, inputs, leaves, pair
from tests.backend.modules.calls import B, H, I, P, T, build, loaded

NARROW, WIDE, HALF = torch.bfloat16, torch.float32, torch.float16
# A cell, its options, whether x is packed, and the dtypes of autocast, the parameters, x and hx (None: no hx).
MIXED = [
    *((cell, {}, False, NARROW, WIDE, x, hx) for cell in PEERS for x in (WIDE, NARROW) for hx in (None, WIDE, NARROW)),
    *((cell, {}, False, HALF, WIDE, HALF, hx) for cell in PEERS for hx in (None, WIDE)),
    *((cell, {}, False, NARROW, NARROW, WIDE, WIDE) for cell in PEERS),
    *((cell, {}, False, NARROW, torch.float64, torch.float64, torch.float64) for cell in PEERS),
    *((cell, DEEP, packed, NARROW, WIDE, WIDE, None) for cell in LAYERS for packed in (False, True)),
    *((cell, {}, True, NARROW, WIDE, WIDE, NARROW) for cell in LAYERS),
    *(("LSTM", {"proj_size": P}, False, NARROW, WIDE, WIDE, hx) for hx in (None, NARROW)),
]


def packed_leaves(result: Any) -> list[torch.Tensor]:
    if isinstance(result, tuple) and hasattr(result[0], "batch_sizes"):
        return [result[0].data, *leaves(result[1])]
    return leaves(result)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("cell", "options", "packed", "low", "dtype", "of_x", "of_hx"), MIXED, ids=str)
def test_autocast_gives_the_dtypes_and_nearly_the_values_of_torch_nn(
    cell: str, options: Any, packed: bool, low: Any, dtype: Any, of_x: Any, of_hx: Any
) -> None:
    x, hx = inputs(cell, **options)
    hx = None if of_hx is None else tuple(h.to(of_hx) for h in hx) if isinstance(hx, tuple) else hx.to(of_hx)
    results = []
    for module in pair(cell, dtype=dtype, **options):
        leaf = x.to(of_x).requires_grad_()
        given: Any = pack_padded_sequence(leaf, torch.tensor([9, 7, 4, 4, 1])) if packed else leaf
        with torch.autocast("cpu", low):
            outputs = packed_leaves(module(given, hx))
        generator = torch.Generator().manual_seed(1)
        total = sum((o.double() * torch.randn(o.shape, generator=generator)).sum() for o in outputs)
        results.append([*outputs, *torch.autograd.grad(total, [leaf, *module.parameters()])])  # pyright: ignore
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        tolerance = 1e-12 if dtype == torch.float64 else 0.05
        assert (ours - theirs).abs().max() <= tolerance * max(theirs.abs().max(), 0.1)


@pytest.mark.parametrize("cell", CELLS)
def test_modules_follow_one_another_under_autocast(cell: str) -> None:
    first, second = build("torch", cell), getattr(torch_impl, cell)(H, H)
    x, hx = inputs(cell)
    plain = leaves(second(leaves(first(x, hx))[0]))
    with torch.autocast("cpu", NARROW):
        result = first(nn.Linear(I, I)(x), hx)
        state = result if first.spec.is_cell else result[1]
        first(x, state)
        found = leaves(second(leaves(first(x, state))[0]))
        assert [each.shape for each in found] == [each.shape for each in plain]
        near = leaves(second(leaves(first(x, hx))[0]))
        if not first.spec.is_cell:
            first(x, hx, lengths=torch.tensor([9, 4, 0, 6, 8]))
        for wrong in (x.double(), x.long()):
            with pytest.raises(InvalidDtype, match=r"^x: expected .*bfloat16.* under autocast, got torch\.\w+$"):
                first(wrong)
    assert all(((a - b).abs() < 0.05).all() for a, b in zip(near, plain, strict=True))
    with pytest.raises(
        InvalidDtype, match=r"^x: expected torch.float32, in which this call computes, got torch.bfloat16$"
    ):
        first(x.to(NARROW))


class Net(nn.Module):
    """A user's network around a module."""

    def __init__(self, rnn: nn.Module):
        super().__init__()
        self.before, self.rnn = nn.Linear(I, I), rnn

    def forward(self, x: torch.Tensor, hx: Any = None) -> Any:
        return self.rnn(self.before(x), hx)


@pytest.mark.parametrize("cell", CELLS)
def test_fx_takes_a_module_as_a_leaf(cell: str) -> None:
    net, (x, hx) = Net(loaded("torch", cell)), inputs(cell)
    traced = fx.symbolic_trace(net)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["before", "rnn"]
    for arguments in ((x,), (x, hx)):
        assert all(map(torch.equal, leaves(traced(*arguments)), leaves(net(*arguments))))
    with pytest.raises(InvalidInput, match=rf"^torch\.fx: expected .*, got {cell}\(3, 7\); .* leaf$"):
        fx.symbolic_trace(net.rnn)


def test_fx_keeps_a_state_and_lengths_that_are_being_traced() -> None:
    class Ragged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = loaded("torch", "LSTM")

        def forward(self, x: Any, h: Any, c: Any, lengths: Any) -> Any:
            y, state = self.rnn(x, (h, c), lengths=lengths)
            return y * 2, state, self.rnn(torch.ones(T, B, I), (h, c))[1]

    net, (x, (h, c)) = Ragged(), inputs("LSTM")
    arguments = x, h, c, torch.tensor([9, 4, 0, 6, 8])
    assert all(map(torch.equal, leaves(fx.symbolic_trace(net)(*arguments)), leaves(net(*arguments))))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
@pytest.mark.parametrize("cell", CELLS)
def test_script_is_refused_by_name_and_fake_tensors_are_taken(cell: str) -> None:
    net, x = Net(loaded("torch", cell)), inputs(cell)[0]
    for module in (net, net.rnn):
        with pytest.raises(
            InvalidType, match=rf"^torch\.jit\.script: expected .*, got {cell}\(3, 7\); use torch.jit.trace"
        ):
            torch.jit.script(module)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = leaves(net(mode.from_tensor(x)))
        built = leaves(build("torch", cell)(torch.ones(x.shape)))
    for fake, real in zip((*fakes, *built), leaves(net(x)) * 2, strict=True):
        assert (fake.shape, fake.dtype) == (real.shape, real.dtype)

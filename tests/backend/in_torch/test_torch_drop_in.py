"""A user who swaps torch.nn for torch_impl notices nothing: initial weights, attributes, errors, empty batches."""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import torch_impl
from common.errors import InvalidArray, InvalidDtype, InvalidInput, InvalidType
from common.model.spec import CELLS
from tests.backend.modules.calls import H, I, P, build, native, problem, weights
from torch_impl import native as boundary
from torch_impl import stack

PEERS = [cell for cell in CELLS if hasattr(nn, cell)]
LAYERS = [cell for cell in PEERS if not cell.endswith("Cell")]
every_peer = pytest.mark.parametrize("cell", PEERS)
every_layer = pytest.mark.parametrize("cell", LAYERS)


def leaves(tree: Any) -> list[torch.Tensor]:
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, tuple) else [tree]


def pair(cell: str, **options: Any) -> tuple[Any, Any]:
    """Ours and torch.nn's, with the same weights."""
    ours, theirs = (getattr(package, cell)(I, H, **options) for package in (torch_impl, nn))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def inputs(cell: str, **options: Any) -> tuple[torch.Tensor, Any]:
    x, *state = native("torch", problem(cell, **options)[0])
    return x, tuple(state) if len(state) == 2 else state[0]


OPTIONS = [{}, {"bias": False}, {"dtype": torch.bfloat16}, {"dtype": torch.float64}]
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True}


@every_peer
def test_initial_weights_are_those_of_torch_nn_under_one_seed(cell: str) -> None:
    for options in [*OPTIONS, *([DEEP] if cell in LAYERS else []), *([{"proj_size": P}] if cell == "LSTM" else [])]:
        drawn = []
        for package in (torch_impl, nn):
            torch.manual_seed(3)
            module = getattr(package, cell)(I, 48, **options)  # 48**-0.5 is not 1/sqrt(48)
            constructed = [p.detach().clone() for p in module.parameters()]
            module.reset_parameters()
            drawn.append([*constructed, *(p.detach() for p in module.parameters()), torch.rand(2)])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(*drawn, strict=True)), options
        assert not torch.equal(drawn[0][0], drawn[0][len(drawn[0]) // 2])


@pytest.mark.parametrize("cell", CELLS)
def test_a_module_made_without_memory_is_drawn_later(cell: str) -> None:
    with torch.device("meta"):
        module = getattr(torch_impl, cell)(I, H, seed=5)
    assert all(p.is_meta for p in module.parameters())
    module = module.to_empty(device="cpu")
    for parameter in module.parameters():
        nn.init.constant_(parameter, 7)
    module.reset_parameters()
    for name, value in weights(cell, seed=5).items():
        assert np.array_equal(getattr(module, name).detach().numpy(), value)
    skipped = nn.utils.skip_init(getattr(torch_impl, cell), I, H)
    assert [p.device.type for p in skipped.parameters()] == ["cpu"] * len(list(module.parameters()))


def test_a_seed_cannot_draw_what_a_parametrization_computes() -> None:
    module: Any = torch_impl.GRU(I, H, seed=1)
    before = module.weight_hh_l0.detach().clone()
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    module.reset_parameters()
    assert torch.equal(module.weight_hh_l0, before)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    with pytest.raises(InvalidInput, match=r"^reset_parameters with a seed: .*, got weight_hh_l0 as the result"):
        module.reset_parameters()


def test_the_forget_bias_is_set_when_weights_are_drawn_again() -> None:
    module: Any = torch_impl.LSTM(I, H, 2, forget_bias=1.5)
    before = module.weight_hh_l1.detach().clone()
    module.reset_parameters()
    assert not torch.equal(module.weight_hh_l1, before)
    assert (module.bias_ih_l1[H : 2 * H] == 1.5).all()
    assert not module.bias_hh_l1[H : 2 * H].any()
    assert module.bias_hh_l1[:H].all()


@every_layer
def test_layers_have_what_users_of_rnn_base_read(cell: str) -> None:
    ours, theirs = pair(cell, **DEEP)
    assert ours.mode == theirs.mode
    assert [[p.shape for p in layer] for layer in ours.all_weights] == [
        [p.shape for p in layer] for layer in theirs.all_weights
    ]
    flat = [parameter for layer in ours.all_weights for parameter in layer]
    assert all(a is b for a, b in zip(flat, ours.parameters(), strict=True))
    assert not isinstance(ours, nn.RNNBase)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normed = [nn.utils.weight_norm(module, "weight_hh_l1") for module in (ours, theirs)]
    kinds = [[type(p) for p in module._flat_weights] for module in normed]
    assert kinds[0] == kinds[1]
    assert kinds[0].count(torch.Tensor) == 1


def test_dropout_may_be_set() -> None:
    module, x = torch_impl.RNN(I, H, 2), torch.ones(4, 2, I)
    plain = module(x)[0]
    module.dropout = 0.5
    assert not torch.equal(module(x)[0], plain)
    assert "dropout=0.5" in repr(module)
    module.dropout = 0
    assert torch.equal(module(x)[0], plain)
    with pytest.raises(InvalidInput, match=r"^dropout: expected a probability .*, got 1.5$"):
        module.dropout = 1.5


WRONG: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "size of x": lambda x, hx: (x[..., 1:], hx),
    "size of hx": lambda x, hx: (x, tuple(h[..., 1:] for h in hx) if isinstance(hx, tuple) else hx[..., 1:]),
    "batch of hx": lambda x, hx: (x, tuple(h[..., 1:, :] for h in hx) if isinstance(hx, tuple) else hx[..., 1:, :]),
    "device of x": lambda x, hx: (x.to("meta"), hx),
}


@pytest.mark.parametrize("wrong", WRONG)
@every_peer
def test_who_catches_the_errors_of_torch_catches_ours(cell: str, wrong: str) -> None:
    arguments = WRONG[wrong](*inputs(cell))
    ours, theirs = pair(cell)
    for module in (ours, theirs):
        with pytest.raises(RuntimeError):
            module(*arguments)
    with pytest.raises(InvalidArray):
        ours(*arguments)


@every_peer
def test_a_wrong_dtype_is_the_error_that_torch_raises(cell: str) -> None:
    x, hx = inputs(cell)
    ours, theirs = pair(cell)
    with pytest.raises((ValueError, RuntimeError)) as caught:
        theirs(x.double(), hx)
    with pytest.raises(type(caught.value)) as mine:
        ours(x.double(), hx)
    assert isinstance(mine.value, InvalidDtype)
    assert isinstance(mine.value, TypeError)


@every_peer
def test_an_empty_batch_gives_what_torch_gives(cell: str) -> None:
    x, hx = inputs(cell)
    empty = x.narrow(-2, 0, 0).requires_grad_(), each_part(lambda h: h.narrow(-2, 0, 0), hx)
    ours, theirs = pair(cell)
    found, wanted = leaves(ours(*empty)), leaves(theirs(*empty))
    assert [(each.shape, each.dtype) for each in found] == [(each.shape, each.dtype) for each in wanted]
    sum(each.sum() for each in found).backward()  # pyright: ignore
    assert all(p.grad is not None and not p.grad.any() for p in ours.parameters())
    assert empty[0].grad is not None
    if cell in LAYERS:
        for module in (ours, theirs):
            with pytest.raises(RuntimeError, match=r"(?i)sequence length to be larger than 0|at least one step"):
                module(x[:0], hx)
        lengths = torch.zeros(0, dtype=torch.long)
        assert ours(empty[0], lengths=lengths)[0].shape == wanted[0].shape
        for module in pair(cell, batch_first=True):
            assert module(torch.ones(0, 4, I))[0].shape == (0, 4, H)
            with pytest.raises(RuntimeError):
                module(torch.ones(4, 0, I))


def each_part(change: Callable[[torch.Tensor], torch.Tensor], hx: Any) -> Any:
    return tuple(map(change, hx)) if isinstance(hx, tuple) else change(hx)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("assign", [False, True])
def test_arrays_of_numpy_and_jax_load(kind: Any, assign: bool) -> None:
    params = weights("LSTM")
    module = nn.Sequential(build("torch", "LSTM"))
    given = {f"0.{name}": kind(value) for name, value in params.items()}
    module.load_state_dict(given, assign=assign)
    for name, parameter in module[0].named_parameters():
        assert np.array_equal(parameter.detach().numpy(), params[name])
        parameter.data.zero_()  # of no effect on what was given
        assert np.array_equal(given[f"0.{name}"], params[name])
    narrow = {name: jnp.asarray(value, "bfloat16") for name, value in params.items()}
    wide = {name: np.asarray(value.astype("float32")) for name, value in narrow.items()}
    module[0].load_state_dict(narrow, assign=assign)
    assert all(np.array_equal(p.detach().numpy(), wide[name]) for name, p in module[0].named_parameters())


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda value: value.astype("float64"), "float64; .*cast it yourself first"),
        (lambda value: value.astype("int64"), "int64"),
        (lambda value: value.astype(object), "object"),
        (lambda value: np.ma.masked_array(value, value > 0), "MaskedArray; .*"),
    ],
)
def test_arrays_that_would_change_are_refused(change: Any, got: str) -> None:
    params = weights("LSTM")
    with pytest.raises(InvalidType, match=rf"^bias_hh_l0: expected .*, got {got}$"):
        build("torch", "LSTM").load_state_dict(params | {"bias_hh_l0": change(params["bias_hh_l0"])})
    swapped = {name: value.astype(value.dtype.newbyteorder()) for name, value in params.items()}
    module = build("torch", "LSTM")
    module.load_state_dict(swapped)
    assert np.array_equal(module.weight_hh_l0.detach().numpy(), params["weight_hh_l0"])


def test_threads_leave_the_precision_of_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    switches: list[Any] = ["medium", True]

    def turn(matmul: str, cudnn: bool) -> None:
        switches[0] = matmul
        gap.wait(0.001)  # let the other threads in between the two
        switches[1] = cudnn

    gap, wrong, barrier = threading.Event(), [], threading.Barrier(8)
    monkeypatch.setattr(boundary._Switches, "read", staticmethod(lambda: tuple(switches)))
    monkeypatch.setattr(boundary._Switches, "turn", staticmethod(turn))

    def work(seed: int) -> None:
        barrier.wait()
        for _ in range(5):
            with boundary.precision():
                if tuple(switches) != ("highest", False):
                    wrong.append(tuple(switches))
                gap.wait(0.0005 * (seed % 3))
                if tuple(switches) != ("highest", False):
                    wrong.append(tuple(switches))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert switches == ["medium", True]


def test_the_precision_is_the_process_s_own_again() -> None:
    def broken() -> None:
        with boundary.precision(), boundary.precision():
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
            raise KeyError

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("medium")
    try:
        with pytest.raises(KeyError):
            broken()
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("medium", before[1])
        build("torch", "LSTM")(torch.ones(2, 3, I))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before[0])


@pytest.mark.parametrize("graph", ["no_grad", "inference_mode", "frozen", "grad"])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.endswith("Cell")])
def test_a_long_sequence_is_taken_in_blocks_where_no_graph_is_kept(
    cell: str, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, (x, hx) = build("torch", cell, **DEEP), inputs(cell, **DEEP)
    sizes: list[int] = []
    equations = stack.SEQUENCES[cell]

    def spy(w: Any, x: torch.Tensor, *state: Any, **options: Any) -> Any:
        sizes.append(len(x))
        return genuine(w, x, *state, **options)

    genuine = equations.forward
    monkeypatch.setattr(equations, "forward", spy)
    lengths = torch.tensor([9, 4, 0, 6, 8])
    wanted = leaves(module(x, hx, lengths=lengths))
    assert set(sizes) == {9}
    monkeypatch.setattr(stack, "BLOCK", 4)
    sizes.clear()
    module.requires_grad_(graph != "frozen")
    context = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}.get(graph, torch.enable_grad)
    with context():
        found = leaves(module(x, hx, lengths=lengths))
    assert sizes == ([9] if graph == "grad" else [4, 4, 1]) * 4
    for a, b in zip(found, wanted, strict=True):
        assert a.requires_grad == (graph == "grad")
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=1e-6, check_stride=False)

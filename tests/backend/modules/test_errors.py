"""Every wrong call that torch.nn rejects is rejected by the idiomatic modules, in one line: name, expected, got."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from common.errors import InvalidInput, InvalidType
from common.model.cells import CELLS, LAYERS, TABLE
from tests.backend.modules.calls import LENGTHS, B, H, I, P, T, build, call, native, problem

STEPS = tuple(cell for cell in CELLS if TABLE[cell].is_step)
LONG = tuple(cell for cell in CELLS if len(TABLE[cell].states) == 2)
SHORT = tuple(cell for cell in CELLS if cell not in LONG)


class Row(NamedTuple):
    """What is wrong, the call, the argument that the message names, and what it says, as regular expressions.

    ``call(package, cell)`` builds a module and calls it. ``torch`` is True where torch.nn raises too, else the reason
    why it does not. ``promotes`` is whether JAX takes the call, as Flax promotes the dtypes.
    """

    name: str
    cells: tuple[str, ...]
    call: Callable[[str, str], Any]
    argument: str
    expected: str
    got: str
    torch: bool | str = True
    promotes: bool = False


def constructs(**options: Any) -> Callable[[str, str], Any]:
    return lambda package, cell: build(package, cell, **options)


def calls(change: Callable[..., Any], words: tuple[str, ...] = (), traced: bool = True, **options: Any) -> Any:
    """A good call, changed: ``change`` takes x and hx, as arrays of NumPy, and gives x, hx and perhaps lengths."""

    def run(package: str, cell: str, transform: Callable[..., Any] = lambda function: function) -> Any:
        x, *hx = problem(cell, words=words, **options)[0]
        x, hx, *lengths = native(package, change(x, tuple(hx) if len(hx) == 2 else hx[0]))
        module = build(package, cell, **options)
        return transform(send)(module, x, hx, *lengths)

    run.traced = traced  # pyright: ignore
    return run


def send(module: Any, x: Any, hx: Any, lengths: Any = None) -> Any:
    if lengths is None:
        return module(x, hx)
    return call(module, x, *(hx if isinstance(hx, tuple) else (hx,)), lengths=lengths)


def each(hx: Any, change: Callable[[Any], Any]) -> Any:
    """The state with every part changed."""
    return tuple(map(change, hx)) if isinstance(hx, tuple) else change(hx)


def wrong_c(x: Any, hx: Any) -> Any:
    return x, (hx[0], hx[1][:, 1:])


def half_c(x: Any, hx: Any) -> Any:
    return x, (hx[0], hx[1].astype("float16"))


def swapped(x: Any, hx: Any) -> Any:
    return x, hx[::-1]


def of_x(name: str, cells: tuple[str, ...], change: Callable[[Any], Any], expected: str, got: str, **more: Any) -> Row:
    return Row(name, cells, calls(lambda x, hx: (change(x), hx), **more), "x", expected, got)


def of_hx(name: str, cells: tuple[str, ...], change: Callable[[Any], Any], expected: str, got: str, **more: Any) -> Row:
    """The state is wrong in all its parts; the message names the first."""
    return Row(name, cells, calls(lambda x, hx: (x, each(hx, change)), **more), r"hx(\[0\])?", expected, got)


def promoting(row: Row) -> Row:
    return row._replace(promotes=True)


def of_pair(name: str, change: Callable[[Any], Any], got: str) -> Row:
    return Row(name, LONG, calls(lambda x, hx: (x, change(hx))), "hx", r"a pair \(h, c\) for .*", got)


def of_lengths(
    name: str, change: Callable[[Any], Any], expected: str, got: str, raises: Any = True, **more: Any
) -> Row:
    given = calls(lambda x, hx: (x, hx, change(LENGTHS)), **more)
    return Row(name, LAYERS, given, "lengths", expected, got, raises)


def of_init(name: str, cells: tuple[str, ...], expected: str, got: str, raises: Any = True, **options: Any) -> Row:
    """The message names the last of the options."""
    return Row(name, cells, constructs(**options), list(options)[-1], expected, got, raises)


def shape(*axes: Any) -> str:
    return re.escape(str(axes)) + ".*"


FLAT = {"words": ("unbatched",)}
STATE, UNBATCHED = "hx without a batch axis, x with one", "hx with a batch axis, x without one"
SILENT, TRUTH = "makes a module without a number in it", "takes any true value"
CELL_RANK, LAYER_RANK = "2 axes .*, or 1 unbatched .*", "3 axes .*, or 2 unbatched .*"
ARRAY, FLOAT32, P01, SIZES = (
    "an array of type .*",
    ".*float32, .*",
    r"a probability in \[0, 1\]",
    "0 .*, below hidden_size",
)
ROWS = [
    of_x("x of another size", LAYERS, lambda x: x[..., 1:], shape(T, B, I), shape(T, B, I - 1)),
    of_x("x of another size", STEPS, lambda x: x[..., 1:], shape(B, I), shape(B, I - 1)),
    of_x("x of another size, 2", LAYERS, lambda x: x[..., 1:], shape(B, T, I), shape(B, T, I - 1), batch_first=True),
    of_x("unbatched x of another size", LAYERS, lambda x: x[..., 1:], shape(T, I), shape(T, I - 1), **FLAT),
    of_x("unbatched x of another size", STEPS, lambda x: x[..., 1:], shape(I), shape(I - 1), **FLAT),
    of_x("x of 0 axes", LAYERS, lambda x: np.zeros((), "float32"), LAYER_RANK, "0 of .*"),
    of_x("x of 0 axes", STEPS, lambda x: np.zeros((), "float32"), CELL_RANK, "0 of .*"),
    of_x("x of 1 axis", LAYERS, lambda x: x[0, 0], LAYER_RANK, "1 of .*"),
    of_x("x of 3 axes", STEPS, lambda x: x[None], CELL_RANK, "3 of .*"),
    of_x("x of 4 axes", LAYERS, lambda x: x[None], LAYER_RANK, "4 of .*"),
    of_x("x of 4 axes", STEPS, lambda x: x[None, None], CELL_RANK, "4 of .*"),
    of_x("x without steps", LAYERS, lambda x: x[:0], "at least one step .*", "shape " + shape(0, B, I)),
    promoting(of_x("integer x", CELLS, lambda x: x.astype("int32"), FLOAT32, ".*int32")),
    promoting(of_x("x in float16", CELLS, lambda x: x.astype("float16"), FLOAT32, ".*float16")),
    of_x("complex x", CELLS, lambda x: x.astype("complex64"), FLOAT32, ".*complex64"),
    of_x("x a list", CELLS, lambda x: [x], ARRAY, "list"),
    of_x("x a tuple", CELLS, lambda x: (x, x), ARRAY, "tuple"),
    of_x("x None", CELLS, lambda x: None, ARRAY, "NoneType"),
    of_hx("hx of another batch", LAYERS, lambda h: h[:, 1:], shape(1, B, H), shape(1, B - 1, H)),
    of_hx("hx of another batch", STEPS, lambda h: h[1:], shape(B, H), shape(B - 1, H)),
    of_hx("hx of a batch of one", LAYERS, lambda h: h[:, :1], shape(1, B, H), shape(1, 1, H)),
    of_hx("hx of a batch of one", STEPS, lambda h: h[:1], shape(B, H), shape(1, H)),
    of_hx("hx of another size", LAYERS, lambda h: h[..., 1:], shape(1, B, H), shape(1, B, H - 1)),
    of_hx("hx of another size", STEPS, lambda h: h[..., 1:], shape(B, H), shape(B, H - 1)),
    of_hx("hx of a layer less", LAYERS, lambda h: h[1:], shape(3, B, H), shape(2, B, H), num_layers=3),
    of_hx("hx of a direction less", LAYERS, lambda h: h[1:], shape(2, B, H), shape(1, B, H), bidirectional=True),
    of_hx("hx batch first", LAYERS, lambda h: h.swapaxes(0, 1), shape(1, B, H), shape(B, 1, H), batch_first=True),
    of_hx(STATE, LAYERS, lambda h: h[:, 0], shape(1, B, H), shape(1, H)),
    of_hx(STATE, STEPS, lambda h: h[0], shape(B, H), shape(H)),
    of_hx(UNBATCHED, LAYERS, lambda h: h[:, None], shape(1, H), shape(1, 1, H), **FLAT),
    of_hx(UNBATCHED, STEPS, lambda h: h[None], shape(H), shape(1, H), **FLAT),
    of_hx("hx of 0 axes", CELLS, lambda h: np.zeros((), "float32"), ".* for .*", r"\(\)"),
    of_hx("hx of 4 axes", CELLS, lambda h: h.reshape(1, 1, -1, H), ".* for .*", shape(1, 1, B, H)),
    promoting(of_hx("integer hx", CELLS, lambda h: h.astype("int32"), FLOAT32, ".*int32")),
    promoting(of_hx("hx in float16", CELLS, lambda h: h.astype("float16"), FLOAT32, ".*float16")),
    of_hx("complex hx", CELLS, lambda h: h.astype("complex64"), FLOAT32, ".*complex64"),
    of_hx("hx of Python's numbers", CELLS, lambda h: 0.5, ARRAY, "float", traced=False),
    Row("c alone of another batch", ("LSTM",), calls(wrong_c), r"hx\[1\]", shape(1, B, H), shape(1, B - 1, H)),
    promoting(Row("c alone in float16", ("LSTM",), calls(half_c), r"hx\[1\]", FLOAT32, ".*float16")),
    promoting(Row("c alone in float16", ("LSTMCell",), calls(half_c), r"hx\[1\]", FLOAT32, ".*float16", "promotes it")),
    Row("h and c swapped", ("LSTM",), calls(swapped, proj_size=P), r"hx\[0\]", shape(1, B, P), shape(1, B, H)),
    of_pair("a tensor for (h, c)", lambda hx: hx[0], "a .*; the state of LSTM.* is 2 arrays"),
    of_pair("(h,) for (h, c)", lambda hx: hx[:1], "a tuple of 1"),
    of_pair("(h, c, h) for (h, c)", lambda hx: (*hx, hx[0]), "a tuple of 3"),
    Row("(h, h) for h", SHORT, calls(lambda x, hx: (x, (hx, hx))), "hx", "one array for .*", "a tuple of 2"),
    Row("(h,) for h", SHORT, calls(lambda x, hx: (x, (hx,))), "hx", "one array for .*", "a tuple of 1"),
    of_lengths("a negative length", lambda n: n - 2, f"0 to {T} steps", "-1 at index 2", traced=False),
    of_lengths("a length beyond T", lambda n: n + 2, f"0 to {T} steps", f"{T + 1} at index 1", traced=False),
    of_lengths("a length too few", lambda n: n[1:], r"\(5,\), .*", r"\(4,\)", "loses the last sequence"),
    of_lengths("a length too many", lambda n: n[[0, *range(B)]], r"\(5,\), .*", r"\(6,\)"),
    of_lengths("lengths (B, 1)", lambda n: n[:, None], r"\(5,\), .*", r"\(5, 1\)"),
    of_lengths("lengths as floats", lambda n: n.astype("float32"), "integers", ".*float32", "takes the whole part"),
    of_lengths("lengths of unbatched x", lambda n: n[:1], "None for a cell and for unbatched x", ".+", **FLAT),
    of_init("input_size 0", LAYERS, "at least 1", "0", input_size=0),
    of_init("input_size 0", STEPS, "at least 1", "0", SILENT, input_size=0),
    of_init("input_size negative", CELLS, "at least 1", "-1", input_size=-1),
    of_init("input_size a float", CELLS, "an int", "float", input_size=3.0),
    of_init("hidden_size 0", LAYERS, "at least 1", "0", hidden_size=0),
    of_init("hidden_size 0", STEPS, "at least 1", "0", SILENT, hidden_size=0),
    of_init("hidden_size a float", CELLS, "an int", "float", hidden_size=7.0),
    of_init("num_layers 0", LAYERS, "at least 1", "0", num_layers=0),
    of_init("num_layers a float", LAYERS, "an int", "float", num_layers=2.0),
    of_init("dropout below 0", LAYERS, P01, "-0.1", num_layers=2, dropout=-0.1),
    of_init("dropout above 1", LAYERS, P01, "1.5", num_layers=2, dropout=1.5),
    of_init("dropout nan", LAYERS, P01, "nan", num_layers=2, dropout=float("nan")),
    of_init("dropout a string", LAYERS, "a number", "str", num_layers=2, dropout="0.5"),
    of_init("dropout a bool", LAYERS, "a number", "bool", num_layers=2, dropout=True),
    of_init("nonlinearity", ("RNN",), "one of tanh, relu", "'gelu'", nonlinearity="gelu"),
    of_init("nonlinearity", ("RNNCell",), "one of tanh, relu", "'gelu'", "waits for a call", nonlinearity="gelu"),
    of_init("proj_size = hidden_size", ("LSTM",), SIZES, "7", proj_size=H),
    of_init("proj_size negative", ("LSTM",), SIZES, "-1", proj_size=-1),
    of_init("proj_size for RNN", ("RNN",), "0 for RNN", "4; only LSTM has it", proj_size=P),
    of_init("bias 1", LAYERS, "a bool", "int", bias=1),
    of_init("bias 1", STEPS, "a bool", "int", TRUTH, bias=1),
    of_init("batch_first 1", LAYERS, "a bool", "int", batch_first=1),
    of_init("bidirectional a string", LAYERS, "a bool", "str", TRUTH, bidirectional="yes"),
]
CASES = [pytest.param(row, cell, id=f"{row.name}-{cell}") for row in ROWS for cell in row.cells]
TRACED = [c for c in CASES if getattr(c.values[0].call, "traced", False) and not c.values[0].promotes]  # pyright: ignore


def refused(row: Row, function: Callable[[], Any]) -> None:
    with pytest.raises((InvalidInput, InvalidType)) as caught:
        function()
    assert re.fullmatch(f"{row.argument}: expected ({row.expected}), got ({row.got})", str(caught.value)), caught.value


@pytest.mark.parametrize("package", ["numpy", "jax", "torch"])
@pytest.mark.parametrize(("row", "cell"), CASES)
def test_a_wrong_call_is_refused_by_name(row: Row, cell: str, package: str) -> None:
    """Except what JAX promotes: what comes of that, ``test_flax_use`` says."""
    if row.promotes and package == "jax":
        row.call(package, cell)
    else:
        refused(row, lambda: row.call(package, cell))


@pytest.mark.parametrize(("row", "cell"), TRACED)
def test_a_wrong_call_is_refused_while_tracing(row: Row, cell: str) -> None:
    call: Any = row.call
    refused(row, lambda: call("jax", cell, nnx.jit))


@pytest.mark.parametrize(("row", "cell"), CASES)
def test_torch_nn_refuses_the_same_calls(row: Row, cell: str) -> None:
    """Where it does not, the row says why, and the call goes through."""
    if row.torch is True:
        with pytest.raises(Exception, match=r"(?s).*"):
            row.call("torch.nn", cell)
    else:
        row.call("torch.nn", cell)


@pytest.mark.parametrize("package", ["numpy", "jax", "torch", "torch.nn"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_call_that_the_rows_change_is_a_good_one(cell: str, package: str) -> None:
    for words in ((), ("unbatched",)):
        assert jax.tree.leaves(calls(lambda x, hx: (x, hx), words)(package, cell))
    if cell in LAYERS:
        assert calls(lambda x, hx: (x, hx, LENGTHS))(package, cell)


def test_torch_refuses_another_device() -> None:
    module, (x, h, c) = build("torch", "LSTM"), [torch.tensor(array) for array in problem("LSTM")[0]]
    for name, arguments in (("x", (x.to("meta"),)), ("hx", (x, (h, c.to("meta"))))):
        with pytest.raises(InvalidInput, match=rf"^{name}: expected the parameters' device cpu, got meta$"):
            module(*arguments)


def test_numpy_refuses_what_it_cannot_do():
    for options, error, message in (
        ({"device": "cuda"}, InvalidInput, r"^device: expected None or 'cpu' for NumPy, got 'cuda'$"),
        ({"dtype": "bfloat16"}, InvalidType, r"^dtype for backend numpy: expected one of .*, got 'bfloat16'$"),
        ({"dtype": torch.float32}, InvalidType, r"^dtype: expected a dtype of NumPy or its name, got torch.float32$"),
    ):
        with pytest.raises(error, match=message):
            build("numpy", "LSTM", **options)


@pytest.mark.parametrize("cell", CELLS)
def test_jax_refuses_float64_without_x64(cell):
    with jax.enable_x64(True):
        module = build("jax", cell, dtype=jnp.float64)
    for refused in (lambda: build("jax", cell, dtype="float64"), lambda: module(problem(cell, "float64")[0][0])):
        with pytest.raises(InvalidInput, match=r"^dtype: expected float32, .+, got float64; run jax\.config\.update"):
            refused()

"""JAX's modules as Flax users expect them: a cell in ``nnx.RNN``, views, promotion of dtypes, nnx's transforms."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jax_impl
from common.errors import InvalidInput, InvalidType
from common.model.cells import TABLE
from jax_impl.promotion import promoted
from tests.backend.modules.calls import (
    LENGTHS,
    TOLERANCE,
    B,
    H,
    I,
    T,
    assert_close,
    build,
    call,
    every_cell,
    loaded,
    named,
    numpy_results,
    problem,
    weights,
)

pytestmark = pytest.mark.usefixtures("compile_quickly")
STEPS = {cell.name: cell.layer for cell in TABLE.values() if cell.is_step}
every_step = pytest.mark.parametrize("step", STEPS)


def steps_of_a_layer(step: str, params: Any, suffixes: tuple[str, ...]) -> list[Any]:
    """A FlaxCell for each direction, with the layer's weights."""
    cells = []
    for suffix in suffixes:
        cell = build("jax", step, dtype="float64")
        cell.load_state_dict({name.removesuffix(suffix): v for name, v in params.items() if name.endswith(suffix)})
        cells.append(jax_impl.FlaxCell(cell))
    return cells


@every_step
def test_cells_in_nnx_bidirectional_are_a_layer_of_numpy(step: str) -> None:
    """Outputs, the last carries and all gradients, of ragged sequences under nnx.jit; the carry is (c, h)."""
    options: Any = {"bidirectional": True}
    (x, *hx), (dy, *dhx) = problem(STEPS[step], "float64", **options)
    reference = numpy_results(loaded("numpy", STEPS[step], "float64", **options), [x, *hx], [dy, *dhx], lengths=LENGTHS)
    params, suffixes = weights(STEPS[step], "float64", **options), ("_l0", "_l0_reverse")
    valid = np.arange(T)[:, None, None] < LENGTHS[:, None]  # Flax computes on in the padding

    def carries(state: Any) -> Any:
        return tuple(tuple(part[d] for part in state[::-1]) if len(state) > 1 else state[0][d] for d in (0, 1))

    def loss(layer: Any, x: Any, hx: Any, lengths: Any) -> Any:
        last, y = layer(x, initial_carry=carries(hx), seq_lengths=lengths, return_carry=True)
        outputs = [jnp.where(valid, y, 0), *map(jnp.stack, zip(*(jax.tree.leaves(c)[::-1] for c in last), strict=True))]
        return sum(jnp.vdot(d, out) for d, out in zip([dy, *dhx], outputs, strict=True)), outputs

    with jax.enable_x64(True):
        layer = nnx.Bidirectional(*map(nnx.RNN, steps_of_a_layer(step, params, suffixes)), time_major=True)
        grad = nnx.jit(nnx.grad(loss, argnums=(0, 1, 2), has_aux=True))
        (of_layer, dx, dstate), outputs = grad(layer, x, tuple(hx), LENGTHS)
        of_params = {
            name + suffix: value.get_value()
            for rnn, suffix in (("forward_rnn", "_l0"), ("backward_rnn", "_l0_reverse"))
            for name, value in of_layer[rnn]["cell"]["cell"].items()
        }
    assert_close(named(outputs, [dx, *dstate], of_params), reference, 1e-11)


@every_step
def test_a_carry_is_that_of_flax(step: str) -> None:
    """Of any batch axes; drawn in Flax's order, from the stream that Flax takes."""
    ours = jax_impl.FlaxCell(loaded("jax", step))
    theirs: Any = (nnx.LSTMCell if TABLE[step].states == ("h", "c") else nnx.SimpleCell)(I, H, rngs=nnx.Rngs(0))
    shape, normal = (2, B, I), nnx.initializers.normal()
    for one, other in (
        (ours.initialize_carry(shape), theirs.initialize_carry(shape, nnx.Rngs(1))),
        *((ours.initialize_carry(shape, r(), normal), theirs.initialize_carry(shape, r(), normal)) for r in STREAMS),
    ):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert ours.num_feature_axes == theirs.num_feature_axes
    x, carry = jnp.array(problem(step)[0][0]), ours.initialize_carry(shape, nnx.Rngs(4), normal)
    last, y = ours(carry, jnp.stack([x, 2 * x]))
    for row in (0, 1):
        alone = ours(jax.tree.map(lambda part, row=row: part[row], carry), (row + 1) * x)
        jax.tree.map(lambda a, b, row=row: np.testing.assert_allclose(a[row], b, atol=1e-6), (last, y), alone)
    single = ours(jax.tree.map(lambda part: part[0, 0], carry), x[0])
    np.testing.assert_allclose(single[1], y[0, 0], atol=1e-6)
    with pytest.raises(InvalidType, match=r"^rngs: expected an nnx.Rngs for carry_init, got NoneType$"):
        ours.initialize_carry(shape, carry_init=normal)


STREAMS = [lambda: nnx.Rngs(3), lambda: nnx.Rngs(params=1, carry=2), lambda: nnx.Rngs(5).carry]


def test_what_cannot_stand_in_nnx_rnn_says_what_can() -> None:
    lstm: Any = jax_impl.FlaxCell(build("jax", "LSTMCell"))
    x, h = jnp.ones((B, I)), jnp.ones((B, H))
    for refused, error, message in (
        (lambda: nnx.RNN(build("jax", "LSTMCell"))(x), InvalidType, r"^cell of nnx.RNN: expected FlaxCell\(LSTMCell"),
        (lambda: jax_impl.FlaxCell(build("jax", "LSTM")), InvalidType, r"^cell: expected .*, got LSTM; a layer takes"),
        (lambda: lstm(h, x), InvalidType, r"^carry: expected \(c, h\) for LSTMCell, got a .*Array.*$"),
        (lambda: lstm((h, h, h), x), InvalidType, r"^carry: expected \(c, h\) for LSTMCell, got a tuple of 3$"),
        (lambda: lstm((h[1:], h), x), InvalidInput, r"^c of the carry: expected \(5, 7\), .*, got \(4, 7\)$"),
        (lambda: lstm((h, h[:, 1:]), x), InvalidInput, r"^h of the carry: expected \(5, 7\), .*, got \(5, 6\)$"),
        (lambda: lstm((h, h), [x]), InvalidType, r"^x: expected an array of JAX or NumPy, got list$"),
        (lambda: lstm((h, h), x[:, 1:]), InvalidInput, r"^x: expected \(5, 3\)"),
    ):
        with pytest.raises(error, match=message):
            refused()
    with pytest.raises(InvalidType, match=r"^carry: expected one array for RNNCell, got a tuple of 1$"):
        jax_impl.FlaxCell(build("jax", "RNNCell"))((h,), x)


class Net(nnx.Module):
    """A user's network with two kinds of dropout in it."""

    def __init__(self) -> None:
        self.rnn: Any = loaded("jax", "LSTM", num_layers=2, dropout=0.5)
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return self.dropout(self.rnn(x)[0])


def test_views_turn_dropout_off_and_on() -> None:
    net, x = Net(), problem("LSTM")[0][0]
    plain = np.asarray(loaded("jax", "LSTM", num_layers=2)(x)[0])
    off = nnx.view(net, deterministic=True)
    compiled = nnx.jit(lambda net, x: net(x))
    for quiet in (off, nnx.with_attributes(net, deterministic=True)):
        np.testing.assert_allclose(compiled(quiet, x), plain, atol=1e-6)
    on = nnx.view(off, deterministic=False)
    for drops in (net, on, nnx.view(off, only=jax_impl.LSTM, deterministic=False)):
        assert drops.rnn.deterministic is False
        assert np.abs(compiled(drops, x) - plain).max() > 1e-2
        assert np.abs(drops.rnn(x)[0] - drops.rnn(x)[0]).max() > 1e-2
    for quiet, module in ((True, off.rnn), (False, on.rnn)):
        module.set_view(None)
        assert module.deterministic is quiet
    assert nnx.view(off.rnn, only=nnx.Dropout, raise_if_not_found=False, deterministic=False).deterministic
    assert "LSTM:\n  deterministic: bool | None = None\n    whether dropout is off" in nnx.view_info(net)
    for module in (build("jax", "RNN"), nnx.RNN(jax_impl.FlaxCell(build("jax", "RNNCell")))):
        nnx.view(module, deterministic=True)  # which raises if no module takes it


# Dtypes of the parameters, of x, and of hx; float64 alone needs 64-bit types.
DTYPES = [
    *(("float32", x, None) for x in ("int32", "bool", "uint8", "bfloat16", "float16")),
    ("float32", "bfloat16", "bfloat16"),
    ("float32", "float32", "int32"),
    ("float32", "float64", None),
    ("float32", "float32", "float64"),
    ("bfloat16", "float32", None),
    ("bfloat16", "int32", "bfloat16"),
    ("bfloat16", "float16", None),
    ("bfloat16", "bfloat16", "float32"),
    ("float16", "float16", "float16"),
]


def cast(module: Any, dtype: Any) -> Any:
    nnx.update(module, jax.tree.map(lambda value: value.astype(dtype), nnx.state(module)))
    return module


@pytest.mark.parametrize("x64", [False, True])
@every_cell
def test_dtypes_promote_as_those_of_flax(cell: str, x64: bool) -> None:
    """Every result has the dtype of nnx.LSTMCell's; nothing is computed."""
    theirs, ours = nnx.LSTMCell(I, H, rngs=nnx.Rngs(0)), loaded("jax", cell)
    with jax.enable_x64(x64):
        for of_params, of_x, of_hx in DTYPES:
            cast(theirs, of_params)
            cast(ours, of_params)
            h, x, *hx = (a.astype(of_hx or of_params) for a in (np.ones((B, H)), *problem(cell)[0]))
            _, wanted = jax.eval_shape(partial(theirs), (h, h), np.ones((B, I), of_x))
            got = jax.eval_shape(partial(call, ours), x.astype(of_x), *hx)
            assert {out.dtype.name for out in got} == {wanted.dtype.name}, (of_params, of_x, of_hx)


@pytest.mark.parametrize("cell", ["LSTM", "RNNCell"])
def test_a_call_computes_in_the_dtype_to_which_all_promote(cell: str) -> None:
    """To the bit what arrays and parameters give that the caller has cast."""
    for of_params, of_x, of_hx, wanted in (
        ("float32", "int32", "bool", "float32"),
        ("bfloat16", "float32", "bfloat16", "float32"),
        ("bfloat16", "int32", "bfloat16", "bfloat16"),
    ):
        x, *hx = (np.arange(a.size).reshape(a.shape) % 3 for a in problem(cell)[0])
        module, x, hx = cast(loaded("jax", cell), of_params), x.astype(of_x), [part.astype(of_hx) for part in hx]
        assert module.param_dtype == of_params
        got = call(module, x, *hx)
        reference = call(cast(module, wanted), *(jnp.array(a).astype(wanted) for a in (x, *hx)))
        for one, other in zip(got, reference, strict=True):
            assert one.dtype == wanted
            assert np.array_equal(one, other)
        assert np.ptp(np.asarray(got[0], "float64")) > 0.1


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Ones at an address that is a multiple of 64, whose memory JAX shares where it may."""
    buffer = np.ones(np.prod(shape) + 16, "float32")
    start = -buffer.ctypes.data % 64 // 4
    return buffer[start : start + np.prod(shape)].reshape(shape)


def test_arrays_that_are_promoted_are_copied_and_strict_promotion_holds() -> None:
    module, x, h = loaded("jax", "RNN"), aligned((T, B, I)), aligned((1, B, H))
    params = {"weight": jnp.ones(2)}
    _, of_x, (of_h,) = promoted(params, x, (h,))
    x[:], h[:] = 9, 9
    assert np.all(of_x == 1)
    assert np.all(of_h == 1)
    with jax.numpy_dtype_promotion("strict"):
        module(x)
        with pytest.raises(InvalidType, match=r"^x: expected .* promotes with float32, .*, got bfloat16$"):
            module(x.astype(jnp.bfloat16))


def test_an_nnx_optimizer_takes_the_step_of_numpy_s_gradients() -> None:
    """Plain descent of a compiled user's step; the gradients are NumPy's, by hand."""
    inputs, cotangents = problem("LSTM", "float64")
    grads = numpy_results(loaded("numpy", "LSTM", "float64"), inputs, cotangents)
    expected = {name: value - 0.1 * grads[name] for name, value in weights("LSTM", "float64").items()}

    @nnx.jit
    def train(module: Any, optimizer: Any, inputs: Any) -> Any:
        def loss(module: Any) -> Any:
            return sum(jnp.vdot(d, out) for d, out in zip(cotangents, call(module, *inputs), strict=True))

        value, grads = nnx.value_and_grad(loss)(module)
        optimizer.update(module, grads)
        return value

    with jax.enable_x64(True):
        module = loaded("jax", "LSTM", "float64")
        train(module, nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param), inputs)
        assert_close(module.state_dict(), expected, TOLERANCE["float64"])


def test_nnx_scan_over_layers_is_a_stack_of_them() -> None:
    x = problem("RNN")[0][0] @ np.random.default_rng(0).normal(size=(I, H)).astype("float32")
    layers = nnx.split_rngs(splits=3)(nnx.vmap(lambda rngs: jax_impl.RNN(H, H, rngs=rngs)))(nnx.Rngs(0))
    stacked = {name: np.asarray(value.get_value()) for name, value in nnx.state(layers).items()}
    stack = build("numpy", "RNN", H, H, num_layers=3)
    stack.load_state_dict({f"{n.removesuffix('0')}{layer}": v[layer] for n, v in stacked.items() for layer in range(3)})
    scan = nnx.scan(lambda layer, x: layer(x)[0], in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
    np.testing.assert_allclose(nnx.jit(scan)(layers, x), stack(x)[0], atol=1e-5)

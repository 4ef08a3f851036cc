"""Conversions keep the function of Flax's own modules, and refuse everything but the weights that they are for."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from common import conversions, registry
from common.conversions import ONE_BIAS_NOTE, OneBias
from common.errors import InvalidInput, InvalidType
from common.layout import Weights, initial_parameters, layer_weights, named_weights
from common.spec import ModelSpec

T, B, I, H, P = 6, 4, 3, 7, 2
TO: dict[str, Callable[[Weights], Any]] = {
    "to_one_bias": conversions.to_one_bias,
    "to_flax_simple_cell": conversions.to_flax_simple_cell,
    "to_flax_lstm": conversions.to_flax_lstm,
}
FROM: dict[str, Callable[..., Weights]] = {
    "from_one_bias": partial(conversions.from_one_bias, hidden_size=H),
    "from_flax_simple_cell": conversions.from_flax_simple_cell,
    "from_flax_lstm": conversions.from_flax_lstm,
}
LSTMS = {"to_flax_lstm", "from_flax_lstm"}
ROUND_TRIPS = list(zip(TO, FROM, strict=True))


@pytest.fixture(autouse=True, scope="module")
def in_float64_compiled_quickly() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


def spec_of(name: str, **options: Any) -> ModelSpec:
    return ModelSpec(cell="LSTM" if name in LSTMS else "RNN", input_size=I, hidden_size=H, **options)


def drawn(rows: int, columns: int = H, bias: bool = True, seed: int = 5) -> Weights:
    """Random weights with so many rows: H for an Elman network, 3H for a GRU, 4H for an LSTM."""
    rng = np.random.default_rng(seed)
    shapes = [(rows, I), (rows, columns)] + [(rows,)] * 2 * bias
    return Weights(*(rng.standard_normal(shape) for shape in shapes))


def weights(name: str, **options: Any) -> Weights:
    """The weights that a conversion is for."""
    return layer_weights(initial_parameters(spec_of(name, **options), 3), "_l0")


def inputs(states: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((T, B, I)), tuple(rng.standard_normal((1, B, H)) for _ in range(states))


def by_numpy(w: Weights, reverse: bool = False) -> list[np.ndarray]:
    """y and the final state of a layer with these weights, from the inputs above; ``reverse`` in time."""
    lstm = len(w.weight_hh) > H
    spec, (x, state0) = spec_of("to_flax_lstm" if lstm else ""), inputs(2 if lstm else 1)
    params = {name: np.array(value) for name, value in named_weights(w, "_l0").items()}
    y, state = registry.load("numpy").forward(spec, params, x[::-1].copy() if reverse else x, state0)
    return [y[::-1] if reverse else y, *(part[0] for part in state)]


def scattered(tree: Any, seed: int = 9) -> Any:
    """Random numbers in the place of every leaf, so that no bias is zero."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return structure.unflatten([jnp.array(0.4 * rng.standard_normal(leaf.shape)) for leaf in leaves])


def carry_of(states: int) -> Any:
    """Flax's carry: (c, h), or h."""
    parts = [jnp.array(part[0]) for part in inputs(states)[1]]
    return tuple(parts[::-1]) if states == 2 else parts[0]


def flat(y: Any, carry: Any) -> list[np.ndarray]:
    return [np.asarray(part) for part in (y, *(carry[::-1] if isinstance(carry, tuple) else (carry,)))]


LINEN = {nn.SimpleCell: "from_flax_simple_cell", nn.LSTMCell: "from_flax_lstm", nn.OptimizedLSTMCell: "from_flax_lstm"}
NNX = {nnx.SimpleCell: "from_flax_simple_cell", nnx.LSTMCell: "from_flax_lstm", nnx.OptimizedLSTMCell: "from_flax_lstm"}
DTYPES: dict[str, Any] = {"dtype": "float64", "param_dtype": "float64"}


def linen_layer(kind: Any) -> tuple[Any, Any]:
    layer: Any = nn.RNN(kind(H, **DTYPES), time_major=True, return_carry=True)
    return layer, scattered(layer.init(jax.random.key(0), jnp.zeros((T, B, I))))


def nnx_layer(kind: Any) -> Any:
    layer = nnx.RNN(kind(I, H, rngs=nnx.Rngs(0), **DTYPES), time_major=True, return_carry=True, rngs=nnx.Rngs(1))
    nnx.update(layer, scattered(nnx.state(layer, nnx.Param)))
    return layer


def close(got: list[np.ndarray], reference: list[np.ndarray]) -> None:
    for one, other in zip(got, reference, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)
        assert np.ptp(other) > 0.1


@pytest.mark.parametrize("kind", LINEN)
def test_the_function_of_flax_linen_is_kept(kind: Any) -> None:
    states, convert = 2 if kind is not nn.SimpleCell else 1, FROM[LINEN[kind]]
    layer, variables = linen_layer(kind)
    carry, y = layer.apply(variables, jnp.array(inputs(states)[0]), initial_carry=carry_of(states))
    for tree in (variables, variables["params"], variables["params"]["cell"], {"params": variables["params"]["cell"]}):
        close(by_numpy(convert(tree)), flat(y, carry))


@pytest.mark.parametrize("kind", NNX)
def test_the_function_of_flax_nnx_is_kept(kind: Any) -> None:
    states, convert = 2 if kind is not nnx.SimpleCell else 1, FROM[NNX[kind]]
    layer = nnx_layer(kind)
    carry, y = layer(jnp.array(inputs(states)[0]), initial_carry=carry_of(states))
    state = nnx.state(layer, nnx.Param)
    for tree in (state, state["cell"], nnx.state(layer.cell), nnx.to_pure_dict(state)):
        close(by_numpy(convert(tree)), flat(y, carry))


@pytest.mark.parametrize("kind", LINEN)
def test_a_layer_of_flax_with_converted_weights_computes_as_numpy(kind: Any) -> None:
    states, name = 2 if kind is not nn.SimpleCell else 1, LINEN[kind].replace("from", "to")
    w = weights(name)
    layer, _ = linen_layer(kind)
    variables = {"params": {"cell": jax.tree.map(jnp.array, TO[name](w).params)}}
    carry, y = layer.apply(variables, jnp.array(inputs(states)[0]), initial_carry=carry_of(states))
    close(by_numpy(w), flat(y, carry))


@pytest.mark.parametrize("kind", [nn.SimpleCell, nn.LSTMCell])
def test_a_bidirectional_layer_is_converted_one_direction_at_a_time(kind: Any) -> None:
    states, convert = 2 if kind is not nn.SimpleCell else 1, FROM[LINEN[kind]]
    rnns: Any = [nn.RNN(kind(H, **DTYPES)) for _ in range(2)]
    layer: Any = nn.Bidirectional(*rnns, time_major=True)
    variables = scattered(layer.init(jax.random.key(0), jnp.zeros((T, B, I))))
    y = layer.apply(variables, jnp.array(inputs(states)[0]), initial_carry=(carry_of(states),) * 2)
    both = [convert(variables["params"][name]) for name in ("forward_rnn", "backward_rnn")]
    assert not np.allclose(both[0].weight_hh, both[1].weight_hh)
    outputs = [by_numpy(w, reverse=index == 1)[0] for index, w in enumerate(both)]
    close([np.concatenate(outputs, axis=2)], [np.asarray(y)])
    with pytest.raises(InvalidInput, match=r"; one direction at a time, of \['forward_rnn'\] and \['backward_rnn'\]$"):
        convert(variables)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("there", "back"), ROUND_TRIPS)
def test_a_round_trip_keeps_the_function(there: str, back: str, bias: bool) -> None:
    given = weights(there, bias=bias)
    params, note = TO[there](given)
    again = FROM[back](params)
    for one, other in zip(again[:2], given[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert note == (ONE_BIAS_NOTE if bias else "")
    if bias:
        np.testing.assert_array_equal(again.bias_ih, given.bias_ih + given.bias_hh)
        assert not again.bias_hh.any()
    elif there == "to_one_bias":
        assert again.bias_ih is again.bias_hh is None
    else:  # Flax's cells always have one
        assert not again.bias_ih.any()
        assert not again.bias_hh.any()


@pytest.mark.parametrize(("there", "back"), ROUND_TRIPS)
def test_conversions_are_differentiated_through(there: str, back: str) -> None:
    """The gradient of a function of the weights that come back, under jit, is that of the function by itself."""
    given = jax.tree.map(jnp.array, weights(there))
    factors = scattered(given)

    def value(w: Weights, convert: bool) -> Any:
        w = FROM[back](TO[there](w).params) if convert else w._replace(bias_ih=w.bias_ih + w.bias_hh, bias_hh=0.0)
        parts = (w.weight_ih, w.weight_hh, w.bias_ih)
        return sum(jnp.vdot(factor, part**2) for factor, part in zip(factors, parts, strict=False))

    got, wanted = (jax.jit(jax.grad(partial(value, convert=convert)))(given) for convert in (True, False))
    for one, other in zip(got[:4], wanted[:4], strict=True):  # no projection
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert abs(other).min() > 0


@pytest.mark.parametrize("kind", NNX)
def test_states_of_nnx_are_converted_while_tracing(kind: Any) -> None:
    layer = nnx_layer(kind)
    got = jax.jit(FROM[NNX[kind]])(nnx.to_pure_dict(nnx.state(layer, nnx.Param)))
    for one, other in zip(got, FROM[NNX[kind]](nnx.state(layer, nnx.Param)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nnx_simple_cell_rounds_to_float32_unless_told_otherwise() -> None:
    """As the docstring says."""
    cell: Any = nnx.SimpleCell(I, H, param_dtype="float64", rngs=nnx.Rngs(0))
    x = jnp.array(inputs(1)[0][0])
    assert cell(carry_of(1), x)[1].dtype == "float32"
    assert conversions.from_flax_simple_cell(nnx.state(cell, nnx.Param)).weight_hh.dtype == "float64"


# What is wrong with weights in the neutral layout, for which conversions, and what the message says.
ELMAN, LONG, ALL = ("to_one_bias", "to_flax_simple_cell"), ("to_flax_lstm",), tuple(TO)
rows_of = {"to_flax_lstm": 4 * H}
NEUTRAL: list[tuple[str, tuple[str, ...], Callable[[str], Any], type[Exception], str]] = [
    (
        "an LSTM",
        ELMAN,
        lambda _: drawn(4 * H),
        InvalidInput,
        r"weight_hh: expected \(H, H\) .* got \(28, 7\); an LSTM's",
    ),
    ("a GRU", ALL, lambda _: drawn(3 * H), InvalidInput, r"weight_hh: expected .* got \(21, 7\); a GRU's\?"),
    ("an RNN", LONG, lambda _: drawn(H), InvalidInput, r"weight_hh: expected \(4H, H\) .* got \(7, 7\); an RNN's\?"),
    (
        "an LSTM's, no bias",
        ELMAN,
        lambda _: drawn(28, bias=False),
        InvalidInput,
        r"weight_hh: .*\(28, 7\); an LSTM's\?",
    ),
    (
        "a projection",
        ALL,
        lambda _: drawn(4 * H, P)._replace(weight_hr=np.ones((P, H))),
        InvalidInput,
        r"parameters of an? .*: expected .*, got extra weight_hr; it has a projection",
    ),
    ("half a projection", ALL, lambda _: drawn(4 * H, P), InvalidInput, r"weight_hh: expected .* got \(28, 2\)"),
    (
        "one bias",
        ALL,
        lambda name: weights(name)._replace(bias_hh=None),
        InvalidInput,
        "parameters of an? .*: expected .*, got missing bias_hh",
    ),
    (
        "nothing",
        ALL,
        lambda name: weights(name)._replace(weight_ih=None),
        InvalidInput,
        "parameters of an? .*: expected .*, got missing weight_ih",
    ),
    (
        "transposed",
        ALL,
        lambda name: weights(name)._replace(weight_ih=weights(name).weight_ih.T),
        InvalidInput,
        r"weight_ih: expected .*, got \(3, (7|28)\); transposed\?",
    ),
    (
        "transposed, recurrent",
        LONG,
        lambda name: weights(name)._replace(weight_hh=weights(name).weight_hh.T),
        InvalidInput,
        r"weight_hh: expected \(4H, H\) .*, got \(7, 28\); transposed\?",
    ),
    (
        "another bias",
        ALL,
        lambda name: weights(name)._replace(bias_ih=np.ones(3 * H)),
        InvalidInput,
        r"bias_ih: expected .* H=7, I=3, got \(21,\); a GRU's\?",
    ),
    (
        "an axis more",
        ALL,
        lambda name: weights(name)._replace(weight_hh=weights(name).weight_hh[None]),
        InvalidInput,
        r"weight_hh: expected .*, got \(1, .*\); an axis too many or too few\?",
    ),
    (
        "no size",
        ALL,
        lambda name: weights(name)._replace(weight_ih=weights(name).weight_ih[:, :0]),
        InvalidInput,
        r"weight_ih: expected .*, got \(.*, 0\)",
    ),
    (
        "integers",
        ALL,
        lambda name: weights(name)._replace(weight_hh=weights(name).weight_hh.astype("int32")),
        InvalidType,
        "weight_hh: expected an array of floating-point numbers, got int32",
    ),
    (
        "two dtypes",
        ALL,
        lambda name: weights(name)._replace(bias_hh=weights(name).bias_hh.astype("float32")),
        InvalidType,
        "bias_hh: expected float64, as weight_ih has, got float32; cast them to one dtype first",
    ),
    (
        "lists",
        ALL,
        lambda name: weights(name)._replace(weight_hh=[[1.0]]),
        InvalidType,
        "weight_hh: expected an array of NumPy or JAX, got list",
    ),
    (
        "a dict",
        ALL,
        lambda name: weights(name)._asdict(),
        InvalidType,
        "weights: expected a common.layout.Weights, got dict",
    ),
]


def as_jax(value: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.array(leaf) if isinstance(leaf, np.ndarray) else leaf, value)


@pytest.mark.parametrize(
    ("name", "make", "error", "message"),
    [pytest.param(n, make, e, m, id=f"{what}-{n}") for what, names, make, e, m in NEUTRAL for n in names],
)
def test_wrong_weights_are_refused(name: str, make: Callable[[str], Any], error: type[Exception], message: str) -> None:
    TO[name](weights(name))
    for convert in (TO[name], lambda w: TO[name](as_jax(w))):
        with pytest.raises(error, match=f"^{message}"):
            convert(make(name))


def test_wrong_weights_are_refused_while_tracing() -> None:
    for name in TO:
        with pytest.raises(InvalidInput, match=r"^weight_hh: expected .* got \(21, 7\); a GRU's\?"):
            jax.jit(lambda w, name=name: TO[name](w).params)(drawn(3 * H))


def linen_tree(kind: Any) -> Any:
    return nn.RNN(kind(H)).init(jax.random.key(0), jnp.zeros((B, T, I), "float32"))["params"]["cell"]


def nnx_state(kind: Any) -> Any:
    return nnx.to_pure_dict(nnx.state(kind(I, H, rngs=nnx.Rngs(0)), nnx.Param))


def changed(tree: Mapping[str, Any], path: str, change: Callable[[Any], Any] | None) -> Any:
    """A tree with one leaf changed, or left out."""
    name, _, rest = path.partition(".")
    if not rest:
        left = {key: value for key, value in tree.items() if key != name}
        return left if change is None else left | {name: change(tree[name])}
    return {**tree, name: changed(tree[name], rest, change)}


SIMPLE, GATED = "from_flax_simple_cell", "from_flax_lstm"
TREES: list[tuple[str, str, Callable[[], Any], type[Exception], str]] = [
    ("linen LSTM", SIMPLE, lambda: linen_tree(nn.LSTMCell), InvalidInput, ".*an LSTM's"),
    ("linen GRU", SIMPLE, lambda: linen_tree(nn.GRUCell), InvalidInput, ".*a GRU's"),
    ("nnx LSTM", SIMPLE, lambda: nnx_state(nnx.LSTMCell), InvalidInput, ".*an LSTM's"),
    ("nnx optimized LSTM", SIMPLE, lambda: nnx_state(nnx.OptimizedLSTMCell), InvalidInput, ".*an LSTM's"),
    ("nnx GRU", SIMPLE, lambda: nnx_state(nnx.GRUCell), InvalidInput, r"dense_h.kernel: .*\(7, 21\); a GRU's"),
    ("linen RNN", GATED, lambda: linen_tree(nn.SimpleCell), InvalidInput, ".*an RNN's"),
    ("linen GRU", GATED, lambda: linen_tree(nn.GRUCell), InvalidInput, ".*a GRU's"),
    ("nnx RNN", GATED, lambda: nnx_state(nnx.SimpleCell), InvalidInput, ".*an RNN's"),
    ("nnx GRU", GATED, lambda: nnx_state(nnx.GRUCell), InvalidInput, ".*a GRU's"),
    (
        "a module",
        GATED,
        lambda: nnx.LSTMCell(I, H, rngs=nnx.Rngs(0)),
        InvalidType,
        r"parameters of .*: expected a tree of them, got LSTMCell; nnx\.state\(module, nnx\.Param\) is one",
    ),
    (
        "all states",
        GATED,
        lambda: nnx.state(nnx.RNN(nnx.LSTMCell(I, H, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))),
        InvalidInput,
        r".*; nnx\.state\(module, nnx\.Param\) leaves it out",
    ),
    ("empty", GATED, dict, InvalidInput, "parameters of .*: expected ii.kernel, .*, got missing ii.kernel, "),
    (
        "a leaf for a Dense",
        SIMPLE,
        lambda: changed(linen_tree(nn.SimpleCell), "h", lambda dense: dense["kernel"]),
        InvalidInput,
        "parameters of .*: expected .*, got missing h.kernel; extra h",
    ),
    (
        "transposed",
        GATED,
        lambda: changed(nnx_state(nnx.OptimizedLSTMCell), "dense_h.kernel", np.transpose),
        InvalidInput,
        r"dense_h.kernel: expected \(H, 4H\) of nnx.OptimizedLSTMCell with H=7, I=3, got \(28, 7\); transposed\?",
    ),
    (
        "one gate's input transposed",
        GATED,
        lambda: changed(linen_tree(nn.LSTMCell), "ig.kernel", np.transpose),
        InvalidInput,
        r"ig.kernel: expected \(I, H\) of .* with H=7, I=3, got \(7, 3\); transposed\?",
    ),
    (
        "a gate without bias",
        GATED,
        lambda: changed(linen_tree(nn.LSTMCell), "ho.bias", None),
        InvalidInput,
        "parameters of .*: expected .*, got missing ho.bias",
    ),
    (
        "one part more",
        SIMPLE,
        lambda: changed(linen_tree(nn.SimpleCell), "h", lambda dense: {**dense, "bias": np.ones(H)}),
        InvalidInput,
        "parameters of .*: expected .*, got extra h.bias",
    ),
    (
        "integers",
        SIMPLE,
        lambda: changed(linen_tree(nn.SimpleCell), "i.kernel", lambda kernel: kernel.astype("int32")),
        InvalidType,
        "i.kernel: expected an array of floating-point numbers, got int32",
    ),
    (
        "two dtypes",
        GATED,
        lambda: changed(linen_tree(nn.LSTMCell), "ho.bias", lambda bias: bias.astype("float64")),
        InvalidType,
        "ho.bias: expected float32, as .* has, got float64; cast them to one dtype first",
    ),
]


@pytest.mark.parametrize(
    ("name", "make", "error", "message"),
    [pytest.param(name, *rest, id=f"{what}-{name}") for what, name, *rest in TREES],
)
def test_other_trees_are_refused(name: str, make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}") as caught:
        FROM[name](make())
    assert ": expected " in str(caught.value)
    assert ", got " in str(caught.value)


@pytest.mark.parametrize(
    ("weight", "bias", "hidden", "message"),
    [
        ((I + H, H), None, H, r"weight: expected \(H, I\+H\) of .* with H=7, got \(10, 7\); transposed\?"),
        ((H, H), None, H, r"weight: expected \(H, I\+H\) of .* with H=7, got \(7, 7\)$"),
        ((I + H, 4 * H), None, H, r"weight: expected \(H, I\+H\) of .*, got \(10, 28\); an LSTM's\?"),
        ((12, 20), 20, 5, r"weight: expected \(H, I\+H\) of .* with H=5, got \(12, 20\); an LSTM's\?"),
        ((12, 20), 20, 12, r"bias: expected \(H,\) of .* with H=12, I=20, got \(20,\)"),
        ((3 * H, I + H), 3 * H, H, r"weight: expected \(H, I\+H\) of .*, got \(21, 10\); a GRU's\?"),
        ((H, I + H), 4 * H, H, r"bias: expected \(H,\) of .*, got \(28,\); an LSTM's\?"),
        ((H,), None, H, r"weight: expected \(H, I\+H\) of .*, got \(7,\); an axis too many or too few\?"),
    ],
)
def test_another_linear_is_refused(weight: Any, bias: int | None, hidden: int, message: str) -> None:
    """(12, 20) is the kernel of TensorFlow 1's LSTM of 5 units and 7 inputs: x first, then h, and 4 gates across."""
    one = OneBias(np.ones(weight), None if bias is None else np.ones(bias))
    with pytest.raises(InvalidInput, match=f"^{message}"):
        conversions.from_one_bias(one, hidden)


@pytest.mark.parametrize("kind", [nn.SimpleCell, nn.LSTMCell, nn.OptimizedLSTMCell])
@pytest.mark.parametrize("bias", [True, False])
def test_the_names_and_shapes_are_flaxs_own(kind: Any, bias: bool) -> None:
    name = LINEN[kind].replace("from", "to")
    params, _ = TO[name](weights(name, bias=bias))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, dict(linen_tree(kind)))

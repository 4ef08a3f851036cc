"""Conversions keep the function of Flax's own modules, and can be differentiated through."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from common.backend import registry
from common.conversions import layers as conversions
from common.conversions.layers import GRU_NOTE, NO_BIAS_NOTE, ONE_BIAS_NOTE
from common.errors import InvalidInput
from common.model.cells import with_blocks
from common.model.initial import initial_parameters
from common.model.layout import Weights, layer_weights, named_weights
from common.model.spec import ModelSpec

T, B, I, H, P = 6, 4, 3, 7, 2
TO: dict[str, Callable[[Weights], Any]] = {
    "to_one_bias": conversions.to_one_bias,
    "to_flax_simple_cell": conversions.to_flax_simple_cell,
    "to_flax_lstm": conversions.to_flax_lstm,
    "to_flax_gru": conversions.to_flax_gru,
}
FROM: dict[str, Callable[..., Weights]] = {
    "from_one_bias": partial(conversions.from_one_bias, hidden_size=H),
    "from_flax_simple_cell": conversions.from_flax_simple_cell,
    "from_flax_lstm": conversions.from_flax_lstm,
    "from_flax_gru": conversions.from_flax_gru,
}
CELL_OF = {"to_one_bias": "RNN", "to_flax_simple_cell": "RNN", "to_flax_lstm": "LSTM", "to_flax_gru": "GRU"}
NOTES = dict.fromkeys(TO, ONE_BIAS_NOTE) | {"to_flax_gru": GRU_NOTE}
ZEROS = "cannot be built without a bias: zeros were added"
ROUND_TRIPS = list(zip(TO, FROM, strict=True))


@pytest.fixture(autouse=True, scope="module")
def in_float64_compiled_quickly() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


def spec_of(name: str, **options: Any) -> ModelSpec:
    return ModelSpec(cell=CELL_OF[name], input_size=I, hidden_size=H, **options)


def weights(name: str, **options: Any) -> Weights:
    """The weights that a conversion is for."""
    return layer_weights(initial_parameters(spec_of(name, **options), 3), "_l0")


def inputs(states: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((T, B, I)), tuple(rng.standard_normal((1, B, H)) for _ in range(states))


def by_numpy(w: Weights, reverse: bool = False) -> list[np.ndarray]:
    """y and the final state of a layer with these weights, from the inputs above; ``reverse`` in time."""
    (cell, *_) = with_blocks(len(w.weight_hh) // H)
    return computed(ModelSpec(cell=cell, input_size=I, hidden_size=H), w, reverse)


def computed(spec: ModelSpec, w: Weights, reverse: bool = False) -> list[np.ndarray]:
    x, state0 = inputs(len(spec.state_names))
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


LINEN: dict[Any, str] = {
    nn.SimpleCell: "from_flax_simple_cell",
    nn.LSTMCell: "from_flax_lstm",
    nn.OptimizedLSTMCell: "from_flax_lstm",
    nn.GRUCell: "from_flax_gru",
}
NNX: dict[Any, str] = {getattr(nnx, kind.__name__): name for kind, name in LINEN.items()}
DTYPES: dict[str, Any] = {"dtype": "float64", "param_dtype": "float64"}


def states_of(kind: Any) -> int:
    return 2 if "LSTM" in kind.__name__ else 1


def linen_layer(kind: Any) -> tuple[Any, Any]:
    layer: Any = nn.RNN(kind(H, **DTYPES), time_major=True, return_carry=True)
    return layer, scattered(layer.init(jax.random.key(0), jnp.zeros((T, B, I))))


def nnx_layer(kind: Any) -> Any:
    layer = nnx.RNN(kind(I, H, rngs=nnx.Rngs(0), **DTYPES), time_major=True, return_carry=True, rngs=nnx.Rngs(1))
    nnx.update(layer, scattered(nnx.state(layer, nnx.Param)))
    return layer


@cache
def linen_tree(kind: Any) -> Any:
    return nn.RNN(kind(H)).init(jax.random.key(0), jnp.zeros((B, T, I), "float32"))["params"]["cell"]


def close(got: list[np.ndarray], reference: list[np.ndarray]) -> None:
    for one, other in zip(got, reference, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)
        assert np.ptp(other) > 0.1


@pytest.mark.parametrize("kind", LINEN)
def test_the_function_of_flax_linen_is_kept(kind: Any) -> None:
    states, convert = states_of(kind), FROM[LINEN[kind]]
    layer, variables = linen_layer(kind)
    carry, y = layer.apply(variables, jnp.array(inputs(states)[0]), initial_carry=carry_of(states))
    for tree in (variables, variables["params"], variables["params"]["cell"], {"params": variables["params"]["cell"]}):
        close(by_numpy(convert(tree)), flat(y, carry))


@pytest.mark.parametrize("kind", NNX)
def test_the_function_of_flax_nnx_is_kept(kind: Any) -> None:
    states, convert = states_of(kind), FROM[NNX[kind]]
    layer = nnx_layer(kind)
    carry, y = layer(jnp.array(inputs(states)[0]), initial_carry=carry_of(states))
    state = nnx.state(layer, nnx.Param)
    for tree in (state, state["cell"], nnx.state(layer.cell), nnx.to_pure_dict(state)):
        close(by_numpy(convert(tree)), flat(y, carry))


@pytest.mark.parametrize("kind", LINEN)
def test_a_layer_of_flax_with_converted_weights_computes_as_numpy(kind: Any) -> None:
    states, name = states_of(kind), LINEN[kind].replace("from", "to")
    w = weights(name)
    layer, _ = linen_layer(kind)
    variables = {"params": {"cell": jax.tree.map(jnp.array, TO[name](w).params)}}
    carry, y = layer.apply(variables, jnp.array(inputs(states)[0]), initial_carry=carry_of(states))
    close(by_numpy(w), flat(y, carry))


@pytest.mark.parametrize("kind", [nn.SimpleCell, nn.LSTMCell, nn.GRUCell])
def test_a_bidirectional_layer_is_converted_one_direction_at_a_time(kind: Any) -> None:
    states, convert = states_of(kind), FROM[LINEN[kind]]
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


def merged(w: Weights, name: str) -> Weights:
    """The weights that come back: the two biases of a row are one, but for those of a GRU's candidate."""
    apart = np.arange(len(w.bias_hh)) >= (2 * H if CELL_OF[name] == "GRU" else len(w.bias_hh))
    return w._replace(bias_ih=w.bias_ih + w.bias_hh * ~apart, bias_hh=w.bias_hh * apart)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("there", "back"), ROUND_TRIPS)
def test_a_round_trip_keeps_the_function(there: str, back: str, bias: bool) -> None:
    given = weights(there, bias=bias)
    params, note = TO[there](given)
    again = FROM[back](params)
    for one, other in zip(again[:2], given[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert note == NOTES[there] if bias else note.endswith(ZEROS if there != "to_one_bias" else "")
    assert bool(note) == (bias or there != "to_one_bias")
    if bias:
        wanted = merged(given, there)
        np.testing.assert_array_equal(again.bias_ih, wanted.bias_ih)
        np.testing.assert_array_equal(again.bias_hh, wanted.bias_hh)
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
        w = FROM[back](TO[there](w).params) if convert else merged(w, there)
        parts = (w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh)
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


def test_nnx_simple_cell_rounds_to_float32_without_a_dtype() -> None:
    """As the docstring says."""
    cell: Any = nnx.SimpleCell(I, H, param_dtype="float64", rngs=nnx.Rngs(0))
    x = jnp.array(inputs(1)[0][0])
    assert cell(carry_of(1), x)[1].dtype == "float32"
    assert conversions.from_flax_simple_cell(nnx.state(cell, nnx.Param)).weight_hh.dtype == "float64"


@pytest.mark.parametrize("kind", LINEN)
@pytest.mark.parametrize("bias", [True, False])
def test_the_names_and_shapes_are_flaxs_own(kind: Any, bias: bool) -> None:
    name = LINEN[kind].replace("from", "to")
    params, _ = TO[name](weights(name, bias=bias))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, dict(linen_tree(kind)))


@pytest.mark.parametrize("bias", [True, False])
def test_an_lstm_without_a_forget_gate_is_one_with_the_gate_open(bias: bool) -> None:
    """To the last bit, and in the recurrence of torch.nn too, where the rows of i and g stay where they are."""
    spec = ModelSpec(cell="LSTM1997", input_size=I, hidden_size=H, bias=bias)
    given = layer_weights(initial_parameters(spec, 3), "_l0")
    lstm, note = conversions.to_lstm(given)
    assert note == ("" if bias else NO_BIAS_NOTE)
    for one, other in zip(by_numpy(lstm), computed(spec, given), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.ptp(other) > 0.1
    theirs = torch.nn.LSTM(I, H, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in named_weights(lstm, "_l0").items()})
    x, state0 = ([torch.tensor(part) for part in parts] for parts in ([inputs(2)[0]], inputs(2)[1]))
    y, (h, c) = theirs(x[0], tuple(state0))
    close(computed(spec, given), [part.detach().numpy() for part in (y, h[0], c[0])])

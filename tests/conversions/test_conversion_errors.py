"""Conversions refuse everything but the weights that they are for, in one line: what, expected, got, likely cause."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from common.conversions import layers as conversions
from common.conversions.layers import OneBias
from common.errors import InvalidInput, InvalidType
from common.model.layout import Weights
from tests.conversions.test_conversions import FROM, TO, H, I, P, in_float64_compiled_quickly, linen_tree, weights

__all__ = ["in_float64_compiled_quickly"]  # a fixture, used by being here


def drawn(rows: int, columns: int = H, bias: bool = True, seed: int = 5) -> Weights:
    """Random weights with so many rows: H for an Elman network, 3H for a GRU, 4H for an LSTM."""
    rng = np.random.default_rng(seed)
    shapes = [(rows, I), (rows, columns)] + [(rows,)] * 2 * bias
    return Weights(*(rng.standard_normal(shape) for shape in shapes))


# What is wrong with weights in the neutral layout, for which conversions, and what the message says.
ELMAN, LSTM, GRU, ALL = ("to_one_bias", "to_flax_simple_cell"), ("to_flax_lstm",), ("to_flax_gru",), tuple(TO)
GRUS = r"a GRU's or an LSTM1997's\?"
NEUTRAL: list[tuple[str, tuple[str, ...], Callable[[str], Any], type[Exception], str]] = [
    ("an LSTM", ELMAN, lambda _: drawn(4 * H), InvalidInput, r"weight_hh: expected \(H, H\) .*\(28, 7\); an LSTM's\?"),
    ("a GRU", ELMAN + LSTM, lambda _: drawn(3 * H), InvalidInput, rf"weight_hh: expected .* got \(21, 7\); {GRUS}"),
    ("an LSTM", GRU, lambda _: drawn(4 * H), InvalidInput, r"weight_hh: expected \(3H, H\) .*\(28, 7\); an LSTM's\?"),
    ("an RNN", LSTM + GRU, lambda _: drawn(H), InvalidInput, r"weight_hh: expected .* got \(7, 7\); an RNN's\?"),
    ("no bias", ELMAN, lambda _: drawn(28, bias=False), InvalidInput, r"weight_hh: .*\(28, 7\); an LSTM's\?"),
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
        r"weight_ih: expected .*, got \(3, (7|21|28)\); transposed\?",
    ),
    (
        "transposed, recurrent",
        LSTM + GRU,
        lambda name: weights(name)._replace(weight_hh=weights(name).weight_hh.T),
        InvalidInput,
        r"weight_hh: expected \([34]H, H\) .*, got \(7, (21|28)\); transposed\?",
    ),
    (
        "another bias",
        ELMAN + LSTM,
        lambda name: weights(name)._replace(bias_ih=np.ones(3 * H)),
        InvalidInput,
        rf"bias_ih: expected .* H=7, I=3, got \(21,\); {GRUS}",
    ),
    (
        "a bias",
        GRU,
        lambda n: weights(n)._replace(bias_ih=np.ones(4 * H)),
        InvalidInput,
        r"bias_ih: .*\(28,\); an LSTM",
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
        "weights: expected a common.model.layout.Weights, got dict",
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
    for name in ELMAN + LSTM:
        with pytest.raises(InvalidInput, match=rf"^weight_hh: expected .* got \(21, 7\); {GRUS}"):
            jax.jit(lambda w, name=name: TO[name](w).params)(drawn(3 * H))
    with pytest.raises(InvalidInput, match=r"^weight_hh: expected .* got \(28, 7\); an LSTM's\?"):
        jax.jit(lambda w: TO["to_flax_gru"](w).params)(drawn(4 * H))


@cache
def nnx_state(kind: Any) -> Any:
    return nnx.to_pure_dict(nnx.state(kind(I, H, rngs=nnx.Rngs(0)), nnx.Param))


def changed(tree: Mapping[str, Any], path: str, change: Callable[[Any], Any] | None) -> Any:
    """A tree with one leaf changed, or left out."""
    name, _, rest = path.partition(".")
    if not rest:
        left = {key: value for key, value in tree.items() if key != name}
        return left if change is None else left | {name: change(tree[name])}
    return {**tree, name: changed(tree[name], rest, change)}


SIMPLE, GATED, RESET = "from_flax_simple_cell", "from_flax_lstm", "from_flax_gru"
OWNERS = {"SimpleCell": "an RNN's", "LSTMCell": "an LSTM's", "OptimizedLSTMCell": "an LSTM's", "GRUCell": "a GRU's"}
WRONG = [
    (name, kind, cell, OWNERS[cell])
    for name, own in ((SIMPLE, "an RNN's"), (GATED, "an LSTM's"), (RESET, "a GRU's"))
    for kind in ("linen", "nnx")
    for cell in OWNERS
    if OWNERS[cell] != own
]


@pytest.mark.parametrize(("name", "kind", "cell", "owner"), WRONG)
def test_the_tree_of_another_cell_is_refused_with_its_name(name: str, kind: str, cell: str, owner: str) -> None:
    tree = linen_tree(getattr(nn, cell)) if kind == "linen" else nnx_state(getattr(nnx, cell))
    with pytest.raises(InvalidInput, match=rf": expected .*, got .*; {owner}\?$"):
        FROM[name](tree)


TREES: list[tuple[str, str, Callable[[], Any], type[Exception], str]] = [
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
        "a GRU, whose names are those of a simple cell",
        SIMPLE,
        lambda: nnx_state(nnx.GRUCell),
        InvalidInput,
        r"dense_h.kernel: expected \(H, H\) of nnx.SimpleCell with H=7, I=3, got \(7, 21\); a GRU's\?$",
    ),
    (
        "a candidate without bias",
        RESET,
        lambda: changed(linen_tree(nn.GRUCell), "hn.bias", None),
        InvalidInput,
        "parameters of flax.linen.GRUCell: expected .*, got missing hn.bias",
    ),
    (
        "the bias that nnx documents",
        RESET,
        lambda: changed(nnx_state(nnx.GRUCell), "dense_h", lambda dense: {**dense, "bias": np.ones(3 * H)}),
        InvalidInput,
        "parameters of nnx.GRUCell: expected .*, got extra dense_h.bias",
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
        ((3 * H, I + H), 3 * H, H, rf"weight: expected \(H, I\+H\) of .*, got \(21, 10\); {GRUS}"),
        ((H, I + H), 4 * H, H, r"bias: expected \(H,\) of .*, got \(28,\); an LSTM's\?"),
        ((H,), None, H, r"weight: expected \(H, I\+H\) of .*, got \(7,\); an axis too many or too few\?"),
    ],
)
def test_another_linear_is_refused(weight: Any, bias: int | None, hidden: int, message: str) -> None:
    """(12, 20) is the kernel of TensorFlow 1's LSTM of 5 units and 7 inputs: x first, then h, and 4 gates across."""
    one = OneBias(np.ones(weight), None if bias is None else np.ones(bias))
    with pytest.raises(InvalidInput, match=f"^{message}"):
        conversions.from_one_bias(one, hidden)

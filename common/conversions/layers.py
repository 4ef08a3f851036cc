"""Named conversions between the neutral layout and those of other systems, each with its inverse.

A conversion into a system with one bias merges two, which keeps the function and changes the training; it says so in
``Converted.note``. The layouts are data (``common.conversions.systems``), and one converter reads them
(``common.conversions.layouts``); here they get the names and the trees that the users of each system know. Conversions
take NumPy and JAX arrays alike, return the same kind, and can be differentiated through.

Every conversion, in either direction, first compares its argument with the names and shapes of the layout, and raises
``InvalidInput`` or ``InvalidType`` for another cell's weights, a projection, a wrong shape, or arrays that are not all
of one floating-point dtype. The weights of a GRU and those of an LSTM without a forget gate have the same shapes: they
are not told apart, and neither are the two forms of a GRU.

The ``from_flax_*`` take what Flax's modules hold of one direction of one layer, as a tree of arrays or of
``nnx.Variable``: the parameters of a ``flax.linen`` cell, alone or under ``params``; those of ``flax.linen.RNN``, under
``cell``; an ``nnx.state(cell, nnx.Param)`` or ``nnx.state(rnn, nnx.Param)``. A ``Bidirectional`` holds two, which are
converted one at a time. The carry of Flax's LSTMs is (c, h), where torch's state and ours is (h, c). Parameters do not
record activations, gate functions or ``residual``: Flax's defaults are ours, and nothing else has a counterpart.
``nnx.SimpleCell`` computes in float32 unless it is given a ``dtype``, even with parameters of float64.

>>> from common.conversions.layers import from_flax_lstm, to_flax_lstm
>>> from common.model.initial import initial_parameters
>>> from common.model.layout import layer_weights
>>> from common.model.spec import ModelSpec
>>> params = initial_parameters(ModelSpec(cell="LSTM", input_size=3, hidden_size=5), seed=0)
>>> flax, note = to_flax_lstm(layer_weights(params, "_l0"))
>>> sorted(flax), flax["hf"]["kernel"].shape
(['hf', 'hg', 'hi', 'ho', 'if', 'ig', 'ii', 'io'], (5, 5))
>>> note
'two biases were merged into one: ...'
>>> bool((from_flax_lstm(flax).weight_hh == params["weight_hh_l0"]).all())
True
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from common.conversions.blocks import joined
from common.conversions.layouts import InLayout, from_layout, table, to_layout
from common.conversions.notes import merged_note
from common.conversions.systems import LAYOUTS
from common.conversions.tables import (
    ELMAN,
    GRU,
    LSTM,
    LSTM1997,
    ONE_BIAS,
    flax_params,
    onnx_directions,
    require_mapping,
    require_neutral,
    require_params,
)
from common.errors import InvalidInput, mismatch
from common.model.layout import Weights, named_weights
from common.model.validate import require_flag, require_positive_int

# sigmoid of this is 1 in every dtype, to the last bit, and its slope is 0.
OPEN = 50.0
ONE_BIAS_NOTE, GRU_NOTE = merged_note(), merged_note("r", "z")
NO_BIAS_NOTE = "zero biases were added, except for the forget gate's: the function is the same"


class OneBias(NamedTuple):
    """The Linear over [x, h] of an Elman cell: weight (H, I+H), x first, and bias (H,) or None."""

    weight: Any
    bias: Any


class Converted(NamedTuple):
    """Parameters in another system's layout, and what the conversion could not keep (empty if it kept all)."""

    params: Any
    note: str


def _nested(converted: InLayout) -> Converted:
    """Arrays by path -> a tree of them, as Flax has it."""
    tree: dict[str, Any] = {}
    for path, value in converted.params.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return Converted(tree, "; ".join(converted.notes))


def _from_flax(tree: Any, *names: str) -> Weights:
    """A tree of Flax in the one of these layouts with which it shares most names."""
    chosen, params = flax_params(tree, *(table(LAYOUTS[name]) for name in names))
    return from_layout(LAYOUTS[names[chosen]], params)


def to_one_bias(w: Weights) -> Converted:
    """Weights of an Elman network -> the Linear over [x, h] of a home-made cell."""
    require_neutral(ELMAN, w)
    bias, note = (None, "") if w.bias_ih is None else (w.bias_ih + w.bias_hh, ONE_BIAS_NOTE)
    return Converted(OneBias(joined([w.weight_ih, w.weight_hh], axis=1), bias), note)


def from_one_bias(one: OneBias, hidden_size: int) -> Weights:
    """The Linear over [x, h] -> weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero.

    ``hidden_size`` is given because the shape of a Linear without a bias does not distinguish H from 4H.
    """
    require_positive_int("hidden_size", hidden_size)
    params = {name: value for name, value in one._asdict().items() if value is not None}
    require_params(ONE_BIAS if "bias" in params else ONE_BIAS.without("bias"), params, hidden_size)
    biases = () if one.bias is None else (one.bias, one.bias * 0)
    return Weights(one.weight[:, :-hidden_size], one.weight[:, -hidden_size:], *biases)


def to_flax_simple_cell(w: Weights) -> Converted:
    """-> ``flax.linen.SimpleCell``: kernels ``i`` (I, H) and ``h`` (H, H), one bias on the input side.

    The cell cannot be built without that bias, so it is zero where there is none.
    """
    require_neutral(ELMAN, w)
    return _nested(to_layout(LAYOUTS["linen RNN"], w))


def from_flax_simple_cell(params: Mapping[str, Any]) -> Weights:
    """``flax.linen.SimpleCell`` or ``nnx.SimpleCell`` -> weights; the bias goes to ``bias_ih``, ``bias_hh`` is zero."""
    return _from_flax(params, "linen RNN", "nnx RNN")


def to_flax_lstm(w: Weights) -> Converted:
    """-> ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``: ``ii if ig io`` (I, H), ``hi hf hg ho`` (H, H).

    One bias, on the recurrent side; zero where there is none, as the cell cannot be built without it.
    """
    require_neutral(LSTM, w)
    return _nested(to_layout(LAYOUTS["linen LSTM"], w))


def from_flax_lstm(params: Mapping[str, Any]) -> Weights:
    """Flax's LSTM -> weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero.

    It takes ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``, ``nnx.LSTMCell``, whose forget gate is ``if_``, and
    ``nnx.OptimizedLSTMCell``, whose names and shapes differ: ``dense_i`` (I, 4H) and ``dense_h`` (H, 4H), in the
    order i, f, g, o.
    """
    return _from_flax(params, "linen LSTM", "nnx LSTM", "nnx optimized LSTM")


def to_flax_gru(w: Weights) -> Converted:
    """-> ``flax.linen.GRUCell``: kernels ``ir iz in`` (I, H), ``hr hz hn`` (H, H); biases on ``ir iz in`` and ``hn``.

    The two biases of r and of z are merged; the candidate keeps two, as the reset gate stands between them. Zero where
    there is none, as the cell cannot be built without them.
    """
    require_neutral(GRU, w)
    return _nested(to_layout(LAYOUTS["linen GRU"], w))


def from_flax_gru(params: Mapping[str, Any]) -> Weights:
    """``flax.linen.GRUCell`` or ``nnx.GRUCell`` -> weights; the biases of r and z go to ``bias_ih``.

    ``nnx.GRUCell`` has ``dense_i`` (I, 3H) and ``dense_h`` (H, 3H), in the order r, z, n, and no bias on the recurrent
    side at all, so that ``bias_hh`` is zero.
    """
    return _from_flax(params, "linen GRU", "nnx GRU")


def to_nnx_simple_cell(w: Weights) -> Converted:
    """-> ``nnx.SimpleCell``: kernels ``dense_i`` (I, H) and ``dense_h`` (H, H), one bias, on ``dense_i``."""
    require_neutral(ELMAN, w)
    return _nested(to_layout(LAYOUTS["nnx RNN"], w))


def to_nnx_lstm(w: Weights) -> Converted:
    """-> ``nnx.LSTMCell``: as in ``flax.linen``, but ``if_``, as ``if`` is a word of Python."""
    require_neutral(LSTM, w)
    return _nested(to_layout(LAYOUTS["nnx LSTM"], w))


def to_nnx_optimized_lstm(w: Weights) -> Converted:
    """-> ``nnx.OptimizedLSTMCell``: kernels ``dense_i`` (I, 4H) and ``dense_h`` (H, 4H) in the order i, f, g, o.

    One bias, on ``dense_h``.
    """
    require_neutral(LSTM, w)
    return _nested(to_layout(LAYOUTS["nnx optimized LSTM"], w))


def to_nnx_gru(w: Weights) -> Converted:
    """-> ``nnx.GRUCell``: kernels ``dense_i`` (I, 3H) and ``dense_h`` (H, 3H) for r, z, n, bias on ``dense_i``.

    The cell has no bias within the product with r (Flax 0.12; its docstring shows one), so that of the candidate must
    be zero on the recurrent side: this reads values, and cannot be traced. The biases of r and z are merged.
    """
    require_neutral(GRU, w)
    return _nested(to_layout(LAYOUTS["nnx GRU"], w))


def _keras_gru(reset_after: bool) -> Any:
    require_flag("reset_after", reset_after)
    return LAYOUTS["keras GRU" if reset_after else "keras GRU, reset_after=False"]


def to_keras_gru(w: Weights, reset_after: bool = True) -> Converted:
    """-> ``keras.layers.GRU``: ``kernel`` (I, 3H), ``recurrent_kernel`` (H, 3H), and ``bias`` unless there is none.

    The order is z, r, n. The bias is (2, 3H) with ``reset_after``, and else (3H,), as nothing then stands between the
    two; weights do not record which form they are for.
    """
    layout = _keras_gru(reset_after)
    require_neutral(GRU, w)
    return _nested(to_layout(layout, w))


def from_keras_gru(params: Mapping[str, Any], reset_after: bool = True) -> Weights:
    """``keras.layers.GRU`` -> weights for a GRU with the same ``reset_after``; one bias goes to ``bias_ih``."""
    layout = _keras_gru(reset_after)
    require_mapping(table(layout), params, "get_weights() lists kernel, recurrent_kernel, bias")
    return from_layout(layout, {name: value for name, value in params.items() if value is not None})


def to_onnx_gru(*directions: Weights) -> Converted:
    """One direction or two -> the inputs of ONNX's operator GRU: W (D, 3H, I), R (D, 3H, H), B (D, 6H), order z, r, n.

    The node needs ``linear_before_reset=1``, or 0 for weights of ``reset_after=False``. It takes a missing B for zeros.
    """
    for w in directions:
        require_neutral(GRU, w)
    if not 1 <= len(directions) <= 2 or len({w.bias_ih is None for w in directions}) > 1:
        got = ", ".join("no bias" if w.bias_ih is None else "biases" for w in directions)
        raise InvalidInput(mismatch("directions", "one or two, both with biases or both without", got or "none"))
    first = {name: (value.shape, value.dtype) for name, value in named_weights(directions[0], "").items()}
    for name, value in named_weights(directions[-1], "").items():
        if (value.shape, value.dtype) != first[name]:
            wanted = "{} of {}, as in the first direction".format(*first[name])
            raise InvalidInput(mismatch(name, wanted, f"{value.shape} of {value.dtype}"))
    each = [to_layout(LAYOUTS["onnx GRU"], w).params for w in directions]
    return Converted({name: joined([params[name][None] for params in each]) for name in each[0]}, "")


def from_onnx_gru(params: Mapping[str, Any]) -> tuple[Weights, ...]:
    """The inputs W, R and B (if any) of ONNX's operator GRU -> the weights of each direction."""
    layout = LAYOUTS["onnx GRU"]
    return tuple(from_layout(layout, one) for one in onnx_directions(table(layout), params))


def to_lstm(w: Weights) -> Converted:
    """An LSTM without a forget gate -> an LSTM whose forget gate is always open: the same function, to the last bit in
    NumPy and PyTorch (XLA may fuse the two programs differently).

    Its rows of the weights are zero and its bias is ``OPEN``, of which the sigmoid is 1. Trained, the LSTM keeps it
    open, as the slope there is 0. It has biases even where the other has none.
    """
    require_neutral(LSTM1997, w)
    size = w.weight_hh.shape[1]

    def widened(value: Any, forget: Any) -> Any:
        return joined([value[:size], forget, value[size:]])

    zeros = w.weight_hh[:, 0] * 0
    bias_ih, bias_hh = (zeros, zeros) if w.bias_ih is None else (w.bias_ih, w.bias_hh)
    lstm = Weights(
        weight_ih=widened(w.weight_ih, w.weight_ih[:size] * 0),
        weight_hh=widened(w.weight_hh, w.weight_hh[:size] * 0),
        bias_ih=widened(bias_ih, zeros[:size] + OPEN),
        bias_hh=widened(bias_hh, zeros[:size]),
    )
    return Converted(lstm, NO_BIAS_NOTE if w.bias_ih is None else "")

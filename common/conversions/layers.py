"""Named conversions between the neutral layout and those of other systems, each with its inverse.

A conversion into a system with one bias merges two, which keeps the function and changes the training; it says so in
``Converted.note``. Conversions use only slices, transposes, sums and concatenations, so they take NumPy and JAX
arrays alike, return the same kind, and can be differentiated through.

Every conversion, in either direction, first compares its argument with a table of names and shapes
(``common.conversions.tables``), and raises ``InvalidInput`` or ``InvalidType`` for another cell's weights, a
projection, a wrong shape, or arrays that are not all of one floating-point dtype. The weights of a GRU and those of an
LSTM without a forget gate have the same shapes: they are not told apart, and neither are the two forms of a GRU.

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

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from common.conversions.tables import (
    ELMAN,
    GATES,
    GRU,
    GRU_GATES,
    KERAS_GRU,
    LINEN_GRU,
    LINEN_LSTM,
    LINEN_SIMPLE,
    LSTM,
    LSTM1997,
    NNX_GRU,
    NNX_LSTM,
    NNX_OPTIMIZED_LSTM,
    NNX_SIMPLE,
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
ONE_BIAS_NOTE = (
    "two biases were merged into one: the function is the same, the training is not "
    "(gradient descent moves the sum of two biases twice as far as one)"
)
GRU_NOTE = (
    "the two biases of r and of z were merged into one: the function is the same, the training is not "
    "(gradient descent moves the sum of two biases twice as far as one)"
)
NO_BIAS_NOTE = "zero biases were added, except for the forget gate's: the function is the same"


class OneBias(NamedTuple):
    """The Linear over [x, h] of an Elman cell: weight (H, I+H), x first, and bias (H,) or None."""

    weight: Any
    bias: Any


class Converted(NamedTuple):
    """Parameters in another system's layout, and what the conversion could not keep (empty if it kept all)."""

    params: Any
    note: str


def _joined(arrays: Sequence[Any], axis: int = 0) -> Any:
    return arrays[0].__array_namespace__().concat(arrays, axis=axis)


def _merged(w: Weights) -> tuple[Any, str]:
    return (None, "") if w.bias_ih is None else (w.bias_ih + w.bias_hh, ONE_BIAS_NOTE)


def _split(bias: Any) -> tuple[Any, Any]:
    """One bias as two: all of it on the input side, zero on the recurrent side."""
    return (None, None) if bias is None else (bias, bias * 0)


def to_one_bias(w: Weights) -> Converted:
    """Weights of an Elman network -> the Linear over [x, h] of a home-made cell."""
    require_neutral(ELMAN, w)
    bias, note = _merged(w)
    return Converted(OneBias(_joined([w.weight_ih, w.weight_hh], axis=1), bias), note)


def from_one_bias(one: OneBias, hidden_size: int) -> Weights:
    """The Linear over [x, h] -> weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero.

    ``hidden_size`` is given because the shape of a Linear without a bias does not distinguish H from 4H.
    """
    require_positive_int("hidden_size", hidden_size)
    params = {name: value for name, value in one._asdict().items() if value is not None}
    require_params(ONE_BIAS if "bias" in params else ONE_BIAS.without("bias"), params, hidden_size)
    return Weights(one.weight[:, :-hidden_size], one.weight[:, -hidden_size:], *_split(one.bias))


def to_flax_simple_cell(w: Weights) -> Converted:
    """-> ``flax.linen.SimpleCell``: kernels ``i`` (I, H) and ``h`` (H, H), one bias on the input side.

    The cell cannot be built without that bias, so it is zero where there is none.
    """
    require_neutral(ELMAN, w)
    bias, note = _merged(w)
    if bias is None:
        bias = w.weight_hh[:, 0] * 0
    return Converted({"i": {"kernel": w.weight_ih.T, "bias": bias}, "h": {"kernel": w.weight_hh.T}}, note)


def from_flax_simple_cell(params: Mapping[str, Any]) -> Weights:
    """``flax.linen.SimpleCell`` or ``nnx.SimpleCell`` -> weights; the bias goes to ``bias_ih``, ``bias_hh`` is zero."""
    cell = flax_params(params, LINEN_SIMPLE, NNX_SIMPLE)
    cell = {name.removeprefix("dense_"): value for name, value in cell.items()}
    return Weights(cell["i.kernel"].T, cell["h.kernel"].T, *_split(cell["i.bias"]))


def to_flax_lstm(w: Weights) -> Converted:
    """-> ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``: ``ii if ig io`` (I, H), ``hi hf hg ho`` (H, H).

    One bias, on the recurrent side; zero where there is none, as the cell cannot be built without it.
    """
    require_neutral(LSTM, w)
    bias, note = _merged(w)
    if bias is None:
        bias = w.weight_hh[:, 0] * 0
    size = w.weight_hh.shape[1]
    params = {}
    for gate, name in enumerate(GATES):
        rows = slice(gate * size, (gate + 1) * size)
        params["i" + name] = {"kernel": w.weight_ih[rows].T}
        params["h" + name] = {"kernel": w.weight_hh[rows].T, "bias": bias[rows]}
    return Converted(params, note)


def from_flax_lstm(params: Mapping[str, Any]) -> Weights:
    """Flax's LSTM -> weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero.

    It takes ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``, ``nnx.LSTMCell``, whose forget gate is ``if_``, and
    ``nnx.OptimizedLSTMCell``, whose names and shapes differ: ``dense_i`` (I, 4H) and ``dense_h`` (H, 4H), in the
    order i, f, g, o.
    """
    cell = flax_params(params, LINEN_LSTM, NNX_LSTM, NNX_OPTIMIZED_LSTM)
    if "dense_h.bias" in cell:
        return Weights(cell["dense_i.kernel"].T, cell["dense_h.kernel"].T, *_split(cell["dense_h.bias"]))
    cell = {name.replace("_.", "."): value for name, value in cell.items()}
    weight_ih, weight_hh, bias = (
        _joined([cell[f"{side}{gate}.{part}"].T for gate in GATES])
        for side, part in (("i", "kernel"), ("h", "kernel"), ("h", "bias"))
    )
    return Weights(weight_ih, weight_hh, *_split(bias))


def to_flax_gru(w: Weights) -> Converted:
    """-> ``flax.linen.GRUCell``: kernels ``ir iz in`` (I, H), ``hr hz hn`` (H, H); biases on ``ir iz in`` and ``hn``.

    The two biases of r and of z are merged; the candidate keeps two, as the reset gate stands between them. Zero where
    there is none, as the cell cannot be built without them.
    """
    require_neutral(GRU, w)
    size, note = w.weight_hh.shape[1], ""
    bias_ih = bias_hh = w.weight_hh[:, 0] * 0
    if w.bias_ih is not None:
        merged = w.bias_ih[: 2 * size] + w.bias_hh[: 2 * size]
        bias_ih, bias_hh, note = _joined([merged, w.bias_ih[2 * size :]]), w.bias_hh, GRU_NOTE
    params = {}
    for gate, name in enumerate(GRU_GATES):
        rows = slice(gate * size, (gate + 1) * size)
        params["i" + name] = {"kernel": w.weight_ih[rows].T, "bias": bias_ih[rows]}
        params["h" + name] = {"kernel": w.weight_hh[rows].T} | ({"bias": bias_hh[rows]} if name == "n" else {})
    return Converted(params, note)


def from_flax_gru(params: Mapping[str, Any]) -> Weights:
    """``flax.linen.GRUCell`` or ``nnx.GRUCell`` -> weights; the biases of r and z go to ``bias_ih``.

    ``nnx.GRUCell`` has ``dense_i`` (I, 3H) and ``dense_h`` (H, 3H), in the order r, z, n, and no bias on the recurrent
    side at all, so that ``bias_hh`` is zero.
    """
    cell = flax_params(params, LINEN_GRU, NNX_GRU)
    if "dense_i.bias" in cell:
        return Weights(cell["dense_i.kernel"].T, cell["dense_h.kernel"].T, *_split(cell["dense_i.bias"]))
    weight_ih, weight_hh, bias_ih = (
        _joined([cell[f"{side}{gate}.{part}"].T for gate in GRU_GATES])
        for side, part in (("i", "kernel"), ("h", "kernel"), ("i", "bias"))
    )
    zeros = cell["hn.bias"] * 0
    return Weights(weight_ih, weight_hh, bias_ih, _joined([zeros, zeros, cell["hn.bias"]]))


def _z_first(value: Any) -> Any:
    """The blocks r, z, n of a GRU in the order z, r, n of Keras and ONNX, or back."""
    size = len(value) // 3
    return _joined([value[size : 2 * size], value[:size], value[2 * size :]])


def to_keras_gru(w: Weights, reset_after: bool = True) -> Converted:
    """-> ``keras.layers.GRU``: ``kernel`` (I, 3H), ``recurrent_kernel`` (H, 3H), and ``bias`` unless there is none.

    The order is z, r, n. The bias is (2, 3H) with ``reset_after``, and else (3H,), as nothing then stands between the
    two; weights do not record which form they are for.
    """
    require_flag("reset_after", reset_after)
    require_neutral(GRU, w)
    params = {"kernel": _z_first(w.weight_ih).T, "recurrent_kernel": _z_first(w.weight_hh).T}
    if w.bias_ih is None:
        return Converted(params, "")
    if reset_after:
        return Converted(params | {"bias": _joined([_z_first(bias)[None] for bias in w[2:4]])}, "")
    return Converted(params | {"bias": _z_first(w.bias_ih + w.bias_hh)}, ONE_BIAS_NOTE)


def from_keras_gru(params: Mapping[str, Any], reset_after: bool = True) -> Weights:
    """``keras.layers.GRU`` -> weights for a GRU with the same ``reset_after``; one bias goes to ``bias_ih``."""
    require_flag("reset_after", reset_after)
    require_mapping(KERAS_GRU[reset_after], params, "get_weights() lists kernel, recurrent_kernel, bias")
    table, bias = KERAS_GRU[reset_after], params.get("bias")
    require_params(table.without("bias") if bias is None else table, params)
    weights = _z_first(params["kernel"].T), _z_first(params["recurrent_kernel"].T)
    if bias is None or not reset_after:
        return Weights(*weights, *_split(None if bias is None else _z_first(bias)))
    return Weights(*weights, _z_first(bias[0]), _z_first(bias[1]))


def to_onnx_gru(*directions: Weights) -> Converted:
    """One direction or two -> the inputs of ONNX's operator GRU: W (D, 3H, I), R (D, 3H, H), B (D, 6H), order z, r, n.

    The node needs ``linear_before_reset=1``, or 0 for weights of ``reset_after=False``. It takes a missing B for zeros.
    """
    for w in directions:
        require_neutral(GRU, w)
    parts: dict[str, list[Any]] = {}
    if not 1 <= len(directions) <= 2 or len({w.bias_ih is None for w in directions}) > 1:
        got = ", ".join("no bias" if w.bias_ih is None else "biases" for w in directions)
        raise InvalidInput(mismatch("directions", "one or two, both with biases or both without", got or "none"))
    first = {name: (value.shape, value.dtype) for name, value in named_weights(directions[0], "").items()}
    for name, value in named_weights(directions[-1], "").items():
        if (value.shape, value.dtype) != first[name]:
            wanted = "{} of {}, as in the first direction".format(*first[name])
            raise InvalidInput(mismatch(name, wanted, f"{value.shape} of {value.dtype}"))
    for w in directions:
        named = {"W": _z_first(w.weight_ih), "R": _z_first(w.weight_hh)}
        if w.bias_ih is not None:
            named["B"] = _joined([_z_first(w.bias_ih), _z_first(w.bias_hh)])
        for name, value in named.items():
            parts.setdefault(name, []).append(value[None])
    return Converted({name: _joined(values) for name, values in parts.items()}, "")


def from_onnx_gru(params: Mapping[str, Any]) -> tuple[Weights, ...]:
    """The inputs W, R and B (if any) of ONNX's operator GRU -> the weights of each direction."""
    found = []
    for one in onnx_directions(params):
        size = one["R"].shape[1]
        biases = [_z_first(one["B"][: 3 * size]), _z_first(one["B"][3 * size :])] if "B" in one else []
        found.append(Weights(_z_first(one["W"]), _z_first(one["R"]), *biases))
    return tuple(found)


def to_lstm(w: Weights) -> Converted:
    """An LSTM without a forget gate -> an LSTM whose forget gate is always open: the same function, to the last bit in
    NumPy and PyTorch (XLA may fuse the two programs differently).

    Its rows of the weights are zero and its bias is ``OPEN``, of which the sigmoid is 1. Trained, the LSTM keeps it
    open, as the slope there is 0. It has biases even where the other has none.
    """
    require_neutral(LSTM1997, w)
    size = w.weight_hh.shape[1]

    def widened(value: Any, forget: Any) -> Any:
        return _joined([value[:size], forget, value[size:]])

    zeros = w.weight_hh[:, 0] * 0
    bias_ih, bias_hh = (zeros, zeros) if w.bias_ih is None else (w.bias_ih, w.bias_hh)
    lstm = Weights(
        weight_ih=widened(w.weight_ih, w.weight_ih[:size] * 0),
        weight_hh=widened(w.weight_hh, w.weight_hh[:size] * 0),
        bias_ih=widened(bias_ih, zeros[:size] + OPEN),
        bias_hh=widened(bias_hh, zeros[:size]),
    )
    return Converted(lstm, NO_BIAS_NOTE if w.bias_ih is None else "")

"""Named conversions between the neutral layout and other systems', each with its inverse.

A conversion into a system with one bias merges two, which keeps the function and changes the training; it says so in
``Converted.note``. The conversions to and from Flax use only slices, transposes and sums, so they take NumPy and JAX
arrays alike and can be differentiated through.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, mismatch
from common.layout import GATES, Weights

ONE_BIAS_NOTE = (
    "two biases were merged into one: the function is the same, the training is not "
    "(gradient descent moves the sum of two biases twice as far as one)"
)


class OneBias(NamedTuple):
    """The Linear over [x, h] of an Elman cell: weight (H, I+H), x first, and bias (H,) or None."""

    weight: np.ndarray
    bias: np.ndarray | None


class Converted(NamedTuple):
    """Parameters in another system's layout, and what the conversion could not keep (empty if it kept all)."""

    params: Any
    note: str


def _merged(w: Weights) -> tuple[Any, str]:
    return (None, "") if w.bias_ih is None else (w.bias_ih + w.bias_hh, ONE_BIAS_NOTE)


def _split(bias: Any) -> tuple[Any, Any]:
    """One bias as two: all of it on the input side, zero on the recurrent side."""
    return (None, None) if bias is None else (bias, bias * 0)


def to_one_bias(w: Weights) -> Converted:
    """NumPy weights of an Elman network -> the Linear over [x, h] of a home-made cell."""
    rows, columns = w.weight_hh.shape
    if rows != columns:
        raise InvalidInput(mismatch("weight_hh", "(H, H) of an Elman network", (rows, columns), "an LSTM?"))
    bias, note = _merged(w)
    return Converted(OneBias(np.concatenate([w.weight_ih, w.weight_hh], axis=1), bias), note)


def from_one_bias(one: OneBias) -> Weights:
    """The Linear over [x, h] -> NumPy weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero."""
    hidden_columns = _hidden_size(one.weight)
    return Weights(one.weight[:, :-hidden_columns], one.weight[:, -hidden_columns:], *_split(one.bias))


def _hidden_size(weight: np.ndarray) -> int:
    rows, columns = weight.shape
    if rows >= columns:
        raise InvalidInput(mismatch("weight", "(H, I+H) with I at least 1", weight.shape, "transposed?"))
    return rows


def to_flax_simple_cell(w: Weights) -> Converted:
    """-> ``flax.linen.SimpleCell``: kernels ``i`` (I, H) and ``h`` (H, H), one bias on the input side.

    The cell cannot be built without that bias, so it is zero where there is none.
    """
    bias, note = _merged(w)
    if bias is None:
        bias = w.weight_hh[:, 0] * 0
    return Converted({"i": {"kernel": w.weight_ih.T, "bias": bias}, "h": {"kernel": w.weight_hh.T}}, note)


def from_flax_simple_cell(params: Mapping[str, Any]) -> Weights:
    """The inverse of ``to_flax_simple_cell``, with the one bias on the input side."""
    return Weights(params["i"]["kernel"].T, params["h"]["kernel"].T, *_split(params["i"]["bias"]))


def to_flax_lstm(w: Weights) -> Converted:
    """-> ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``: ``ii if ig io`` (I, H), ``hi hf hg ho`` (H, H).

    One bias, on the recurrent side; zero where there is none, as the cell cannot be built without.
    """
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
    """Flax's LSTM -> NumPy weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero."""
    weight_ih, weight_hh, bias = (
        np.concatenate([np.asarray(params[side + name][part]).T for name in GATES])
        for side, part in (("i", "kernel"), ("h", "kernel"), ("h", "bias"))
    )
    return Weights(weight_ih, weight_hh, *_split(bias))

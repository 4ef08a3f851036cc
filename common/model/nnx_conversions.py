"""The neutral layout -> the parameters of ``flax.nnx``'s cells, which bear other names than those of ``flax.linen``.

The way back is ``from_flax_simple_cell``, ``from_flax_lstm`` and so on of ``common.model.conversions``, which take
the parameters of either. What a conversion merges, ``Converted.note`` says.

>>> from common.model.initial import initial_parameters
>>> from common.model.layout import layer_weights
>>> from common.model.nnx_conversions import to_nnx_optimized_lstm
>>> from common.model.spec import ModelSpec
>>> params = initial_parameters(ModelSpec(cell="LSTM", input_size=3, hidden_size=5), seed=0)
>>> tree, note = to_nnx_optimized_lstm(layer_weights(params, "_l0"))
>>> tree["dense_h"]["kernel"].shape, tree["dense_h"]["bias"].shape
((5, 20), (20,))
"""

from common.model.conversions import Converted, to_flax_lstm, to_flax_simple_cell
from common.model.layout import Weights


def to_nnx_simple_cell(w: Weights) -> Converted:
    """-> ``nnx.SimpleCell``: kernels ``dense_i`` (I, H) and ``dense_h`` (H, H), one bias, on ``dense_i``."""
    params, note = to_flax_simple_cell(w)
    return Converted({f"dense_{name}": part for name, part in params.items()}, note)


def to_nnx_lstm(w: Weights) -> Converted:
    """-> ``nnx.LSTMCell``: as in ``flax.linen``, but ``if_``, as ``if`` is a word of Python."""
    params, note = to_flax_lstm(w)
    return Converted({"if_" if name == "if" else name: part for name, part in params.items()}, note)


def to_nnx_optimized_lstm(w: Weights) -> Converted:
    """-> ``nnx.OptimizedLSTMCell``: kernels ``dense_i`` (I, 4H) and ``dense_h`` (H, 4H) in the order i, f, g, o.

    One bias, on ``dense_h``.
    """
    note = to_flax_lstm(w).note  # which checks the weights
    bias = w.weight_hh[:, 0] * 0 if w.bias_ih is None else w.bias_ih + w.bias_hh
    return Converted({"dense_i": {"kernel": w.weight_ih.T}, "dense_h": {"kernel": w.weight_hh.T, "bias": bias}}, note)

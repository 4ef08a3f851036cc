"""The neutral layout -> the parameters of ``flax.nnx``'s cells, which have other names than those of ``flax.linen``.

The inverses are ``from_flax_simple_cell``, ``from_flax_lstm`` and ``from_flax_gru`` of ``common.conversions.layers``,
which take the parameters of either. What a conversion merges, ``Converted.note`` says.

>>> from common.model.initial import initial_parameters
>>> from common.model.layout import layer_weights
>>> from common.conversions.nnx import to_nnx_optimized_lstm
>>> from common.model.spec import ModelSpec
>>> params = initial_parameters(ModelSpec(cell="LSTM", input_size=3, hidden_size=5), seed=0)
>>> tree, note = to_nnx_optimized_lstm(layer_weights(params, "_l0"))
>>> tree["dense_h"]["kernel"].shape, tree["dense_h"]["bias"].shape
((5, 20), (20,))
"""

from common.conversions.layers import Converted, to_flax_gru, to_flax_lstm, to_flax_simple_cell
from common.errors import InvalidInput, mismatch
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


def to_nnx_gru(w: Weights) -> Converted:
    """-> ``nnx.GRUCell``: kernels ``dense_i`` (I, 3H) and ``dense_h`` (H, 3H) for r, z, n, bias on ``dense_i``.

    The cell has no bias within the product with r (Flax 0.12; its docstring shows one), so that of the candidate must
    be zero on the recurrent side: this reads values, and cannot be traced. The biases of r and z are merged.
    """
    note = to_flax_gru(w).note  # which checks the weights
    bias = w.weight_hh[:, 0] * 0
    if w.bias_ih is not None:
        inner = w.bias_hh[2 * w.weight_hh.shape[1] :]
        if (inner != 0).any():
            cause = "nnx.GRUCell has no bias within the product with r; flax.linen.GRUCell has"
            got = f"values up to {abs(inner).max()}"
            raise InvalidInput(mismatch("bias_hh of the candidate", "zeros", got, cause))
        bias = w.bias_ih + w.bias_hh
    return Converted({"dense_i": {"kernel": w.weight_ih.T, "bias": bias}, "dense_h": {"kernel": w.weight_hh.T}}, note)

"""The weights of one layer in the layouts of other systems, and back.

``layers`` has the conversions by name, ``nnx`` those into the cells of ``flax.nnx``, and ``tables`` the names and
shapes of each system, with which every conversion first compares its argument.
"""

from common.conversions.layers import (
    Converted,
    OneBias,
    from_flax_gru,
    from_flax_lstm,
    from_flax_simple_cell,
    from_keras_gru,
    from_one_bias,
    from_onnx_gru,
    to_flax_gru,
    to_flax_lstm,
    to_flax_simple_cell,
    to_keras_gru,
    to_lstm,
    to_one_bias,
    to_onnx_gru,
)
from common.conversions.nnx import to_nnx_gru, to_nnx_lstm, to_nnx_optimized_lstm, to_nnx_simple_cell

__all__ = [
    "Converted",
    "OneBias",
    "from_flax_gru",
    "from_flax_lstm",
    "from_flax_simple_cell",
    "from_keras_gru",
    "from_one_bias",
    "from_onnx_gru",
    "to_flax_gru",
    "to_flax_lstm",
    "to_flax_simple_cell",
    "to_keras_gru",
    "to_lstm",
    "to_nnx_gru",
    "to_nnx_lstm",
    "to_nnx_optimized_lstm",
    "to_nnx_simple_cell",
    "to_one_bias",
    "to_onnx_gru",
]

"""The weights of one layer in the layouts of other systems, and back.

``systems`` describes the layout of each system as data, ``layouts`` converts by that data, and ``layers`` has the
conversions by name. ``tables`` compares names and shapes with those of a layout.
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
    to_nnx_gru,
    to_nnx_lstm,
    to_nnx_optimized_lstm,
    to_nnx_simple_cell,
    to_one_bias,
    to_onnx_gru,
)

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

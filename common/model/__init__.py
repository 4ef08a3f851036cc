"""What a network is, as plain data: the table of cells, specifications, parameters by name and shape, conversions.

Nothing here computes a network. ``cells`` says what a cell is made of (its gates, their order, its states, its
options); ``spec``, ``network`` and ``run`` describe a model, what is around it, and its training; ``layout`` gives
every parameter its name and shape, ``initial`` its value; ``masks`` draws those of dropout; ``conversions`` converts to
the layouts of other systems and back; ``describe`` puts a model into words. ``arrays``, ``dtypes`` and ``validate``
hold the checks of single values.
"""

from common.model.cells import CELLS, TABLE, Cell, Gate
from common.model.conversions import (
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
from common.model.initial import initial_network, initial_parameters
from common.model.layout import Parameters, Weights, network_shapes, parameter_shapes
from common.model.masks import Masks, dropout_masks
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec

__all__ = [
    "CELLS",
    "TABLE",
    "Cell",
    "Converted",
    "Gate",
    "Masks",
    "ModelSpec",
    "NetworkSpec",
    "OneBias",
    "OptimizerSpec",
    "Parameters",
    "RunSpec",
    "Weights",
    "dropout_masks",
    "from_flax_gru",
    "from_flax_lstm",
    "from_flax_simple_cell",
    "from_keras_gru",
    "from_one_bias",
    "from_onnx_gru",
    "initial_network",
    "initial_parameters",
    "network_shapes",
    "parameter_shapes",
    "to_flax_gru",
    "to_flax_lstm",
    "to_flax_simple_cell",
    "to_keras_gru",
    "to_lstm",
    "to_one_bias",
    "to_onnx_gru",
]

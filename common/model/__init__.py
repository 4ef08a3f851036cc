"""What a network is, as plain data: the table of cells, specifications, parameters by name and shape.

Nothing here computes a network. ``cells`` says what a cell is made of (its gates, their order, its states, its
options); ``spec``, ``network`` and ``run`` describe a model, what is around it, and its training; ``layout`` gives
every parameter its name and shape, ``initial`` its value; ``masks`` draws those of dropout; ``describe`` puts a model
into words. ``arrays``, ``dtypes`` and ``validate`` hold the checks of single values.
"""

from common.model.cells import CELLS, TABLE, Cell, Gate
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
    "Gate",
    "Masks",
    "ModelSpec",
    "NetworkSpec",
    "OptimizerSpec",
    "Parameters",
    "RunSpec",
    "Weights",
    "dropout_masks",
    "initial_network",
    "initial_parameters",
    "network_shapes",
    "parameter_shapes",
]

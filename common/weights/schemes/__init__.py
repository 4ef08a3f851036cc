"""How systems name the arrays of their recurrent layers, one module for each system.

A scheme says only which arrays belong together and in which layout they are (``Found.where``); ``layers.found`` makes
the model of them, by the layout's own data. ``find`` asks every scheme.
"""

from collections.abc import Mapping

import numpy as np

from common.weights.schemes import flax_names, nnx_names, torch_names
from common.weights.source import Found, Scheme

SCHEMES: tuple[Scheme, ...] = (torch_names, flax_names, nnx_names)


def find(arrays: Mapping[str, np.ndarray]) -> tuple[Found, ...]:
    """The recurrent layers of all systems among the arrays of a file, in the order in which they stand there."""
    order = {name: place for place, name in enumerate(arrays)}
    layers = [layer for scheme in SCHEMES for layer in scheme.find(arrays)]
    return tuple(sorted(layers, key=lambda layer: min(order[name] for name in layer.names)))

"""How systems name the arrays of their recurrent layers, one module for each system.

A scheme says only which arrays belong together and in which layout they are (``Found.where``); ``layers.found`` makes
the model of them, by the layout's own data. ``find`` asks every scheme.
"""

import re
from collections.abc import Mapping

import numpy as np

from common.weights.schemes import equinox_names, flax_names, haiku_names, nnx_names, tf1_names, torch_names
from common.weights.schemes.flax_trees import of_optimiser
from common.weights.source import Found, Scheme

SCHEMES: tuple[Scheme, ...] = (torch_names, flax_names, nnx_names, haiku_names, equinox_names, tf1_names)
SEPARATOR = re.compile("[./]")


def find(arrays: Mapping[str, np.ndarray]) -> tuple[Found, ...]:
    """The recurrent layers of all systems among the arrays of a file, in the order in which they stand there.

    Of two that share arrays, the one that has more of them stays: a cell of Equinox's with its bias is not one of
    PyTorch's without. The moments of an optimiser, which have the names of the parameters, are no layers.
    """
    order = {name: place for place, name in enumerate(arrays)}
    layers = [layer for scheme in SCHEMES for layer in scheme.find(arrays)]
    paths = [tuple(SEPARATOR.split(layer.path)) for layer in layers]
    moments = of_optimiser(set(paths))
    layers = [layer for layer, path in zip(layers, paths, strict=True) if path not in moments]
    sharing: dict[str, list[frozenset[str]]] = {}
    for layer in layers:
        names = frozenset(layer.names)
        for name in names:
            sharing.setdefault(name, []).append(names)
    layers = [layer for layer in layers if not any(set(layer.names) < names for names in sharing[layer.names[0]])]
    return tuple(sorted(layers, key=lambda layer: min(order[name] for name in layer.names)))

"""What one layer in one direction of a model reads, when the model reads a recorded sequence."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from common.backend import registry
from common.errors import InvalidInput, mismatch
from common.model.layout import layer_suffixes
from common.weights.source import Found

NETWORK, LAYER = "network", "layer"


class Entering(NamedTuple):
    """x (T, 1, I) in float64 in the order in which the direction reads it, and sentences on how it was made."""

    x: np.ndarray
    notes: tuple[str, ...]


def entering(whole: Found, direction: str, x: np.ndarray, of: str | None = None) -> Entering:
    """The input of one layer and direction of a model, from a sequence x (T, I).

    ``direction`` is ``l1``, ``l1_reverse`` and so on. x has the width of the model's input, and then the layers below
    are run from zero states to make the layer's, or that of the layer's own. Where both are the same, ``of`` decides:
    ``NETWORK``, which is the default, or ``LAYER``. Raises ``InvalidInput`` for any other width.
    """
    spec = whole.spec
    assert spec is not None  # or the layer could not have been chosen
    spec, level = spec.with_dtype("float64"), int(direction.removeprefix("l").partition("_")[0] or 0)
    own = spec.output_size if level else spec.input_size
    is_network, is_layer = x.shape[1] == spec.input_size, x.shape[1] == own
    x, notes = x.astype("float64")[:, None], []
    if not (is_network or is_layer) or (of == NETWORK and not is_network) or (of == LAYER and not is_layer):
        sizes = {f"{spec.input_size}, that of the network": of != LAYER or not level}
        sizes |= {f"{own}, that of {direction}": level > 0 and of != NETWORK}
        wanted = " or ".join(text for text, applies in sizes.items() if applies)
        raise InvalidInput(mismatch("width of the inputs", wanted, x.shape[2]))
    if level and is_network and of != LAYER:
        lower = replace(spec, num_layers=level)
        suffixes = layer_suffixes(lower)
        params = {
            name: value.astype("float64")
            for name, value in whole.params.items()
            if any(name.endswith(suffix) for suffix in suffixes)
        }
        state0 = tuple(np.zeros(shape) for shape in lower.state_shapes(1))
        x, _ = registry.load("numpy").forward(lower, params, x, state0)
        below = "layer 0 was" if level == 1 else f"layers 0 to {level - 1} were"
        notes.append(f"{below} run on the inputs, from zero states, to make those of {direction}")
    elif level:
        notes.append(f"the inputs are taken as those of {direction}, whose width they have")
    if direction.endswith("_reverse"):
        x = x[::-1]
        notes.append(f"{direction} reads from the end: step 1 is the last input")
    return Entering(np.ascontiguousarray(x), tuple(notes))

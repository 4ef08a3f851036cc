"""Which layers of a Keras model follow one another, from its configuration."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from common.weights.formats.keras.cells import name_of

# Layers that hand on in inference what they are given, so that the layers on both sides follow one another.
TRANSPARENT = frozenset(
    {"Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization"}
)


def followers(children: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Layer -> the one layer that takes its output and nothing else, with transparent layers in between left out."""
    names = [name_of(child) for child in children]
    if any("inbound_nodes" in child for child in children):
        sources = {name: _sources(child.get("inbound_nodes")) for name, child in zip(names, children, strict=True)}
    else:
        sources = {name: [before] for before, name in pairwise(names)}
    uses = Counter(source for of_one in sources.values() for source in of_one)
    after = {of_one[0]: name for name, of_one in sources.items() if len(of_one) == 1 and uses[of_one[0]] == 1}
    passing = {name for name, child in zip(names, children, strict=True) if child["class_name"] in TRANSPARENT}
    found = {}
    for name in (name for name in names if name not in passing):  # so that no chain is followed twice
        following, steps = after.get(name), 0
        while following in passing and steps < len(names):
            following, steps = after.get(following), steps + 1
        if following is not None and following not in passing:
            found[name] = following
    return found


def _sources(nodes: Any) -> list[str]:
    """The names of the layers whose outputs a layer is called on, over all its calls."""
    found: list[str] = []
    waiting = [nodes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            history = value.get("keras_history")
            if isinstance(history, list) and history and isinstance(history[0], str):
                found.append(history[0])
            else:
                waiting += value.values()
        elif isinstance(value, list):
            is_source = len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int)
            if is_source:
                found.append(value[0])
                waiting += value[3:]
            else:
                waiting += value
    return found

"""The blocks of rows that an array in the neutral layout has, one for each gate of its cell."""

from collections.abc import Sequence
from typing import Any

from common.conversions.parts import BIAS_H, BIAS_X, ONE_GATE, Layout
from common.model.cells import TABLE


def letters(cell: str) -> tuple[str, ...]:
    """The gates of a cell in the order of the neutral layout; one for an Elman network, which has none."""
    return TABLE[cell].letters or (ONE_GATE,)


def joined(arrays: Sequence[Any], axis: int = 0) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays[0].__array_namespace__().concat(list(arrays), axis=axis)


def blocks_of(cell: str, value: Any) -> dict[str, Any]:
    """Gate -> its rows of an array in the neutral layout."""
    names = letters(cell)
    size = value.shape[0] // len(names)
    return {name: value[k * size : (k + 1) * size] for k, name in enumerate(names)}


def held_apart(layout: Layout) -> set[tuple[str, str]]:
    """The (side, gate) that a part of its own holds, which a sum of biases therefore leaves out."""
    sides = (BIAS_X, BIAS_H)
    return {(part.holds, gate) for part in layout.parts if part.holds in sides for gate in part.gates or ONE_GATE}

"""Which units, features and steps of a trace are shown, so that a large layer does not fill the screen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.tracing.trace import Example

UNITS, FEATURES, STEPS = 4, 3, 5


class Shown(NamedTuple):
    """Hidden units and features of x, counted from 0, and the number of first steps; all that there are of each last.

    >>> import numpy as np
    >>> from common.tracing.shown import Shown
    >>> shown = Shown((0, 2), (1,), 2, (3, 2, 5))
    >>> shown.of("weight_ih", np.arange(24).reshape(12, 2)).tolist()  # four gates of three units, two features
    [[1], [5], [7], [11], [13], [17], [19], [23]]
    >>> shown.left_out
    '2 of 3 hidden units, 1 of 2 features of x, 2 of 5 steps'
    """

    units: tuple[int, ...]
    features: tuple[int, ...]
    steps: int
    sizes: tuple[int, int, int]

    @property
    def left_out(self) -> str:
        """How much is shown of what there is more of; "" where everything is shown."""
        counts = zip((len(self.units), len(self.features), self.steps), self.sizes, strict=True)
        words = ("hidden units", "features of x", "steps")
        some = [f"{count} of {size} {what}" for (count, size), what in zip(counts, words, strict=True) if count < size]
        return ", ".join(some)

    def of(self, name: str, array: np.ndarray) -> np.ndarray:
        """The shown part of an array whose last axes are those of its name (without the axis of the steps)."""
        if "weight_ih" in name:
            return self._units(array, -2)[..., list(self.features)]
        if "weight_hh" in name:
            return self._units(self._units(array, -2), -1)
        if name in ("x", "dx"):
            return array[..., list(self.features)]
        return array if name == "counted" else self._units(array, -1)

    def of_steps(self, name: str, array: np.ndarray) -> np.ndarray:
        """The same for an array whose first axis is that of the steps."""
        return self.of(name, array[: self.steps])

    def _units(self, array: np.ndarray, axis: int) -> np.ndarray:
        """The units' places on an axis that has a block of all units for each gate."""
        hidden = self.sizes[0]
        places = [block * hidden + unit for block in range(array.shape[axis] // hidden) for unit in self.units]
        return array.take(places, axis=axis)


def shown(example: Example, units: Sequence[int] | None, features: Sequence[int] | None, everything: bool) -> Shown:
    """What is shown of an example: what was chosen, or the first few, or everything."""
    sizes = (example.spec.hidden_size, example.spec.input_size, len(example.x))
    limits = sizes if everything else (UNITS, FEATURES, STEPS)
    usual = [tuple(range(min(size, limit))) for size, limit in zip(sizes, limits, strict=True)]
    chosen = (usual[0] if units is None else tuple(units), usual[1] if features is None else tuple(features))
    return Shown(*chosen, len(usual[2]), sizes)

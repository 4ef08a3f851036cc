"""Monte Carlo arithmetic (Parker 1997): numbers that are moved by one rounding of a dtype, up or down at random."""

from math import prod

import numpy as np

# The largest relative error of rounding to nearest (Higham 2002, section 2.1).
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# What underflow can cost. Numbers of 32 and 64 bits may be flushed to zero below the smallest normal number, as XLA
# does on a CPU; float16 keeps its subnormal numbers.
UNDERFLOW = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-24, "bfloat16": 2.0**-126}
# float64 cannot show its own rounding: a larger one is measured and scaled down, as the error is proportional to it.
MEASURABLE = 2.0**-40
# How many numbers of a single run are moved at a time: few enough to stay in a processor's cache.
BLOCK = 1 << 14


class Rounding:
    """Moves the numbers of some runs by one rounding, up or down at random; ``is_moved`` (R,) says of which runs.

    The runs lie along the third axis from the end of every array.
    """

    def __init__(self, dtype: str, is_moved: np.ndarray, rng: np.random.Generator):
        self._unit = is_moved[:, None, None] * max(ROUNDOFF[dtype], MEASURABLE)
        self._underflow = is_moved[:, None, None] * UNDERFLOW[dtype]
        self._rng = rng

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """By a relative rounding; an exact zero stays one."""
        if len(self._unit) > 1:
            return value + self._signs(value.shape) * (self._unit * value + self._underflow * (value != 0))
        bits = self._bits(value.size)
        if not self._unit.any():
            return value
        unit, underflow, numbers = self._unit.item(), self._underflow.item(), value.ravel()
        moved = np.empty_like(numbers)
        for start in range(0, numbers.size, BLOCK):
            part = numbers[start : start + BLOCK]
            signs = 2.0 * np.unpackbits(bits[start // 8 :][: BLOCK // 8], count=part.size) - 1
            moved[start : start + BLOCK] = part + signs * (unit * part + underflow * (part != 0))
        return moved.reshape(value.shape)

    def gate(self, value: np.ndarray) -> np.ndarray:
        """By a rounding of 1."""
        return value + self._signs(value.shape) * self._unit

    def given(self, value: np.ndarray, axis: int = 0) -> np.ndarray:
        """A given array in float64, for all runs along a new axis, each moved on its own."""
        value = np.expand_dims(value.astype("float64"), axis)
        return self(np.repeat(value, len(self._unit), axis))

    def _bits(self, count: int) -> np.ndarray:
        """At least ``count`` random bits, eight in each number."""
        return np.frombuffer(self._rng.bytes(-(-count // 8)), "uint8")

    def _signs(self, shape: tuple[int, ...]) -> np.ndarray:
        bits = np.unpackbits(self._bits(prod(shape)), count=prod(shape))
        return np.reshape(2.0 * bits - 1, shape)

"""Checks of arrays: each raises unless an array is what is expected, and says what is likely wrong with it."""

from math import prod
from typing import Any

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.dtypes import numpy_dtype, rounding

Shape = tuple[int, ...]


def require_array(name: str, array: Any, shape: Shape, dtype: str, owner: str = "", cause: str = "") -> None:
    """Raise unless ``array`` is a finite NumPy array of this shape and dtype; points out a likely transpose.

    ``cause`` is what a wrong shape probably means, if the caller knows.
    """
    require_ndarray(name, array)
    require_form(name, array, shape, dtype, owner, cause)
    require_finite(name, array)


def require_form(name: str, array: np.ndarray, shape: Shape, dtype: str, owner: str = "", cause: str = "") -> None:
    """Raise unless a NumPy array has this shape and dtype."""
    where = f" for {owner}" if owner else ""
    if array.shape != shape:
        if not cause and array.ndim == 2 and array.shape == shape[::-1]:
            cause = "transposed?"
        if not cause and array.size == prod(shape):
            cause = "axes in another order?" if sorted(array.shape) == sorted(shape) else "an axis too many or too few?"
        raise InvalidInput(mismatch(name, f"{shape}{where}", array.shape, cause))
    if array.dtype != numpy_dtype(dtype):
        raise InvalidType(mismatch(name, f"{dtype}{where}", array.dtype, rounding(array.dtype, dtype)))


def require_finite(name: str, array: np.ndarray) -> None:
    """Raise unless every value is finite; names the first index at which one is not."""
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise InvalidInput(mismatch(name, "finite values", f"{array[index]} at index {index}"))


def require_ndarray(name: str, array: Any) -> None:
    """Raise unless this is a plain NumPy array, in memory or on disk (``numpy.memmap``).

    Subclasses compute differently: ``*`` of a ``numpy.matrix`` is the matrix product.
    """
    refuse_masked(name, array)
    if type(array) not in (np.ndarray, np.memmap):
        cause = "numpy.asarray of it is one" if isinstance(array, np.ndarray) else ""
        raise InvalidType(mismatch(name, "a numpy.ndarray", type(array).__name__, cause))


def refuse_masked(name: str, array: Any) -> None:
    """Raise for a masked array, whose mask would be ignored."""
    if isinstance(array, np.ma.MaskedArray):
        cause = "its mask would be ignored; array.filled(value) has none"
        raise InvalidType(mismatch(name, "an array without a mask", type(array).__name__, cause))

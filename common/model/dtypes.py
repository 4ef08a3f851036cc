"""One rule for the dtypes of parameters that are loaded: a dtype is converted only if that is exact for every value.

float16, bfloat16 and float32 are exact in float64; float16 and bfloat16 are exact in float32 too, but not in each
other. Integers, complex numbers and wider floating-point numbers are refused; if you want the rounding, cast first.
"""

from typing import Any

import ml_dtypes
import numpy as np

from common.model.spec import DTYPES, HALF_DTYPES

# A dtype -> the wider ones that can hold all of its values: at least as many digits, and as wide a range.
WIDER: dict[str, tuple[str, ...]] = dict.fromkeys(HALF_DTYPES, DTYPES) | {"float32": ("float64",)}


def dtype_label(dtype: Any) -> str:
    """The name of a dtype of NumPy, JAX or PyTorch, without the package; byte order does not count."""
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def is_exact(source: Any, target: Any) -> bool:
    """Whether every value of one dtype, given as a dtype or by its name, is a value of the other."""
    return dtype_label(target) in (dtype_label(source), *WIDER.get(dtype_label(source), ()))


def widened(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in this dtype where that is exact; any other stays as it is, for ``layout.require_array`` to refuse."""
    return array.astype(dtype) if is_exact(array.dtype, dtype) else array


def rounding(source: Any, target: Any) -> str:
    """The likely cause and the remedy where a dtype is refused because a conversion can round."""
    names = (*DTYPES, *HALF_DTYPES)
    if dtype_label(source) not in names or dtype_label(target) not in names or is_exact(source, target):
        return ""
    return f"{dtype_label(source)} can round in {dtype_label(target)}: cast it yourself first"


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of this name; bfloat16 is that of ml_dtypes, which JAX uses too."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)

"""What the idiomatic faces share: torch.nn's constructor arguments, and the way from a call to the core and back.

A face is ``numpy_impl.RNN``, ``jax_impl.LSTM``, ``torch_impl.RNNCell`` and so on: the four cells of a backend
as a user of that framework expects them, around the same core as the contract. The checks here read only types,
shapes and dtypes, never values: they serve every framework, wait for no device, and pass traced arrays. Masked arrays
are refused; other subclasses of ``numpy.ndarray`` are taken as plain arrays.
"""

import sys
import warnings
from operator import attrgetter
from typing import Any

import numpy as np

from common.errors import InvalidType, mismatch
from common.model.spec import ModelSpec

# The packages whose frames stand between the constructor's call and ``layer_spec``.
CONSTRUCTING = ("common", "numpy_impl", "jax_impl", "torch_impl", "flax")


def layer_spec(cell: str, input_size: int, hidden_size: int, batch_first: bool = False, **options: Any) -> ModelSpec:
    """The specification for the arguments of ``torch.nn.RNN``, ``LSTM``, ``RNNCell`` or ``LSTMCell``.

    Warns, as torch does, where dropout has no layer to act on.
    """
    if not isinstance(batch_first, bool):
        raise InvalidType(mismatch("batch_first", "a bool", type(batch_first).__name__))
    spec = ModelSpec(cell=cell, input_size=input_size, hidden_size=hidden_size, **options)
    if spec.dropout > 0 and spec.num_layers == 1:
        text = mismatch("dropout", "0 with num_layers=1", spec.dropout, "it acts between layers, so here on nothing")
        warnings.warn(text, stacklevel=_callers_level())
    return spec


def dtype_name(dtype: Any) -> str:
    """The name of a dtype given as a name, a NumPy dtype or a scalar type; None is float32, torch's default."""
    if dtype is None:
        return "float32"
    try:
        return dtype if dtype == "bfloat16" else np.dtype(dtype).name
    except TypeError as error:
        raise InvalidType(mismatch("dtype", "a dtype of NumPy or its name", repr(dtype))) from error


def _callers_level() -> int:
    """The stacklevel of the line that constructs a module: the first one that is neither ours nor Flax's."""
    frame, level = sys._getframe(1), 1
    while frame and frame.f_globals["__name__"].partition(".")[0] in CONSTRUCTING:
        frame, level = frame.f_back, level + 1
    return level


class SpecAttributes:
    """The constructor arguments of a face as read-only attributes; ``batch_first`` is an attribute of its own."""

    spec: ModelSpec
    batch_first: bool
    input_size, hidden_size, num_layers, nonlinearity, bias, dropout, bidirectional, proj_size = (
        property(attrgetter(f"spec.{name}"))
        for name in (
            "input_size",
            "hidden_size",
            "num_layers",
            "nonlinearity",
            "bias",
            "dropout",
            "bidirectional",
            "proj_size",
        )
    )


def constructor_text(face: SpecAttributes) -> str:
    """The sizes, and the options that are not torch's defaults, as torch's modules show them."""
    usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
    usual |= {"bidirectional": False, "nonlinearity": "tanh"}
    given = {name: getattr(face, name) for name in usual}
    options = [f"{name}={value}" for name, value in given.items() if value != usual[name]]
    return ", ".join([str(face.spec.input_size), str(face.spec.hidden_size), *options])

"""What the idiomatic modules of all frameworks share: their constructors' arguments, as attributes and as text.

A module is ``numpy_impl.RNN``, ``jax_impl.LSTM``, ``torch_impl.RNNCell`` and so on: a cell as a user of that framework
expects it, around the same core as the contract. Each class has torch.nn's signature, written out so that
``inspect.signature`` and an editor show it, and hands its arguments to ``module_spec`` as ``locals()``. A new module is
an entry in ``common.model.cells`` and, in each framework, that signature.
"""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

import numpy as np

from common.errors import InvalidType, mismatch
from common.model.spec import DEFAULTS, ModelSpec
from common.model.validate import require_flag

# The packages whose frames stand between the constructor's call and ``module_spec``.
CONSTRUCTING = ("common", "numpy_impl", "jax_impl", "torch_impl", "flax")
# The arguments of a constructor that go into the specification under their own names.
SPECIFIED = frozenset(field.name for field in fields(ModelSpec)) - {"cell", "dtype"}
# What the text of a module shows if it is not torch's default, in the order of torch's modules.
SHOWN = ("proj_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "nonlinearity", "reset_after")
SHOWN += ("input_dropout", "recurrent_dropout")


def module_spec(cell: str, arguments: Mapping[str, Any], dtype: str) -> ModelSpec:
    """The specification for the arguments of a module's constructor, by name; arguments that do not describe the model
    are ignored.

    Warns, as torch does, if dropout has no layer to act on.
    """
    require_flag("batch_first", arguments.get("batch_first", False))
    options = {name: value for name, value in arguments.items() if name in SPECIFIED}
    spec = ModelSpec(cell=cell, dtype=dtype, **options)
    if spec.dropout > 0 and spec.num_layers == 1:
        text = mismatch("dropout", "0 with num_layers=1", spec.dropout, "it acts between layers, so it does nothing")
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


def _of_spec(name: str) -> property:
    return property(attrgetter(f"spec.{name}"))


class SpecAttributes:
    """The constructor's arguments as read-only attributes; ``batch_first`` is an attribute of its own."""

    spec: ModelSpec
    batch_first: bool
    input_size = _of_spec("input_size")
    hidden_size = _of_spec("hidden_size")
    num_layers = _of_spec("num_layers")
    nonlinearity = _of_spec("nonlinearity")
    bias = _of_spec("bias")
    dropout = _of_spec("dropout")
    bidirectional = _of_spec("bidirectional")
    proj_size = _of_spec("proj_size")
    reset_after = _of_spec("reset_after")
    input_dropout = _of_spec("input_dropout")
    recurrent_dropout = _of_spec("recurrent_dropout")


def constructor_text(module: SpecAttributes) -> str:
    """The sizes, and the options that are not torch's defaults, as torch's modules show them."""
    defaults = {"batch_first": False} | DEFAULTS
    given = {name: getattr(module, name) for name in SHOWN}
    options = [f"{name}={value}" for name, value in given.items() if value != defaults[name]]
    return ", ".join([str(module.spec.input_size), str(module.spec.hidden_size), *options])

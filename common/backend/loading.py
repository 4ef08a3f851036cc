"""A module of any implementation with the weights of a layer in a file: what ``load`` of each of them does."""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InvalidInput, mismatch
from common.model.spec import STEP_OPTIONS
from common.weights import files
from common.weights.layer import assumptions, select

M = TypeVar("M")


def loaded(
    modules: Mapping[str, Callable[..., M]],
    path: str | os.PathLike[str],
    layer: str | None,
    batch_first: bool,
    options: Mapping[str, Any],
    **constructor: Any,
) -> M:
    """The module of ``modules`` (cell -> class) for a layer of a file, with the weights of the file.

    ``options`` are those of ``select``. ``constructor`` are further arguments of the class; ``dtype`` is a function of
    the name of the file's dtype. What the file does not record and the caller does not say is assumed with a warning,
    except for what torch.nn's names leave open and torch.nn itself does not, such as where the reset gate acts.
    Raises as ``files.read`` and ``select``, and as the class does where it cannot have the dtype of the file.
    """
    file = files.read(Path(path))
    found = select(file, layer, **options)
    spec = found.spec
    assert spec is not None  # or select would have refused it
    for assumed in assumptions(file, found):
        if not assumed.is_natural:
            warnings.warn(assumed.in_python, stacklevel=3)
    arguments = {"bias": spec.bias, "dtype": constructor.pop("dtype")(spec.dtype), **constructor}
    arguments |= {name: getattr(spec, name) for name in STEP_OPTIONS if name in spec.kind.options}
    if not spec.is_cell:
        arguments |= {"num_layers": spec.num_layers, "bidirectional": spec.bidirectional, "batch_first": batch_first}
    elif batch_first:
        cause = "its input has no axis of steps"
        raise InvalidInput(mismatch("batch_first", f"False for {spec.cell} in {path}", True, cause))
    if spec.proj_size:
        arguments["proj_size"] = spec.proj_size
    module: Any = modules[spec.cell](spec.input_size, spec.hidden_size, **arguments)
    module.load_state_dict(found.params)
    return module

"""Backend name -> implementation, imported on first use.

Besides the names here, an installed package can offer backends through the entry point group
``rnn_rosetta.backends``, and any importable one can be named as ``package.module`` or ``package.module:attribute``.

>>> import numpy as np
>>> from common.backend import registry
>>> from common.model.initial import initial_parameters
>>> from common.model.spec import ModelSpec
>>> spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=5)
>>> y, (h_n, c_n) = registry.load("numpy").forward(spec, initial_parameters(spec, seed=0), np.ones((7, 2, 3)), None)
>>> y.shape, h_n.shape
((7, 2, 5), (1, 2, 5))
"""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple

from common.backend.contract import Backend
from common.errors import BackendBroken, BackendMissing, InvalidInput, InvalidType, mismatch, unknown

ENTRY_POINTS = "rnn_rosetta.backends"
DOTTED_PATH = re.compile(r"\w+(\.\w+)*(:(\w+(\.\w+)*)?)?")
# The members of the protocol; Python offers them itself from 3.12 on.
CONTRACT = (*Backend.__annotations__, *(name for name in vars(Backend) if not name.startswith("_")))


class Entry(NamedTuple):
    """Where a backend is, and which extra of the distribution installs what it needs."""

    target: str
    extra: str | None
    summary: str


BUILTIN = {
    "numpy": Entry("numpy_impl.backend:BACKEND", None, "NumPy, BPTT by hand"),
    "jax": Entry("jax_impl.backend:BACKEND", "jax", "JAX, pure functions under lax.scan"),
    "torch": Entry("torch_impl.backend:BACKEND", "torch", "PyTorch, from primitives, autograd"),
    "torch.nn": Entry("torch_impl.oracles.torch_nn:BACKEND", "torch", "oracle: the layers and cells of torch.nn"),
    "flax": Entry(
        "jax_impl.oracles.flax_linen:BACKEND",
        "jax",
        "oracle: the recurrent cells of flax.linen",
    ),
    "one-bias": Entry(
        "numpy_impl.one_bias:BACKEND",
        None,
        "NumPy, tanh(Linear([x, h])): one bias; same function, different training",
    ),
}
FRAMEWORKS = {"jax": ("jax", "flax", "optax"), "torch": ("torch",)}
DEFAULT = ("numpy", "jax", "torch", "torch.nn", "flax")


def available() -> dict[str, Entry]:
    """Every backend that can be named without a dotted path; nothing is imported."""
    third_party = {
        point.name: Entry(point.value, None, f"from {point.dist.name if point.dist else point.module}")
        for point in entry_points(group=ENTRY_POINTS)
    }
    return BUILTIN | {name: entry for name, entry in third_party.items() if name not in BUILTIN}


@cache
def load(name: str) -> Backend:
    """Import the backend of this name, and check that it fulfils the contract."""
    entries = available()
    if name in entries:
        entry = entries[name]
    elif DOTTED_PATH.fullmatch(name) and ("." in name or ":" in name):
        entry = Entry(name, None, "")
        if os.getcwd() not in sys.path:  # as `python -m` does; a console script leaves it out
            sys.path.append(os.getcwd())
    else:
        options = [*entries, "package.module:attribute"]
        raise InvalidInput(unknown("backend", options, name))
    module_name, _, attribute = entry.target.partition(":")
    backend = _import(name, module_name, entry)
    for part in filter(None, attribute.split(".")):
        if not hasattr(backend, part):
            raise InvalidInput(mismatch(f"backend {name}", f"an attribute {attribute} in {module_name}", "none"))
        backend = getattr(backend, part)
    if not isinstance(backend, Backend):
        lacking = sorted(field for field in CONTRACT if not hasattr(backend, field))
        raise InvalidType(
            mismatch(
                f"backend {name}", "the contract of common.backend.contract.Backend", f"an object that lacks {lacking}"
            )
        )
    if isinstance(backend, type):
        raise InvalidType(mismatch(f"backend {name}", "an object", f"the class {backend.__name__}", "name an instance"))
    return backend


def _import(name: str, module_name: str, entry: Entry) -> object:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if entry.extra and missing in FRAMEWORKS[entry.extra]:
            text = f"backend {name} needs {missing}, which is not installed; run: pip install -e '.[{entry.extra}]'"
            raise BackendMissing(text) from error
        if missing and (module_name + ".").startswith(missing + "."):
            raise InvalidInput(mismatch(f"backend {name}", "an importable module", f"no module {missing}")) from error
        text = f"backend {name} is installed but fails on import: {type(error).__name__}: {error}"
        raise BackendBroken(text) from error


def load_all(names: Sequence[str]) -> dict[str, Backend]:
    """Name -> backend, in the order given."""
    return {name: load(name) for name in names}

"""From the parsed options of the command line to a model, and to the problem on which it is compared."""

from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from common.equivalence.variants import H, I, Variant
from common.model.spec import ModelSpec
from common.model.validate import require_positive_int

# The options of a model, and of its problem; they are there only if they were given.
MODEL = ("input_size", "hidden_size", "num_layers", "nonlinearity", "bias", "dropout", "bidirectional", "proj_size")
ONE = ("steps", "batch", "lengths", "given_state", "training", "regime")


def given(options: Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The options that were given, of those that have no default."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def variant(cell: str, dtype: str, seed: int, chosen: dict[str, Any]) -> Variant:
    """The one model that the options describe, and its problem."""
    of_model: dict[str, Any] = {"input_size": I, "hidden_size": H}
    of_model |= {name: value for name, value in chosen.items() if name in MODEL}
    of_problem = {name: value for name, value in chosen.items() if name in ONE}
    for name in ("steps", "batch"):
        require_positive_int(name, of_problem.get(name, 1))
    return Variant(spec=ModelSpec(cell=cell, dtype=dtype, **of_model), seed=seed, **of_problem)

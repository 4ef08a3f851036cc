"""The traces of all implementations side by side; each is imported when it is needed."""

import importlib
from collections.abc import Callable, Sequence

from common.backend import registry
from common.errors import InvalidInput, choice
from common.tracing import finite_differences
from common.tracing.trace import Example, Trace

TRACED = ("numpy", "jax", "torch")
FINITE_DIFFERENCES = "finite differences"


def load(name: str) -> Callable[[Example], Trace]:
    """The function ``trace`` of a backend. Raises as the registry does where its framework is missing or broken."""
    if name not in TRACED:
        raise InvalidInput(choice("backend to trace", TRACED, name))
    registry.load(name)
    return importlib.import_module(f"{name}_impl.trace").trace


def everything(
    example: Example,
    names: Sequence[str] = TRACED,
    units: Sequence[int] | None = None,
    features: Sequence[int] | None = None,
    stage: Callable[[str, int], Callable[[], object]] = lambda name, total: lambda: None,
) -> dict[str, Trace]:
    """Backend name -> its trace, and ``FINITE_DIFFERENCES`` -> the trace from differences of NumPy's forward step.

    Finite differences take long for many units: ``units`` and ``features``, numbers from 0, limit them to those; () of
    units leaves them out. ``stage`` is called with the name of each trace and the number of its parts, and gives what
    is called after each part.
    """
    traces = {}
    for name in names:
        done = stage(name, 1)
        traces[name] = load(name)(example)
        done()
    if units is not None and not units:
        return traces
    cell = importlib.import_module("numpy_impl.stack").STEPS[example.spec.kind.layer]
    done = stage(FINITE_DIFFERENCES, len(example.x))
    return traces | {FINITE_DIFFERENCES: finite_differences.trace(example, cell, units, features, done)}

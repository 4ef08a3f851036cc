"""Every intermediate of a cell's forward and backward pass on one example, as each implementation computes it.

The example is one sequence, B = 1, through a cell applied T times, with L = 1/2 sum_t counted_t ||h_t - target_t||^2.
NumPy's values are what its tagged lines assigned (``watching``). The other derivatives come from PyTorch's graph, from
JAX with a zero added to every intermediate (``perturbed``), and from finite differences over the same.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from common.backend import registry
from common.backend.guards import require_input, require_state
from common.errors import InvalidInput, InvalidType, choice, mismatch
from common.model.arrays import require_array, require_ndarray
from common.model.layout import Parameters, Weights, layer_suffixes, layer_weights, require_parameters
from common.model.spec import ModelSpec
from common.tracing.watch import Event

TRACED = ("numpy", "jax", "torch")
FINITE_DIFFERENCES = "finite differences"


class Step(NamedTuple):
    """The tagged lines executed for step t, in order; ``phase`` is "forward" or "backward"."""

    t: int
    phase: str
    events: tuple[Event, ...]


class Example(NamedTuple):
    """One sequence: x (T, 1, I), target (T, 1, H), each of state0 (1, 1, H), counted (T,) of zeros and ones.

    The model has one layer and one direction, no projection, and computes in float64.
    """

    spec: ModelSpec
    params: Parameters
    x: np.ndarray
    target: np.ndarray
    state0: tuple[np.ndarray, ...]
    counted: np.ndarray

    @property
    def weights(self) -> Weights:
        return layer_weights(self.params, layer_suffixes(self.spec)[0])

    @property
    def state(self) -> tuple[np.ndarray, ...]:
        """The initial state of a cell, each (1, H)."""
        return tuple(part[0] for part in self.state0)

    @property
    def entering(self) -> tuple[str, ...]:
        """The names of the state that enters a step."""
        return tuple(f"{name}_prev" for name in self.spec.state_names)

    @property
    def options(self) -> dict[str, str]:
        """What a cell's step takes by name."""
        return {} if self.spec.is_lstm else {"nonlinearity": self.spec.nonlinearity}


class Trace(NamedTuple):
    """Quantities by name, each with leading axis T and without the batch axis, and NumPy's log in order of execution.

    Forward: ``a`` (with the biases; (T, 4H) for an LSTM), its ``i``, ``f``, ``g``, ``o``, ``c``, and ``h``; ``h_prev``
    and ``c_prev``, which enter the step. Backward: ``d`` and the name, the derivative of L through everything that
    follows, that of ``h_prev`` and ``c_prev`` through this step alone; ``dc_next``, the ``dc_prev`` of the step after;
    ``dx``; ``dweight_ih_step``, ..., what step t contributes; ``dweight_ih``, ..., the sum of the contributions of
    steps T-1 to t, so that entry 0 is the gradient.
    """

    arrays: dict[str, np.ndarray]
    events: tuple[Step, ...] = ()


def require_example(example: Example) -> None:
    """Raise unless this is an example as ``Example`` says."""
    spec = example.spec
    if not isinstance(spec, ModelSpec):
        raise InvalidType(mismatch("spec", "a ModelSpec", type(spec).__name__))
    if spec.options:
        raise InvalidInput(mismatch("model to trace", "one layer in one direction", ", ".join(spec.options)))
    if spec.dtype != "float64":
        raise InvalidType(mismatch("dtype to trace in", "float64", spec.dtype))
    require_parameters(spec, example.params)
    batch, steps = require_input(spec, example.x), len(example.x)
    if batch != 1:
        raise InvalidInput(mismatch("x", "one sequence, (T, 1, I)", example.x.shape))
    require_state(spec, "state0", example.state0, 1)
    require_array("target", example.target, (steps, 1, spec.hidden_size), spec.dtype, spec.label)
    counted = example.counted
    require_ndarray("counted", counted)
    if counted.shape != (steps,) or not np.isin(counted, (0, 1)).all():
        raise InvalidInput(mismatch("counted", f"({steps},) zeros and ones", f"{counted.shape}: {counted}"))


def load(name: str) -> Callable[[Example], Trace]:
    """Backend name -> its trace function, imported on first use."""
    if name not in TRACED:
        raise InvalidInput(choice("backend to trace", TRACED, name))
    registry.load(name)  # for its errors, where the framework is missing
    return importlib.import_module(f"{name}_impl.trace").trace


def everything(example: Example, names: Sequence[str] = TRACED, units: Sequence[int] | None = None) -> dict[str, Trace]:
    """Backend name -> trace, and that of finite differences over NumPy's forward step.

    ``units``, numbers from 0, limits the finite differences, which take long: (), and they are left out.
    """
    from common.tracing import finite_differences  # here, as it needs this module

    cell = importlib.import_module(f"numpy_impl.{'lstm' if example.spec.is_lstm else 'rnn'}_cell")
    traces = {name: load(name)(example) for name in names}
    if units is not None and not units:
        return traces
    return traces | {FINITE_DIFFERENCES: finite_differences.trace(example, cell, units)}

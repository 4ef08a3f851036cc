"""What is traced and what a trace holds: every intermediate of a cell's forward and backward pass on one example.

The example is one sequence, B = 1, through a cell applied T times, with L = 1/2 sum_t counted_t ||h_t - target_t||^2.
NumPy's values are what its tagged lines assigned (``watch.watching``). The other derivatives come from PyTorch's graph,
from JAX with a zero added to every intermediate (``watch.perturbed``), and from finite differences in those zeros.
"""

from typing import Any, NamedTuple

import numpy as np

from common.backend.guards import require_input, require_state
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.arrays import require_array, require_ndarray
from common.model.layout import Parameters, Weights, layer_suffixes, layer_weights, require_parameters
from common.model.spec import ModelSpec
from common.tracing.watch import Event


class Step(NamedTuple):
    """The tagged lines that were executed for step t, in order; ``phase`` is "forward" or "backward"."""

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
        """The names of the states that enter a step."""
        return tuple(f"{name}_prev" for name in self.spec.state_names)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of a cell's step."""
        return self.spec.step_options


class Trace(NamedTuple):
    """Quantities by name, each with leading axis T and no batch axis, and NumPy's log in the order of execution.

    Forward: ``a`` (T, G*H), the pre-activations with their biases; the gates by their letters, ``c`` and ``h``;
    ``h_prev`` and ``c_prev``, which enter the step. Backward: ``d`` and the name is the derivative of L through
    everything that follows, for ``h_prev`` and ``c_prev`` through this step alone; ``dc_next`` is the ``dc_prev`` of
    the step after; ``dx``; ``dweight_ih_step``, ... is what step t contributes, and ``dweight_ih``, ... the sum of the
    contributions of steps T-1 to t, so that entry 0 is the gradient.

    In a GRU the two sides of a pre-activation are apart: ``a`` is the input's side with ``bias_ih``, of all gates;
    ``q`` (T, 2H) the state's side of r and z with ``bias_hh``; ``s`` (T, H) what the candidate's recurrent weights
    multiply, and ``q_n`` (T, H) the product with its bias. So ``da`` is the derivative of the whole pre-activation too,
    ``dq`` has its blocks r and z, and ``dq_n`` is its block n, times r if the reset gate acts after the product.
    """

    arrays: dict[str, np.ndarray]
    events: tuple[Step, ...] = ()


def require_example(example: Example) -> None:
    """Raise unless this is an example as ``Example`` describes it."""
    spec = example.spec
    if not isinstance(spec, ModelSpec):
        raise InvalidType(mismatch("spec", "a ModelSpec", type(spec).__name__))
    if not spec.is_single:
        wanted = "one layer in one direction, without a projection"
        raise InvalidInput(mismatch("model to trace", wanted, ", ".join(spec.options)))
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

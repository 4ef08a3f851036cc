"""What the adapters of all frameworks share: the path of a call through the contract, written once.

A call is checked, its arrays are converted for the framework, the result is computed under the framework's precision,
and it comes back as NumPy arrays. ``Adapter`` and ``AdapterTrainer`` do everything except the computation itself, which
is left to their hooks.
The contract asks for no base class: a third-party backend need not use this one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Batch, Grads, Problem, State, Trainer
from common.backend.guards import (
    require_batch,
    require_carried,
    require_forward,
    require_predict,
    require_problem,
    require_run,
)
from common.model.layout import Parameters
from common.model.masks import Masks, as_masks
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import ModelSpec


def unchanged(tree: Any) -> Any:
    """Return the arrays unchanged, for a framework whose arrays are NumPy's."""
    return tree


class Boundary(NamedTuple):
    """How arrays are converted to a framework and back, in tuples, named tuples and dicts; None stays None.

    ``to_native`` copies; ``precision`` is the context in which everything is computed; ``wait`` returns once a result
    is computed. The defaults are for a framework that computes with NumPy arrays, which need no copy.
    """

    to_native: Callable[[Any], Any] = unchanged
    to_numpy: Callable[[Any], Any] = unchanged
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    wait: Callable[[Any], Any] = unchanged

    def cross(self, compute: Callable[..., Any], *arguments: Any) -> Any:
        """The result of ``compute`` as NumPy arrays, from NumPy arrays."""
        with self.precision():
            return self.to_numpy(compute(*self.to_native(arguments)))


class Adapter(ABC):
    """See ``common.backend.contract.Backend``; what a framework adds is its ``boundary`` and the hooks.

    The hooks receive native arrays in the ``Problem`` or ``Batch`` that held them, already checked, with an initial
    state, and with dropout masks as a ``Masks`` or None; they return native arrays.
    """

    name: str
    oracle: bool
    cells: frozenset[str]
    dtypes: frozenset[str]
    options: frozenset[str]
    boundary: Boundary

    @abstractmethod
    def compute_forward(
        self, spec: ModelSpec, params: Any, x: Any, state0: Any, lengths: Any, masks: Any, mask: Any
    ) -> Any:
        """(y, final state)."""

    @abstractmethod
    def compute_vjp(self, spec: ModelSpec, problem: Any) -> Any:
        """(of the parameters, of x, of each initial state): the fields of ``Grads``."""

    @abstractmethod
    def compute_predict(self, network: NetworkSpec, params: Any, batch: Batch, state0: Any) -> Any:
        """(prediction, final state)."""

    @abstractmethod
    def timed_function(self, spec: ModelSpec, backward: bool) -> Callable[[Any], Any]:
        """The function that ``timed`` calls on native arrays, again and again, and waits for."""

    @abstractmethod
    def build_trainer(self, run: RunSpec, params: Parameters) -> Trainer:
        """A trainer that starts at a copy of ``params``."""

    @abstractmethod
    def environment(self) -> dict[str, Any]: ...

    def forward(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: State | None = None,
        *,
        lengths: np.ndarray | None = None,
        masks: Masks | np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> tuple[np.ndarray, State]:
        state0 = require_forward(self, spec, params, x, state0, lengths, masks, mask)
        arguments = dict(params), x, state0, lengths, as_masks(masks), mask
        return self.boundary.cross(partial(self.compute_forward, spec), *arguments)

    def vjp(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: State | None,
        dy: np.ndarray,
        dstate: State,
        *,
        lengths: np.ndarray | None = None,
        masks: Masks | np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> Grads:
        problem = Problem(params, x, state0, dy, dstate, lengths=lengths, masks=masks, mask=mask)
        problem = require_problem(self, spec, problem)
        problem = problem._replace(params=dict(params), masks=as_masks(masks))
        return Grads(*self.boundary.cross(partial(self.compute_vjp, spec), problem))

    def predict(
        self, network: NetworkSpec, params: Parameters, batch: Batch, state0: State | None = None
    ) -> tuple[np.ndarray, State]:
        state0 = require_predict(self, network, params, batch, state0)
        return self.boundary.cross(partial(self.compute_predict, network), dict(params), _entered(batch), state0)

    def trainer(self, run: RunSpec, params: Parameters) -> Trainer:
        require_run(self, run, params)
        return self.build_trainer(run, params)

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        problem = require_problem(self, spec, problem)
        to_native, _, precision, wait = self.boundary
        with precision():
            native = to_native(problem._replace(params=dict(problem.params), masks=as_masks(problem.masks)))
        function = self.timed_function(spec, backward)

        def run() -> None:
            with precision():
                wait(function(native))

        return run


def _entered(batch: Batch) -> Batch:
    """The batch with its dropout masks in the form that the hooks receive."""
    return batch._replace(masks=as_masks(batch.masks), decoder_masks=as_masks(batch.decoder_masks))


class AdapterTrainer(ABC):
    """See ``common.backend.contract.Trainer``: checks each batch once, and leaves the computing to the hooks.

    The hooks receive a ``Batch`` of native arrays and hold the parameters themselves.
    """

    boundary: Boundary

    def __init__(self, run: RunSpec):
        self.run = run
        self._carried: Any = None

    @abstractmethod
    def compute_gradients(self, batch: Batch) -> tuple[Any, Any]:
        """(loss, gradients by name), from a zero state; changes nothing."""

    @abstractmethod
    def compute_step(self, batch: Batch, state0: Any) -> tuple[Any, Any]:
        """(loss, final state) of one update from ``state0``: native arrays of an earlier step, or None for zeros."""

    @abstractmethod
    def compute_evaluation(self, batch: Batch) -> tuple[Any, Any]:
        """(loss, prediction), from a zero state."""

    @abstractmethod
    def params(self) -> Parameters: ...

    @abstractmethod
    def wait(self) -> None: ...

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        require_batch(self.run.network, batch)
        loss, grads = self.boundary.cross(self.compute_gradients, _entered(batch))
        return float(loss), grads

    def step(self, batch: Batch, *, carried: bool = False) -> float:
        require_batch(self.run.network, batch)
        if carried:
            require_carried(self.run.network, batch, self._carried)
        with self.boundary.precision():
            state0 = self._carried if carried else None
            loss, self._carried = self.compute_step(self.boundary.to_native(_entered(batch)), state0)
        return float(loss)

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        require_batch(self.run.network, batch)
        loss, prediction = self.boundary.cross(self.compute_evaluation, _entered(batch))
        return float(loss), prediction

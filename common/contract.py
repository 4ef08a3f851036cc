"""What a backend is: the types that cross its boundary, the protocol it fulfils, the checks at its door.

A backend is a module or an object with the attributes of ``Backend``; there is nothing to inherit from. NumPy arrays
cross the boundary. The core is time-major: x (T, B, I), y (T, B, H), each state (D*L, B, H).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from common.errors import InvalidInput, InvalidType, choice, mismatch
from common.layout import Parameters, check_array, check_network, check_parameters
from common.spec import COMPLEX, DTYPES, ModelSpec, RunSpec

State = tuple[np.ndarray, ...]


class Grads(NamedTuple):
    """The gradients of one scalar: of every parameter (by name), of x (T, B, I) and of each initial state."""

    params: Parameters
    x: np.ndarray
    state0: State


class Problem(NamedTuple):
    """One instance of the question that a backend answers: arguments of ``forward`` and ``vjp``."""

    params: Parameters
    x: np.ndarray
    state0: State | None
    dy: np.ndarray
    dstate: State


class Batch(NamedTuple):
    """x (T, B, I) and the target of the readout: (B, O) for ``last_step``, (T, O) for ``last_sequence``."""

    x: np.ndarray
    target: np.ndarray


@runtime_checkable
class Trainer(Protocol):
    """A network in training. Its state is native to the framework and stays on its device between steps."""

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        """The loss, and its gradient for every parameter, at the present parameters; changes nothing."""
        ...

    def step(self, batch: Batch) -> float:
        """One update; returns the loss before it."""
        ...

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        """The loss and the prediction, in the target's shape."""
        ...

    def params(self) -> Parameters:
        """A copy of the present parameters under the names of ``layout.network_shapes``."""
        ...

    def wait(self) -> None:
        """Return once everything asked for so far is computed."""
        ...


@runtime_checkable
class Backend(Protocol):
    """An implementation of the four cells.

    ``oracle`` marks a framework's own layers, wrapped to be compared with. ``cells`` and ``dtypes`` say what is
    supported; everything else is refused by ``check_supported``.
    """

    name: str
    oracle: bool
    cells: frozenset[str]
    dtypes: frozenset[str]

    def forward(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: State | None = None,
        *,
        lengths: np.ndarray | None = None,
        masks: Any = None,
    ) -> tuple[np.ndarray, State]:
        """y and the final state. Without ``state0`` the initial state is zero."""
        ...

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
        masks: Any = None,
    ) -> Grads:
        """The gradients of sum(dy * y) + sum(dstate * state); of the zero state too where ``state0`` is None."""
        ...

    def trainer(self, run: RunSpec, params: Parameters) -> Trainer:
        """A trainer that starts at ``params`` (copied)."""
        ...

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        """A call that computes the forward pass, or forward and every gradient, on native arrays, and waits."""
        ...

    def environment(self) -> dict[str, Any]:
        """What this runs on: versions, device, threads, precision switches; plain JSON values."""
        ...


def check_supported(backend: Backend, spec: ModelSpec) -> None:
    """Raise unless the backend computes this cell in this dtype."""
    if not isinstance(spec, ModelSpec):
        raise InvalidType(mismatch("spec", "a ModelSpec", type(spec).__name__))
    if spec.cell not in backend.cells:
        raise InvalidInput(choice(f"cell for backend {backend.name}", sorted(backend.cells), spec.cell))
    if spec.dtype not in backend.dtypes:
        raise InvalidType(choice(f"dtype for backend {backend.name}", sorted(backend.dtypes), spec.dtype))


def check_forward(
    backend: Backend,
    spec: ModelSpec,
    params: Parameters,
    x: np.ndarray,
    state0: State | None,
    lengths: Any = None,
    masks: Any = None,
) -> State:
    """Check the arguments of ``forward``; returns the initial state, zeros where none was given."""
    check_supported(backend, spec)
    for name, value in (("lengths", lengths), ("masks", masks)):
        if value is not None:
            raise InvalidInput(mismatch(name, None, type(value).__name__, "not implemented yet"))
    check_parameters(spec, params)
    batch = check_input(spec, x)
    if state0 is None:
        shape = (spec.state_rows, batch, spec.hidden_size)
        return tuple(np.zeros(shape, spec.dtype) for _ in spec.state_names)
    check_state(spec, "state0", state0, batch)
    return state0


def check_input(spec: ModelSpec, x: Any) -> int:
    """Check x (T, B, I); returns B."""
    if not isinstance(x, np.ndarray):
        raise InvalidType(mismatch("x", "a numpy.ndarray", type(x).__name__))
    if x.ndim != 3:
        raise InvalidInput(mismatch("x", "3 axes (T, B, I)", f"{x.ndim} of shape {x.shape}"))
    if 0 in x.shape[:2]:
        raise InvalidInput(mismatch("x", "at least one step and one sequence", f"shape {x.shape}"))
    check_array("x", x, (*x.shape[:2], spec.input_size), spec.dtype, f"{spec.cell}(input_size={spec.input_size})")
    return x.shape[1]


def check_state(spec: ModelSpec, name: str, state: Any, batch: int) -> None:
    """Check a state: a tuple of one array (h) or two (h, c), each (D*L, B, H)."""
    fields = "h, c" if spec.is_lstm else "h,"
    if not isinstance(state, tuple):
        raise InvalidType(mismatch(name, f"a tuple ({fields}) for {spec.cell}", type(state).__name__))
    if len(state) != len(spec.state_names):
        raise InvalidInput(mismatch(name, f"a tuple ({fields}) for {spec.cell}", f"{len(state)} arrays"))
    for part, array in zip(spec.state_names, state, strict=True):
        check_array(f"{name}.{part}", array, (spec.state_rows, batch, spec.hidden_size), spec.dtype, spec.label)


def check_vjp(spec: ModelSpec, x: np.ndarray, dy: np.ndarray, dstate: State) -> None:
    """Check the cotangents of ``vjp`` against an x that was checked before."""
    check_array("dy", dy, (*x.shape[:2], spec.output_size), spec.dtype, spec.label)
    check_state(spec, "dstate", dstate, x.shape[1])


def check_problem(backend: Backend, spec: ModelSpec, problem: Problem) -> State:
    """Check everything that ``vjp`` takes, as ``timed`` gets it; returns the initial state."""
    state0 = check_forward(backend, spec, problem.params, problem.x, problem.state0)
    check_vjp(spec, problem.x, problem.dy, problem.dstate)
    return state0


def check_run(backend: Backend, run: RunSpec, params: Parameters) -> None:
    """Check the arguments of ``trainer``."""
    if not isinstance(run, RunSpec):
        raise InvalidType(mismatch("run", "a RunSpec", type(run).__name__))
    check_supported(backend, run.network.model)
    if run.network.model.dtype == COMPLEX:
        raise InvalidType(choice("dtype of a training run", DTYPES, COMPLEX))
    check_network(run.network, params)


def check_batch(run: RunSpec, batch: Batch) -> None:
    """Check x and the target of a batch."""
    if not isinstance(batch, Batch):
        raise InvalidType(mismatch("batch", "a Batch", type(batch).__name__))
    rows, axes = check_input(run.network.model, batch.x), "(B, O)"
    if run.network.readout == "last_sequence":
        rows, axes = batch.x.shape[0], "(T, O)"
    shape = rows, run.network.readout_size
    check_array("target", batch.target, shape, run.network.model.dtype, f"the readout {run.network.readout}, {axes}")

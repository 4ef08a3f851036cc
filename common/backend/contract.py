"""What a backend is: the types that cross its boundary, the protocol it fulfils, the checks at its door.

A backend is a module or an object with the attributes of ``Backend``; there is nothing to inherit from. NumPy arrays
cross the boundary. The core is time-major: x (T, B, I), y (T, B, D*H), each state (D*L, B, H), for D directions and L
layers. With a projection to P, y and the state h have P where H stands here, and c keeps H. Arrays are plain ones:
masked arrays and other subclasses of ``numpy.ndarray`` are refused.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from common.errors import InvalidInput, InvalidType, choice, mismatch
from common.model.layout import Parameters, check_array, check_ndarray, check_network, check_parameters, numpy_dtype
from common.model.run import NetworkSpec, RunSpec
from common.model.spec import DTYPES, OPTIONS, ModelSpec

State = tuple[np.ndarray, ...]


class Grads(NamedTuple):
    """The gradients of one scalar: of every parameter (by name), of x (T, B, I) and of each initial state."""

    params: Parameters
    x: np.ndarray
    state0: State


class Problem(NamedTuple):
    """One instance of the question that a backend answers: arguments of ``forward`` and ``vjp``.

    ``lengths`` (B,), integers in 0..T, are those of a ragged batch: what ``torch.nn.utils.rnn.pack_padded_sequence``
    with ``enforce_sorted=False`` means. A sequence of 0 steps, which that refuses, has y = 0 and ends where it began.
    ``masks`` (L-1, T, B, D*H) are factors of every layer's output but the last's (``layout.dropout_masks``). None means
    that every sequence has T steps, and no dropout.
    """

    params: Parameters
    x: np.ndarray
    state0: State | None
    dy: np.ndarray
    dstate: State
    lengths: np.ndarray | None = None
    masks: np.ndarray | None = None

    @property
    def keywords(self) -> dict[str, np.ndarray | None]:
        """The arguments that go by name."""
        return {"lengths": self.lengths, "masks": self.masks}


class Batch(NamedTuple):
    """What a network is trained on at one step: inputs, and targets in the shape of the prediction (``READOUTS``).

    ``x`` is (T, B, I), or symbols (T, B), integers, where the network's inputs are not features. For ``mse`` a target
    has the prediction's shape; for ``cross_entropy`` that shape without O: the number of the right output, below 0
    where there is none to learn (-1). With ``every_step`` and ``mse``, targets past the end of a sequence do not count.
    ``decoder_x`` (T', B) are the symbols that a decoder reads. ``lengths`` and ``masks`` are as in ``Problem``, and
    ``decoder_masks`` the same for the decoder.
    """

    x: np.ndarray
    target: np.ndarray
    masks: np.ndarray | None = None
    lengths: np.ndarray | None = None
    decoder_x: np.ndarray | None = None
    decoder_masks: np.ndarray | None = None


@runtime_checkable
class Trainer(Protocol):
    """A network in training. Its state is native to the framework and stays on its device between steps."""

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        """The loss, and its gradient for every parameter, at the present parameters; changes nothing."""
        ...

    def step(self, batch: Batch, *, carried: bool = False) -> float:
        """One update; returns the loss before it.

        A ``carried`` step starts from the state in which the last one ended, through which no gradient flows (truncated
        BPTT, Williams & Peng 1990); any other starts from zero.
        """
        ...

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        """The loss and the prediction, from a zero state."""
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

    ``oracle`` marks a framework's own layers, wrapped to be compared with. ``cells``, ``dtypes`` and ``options`` (of
    ``spec.OPTIONS``) say what is supported; everything else is refused by ``check_supported``.
    """

    name: str
    oracle: bool
    cells: frozenset[str]
    dtypes: frozenset[str]
    options: frozenset[str]

    def forward(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: State | None = None,
        *,
        lengths: np.ndarray | None = None,
        masks: np.ndarray | None = None,
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
        masks: np.ndarray | None = None,
    ) -> Grads:
        """The gradients of sum(dy * y) + sum(dstate * state); of the zero state too where ``state0`` is None."""
        ...

    def trainer(self, run: RunSpec, params: Parameters) -> Trainer:
        """A trainer that starts at ``params`` (copied)."""
        ...

    def predict(
        self, network: NetworkSpec, params: Parameters, batch: Batch, state0: State | None = None
    ) -> tuple[np.ndarray, State]:
        """The prediction of a network and its final state, a decoder's where there is one; the target is not read."""
        ...

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        """A call that computes the forward pass, or forward and every gradient, on native arrays, and waits."""
        ...

    def environment(self) -> dict[str, Any]:
        """What this runs on: versions, device, threads, precision switches; plain JSON values."""
        ...


def unsupported(backend: Backend, spec: ModelSpec, ragged: bool = False) -> tuple[str, ...]:
    """What a model asks of a backend that it does not compute: its cell, its dtype, names of ``spec.OPTIONS``."""
    lacking = [spec.cell] * (spec.cell not in backend.cells) + [spec.dtype] * (spec.dtype not in backend.dtypes)
    return (*lacking, *(name for name in _options(spec, ragged) if name not in backend.options))


def _options(spec: ModelSpec, ragged: bool) -> tuple[str, ...]:
    return spec.options + ("lengths",) * ragged


def check_supported(backend: Backend, spec: ModelSpec, ragged: bool = False) -> None:
    """Raise unless the backend computes this cell in this dtype with these options."""
    if not isinstance(spec, ModelSpec):
        raise InvalidType(mismatch("spec", "a ModelSpec", type(spec).__name__))
    if spec.cell not in backend.cells:
        raise InvalidInput(choice(f"cell for backend {backend.name}", sorted(backend.cells), spec.cell))
    if spec.dtype not in backend.dtypes:
        raise InvalidType(choice(f"dtype for backend {backend.name}", sorted(backend.dtypes), spec.dtype))
    for name in _options(spec, ragged):
        if name not in backend.options:
            able = ", ".join(option for option in OPTIONS if option in backend.options)
            wanted = f"none but {able}" if able else "none"
            raise InvalidInput(mismatch(f"options for backend {backend.name}", wanted, repr(name)))


def zero_state(spec: ModelSpec, batch: int) -> State:
    """Zeros in the shape and dtype of a state."""
    return tuple(np.zeros(shape, numpy_dtype(spec.dtype)) for shape in spec.state_shapes(batch))


def check_forward(
    backend: Backend,
    spec: ModelSpec,
    params: Parameters,
    x: np.ndarray,
    state0: State | None,
    lengths: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> State:
    """Check the arguments of ``forward``; returns the initial state, zeros where none was given."""
    check_supported(backend, spec, lengths is not None)
    check_parameters(spec, params)
    batch = check_input(spec, x)
    if lengths is not None:
        check_lengths(lengths, x.shape[0], batch)
    if masks is not None:
        check_masks(spec, masks, x.shape[0], batch)
    if state0 is None:
        return zero_state(spec, batch)
    check_state(spec, "state0", state0, batch)
    return state0


def check_lengths(lengths: Any, steps: int, batch: int) -> None:
    """Check the lengths of the sequences of a batch: (B,), integers from 0 to T."""
    check_ndarray("lengths", lengths)
    check_lengths_form(lengths, batch)
    for index, length in enumerate(lengths.tolist()):
        if not 0 <= length <= steps:
            raise InvalidInput(mismatch("lengths", f"0 to {steps} steps", f"{length} at index {index}"))


def check_lengths_form(lengths: Any, batch: int) -> None:
    """Of these only that they are integers (B,), in any framework's array: traced ones have no values yet."""
    if not str(lengths.dtype).removeprefix("torch.").startswith(("int", "uint")):
        raise InvalidType(mismatch("lengths", "integers", lengths.dtype))
    if tuple(lengths.shape) != (batch,):
        raise InvalidInput(mismatch("lengths", f"({batch},), one for each sequence", tuple(lengths.shape)))


def check_masks(spec: ModelSpec, masks: Any, steps: int, batch: int) -> None:
    """Check dropout masks (L-1, T, B, D*H)."""
    if spec.num_layers == 1:
        raise InvalidInput(mismatch("masks", "None with num_layers=1, as the last layer has no dropout", "masks"))
    check_array("masks", masks, spec.mask_shape(steps, batch), spec.dtype, f"{spec.label}, (L-1, T, B, D*H)")


def check_input(spec: ModelSpec, x: Any) -> int:
    """Check x (T, B, I); returns B."""
    check_ndarray("x", x)
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
    for part, array, shape in zip(spec.state_names, state, spec.state_shapes(batch), strict=True):
        check_array(f"{name}.{part}", array, shape, spec.dtype, spec.label)


def check_vjp(spec: ModelSpec, x: np.ndarray, dy: np.ndarray, dstate: State) -> None:
    """Check the cotangents of ``vjp`` against an x that was checked before."""
    check_array("dy", dy, (*x.shape[:2], spec.output_size), spec.dtype, spec.label)
    check_state(spec, "dstate", dstate, x.shape[1])


def check_problem(backend: Backend, spec: ModelSpec, problem: Problem) -> State:
    """Check everything that ``vjp`` takes, as ``timed`` gets it; returns the initial state."""
    state0 = check_forward(backend, spec, problem.params, problem.x, problem.state0, **problem.keywords)
    check_vjp(spec, problem.x, problem.dy, problem.dstate)
    return state0


def check_run(backend: Backend, run: RunSpec, params: Parameters) -> None:
    """Check the arguments of ``trainer``."""
    if not isinstance(run, RunSpec):
        raise InvalidType(mismatch("run", "a RunSpec", type(run).__name__))
    check_supported(backend, run.network.model)
    if run.network.model.dtype not in DTYPES:
        raise InvalidType(choice("dtype of a training run", DTYPES, run.network.model.dtype))
    check_network(run.network, params)


def check_predict(
    backend: Backend, network: NetworkSpec, params: Parameters, batch: Batch, state0: State | None
) -> State:
    """Check what ``predict`` gets, but for the batch (``batches.check_inputs``); returns the initial state."""
    check_supported(backend, network.model, batch.lengths is not None)
    check_network(network, params)
    if state0 is None:
        return zero_state(network.model, batch.x.shape[1])
    check_state(network.model, "state0", state0, batch.x.shape[1])
    return state0


def check_carried(network: NetworkSpec, batch: Batch, kept: tuple[Any, ...] | None) -> None:
    """Raise unless a batch can start from the state in which the last step ended."""
    if network.has_decoder:
        raise InvalidInput(mismatch("carried", "False for encoder_decoder", True))
    if kept is None:
        raise InvalidInput(mismatch("carried", "False in the first step", True))
    if kept[0].shape[1] != batch.x.shape[1]:
        raise InvalidInput(mismatch("x", f"{kept[0].shape[1]} sequences, as in the step before", batch.x.shape[1]))

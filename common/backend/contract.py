"""What a backend is: the types that cross its boundary, and the protocols that it and its trainers fulfil.

A backend is a module or an object with the attributes of ``Backend``; there is nothing to inherit from, and the checks
of its arguments are provided by ``common.backend.guards``. NumPy arrays cross the boundary. The core is time-major:
x (T, B, I), y (T, B, D*H), each state (D*L, B, H), for D directions and L layers. With a projection to P, y and the
state h have P where H stands here, and c keeps H. Arrays are plain ones: masked arrays and other subclasses of
``numpy.ndarray`` are refused.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from common.model.layout import Parameters
from common.model.masks import Masks
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import ModelSpec

State = tuple[np.ndarray, ...]


class Grads(NamedTuple):
    """The gradients of one scalar: of every parameter (by name), of x (T, B, I) and of each initial state."""

    params: Parameters
    x: np.ndarray
    state0: State


class Problem(NamedTuple):
    """One problem for a backend to solve: the arguments of ``forward`` and ``vjp``.

    ``lengths`` (B,), integers in 0..T, are those of a ragged batch: what ``torch.nn.utils.rnn.pack_padded_sequence``
    with ``enforce_sorted=False`` means. A sequence of 0 steps, which PyTorch refuses, has y = 0, and its final state is
    its initial one. ``mask`` (T, B), in the place of ``lengths``, are booleans, True where a step is valid, in any
    pattern: at a step that is not, the state stays as it is and y is 0 (Keras' ``mask`` with
    ``zero_output_for_mask=True``). ``masks`` are those of dropout (``common.model.masks``): a ``Masks``, or an array
    (L-1, T, B, D*H) of factors of the output of every layer but the last. Without ``lengths`` and ``mask`` every
    sequence has T steps; without ``masks`` there is no dropout.
    """

    params: Parameters
    x: np.ndarray
    state0: State | None
    dy: np.ndarray
    dstate: State
    lengths: np.ndarray | None = None
    masks: Masks | np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """The arguments that are passed by name: ``mask`` only if there is one, as not every backend knows it."""
        return {"lengths": self.lengths, "masks": self.masks} | ({} if self.mask is None else {"mask": self.mask})


class Batch(NamedTuple):
    """What a network is trained on at one step: inputs, and targets in the shape of the prediction (``READOUTS``).

    ``x`` is (T, B, I), or symbols (T, B), integers, where the network's inputs are not features. For ``mse`` a target
    has the prediction's shape. For ``cross_entropy`` it has that shape without O and holds the number of the right
    output, or -1 (any number below 0) where there is nothing to learn. With ``every_step`` and ``mse``, targets at
    steps that are not valid do not count. ``decoder_x`` (T', B) are the symbols that a decoder reads. ``lengths``,
    ``mask`` and ``masks`` are as in ``Problem``, and ``decoder_masks`` the same for the decoder.
    """

    x: np.ndarray
    target: np.ndarray
    masks: Masks | np.ndarray | None = None
    lengths: np.ndarray | None = None
    decoder_x: np.ndarray | None = None
    decoder_masks: Masks | np.ndarray | None = None
    mask: np.ndarray | None = None


@runtime_checkable
class Trainer(Protocol):
    """A network in training. Its state is native to the framework and stays on its device between steps."""

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        """The loss, and its gradient for every parameter, at the current parameters; changes nothing."""
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
        """A copy of the current parameters under the names of ``layout.network_shapes``."""
        ...

    def wait(self) -> None:
        """Return once everything requested so far has been computed."""
        ...


@runtime_checkable
class Backend(Protocol):
    """An implementation of the cells.

    ``oracle`` marks a framework's own layers, wrapped to be compared with. ``cells``, ``dtypes`` and ``options`` (names
    in ``common.model.spec.OPTIONS``) say what is supported; ``guards.require_supported`` refuses everything else. One
    that does not list "mask" is never called with the keyword, and one that lists neither "input_dropout" nor
    "recurrent_dropout" is given ``masks`` only as an array.
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
        masks: Masks | np.ndarray | None = None,
        mask: np.ndarray | None = None,
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
        masks: Masks | np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> Grads:
        """The gradients of sum(dy * y) + sum(dstate * state); also of the initial zeros where ``state0`` is None."""
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

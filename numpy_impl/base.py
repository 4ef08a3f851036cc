"""What the modules of this package share: parameters, a call of a layer and of a cell; ``modules`` has the classes."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from common.backend.arrangement import Arrangement, arrange, pack_state, state_labels
from common.backend.guards import require_supported, zero_state
from common.backend.module import SpecAttributes, constructor_text, dtype_name, module_spec
from common.errors import InvalidInput, mismatch
from common.model.arrays import require_finite
from common.model.initial import initial_parameters
from common.model.layout import Parameters
from common.model.masks import Masks, dropout_masks, named_masks
from common.model.validate import require_flag, require_seed

from . import stack
from .backend import BACKEND
from .parameters import CheckedParameters


class _Latest(NamedTuple):
    """What ``backward`` needs from the latest call."""

    arrangement: Arrangement
    params: Parameters
    tape: stack.Tape


class Module(SpecAttributes):
    """Parameters under the neutral names, drawn from ``seed``, as the dropout masks are, and the latest call."""

    def __init__(self, cell: str, arguments: Mapping[str, Any]):
        """``arguments`` are those of the constructor, by name."""
        if arguments["device"] not in (None, "cpu"):
            raise InvalidInput(mismatch("device", "None or 'cpu' for NumPy", repr(arguments["device"])))
        seed = arguments["seed"]
        self.batch_first = arguments.get("batch_first", False)
        self.spec = module_spec(cell, arguments, dtype_name(arguments["dtype"]))
        require_supported(BACKEND, self.spec)
        require_seed(seed)
        self._params = CheckedParameters(self.spec, initial_parameters(self.spec, seed))
        self.grads: Parameters = {}
        self.training = True
        self._rng = np.random.default_rng([seed, 3])
        self._latest: _Latest | None = None

    def __repr__(self) -> str:
        return f"{self.spec.cell}({constructor_text(self)})"

    def __getattr__(self, name: str) -> np.ndarray:
        """A parameter, as ``rnn.weight_hh_l0``."""
        if name in vars(self).get("_params", ()):
            return self._params[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("_params", ()):
            self._params[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def params(self) -> CheckedParameters:
        """The parameters by name; each is checked when it is assigned, not at a call."""
        return self._params

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        self.load_state_dict(params)

    def train(self, mode: bool = True) -> Self:
        """Dropout on, or off; returns the module."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Dropout off; returns the module."""
        return self.train(False)

    def state_dict(self) -> Parameters:
        """Copies of the parameters under torch's names."""
        return self._params.copies()

    def load_state_dict(self, params: Mapping[str, Any]) -> None:
        """Replace all parameters by copies of these; names and shapes must be this module's own.

        NumPy and JAX arrays and torch tensors are accepted. A dtype that is exact in this module's is converted, such
        as float32 to float64; one that can round, integers and complex numbers are refused (``common.model.dtypes``),
        and so are values that are not finite.
        """
        self._params.load(params)

    def _forward(
        self,
        x: np.ndarray,
        hx: Any,
        lengths: Any = None,
        masks: Any = None,
        mask: Any = None,
        return_steps: bool = False,
    ) -> tuple[Any, ...]:
        require_flag("return_steps", return_steps)
        spec = self.spec
        arrangement, x = arrange(spec, x, self.batch_first, np.ndarray, spec.dtype)
        mask = arrangement.enter_mask(mask, lengths)
        lengths = arrangement.require_lengths(lengths)
        x = stack.trim(stack.valid_steps(lengths, mask, len(x)), x)  # a step that is not valid may hold anything
        require_finite("x", arrangement.leave(x))
        state0 = self._initial_state(arrangement, hx)
        masks = self._masks(arrangement, masks)
        # Backward needs everything as it is now; the caller may change the originals, even the parameters, afterwards.
        self._params.require_sound()
        x, params = x.copy(), self._params.copies()
        mask = None if mask is None else mask.copy()
        y, state, tape = stack.forward(spec, params, x, state0, lengths, masks, mask)
        self._latest = _Latest(arrangement, params, tape)
        steps = stack.quantities(spec, tape, state0, state) if return_steps else None
        y, *others = arrangement.leave_results(y, state, steps)
        return y.copy(), *others

    def _initial_state(self, arrangement: Arrangement, hx: Any) -> tuple[np.ndarray, ...]:
        """The core's initial state, in arrays of its own; zeros where none is given."""
        state0 = arrangement.enter_state("hx", hx)
        if state0 is None:
            return zero_state(self.spec, arrangement.batch)
        for label, part in zip(state_labels(self.spec, "hx"), pack_state(self.spec, hx) or (), strict=True):
            require_finite(label, part)
        return tuple(part.copy() for part in state0)

    def _masks(self, arrangement: Arrangement, masks: Any) -> Masks | None:
        """The dropout masks of this call: a copy of those given, drawn ones, or none."""
        if masks is not None:
            entered = arrangement.enter_masks(masks) or ()
            for name, _, mask in named_masks(masks):
                require_finite(name, mask)
            return Masks(*(mask if mask is None else mask.copy() for mask in entered))
        if self.training:
            return dropout_masks(self.spec, arrangement.steps, arrangement.batch, self._rng)
        return None

    def _backward(self, dy: np.ndarray | None, dhx: Any) -> tuple[np.ndarray, Any]:
        if self._latest is None:
            cause = "each call has one backward; only the latest call can be differentiated"
            raise InvalidInput(mismatch("backward", "a call of the module before it", "none", cause))
        arrangement, params, tape = self._latest
        steps, batch = arrangement.steps, arrangement.batch
        dstate = arrangement.enter_state("dhx", dhx)
        if dstate is None:
            dstate = zero_state(self.spec, batch)
        if dy is None:
            dcore = np.zeros((steps, batch, self.spec.output_size), self.spec.dtype)
        else:
            dcore = arrangement.enter_output("dy", dy)
        self.grads, dx, dstate0 = stack.backward(self.spec, params, tape, dcore, dstate)
        self._latest = None
        return arrangement.leave(dx), arrangement.leave_state(dstate0)


class Layer(Module):
    def __call__(
        self,
        x: np.ndarray,
        hx: Any = None,
        *,
        lengths: Any = None,
        masks: Any = None,
        mask: Any = None,
        return_steps: bool = False,
    ) -> tuple[Any, ...]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, D*H), the final state (D*L, B, H).

        x and y are (B, T, ...) with ``batch_first``, and (T, ...) without a batch. ``lengths`` (B,) are those of a
        ragged batch, as in ``torch.nn.utils.rnn.pack_padded_sequence``; one of 0 steps has y = 0 and keeps its state.
        ``mask``, in the place of lengths, are booleans in the layout of x without its last axis, True where a step is
        valid, in any pattern: at a step that is not, y is 0 and the state stays as it is (Keras' ``mask``).
        ``masks`` take the place of dropout's own (``common.model.masks``): an array (L-1, T, B, D*H), or a ``Masks``.
        With ``return_steps`` a third result says what every step computed: a dict of h (before dropout), c (of an LSTM)
        and each gate by its letter (``common.model.cells``). Each is (D*L, T, B, H), with the rows of a state, or
        (D*L, B, T, H) with ``batch_first``, or (D*L, T, H) without a batch; in the order of x, in the reverse direction
        too; and zero at a step that is not valid. ``backward`` takes no gradient of theirs.
        """
        return self._forward(x, hx, lengths, masks, mask, return_steps)

    def backward(self, dy: np.ndarray, dhx: Any = None) -> tuple[np.ndarray, Any]:
        """dL/dy and dL/d(final state), zero where None -> dL/dx and dL/d(initial state); sets ``grads``."""
        if dy is None:
            raise InvalidInput(mismatch("dy", "the gradient of y", None))
        return self._backward(dy, dhx)


class Cell(Module):
    def __call__(self, x: np.ndarray, hx: Any = None) -> Any:
        """x (B, I) or (I,) and the state (B, H) or (H,), zeros where None -> the next state."""
        return self._forward(x, hx)[1]

    def backward(self, dhx: Any) -> tuple[np.ndarray, Any]:
        """dL/d(next state) -> dL/dx and dL/d(state); sets ``grads``."""
        if dhx is None:
            raise InvalidInput(mismatch("dhx", "the gradient of the next state", None))
        return self._backward(None, dhx)

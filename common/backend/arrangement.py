"""From the arrays of a call of a module to those of the core and back: batch_first, unbatched x, torch's states.

Only types, shapes and dtypes are checked here, never values, so that one code serves every framework.
"""

from typing import Any, NamedTuple, get_args

import numpy as np

from common.backend.guards import (
    refuse_both,
    refuse_masks_without_use,
    require_lengths,
    require_lengths_form,
    require_mask_form,
)
from common.errors import InvalidArray, InvalidDtype, InvalidInput, InvalidType, mismatch
from common.model.arrays import refuse_masked
from common.model.masks import AXES, Masks, mask_shapes, named_masks
from common.model.spec import ModelSpec
from common.weights.arrays import to_array

State = tuple[Any, ...]

# What turns an argument of another framework into an array.
CONVERSIONS = {
    "PackedSequence": "pad_packed_sequence gives x and its lengths, for lengths=",
    "Tensor": "tensor.numpy() is an array",
}


class Arrangement(NamedTuple):
    """The layout of the arrays of one call, as decided by its x, and the conversion to the core's (T, B, ...) and back.

    ``kind`` is the framework's type of array, or a union; ``dtype`` is that of the parameters at this call, or a
    frozenset of all that may be mixed under ``torch.autocast``.
    """

    spec: ModelSpec
    kind: Any
    dtype: Any
    batch_first: bool
    batched: bool
    steps: int
    batch: int

    def enter(self, array: Any) -> Any:
        """x, or a gradient of the output, as (T, B, ...)."""
        if not self.batched:
            array = array[None] if self.spec.is_cell else array[:, None]
        elif self.batch_first:
            array = array.swapaxes(0, 1)
        return array[None] if self.spec.is_cell else array

    def leave(self, array: Any) -> Any:
        """The inverse of ``enter``."""
        array = array[0] if self.spec.is_cell else array
        if not self.batched:
            return array[0] if self.spec.is_cell else array[:, 0]
        return array.swapaxes(0, 1) if self.batch_first else array

    def enter_output(self, name: str, dy: Any) -> Any:
        """Check a gradient of the output, shaped as the output is, and bring it into the core's form."""
        size = self.spec.output_size
        shape, axes = (self.steps, self.batch, size), "(T, B, D*H)"
        if not self.batched:
            shape, axes = (self.steps, size), "(T, D*H)"
        elif self.batch_first:
            shape, axes = (self.batch, self.steps, size), "(B, T, D*H)"
        dy = _plain(name, dy, self.kind)
        _require_shape(name, dy, shape, axes, self.spec)
        _require_dtype(name, dy, self.dtype)
        return self.enter(dy)

    def enter_state(self, name: str, hx: Any) -> State | None:
        """Check a state and give it as the core's tuple of arrays (D*L, B, H); None, for zeros, stays None.

        Each array is (D*L, B, H), or (B, H) for a cell, and without B where x is unbatched.
        """
        state = pack_state(self.spec, hx, name)
        if state is None:
            return None
        entered = []
        whole_shapes = self.spec.state_shapes(self.batch)
        for label, part, whole in zip(state_labels(self.spec, name), state, whole_shapes, strict=True):
            shape = (*whole[: not self.spec.is_cell], *whole[1 : 1 + self.batched], whole[2])
            part = _plain(label, part, self.kind)
            if tuple(part.shape) != shape:
                raise self._wrong_state(label, part, shape)
            _require_dtype(label, part, self.dtype)
            part = part if self.batched else part[..., None, :]
            entered.append(part[None] if self.spec.is_cell else part)
        return tuple(entered)

    def _wrong_state(self, label: str, part: Any, shape: tuple[int, ...]) -> InvalidArray:
        """The error for a part of a state that does not have this shape, with the likely cause."""
        projected = self.spec.proj_size and not label.endswith("[1]")
        axes = {"D*L": not self.spec.is_cell, "B": self.batched, "P": projected, "H": not projected}
        where = f" and a batch of {self.batch}" if self.batched else ", as x is unbatched"
        meaning = f"({', '.join(axis for axis, stands in axes.items() if stands)}) for {_owner(self.spec)}{where}"
        got, cause = tuple(part.shape), ""
        if not self.spec.is_cell and self.batched and got == (shape[0], self.steps, *shape[2:]):
            cause = f"is x ({'T, B' if self.batch_first else 'B, T'}, I)? then batch_first={not self.batch_first}"
        return InvalidArray(mismatch(label, f"{shape}, {meaning}", got, cause))

    def leave_state(self, state: State) -> Any:
        """The inverse of ``enter_state``: the core's tuple in the form in which torch gives a state."""
        state = tuple(part[0] for part in state) if self.spec.is_cell else state
        state = state if self.batched else tuple(part[..., 0, :] for part in state)
        return state if len(self.spec.state_names) > 1 else state[0]

    def leave_results(self, y: Any, state: State, steps: dict[str, Any] | None = None) -> tuple[Any, ...]:
        """What a call of a module returns: y and the final state, and what every step computed, where it is given."""
        results = self.leave(y), self.leave_state(state)
        return results if steps is None else (*results, self.leave_steps(steps))

    def leave_steps(self, steps: dict[str, Any]) -> dict[str, Any]:
        """What every step computed, each (D*L, T, B, H), with the axes of y: (D*L, B, T, H), or (D*L, T, H)."""
        if not self.batched:
            return {name: array[:, :, 0] for name, array in steps.items()}
        return {name: array.swapaxes(1, 2) if self.batch_first else array for name, array in steps.items()}

    def require_lengths(self, lengths: Any, traced: bool = False) -> Any:
        """Check the lengths (B,) of a ragged batch and give them as an array; None stays None.

        Lengths that are ``traced`` have no values yet, so only their shape and dtype are checked; the module must see
        to it that a length outside 0..T yields no numbers.
        """
        if lengths is None:
            return None
        if self.spec.is_cell or not self.batched:
            raise InvalidInput(mismatch("lengths", "None for a cell and for unbatched x", type(lengths).__name__))
        if traced:
            require_lengths_form(lengths, self.batch)
            return lengths
        values = to_array("lengths", lengths)
        require_lengths(values, self.steps, self.batch)
        return lengths if hasattr(lengths, "detach") else values

    def enter_mask(self, mask: Any, lengths: Any = None) -> Any:
        """Check the mask of valid steps and give it as the core's (T, B); None stays None.

        Its axes are those of x without the last: (T, B), (B, T) with ``batch_first``, (T,) unbatched. Booleans have no
        wrong values, so a traced one is checked as any other.
        """
        refuse_both(lengths, mask)
        if mask is None:
            return None
        shape, axes = (self.steps, self.batch), "(T, B)"
        if not self.batched:
            shape, axes = (self.steps,), "(T,)"
        elif self.batch_first:
            shape, axes = shape[::-1], "(B, T)"
        mask = _plain("mask", mask, self.kind | np.ndarray)
        require_mask_form(mask, shape, axes)
        return mask[:, None] if not self.batched else mask.swapaxes(0, 1) if self.batch_first else mask

    def enter_masks(self, masks: Any) -> Masks | None:
        """Check dropout masks, a ``Masks`` or an array of those of the layers; None stays None."""
        if masks is None:
            return None
        shapes, entered = mask_shapes(self.spec, self.steps, self.batch), Masks()
        for name, kind, array in named_masks(masks):
            refuse_masks_without_use(self.spec, name, kind)
            array = _plain(name, array, self.kind)
            _require_shape(name, array, getattr(shapes, kind), AXES[kind], self.spec)
            _require_dtype(name, array, self.dtype)
            entered = entered._replace(**{kind: array})
        return entered


def arrange(
    spec: ModelSpec, x: Any, batch_first: bool, kind: Any, dtype: Any, empty: bool = False
) -> tuple[Arrangement, Any]:
    """Check x (T, B, I), (B, T, I) with ``batch_first``, (T, I) unbatched; for a cell (B, I), or (I,) unbatched.

    Returns the layout of the call's arrays, and x as the core takes it. A batch may be ``empty`` where the framework's
    own layers take one.
    """
    batched_axes = "(B, I)" if spec.is_cell else "(B, T, I)" if batch_first else "(T, B, I)"
    unbatched_axes = "(I,)" if spec.is_cell else "(T, I)"
    x = _plain("x", x, kind)
    shape, full = tuple(x.shape), 2 if spec.is_cell else 3
    if len(shape) not in (full - 1, full):
        wanted = f"{full} axes {batched_axes}, or {full - 1} unbatched {unbatched_axes}"
        raise InvalidArray(mismatch("x", wanted, f"{len(shape)} of shape {shape}"))
    batched = len(shape) == full
    filled, wanted = shape[:-1], "at least one step and one sequence"
    if empty:
        filled, wanted = () if spec.is_cell else (shape[batched and batch_first],), "at least one step of time"
    if 0 in filled:
        raise InvalidArray(mismatch("x", wanted, f"shape {shape}"))
    _require_shape("x", x, (*shape[:-1], spec.input_size), batched_axes if batched else unbatched_axes, spec)
    _require_dtype("x", x, dtype)
    arrangement = Arrangement(
        spec=spec, kind=kind, dtype=dtype, batch_first=batch_first, batched=batched, steps=1, batch=1
    )
    core = arrangement.enter(x)
    # From the core's array: while torch traces, its sizes are those of the call, not of the example.
    return arrangement._replace(steps=core.shape[0], batch=core.shape[1]), core


def pack_state(spec: ModelSpec, hx: Any, name: str = "hx") -> State | None:
    """The tuple for torch's ``hx``: one array, or a pair (h, c) for a cell with two states; None stays None."""
    if hx is None:
        return None
    states, got = spec.state_names, f"a {type(hx).__name__}"
    if len(states) == 1:
        if isinstance(hx, tuple | list):
            raise InvalidType(mismatch(name, f"one array for {spec.cell}", f"{got} of {len(hx)}"))
        return (hx,)
    wanted = f"a pair ({', '.join(states)}) for {spec.cell}"
    if not isinstance(hx, tuple | list):
        raise InvalidType(mismatch(name, wanted, got, f"the state of {spec.cell} is {len(states)} arrays"))
    if len(hx) != len(states):
        raise InvalidArray(mismatch(name, wanted, f"{got} of {len(hx)}"))
    return tuple(hx)


def state_labels(spec: ModelSpec, name: str) -> tuple[str, ...]:
    """What the arrays of a state are called in errors: ``hx``, or ``hx[0]`` and ``hx[1]``."""
    count = len(spec.state_names)
    return (name,) if count == 1 else tuple(f"{name}[{position}]" for position in range(count))


def _owner(spec: ModelSpec) -> str:
    """The module that an array belongs to, with the options that decide its shape."""
    options = f", proj_size={spec.proj_size}" if spec.proj_size else ""
    options += f", num_layers={spec.num_layers}" if spec.num_layers > 1 else ""
    options += ", bidirectional=True" if spec.bidirectional else ""
    return f"{spec.cell}(input_size={spec.input_size}, hidden_size={spec.hidden_size}{options})"


def _plain(name: str, array: Any, kind: Any) -> Any:
    """An array of this kind; subclasses of NumPy's become plain arrays."""
    refuse_masked(name, array)
    if not isinstance(array, kind):
        wanted = " or ".join(one.__name__ for one in get_args(kind) or (kind,))
        got = type(array).__name__
        raise InvalidType(mismatch(name, f"an array of type {wanted}", got, CONVERSIONS.get(got, "")))
    return np.asarray(array) if isinstance(array, np.ndarray) else array


def _require_shape(name: str, array: Any, shape: tuple[int, ...], axes: str, spec: ModelSpec) -> None:
    if tuple(array.shape) != shape:
        raise InvalidArray(mismatch(name, f"{shape}, {axes} for {_owner(spec)}", tuple(array.shape)))


def _require_dtype(name: str, array: Any, dtype: Any) -> None:
    if isinstance(dtype, frozenset):
        if array.dtype not in dtype:
            expected = f"{' or '.join(sorted(map(str, dtype)))} under autocast"
            raise InvalidDtype(mismatch(name, expected, array.dtype))
    elif array.dtype != dtype:
        raise InvalidDtype(mismatch(name, f"{dtype}, in which this call computes", array.dtype))

"""What the idiomatic faces share: torch.nn's constructor arguments, and the way from a call to the core.

A face is ``numpy_impl.RNN``, ``jax_impl.LSTM``, ``torch_impl.RNNCell`` and so on: the four cells of a backend
as a user of that framework expects them, around the same core as the contract. The checks here read only types,
shapes and dtypes, never values: they serve every framework, wait for no device, and pass traced arrays.
"""

from typing import Any

from common.errors import InvalidInput, InvalidType, mismatch
from common.spec import ModelSpec

State = tuple[Any, ...]


def layer_spec(cell: str, input_size: int, hidden_size: int, batch_first: bool = False, **options: Any) -> ModelSpec:
    """The specification for the arguments of ``torch.nn.RNN``, ``LSTM``, ``RNNCell`` or ``LSTMCell``."""
    if batch_first is not False:
        raise InvalidInput(mismatch("batch_first", False, batch_first, "not implemented yet"))
    return ModelSpec(cell=cell, input_size=input_size, hidden_size=hidden_size, **options)


def core_input(spec: ModelSpec, x: Any, kind: Any, dtype: Any) -> Any:
    """Check x (T, B, I), or (B, I) for a cell, and give it a time axis.

    ``kind`` is the framework's type of array, or a union; ``dtype`` is that of the parameters at this call.
    """
    axes = "(B, I)" if spec.is_cell else "(T, B, I)"
    _check_kind("x", x, kind)
    rank, wanted = len(x.shape), 2 if spec.is_cell else 3
    if rank != wanted:
        cause = "unbatched input is not implemented yet" if rank == wanted - 1 else ""
        raise InvalidInput(mismatch("x", f"{wanted} axes {axes}", f"{rank} of shape {tuple(x.shape)}", cause))
    if 0 in x.shape[:-1]:
        raise InvalidInput(mismatch("x", "at least one step and one sequence", f"shape {tuple(x.shape)}"))
    _check_array("x", x, dtype, (*x.shape[:-1], spec.input_size), f"{axes} for {_owner(spec)}")
    return x[None] if spec.is_cell else x


def core_state(spec: ModelSpec, name: str, hx: Any, batch: int, kind: Any, dtype: Any) -> State | None:
    """Check a state, each array (D*L, B, H), or (B, H) for a cell, and bring it into the core's form.

    The core has a tuple of arrays (D*L, B, H); None, for zeros, stays None.
    """
    state = pack_state(spec, hx, name)
    if state is None:
        return None
    shape, axes = (batch, spec.hidden_size), "(B, H)"
    if not spec.is_cell:
        shape, axes = (spec.state_rows, *shape), "(D*L, B, H)"
    for position, part in enumerate(state):
        label = f"{name}[{position}]" if spec.is_lstm else name
        _check_kind(label, part, kind)
        _check_array(label, part, dtype, shape, f"{axes} for {_owner(spec)} and a batch of {batch}")
    return tuple(part[None] for part in state) if spec.is_cell else state


def face_state(spec: ModelSpec, state: State) -> Any:
    """The inverse of ``core_state``: the core's tuple in the form in which torch gives a state."""
    state = tuple(part[0] for part in state) if spec.is_cell else state
    return state if spec.is_lstm else state[0]


def pack_state(spec: ModelSpec, hx: Any, name: str = "hx") -> State | None:
    """The tuple for torch's ``hx``, one array for an RNN and a pair (h, c) for an LSTM; None stays None."""
    if hx is None:
        return None
    got = f"a {type(hx).__name__}"
    if not spec.is_lstm:
        if isinstance(hx, tuple | list):
            raise InvalidType(mismatch(name, f"one array for {spec.cell}", f"{got} of {len(hx)}"))
        return (hx,)
    if not isinstance(hx, tuple | list):
        cause = "an RNN takes one array, an LSTM two"
        raise InvalidType(mismatch(name, f"a pair (h, c) for {spec.cell}", got, cause))
    if len(hx) != 2:
        raise InvalidInput(mismatch(name, f"a pair (h, c) for {spec.cell}", f"{got} of {len(hx)}"))
    return tuple(hx)


def _owner(spec: ModelSpec) -> str:
    return f"{spec.cell}(input_size={spec.input_size}, hidden_size={spec.hidden_size})"


def _check_kind(name: str, array: Any, kind: Any) -> None:
    if not isinstance(array, kind):
        wanted = getattr(kind, "__name__", kind)
        raise InvalidType(mismatch(name, f"an array of type {wanted}", type(array).__name__))


def _check_array(name: str, array: Any, dtype: Any, shape: tuple[int, ...], meaning: str) -> None:
    if tuple(array.shape) != shape:
        raise InvalidInput(mismatch(name, f"{shape}, {meaning}", tuple(array.shape)))
    if array.dtype != dtype:
        raise InvalidType(mismatch(name, f"{dtype}, the parameters' dtype", array.dtype))

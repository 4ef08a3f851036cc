"""What the idiomatic faces share: torch.nn's constructor arguments, and the step between one array and a tuple.

A face is ``numpy_impl.RNN``, ``jax_impl.LSTM``, ``torch_impl.RNNCell`` and so on: the four cells of a backend as a user
of that framework expects them, around the same core as the contract.
"""

from typing import Any

from common.errors import InvalidInput, InvalidType, mismatch
from common.spec import ModelSpec


def layer_spec(cell: str, input_size: int, hidden_size: int, batch_first: bool, **options: Any) -> ModelSpec:
    """The specification for the arguments of ``torch.nn.RNN`` or ``LSTM``."""
    if batch_first is not False:
        raise InvalidInput(mismatch("batch_first", False, batch_first, "not implemented yet"))
    return ModelSpec(cell=cell, input_size=input_size, hidden_size=hidden_size, **options)


def pack_state(spec: ModelSpec, hx: Any) -> tuple[Any, ...] | None:
    """The core's tuple for torch's ``hx``: one array for an RNN, a pair (h, c) for an LSTM, None for zeros."""
    if hx is None:
        return None
    if not spec.is_lstm:
        if isinstance(hx, tuple | list):
            raise InvalidType(mismatch("hx", f"one array for {spec.cell}", f"a {type(hx).__name__} of {len(hx)}"))
        return (hx,)
    if not isinstance(hx, tuple | list):
        got = f"a {type(hx).__name__}"
        raise InvalidType(mismatch("hx", f"a pair (h_0, c_0) for {spec.cell}", got, "an RNN takes one array, an LSTM two"))
    if len(hx) != 2:
        raise InvalidInput(mismatch("hx", f"a pair (h_0, c_0) for {spec.cell}", f"{len(hx)} arrays"))
    return tuple(hx)


def unpack_state(spec: ModelSpec, state: tuple[Any, ...]) -> Any:
    """The inverse of ``pack_state``."""
    return state if spec.is_lstm else state[0]

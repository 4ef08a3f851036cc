"""What a call of a module does under torch's transforms: autocast, torch.fx, and tracing, which has no values to check.

Under ``torch.autocast`` the matrix products are computed in its dtype, and x, the states and the masks may have any of
``CASTABLE``. The dtypes of the results are those of torch.nn (measured with torch 2.13 on a CPU; for CUDA they follow
from the list of operations that autocast casts there, ``aten/src/ATen/autocast_mode.h``, except that cuDNN's layers
compute in float16 whatever autocast's dtype is, ``aten/src/ATen/cudnn/AutocastRNN.cpp``).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from common.backend.arrangement import Arrangement
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.arrays import refuse_masked
from common.model.spec import ModelSpec

CASTABLE = frozenset({torch.float32, torch.bfloat16, torch.float16})
State = tuple[Tensor, ...]


def autocast_dtype(weight: Tensor) -> torch.dtype | None:
    """The dtype into which autocast casts this parameter; None where it is off, and for float64, which it leaves."""
    kind = weight.device.type
    if kind == "meta" or weight.dtype not in CASTABLE or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def cast(
    spec: ModelSpec, low: torch.dtype, params: Mapping[str, Tensor], x: Tensor, state0: State, ragged: bool
) -> tuple[dict[str, Tensor], Tensor, State]:
    """The arguments of a call in autocast's dtype.

    A state that is added to (c, or a GRU's h) keeps its own dtype, and then so do the results, except with kernels that
    compute all of a call in autocast's: cuDNN's, and oneDNN's LSTM, which takes no projection, no packed sequence and
    no float16.
    """
    onednn = len(spec.state_names) == 2 and not (spec.is_cell or spec.proj_size or ragged) and x.dtype != torch.float16
    if x.device.type != "cpu" or not spec.kind.gates or onednn:
        state0 = tuple(part.to(low) for part in state0)
    return {name: value.to(low) for name, value in params.items()}, x.to(low), state0


def proxies(arguments: Any) -> list[fx.Proxy]:
    """Those of the arguments, or of the parts of a state among them, that stand for values while torch.fx traces."""
    parts = [part for value in arguments for part in (value if isinstance(value, tuple | list) else (value,))]
    return [part for part in parts if isinstance(part, fx.Proxy)]


def is_symbolic(*arguments: Any) -> bool:
    """Whether torch.fx is tracing this call."""
    return bool(proxies(arguments))


def leaf(module: nn.Module, *arguments: Any, **named: Any) -> Any:
    """The call as one node of the graph, as fx makes of torch.nn's modules, which it knows by their package.

    Raises ``InvalidInput`` where the module is itself what fx traces; its steps are a loop of Python.
    """
    tracer: Any = proxies((*arguments, *named.values()))[0].tracer
    name = tracer.path_of_module(module)
    if not name:
        cause = "put the module inside another, where it is a leaf"
        raise InvalidInput(mismatch("torch.fx", "no loop over time, which it cannot trace", repr(module), cause))
    return tracer.create_proxy("call_module", name, arguments, named)


def tracing() -> bool:
    """Whether a call is being recorded, to be repeated with other values."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore


def readable(lengths: Any) -> bool:
    """Whether lengths have values to check: a tensor inside a transform of ``torch.func`` has none."""
    try:
        return not isinstance(lengths, Tensor) or lengths.detach().cpu().numpy() is not None
    except RuntimeError:
        return False


def require_tensor_in_trace(name: str, value: Any) -> None:
    """Refuse anything but a tensor under ``torch.jit.trace``, which would make a constant of it."""
    if torch.jit.is_tracing() and value is not None and not isinstance(value, Tensor):  # pyright: ignore
        cause = "a trace would keep the values of this call"
        raise InvalidType(mismatch(name, "a tensor under torch.jit.trace", type(value).__name__, cause))


def enter_lengths(arrangement: Arrangement, lengths: Any) -> tuple[Any, bool]:
    """The lengths of a ragged batch, checked as far as they have values, and whether they have none."""
    if lengths is None:
        return None, False
    traced = tracing() or not readable(lengths)
    if traced:
        refuse_masked("lengths", lengths)
        require_tensor_in_trace("lengths", lengths)
        lengths = torch.as_tensor(lengths)
    return arrangement.require_lengths(lengths, traced), traced


def in_range(lengths: Tensor, steps: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Traced lengths (B,), as integers in 0..T; and a factor (B, 1) of the results: NaN where they were not, else 1.

    Being a factor, it also applies to the gradients. In those sequences all steps are valid, so NaN reaches each of
    them.
    """
    lengths = lengths.long()
    wrong = (lengths < 0) | (lengths > steps)
    factor = torch.where(wrong, torch.nan, torch.ones_like(lengths, dtype=dtype))
    return torch.where(wrong, steps, lengths), factor[:, None]

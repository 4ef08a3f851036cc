"""Ragged batches inside the recurrence: steps that are not valid are frozen, and the state stays as it is.

The tag, (S9), names an equation of ``numpy_impl/DERIVATION.md``. ``valid`` is (T, B, 1), or None where all steps are.
"""

from typing import Any

import torch
from torch import Tensor


def entering(valid: Tensor | None, t: int, state: tuple[Tensor, ...]) -> Any:
    """The state that step t reads: zero where it is frozen, as its result is dropped.

    So nothing overflows there and causes a NaN in the backward pass.
    """
    return state if valid is None else tuple(torch.where(valid[t], part, 0) for part in state)


def frozen(valid: Tensor | None, t: int, new: tuple[Tensor, ...], state: tuple[Tensor, ...]) -> Any:
    """The state after step t."""
    if valid is None:
        return new
    return tuple(torch.where(valid[t], *parts) for parts in zip(new, state, strict=True))  # (S9)


def stacked(steps: list[Any]) -> Any:
    """What was kept of each step, (B, ...), as one tensor (T, B, ...), or as a tuple of them where it is a tuple."""
    if isinstance(steps[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*steps, strict=True))
    return torch.stack(steps)

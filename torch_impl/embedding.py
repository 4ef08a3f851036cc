"""Symbols as vectors: rows of the identity (one-hot), or of a trained table."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def forward(params: Mapping[str, Tensor] | None, x: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Symbols x (T, B) -> (T, B, I); without a table one-hot of ``size``; features stay as they are."""
    if x.ndim == 3:
        return x
    if params is None:
        return functional.one_hot(x.long(), size).to(dtype)
    return functional.embedding(x.long(), params["weight"])

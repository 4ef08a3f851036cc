"""Dropout masks: the kinds of them, their shapes, and how they are drawn.

>>> import numpy as np
>>> from common.model.masks import dropout_masks
>>> from common.model.spec import ModelSpec
>>> spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=5, num_layers=2, dropout=0.5, recurrent_dropout=0.5)
>>> masks = dropout_masks(spec, 7, 4, np.random.default_rng(0))  # T = 7, B = 4
>>> masks.layers.shape, masks.input, masks.recurrent.shape
((1, 7, 4, 5), None, (2, 4, 5))
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from common.model.dtypes import numpy_dtype
from common.model.spec import ModelSpec

# The axes of each kind of mask, for errors.
AXES = {"layers": "(L-1, T, B, D*H)", "input": "(B, I)", "recurrent": "(D*L, B, H)"}


class Masks(NamedTuple):
    """The dropout masks of one call, each a factor, or None where there is none of its kind.

    ``layers`` (L-1, T, B, D*H) multiply the output of every layer but the last. The other two are masks of one step,
    the same at each step and in both directions (Gal & Ghahramani 2016): ``input`` (B, I) multiplies x; ``recurrent``
    (D*L, B, H), with P for H where there is a projection, multiplies h where it enters the product with W_hh, and
    nowhere else. ``layers`` with equal steps are a mask of one step for the input of the layers above.
    """

    layers: Any = None
    input: Any = None
    recurrent: Any = None

    @property
    def simplest(self) -> Any:
        """What a call is given: None without masks, and the array of ``layers`` where there are no others."""
        return self.layers if self.input is None and self.recurrent is None else self


def as_masks(masks: Any) -> Masks | None:
    """``Masks``, from masks as a caller gives them: an array stands for ``layers``, None for none."""
    return masks if masks is None or isinstance(masks, Masks) else Masks(layers=masks)


def named_masks(masks: Any) -> Iterator[tuple[str, str, Any]]:
    """What each mask of a call is called in errors, its kind, and its array."""
    if isinstance(masks, Masks):
        yield from ((f"masks.{kind}", kind, array) for kind, array in masks._asdict().items() if array is not None)
    elif masks is not None:
        yield "masks", "layers", masks


def mask_shapes(spec: ModelSpec, steps: int, batch: int) -> Masks:
    """The shape of each kind."""
    recurrent = (spec.state_rows, batch, spec.state_sizes[0])
    return Masks(spec.mask_shape(steps, batch), (batch, spec.input_size), recurrent)


def probabilities(spec: ModelSpec) -> Masks:
    """The dropout probability for each kind of mask; the last layer's output has none."""
    return Masks(spec.dropout if spec.num_layers > 1 else 0.0, spec.input_dropout, spec.recurrent_dropout)


def dropout_masks(spec: ModelSpec, steps: int, batch: int, rng: np.random.Generator) -> Masks:
    """Masks of those kinds that the model drops: 0 with probability p, else 1/(1-p) (inverted dropout, as torch's)."""

    def draw(p: float, shape: tuple[int, ...]) -> np.ndarray | None:
        if not p:
            return None
        kept = rng.random(shape) >= p
        return (kept / (1 - p) if p < 1 else 0.0 * kept).astype(numpy_dtype(spec.dtype))

    return Masks(*map(draw, probabilities(spec), mask_shapes(spec, steps, batch)))

"""The operators with which exporters make constants of constants, as the ONNX specification defines them, in NumPy.

Each takes the budget, the attributes, the inputs (None where one is left out) and the number of outputs. Attributes
that became inputs in a later opset are taken from where they are. Sizes are compared with the budget before anything is
allocated.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]


class NotConstant(ValueError):
    """Why a value does not follow from the constants of a model."""


class Budget:
    """The bytes that may still be allocated."""

    def __init__(self, size: int):
        self.left = size

    def spend(self, shape: Sequence[int], dtype: Any) -> None:
        """Raise ``NotConstant`` unless an array of this shape can be afforded."""
        self.left -= math.prod(int(size) for size in shape) * np.dtype(dtype).itemsize
        if self.left < 0 or any(size < 0 for size in shape):
            raise NotConstant(f"constants of the sizes {tuple(shape)} take more memory than its file explains"[:200])


def _ints(attributes: Attributes, name: str, inputs: Inputs, place: int) -> list[int] | None:
    """A list of integers that is an attribute or, since a later opset, an input; None where it is neither."""
    if name in attributes:
        return [int(value) for value in attributes[name]]
    given = inputs[place] if place < len(inputs) else None
    if given is None:
        return None
    if given.ndim > 1 or given.size > 64 or given.dtype.kind not in "iu":
        raise NotConstant(f"{name} is no list of integers")
    return [int(value) for value in given.reshape(-1)]


def _transpose(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    return [np.transpose(inputs[0], attributes.get("perm"))]


def _reshape(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    array = inputs[0]
    shape = _ints(attributes, "shape", inputs, 1) or []
    if not attributes.get("allowzero", 0):
        shape = [array.shape[k] if size == 0 else size for k, size in enumerate(shape)]
    budget.spend(array.shape, array.dtype)  # a transposed array is copied
    return [array.reshape(shape)]


def _squeeze(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    axes = _ints(attributes, "axes", inputs, 1)
    return [np.squeeze(inputs[0], None if axes is None else tuple(axes))]


def _unsqueeze(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    return [np.expand_dims(inputs[0], tuple(_ints(attributes, "axes", inputs, 1) or ()))]


def _slice(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    array = inputs[0]
    starts, ends = (_ints(attributes, name, inputs, k + 1) or [] for k, name in enumerate(("starts", "ends")))
    axes = _ints(attributes, "axes", inputs, 3)
    steps = _ints({}, "steps", inputs, 4) or [1] * len(starts)
    axes = list(range(len(starts))) if axes is None else axes
    window: list[slice] = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = array.shape[axis]
        if step < 0 and end < -size:
            window[axis] = slice(start, None, step)
        else:
            window[axis] = slice(start, end, step)
    return [array[tuple(window)]]


def _concat(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    for array in inputs:
        budget.spend(array.shape, array.dtype)
    return [np.concatenate(list(inputs), axis=int(attributes["axis"]))]


def _split(budget: Budget, attributes: Attributes, inputs: Inputs, count: int) -> list[Any]:
    array, axis = inputs[0], int(attributes.get("axis", 0))
    sizes = _ints(attributes, "split", inputs, 1)
    if sizes is None:
        size = -(-array.shape[axis] // count)
        sizes = [size] * (count - 1) + [array.shape[axis] - size * (count - 1)]
    if sum(sizes) != array.shape[axis] or len(sizes) != count or min(sizes) < 0:
        raise NotConstant(f"a split of {array.shape[axis]} into {sizes}"[:200])
    return np.split(array, np.cumsum(sizes)[:-1], axis=axis)


def _gather(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    array, where = inputs[0], inputs[1]
    axis = int(attributes.get("axis", 0)) % max(array.ndim, 1)
    budget.spend((*array.shape[:axis], *where.shape, *array.shape[axis + 1 :]), array.dtype)
    return [np.take(array, where, axis=axis)]


def _cast(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    names = {1: "float32", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
    dtype = names.get(int(attributes["to"]))
    if dtype is None:
        raise NotConstant(f"a Cast to the type {attributes['to']}")
    budget.spend(inputs[0].shape, dtype)
    return [inputs[0].astype(dtype)]


def _shape(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    start, end = int(attributes.get("start", 0)), attributes.get("end")
    return [np.array(inputs[0].shape[start:end], dtype="int64")]


def _filled(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    """ConstantOfShape."""
    shape, value = _ints({}, "shape", inputs, 0) or [], attributes.get("value", np.zeros(1, "float32"))
    budget.spend(shape, value.dtype)
    return [np.full(shape, value.reshape(-1)[0], value.dtype)]


def _expand(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(_ints({}, "shape", inputs, 1) or ()))
    budget.spend(shape, inputs[0].dtype)
    return [np.broadcast_to(inputs[0], shape)]


def _same(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    return [inputs[0]]


def _dropout(budget: Budget, attributes: Attributes, inputs: Inputs, count: int) -> list[Any]:
    training = inputs[2] if len(inputs) > 2 else None
    if training is not None and training.any():
        raise NotConstant("Dropout in training")
    return [inputs[0]] * count


def _elementwise(function: Callable[[Any, Any], Any]) -> Callable[[Budget, Attributes, Inputs, int], list[Any]]:
    def operator(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
        if attributes.get("axis") is not None or inputs[0].dtype != inputs[1].dtype:
            raise NotConstant("operands of two types, or the axis that they had before opset 7")
        budget.spend(np.broadcast_shapes(inputs[0].shape, inputs[1].shape), inputs[0].dtype)
        return [function(inputs[0], inputs[1])]

    return operator


def _divided(x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":
        if (x < 0).any() or (y <= 0).any():
            raise NotConstant("a quotient of integers below 1")
        return x // y
    return x / y


def _dequantized(budget: Budget, attributes: Attributes, inputs: Inputs, _: int) -> list[Any]:
    """DequantizeLinear: (x - zero_point) * scale, of the whole tensor or along one axis."""
    x, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 else None
    if attributes.get("block_size", 0) or scale.ndim > 1:
        raise NotConstant("DequantizeLinear in blocks")
    if scale.ndim:
        axis = int(attributes.get("axis", 1)) % max(x.ndim, 1)
        shape = [-1 if k == axis else 1 for k in range(x.ndim)]
        scale, zero = scale.reshape(shape), None if zero is None else zero.reshape(shape)
    budget.spend(x.shape, "int64")
    shifted = x.astype("int64") if zero is None else x.astype("int64") - zero.astype("int64")
    return [(shifted.astype(scale.dtype) * scale).astype(scale.dtype)]


OPERATORS: dict[str, Callable[[Budget, Attributes, Inputs, int], list[Any]]] = {
    "Identity": _same,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
    "Cast": _cast,
    "Shape": _shape,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Dropout": _dropout,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divided),
    "DequantizeLinear": _dequantized,
}

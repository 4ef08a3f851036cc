"""The arrays among the nodes of a pickle: tensors of PyTorch, in every form since 0.1, and arrays of NumPy and JAX.

What PyTorch and NumPy would be called with says which bytes an array consists of, so nothing has to be called. A tensor
is a view of a storage, which stands outside the pickle: whoever opens the container provides it (``Storages``).
"""

import math
import re
from typing import Any, Literal, NamedTuple, Protocol

import ml_dtypes
import numpy as np

from common.weights.pickles.machine import Built, Global, Persistent

# The element types by the class of the storage.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}
# Those that only a storage without a type has, so that the tensor records them.
LATER = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
NAMES = {*STORAGES.values(), *LATER}
REBUILT = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
# Called with the tensor itself, in PyTorch before 0.4 as a state.
PARAMETERS = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "torch.autograd.variable.Variable",
)
SUBCLASSES = ("torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type")
# An array of JAX, which is pickled as one of NumPy's.
JAX = ("jax._src.array._reconstruct_array", "jax._src.device_array.reconstruct_device_array")
# What no dense array of numbers can stand for.
UNREADABLE = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without values (on the device meta)",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a class of its own",
}
Order = Literal["<", ">"]
MAX_RANK = 32
NUMPY_DTYPE = re.compile(r"[?biufc][0-9]{0,2}")


class Unreadable(ValueError):
    """Why something that is an array cannot be read, in a few words."""


class Storage(NamedTuple):
    """The bytes of a storage and the name of its element type."""

    data: memoryview
    dtype: str


class Storages(Protocol):
    """Where the storages of a file are: what a reference of the pickle stands for, and their order of bytes.

    ``find`` takes the name of a storage, or the call that makes it of bytes in the pickle. It returns the storage, or
    an array where the container holds whole tensors outside the pickle; it raises ``Unreadable`` where there is none.
    """

    @property
    def order(self) -> Order: ...

    def find(self, identifier: Any) -> Storage | np.ndarray: ...


def array(node: Any, storages: Storages) -> np.ndarray | None:
    """The array that a node stands for, as a view of its storage; None where it stands for something else.

    Raises ``Unreadable``.
    """
    for _ in range(8):  # a parameter that holds a tensor of a class of its own that holds a tensor
        if isinstance(node, Persistent):
            return _outside(node, storages)
        if not isinstance(node, Built):
            return None
        name, args = node.name, node.args
        if name in PARAMETERS:
            state = node.state if isinstance(node.state, tuple) else ()
            node = next((value for value in (*args, *state)[:1]), None)
        elif name in SUBCLASSES and len(args) > 2 and isinstance(args[2], tuple):
            node = Built(args[0], args[2])
        elif name in JAX and len(args) > 2:  # the call that makes an array of NumPy's, and its state
            node = Built(args[0], args[1])
            node.state = args[2]
        elif name in UNREADABLE:
            raise Unreadable(UNREADABLE[name])
        elif name in REBUILT:
            return _tensor(name, args, storages)
        else:
            return _numpy_array(node)
    raise Unreadable("a tensor inside too many others")


def _outside(node: Persistent, storages: Storages) -> np.ndarray | None:
    """A whole tensor outside the pickle; None for a storage, which is no tensor by itself."""
    if isinstance(node.id, tuple):
        return None
    found = storages.find(node.id)
    return found if isinstance(found, np.ndarray) else None


def dtype_of(name: str, order: Order) -> np.dtype:
    """The dtype of this name, in an order of bytes; raises ``Unreadable`` for one that NumPy lacks."""
    if name not in NAMES:
        raise Unreadable(f"a tensor of {name[:100]}")
    return np.dtype(getattr(ml_dtypes, name, name)).newbyteorder(order)


def _tensor(name: str, args: tuple[Any, ...], storages: Storages) -> np.ndarray:
    if len(args) < 4 or not isinstance(args[0], Persistent | Built):
        raise Unreadable("a tensor without a storage")
    source = args[0].id if isinstance(args[0], Persistent) else args[0]
    storage, offset, size, stride = storages.find(source), *args[1:4]
    if isinstance(storage, np.ndarray):
        raise Unreadable("a tensor without a storage")
    kind = storage.dtype
    if name.endswith("_v3"):
        dtype = args[6] if len(args) > 6 else None
        if not isinstance(dtype, Global) or dtype.module != "torch":
            raise Unreadable("a tensor of an unknown type")
        kind = dtype.name
    return view(storage.data, dtype_of(kind, storages.order), offset, size, stride)


def view(data: memoryview, dtype: np.dtype, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A view of a storage: where it begins, its shape, and its strides, all counted in elements.

    Raises ``Unreadable`` unless it lies within the storage.
    """
    size, stride = (_lengths(value) for value in (size, stride))
    (offset,) = _lengths((offset,))
    if len(size) != len(stride):
        raise Unreadable("a tensor whose shape and strides do not fit together")
    if not math.prod(size):
        return np.empty(size, dtype)
    length = len(data) // dtype.itemsize
    if offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) >= length:
        raise Unreadable(f"a tensor of {_shape(size)} that reaches beyond its storage of {length} elements")
    flat = np.frombuffer(data, dtype, length)
    return np.lib.stride_tricks.as_strided(
        flat[offset:], size, tuple(step * dtype.itemsize for step in stride), writeable=False
    )


def _lengths(value: Any) -> tuple[int, ...]:
    """A shape, strides or an offset: numbers that are not negative."""
    if isinstance(value, Built) and len(value.args) == 1:  # torch.Size
        (value,) = value.args
    if not isinstance(value, tuple | list) or len(value) > MAX_RANK:
        raise Unreadable("a tensor whose shape is none")
    numbers = tuple(n for n in value if type(n) is int and 0 <= n < 2**62)
    if len(numbers) != len(value) or math.prod(max(n, 1) for n in numbers) >= 2**62:
        raise Unreadable("a tensor whose shape is none")
    return numbers


def _shape(size: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, size))})"


def _numpy_array(node: Built) -> np.ndarray | None:
    """An array of NumPy, as ``pickle`` writes it: as a state or, from protocol 5 on, as arguments."""
    name = node.name.replace("numpy._core.", "numpy.core.")
    if name == "numpy.core.multiarray._reconstruct":
        state: Any = node.state
        if not isinstance(state, tuple) or len(state) != 5:
            raise Unreadable("an array without values")
        _, size, dtype, by_columns, data = state
    elif name == "numpy.core.numeric._frombuffer" and len(node.args) == 4:
        data, dtype, size, order = node.args
        by_columns = order == "F"
    else:
        return None
    size, data = _lengths(size), as_bytes(data)
    dtype = _numpy_dtype(dtype)
    if data is None or len(data) != math.prod(size) * dtype.itemsize:
        raise Unreadable(f"an array of {_shape(size)} whose values are not there")
    return np.frombuffer(data, dtype).reshape(size, order="F" if by_columns else "C")


def as_bytes(node: Any) -> bytes | None:
    """Bytes as every protocol writes them: before 3, as text of which each character stands for a byte."""
    if isinstance(node, Built) and node.name == "_codecs.encode" and len(node.args) == 2:
        node = node.args[0] if node.args[1] in ("latin1", "latin-1") else None
    if isinstance(node, bytearray):
        return bytes(node)
    try:
        return node.encode("latin-1") if isinstance(node, str) else node if isinstance(node, bytes) else None
    except UnicodeEncodeError:
        return None


def _numpy_dtype(node: Any) -> np.dtype:
    """A dtype of numbers; NumPy writes its order of bytes as a state."""
    if isinstance(node, Built) and node.name == "numpy.dtype" and node.args:
        kind = node.args[0]
        state = node.state if isinstance(node.state, tuple) else ()
        order = state[1] if len(state) > 1 and state[1] in ("<", ">", "|", "=") else "="
        if isinstance(kind, str) and NUMPY_DTYPE.fullmatch(kind):
            try:
                return np.dtype(kind).newbyteorder(order)
            except TypeError as error:
                raise Unreadable("an array of an unknown type") from error
    raise Unreadable("an array of objects or of another type than numbers")

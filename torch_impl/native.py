"""NumPy arrays to tensors on the device and back, and the precision that everything runs under.

PyTorch may otherwise use TF32 in matrix products and in cuDNN.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch

from common.backend.base import Boundary
from common.model.dtypes import numpy_dtype

MATMUL_PRECISION = "highest"
BFLOAT16 = numpy_dtype("bfloat16")


class _Switches:
    """The process's switches, turned by the first of all calls that need it, in any thread, and back by the last."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = Lock(), 0, ("", False)

    def enter(self) -> None:
        with self._lock:
            if not self._users:
                self._before = self.read()
                self.turn(MATMUL_PRECISION, False)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self.turn(*self._before)

    @staticmethod
    def read() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    @staticmethod
    def turn(matmul: str, cudnn: bool) -> None:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = cudnn


SWITCHES = _Switches()


@contextmanager
def precision() -> Iterator[None]:
    """No TF32 within the block; when no thread is within one, the process has its own switches again."""
    SWITCHES.enter()
    try:
        yield
    finally:
        SWITCHES.leave()


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_torch(tree: Any) -> Any:
    """Arrays -> fresh tensors on the device, in tuples, named tuples and dicts alike; None stays None."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: to_torch(value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        values = tuple(to_torch(value) for value in tree)
        return type(tree)(*values) if hasattr(tree, "_fields") else values
    return as_tensor(tree).to(device())


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """A copy of a NumPy array on the CPU."""
    array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")  # torch takes no negative strides
    if array.dtype == BFLOAT16:  # which torch cannot exchange with NumPy: the bits are passed as integers
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tree: Any) -> Any:
    """The inverse of ``to_torch``."""
    if isinstance(tree, dict):
        return {name: to_numpy(value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(to_numpy(value) for value in tree)
    tensor = tree.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BFLOAT16).copy()
    return tensor.numpy().copy()


def wait(_: Any = None) -> None:
    """Return once everything requested of the device so far has been computed."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


BOUNDARY = Boundary(to_native=to_torch, to_numpy=to_numpy, precision=precision, wait=wait)

"""Files for PyTorch, made by PyTorch itself, which is imported when one is written."""

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BackendBroken, BackendMissing
from common.model.dtypes import numpy_dtype
from common.model.spec import ModelSpec

# Where checkpoints have the weights: PyTorch Lightning's key, and that of most training scripts.
KEY = "state_dict"
# The attribute of a module that holds the layer, in TorchScript.
LAYER = "rnn"
FORWARD = """
def forward(self, x: Tensor, state: Optional[{state}]=None) -> {result}:
    return self.rnn(x, state)
"""


def state_dict(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """What ``torch.save(module.state_dict(), path)`` writes."""
    torch = pytorch()
    with path.open("wb") as file:
        torch.save(_tensors(torch, arrays), file)


def checkpoint(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """A dictionary with the weights under ``state_dict``, beside which users keep what else they need."""
    torch = pytorch()
    with path.open("wb") as file:
        torch.save({"epoch": 0, KEY: _tensors(torch, arrays)}, file)


def torchscript(path: Path, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> None:
    """A module whose ``rnn`` is the layer, as what ``torch.jit.save`` writes, which runs without Python."""
    torch = pytorch()
    params = {name.removeprefix("rnn."): value for name, value in _tensors(torch, arrays).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, and what users of TorchScript have
        scripted = importlib.import_module("torch_impl.oracles.torch_script").script(spec, params)
        with path.open("wb") as file:
            torch.jit.save(scripted, file)


def _tensors(torch: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Tensors on the CPU; NumPy cannot exchange bfloat16 with PyTorch, so its bits are passed as integers."""
    tensors = {}
    for name, value in arrays.items():
        array = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        if array.dtype == numpy_dtype("bfloat16"):
            tensors[name] = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensors[name] = torch.from_numpy(array)
    return tensors


def pytorch() -> Any:
    """PyTorch. Raises ``BackendMissing`` or ``BackendBroken``."""
    try:
        return importlib.import_module("torch")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            text = "PyTorch, which is not installed, writes such files; run: pip install -e '.[torch]'"
            raise BackendMissing(text) from error
        text = f"PyTorch, which writes such files, fails on import: {type(error).__name__}: {error}"
        raise BackendBroken(text) from error

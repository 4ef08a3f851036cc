"""PyTorch's own means of reading the files that its users write, and its own layers run on what is in them: a peer.

A ``state_dict`` or a checkpoint is loaded by ``torch.load``, which with ``weights_only`` runs no code, safetensors by
their library, an ``.npz`` file by NumPy. TorchScript is loaded by ``torch.jit.load`` and run as it is, if its code is
that of a layer of torch.nn, letter by letter; other code is not run. Of the layer that our readers found, the peer uses
its sizes and the names of its arrays. An LSTM of 1997 is run as ``torch.nn.LSTM`` (``torch_nn.held_open``).
"""

import importlib
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import BackendMissing, InvalidInput, mismatch
from common.model.spec import DTYPES, OPTIONS, ModelSpec
from common.printable import plain_line
from common.weights.peers import PeerGradients
from common.weights.peers import State as Arrays
from common.weights.source import Found

from ..native import BOUNDARY, device
from ..stack import State
from . import torch_nn
from .torch_script import LAYER, script

Core = Callable[[ModelSpec, Mapping[str, Tensor], Tensor, State, Tensor | None], tuple[Tensor, State]]
# What TorchScript puts into the names of classes so that they differ.
NUMBERED = re.compile(rb"___torch_mangle_\d+\.?")
# How torch.load names what it will not import, and how many such names are said.
UNKNOWN = re.compile(r"Unsupported global: GLOBAL (\S+) was not")
SHOWN = 3
# What torch.load raises for files that hold more than tensors, or are damaged.
LOADING_ERRORS = (RuntimeError, LookupError, AttributeError, TypeError, ValueError, OSError, EOFError)
LOADING_ERRORS += (pickle.UnpicklingError, AssertionError, MemoryError)


def tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file of tensors, dictionaries, lists and plain values alone, by where it stands."""
    with path.open("rb") as file:
        start = file.read(16)
    if start[8:9] == b"{":
        return _safetensors().load_file(path)
    if start.startswith(b"PK") and not any(_is_pickle(name) for name in _entries(path)):
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # another than PyTorch writes
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except LOADING_ERRORS as error:
        if names := _classes(path, str(error)):
            more = f" and {len(names) - SHOWN} more classes" if len(names) > SHOWN else ""
            held, cause = f"objects of {', '.join(names[:SHOWN])}{more}", "torch loads such a file only by running code"
            raise InvalidInput(mismatch("what the file holds", "tensors alone", held, cause)) from error
        reason = plain_line(str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0])
        raise InvalidInput(mismatch(f"{path}, for torch.load with weights_only", "tensors alone", reason)) from error
    return dict(_flat("", loaded))


def _classes(path: Path, message: str) -> list[str]:
    """What a file names that torch.load will not import, those of torch.nn last; torch itself says which."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except LOADING_ERRORS:  # it lists them for zip files alone
        names = UNKNOWN.findall(message)[:1]
    return sorted((name[:100] for name in names), key=lambda name: (name.startswith("torch."), name))


def _flat(path: str, node: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield path, node.detach()
    elif isinstance(node, Mapping | list | tuple):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _flat(f"{path}.{key}" if path else str(key), value)


def _safetensors() -> Any:
    try:
        return importlib.import_module("safetensors.torch")
    except ModuleNotFoundError as error:
        text = "torch needs safetensors, which is not installed; run: pip install -e '.[safetensors]'"
        raise BackendMissing(text) from error


def _entries(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return file.namelist()


def _is_pickle(name: str) -> bool:
    return name.rpartition("/")[2] == "data.pkl"


def is_torchscript(path: Path) -> bool:
    return zipfile.is_zipfile(path) and any("/code/" in name for name in _entries(path))


def code(file: Any) -> dict[bytes, bytes]:
    """The code of TorchScript, without the numbers in the names of its classes."""
    with zipfile.ZipFile(file) as archive:
        sources = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
        return {
            NUMBERED.sub(b"", name.partition("/code/")[2].encode()): NUMBERED.sub(b"", archive.read(name))
            for name in sources
        }


def scripted(path: Path, layer: Found) -> Any:
    """The module in TorchScript, loaded if its code is that of ``torch_script``, which is torch.nn's."""
    assert layer.spec is not None
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # deprecated, and what such files need
        torch.jit.save(script(layer.spec), stream)
        if layer.path != LAYER or code(path) != code(stream):
            raise InvalidInput(mismatch(f"code of {path}", "that of torch.nn", "other code", "which is not run"))
        return torch.jit.load(path, map_location=device())


def run_script(
    module: Any, spec: ModelSpec, _: Mapping[str, Tensor], x: Tensor, state0: Any, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """TorchScript itself, sequence by sequence where there are lengths, as it takes no packed ones."""
    if lengths is not None:
        parts = []
        for b, n in enumerate(lengths.tolist()):
            y, last = run_script(module, spec, _, x[:n, b : b + 1], tuple(part[:, b : b + 1] for part in state0))
            parts.append((torch.nn.functional.pad(y, (0, 0, 0, 0, 0, len(x) - n)), last))
        states = zip(*(last for _, last in parts), strict=True)
        return torch.cat([y for y, _ in parts], 1), tuple(torch.cat(values, 1) for values in states)
    if not spec.is_cell:
        y, last = module(x, state0 if len(state0) > 1 else state0[0])
        return y, torch_nn.as_tuple(last)
    outputs: list[Tensor] = []
    state: Any = tuple(part[0] for part in state0)
    for x_t in x:
        state = torch_nn.as_tuple(module(x_t, state if len(state) > 1 else state[0]))
        outputs.append(state[0])
    return torch.stack(outputs), tuple(part[None] for part in state)


class TorchLayer:
    """A layer of a file as PyTorch has loaded it; ``names`` are those in the file, by the neutral ones."""

    def __init__(self, spec: ModelSpec, params: Mapping[str, Tensor], names: Mapping[str, str], core: Core):
        self.spec, self.names, self._core = spec, names, core
        self.params = {name: value.to(device()).requires_grad_() for name, value in params.items()}

    def forward(self, x: np.ndarray, state0: Arrays, lengths: np.ndarray | None = None) -> tuple[np.ndarray, Arrays]:
        with torch.no_grad():
            return BOUNDARY.cross(partial(self._core, self.spec, self.params), x, state0, lengths)

    def vjp(
        self, x: np.ndarray, state0: Arrays, dy: np.ndarray, dstate: Arrays, lengths: np.ndarray | None = None
    ) -> PeerGradients:
        return PeerGradients(*BOUNDARY.cross(self._gradients, x, state0, dy, dstate, lengths))

    def _gradients(self, x: Tensor, state0: State, dy: Tensor, dstate: State, lengths: Tensor | None) -> Any:
        leaves = [*self.params.values(), x.requires_grad_(), *(part.requires_grad_() for part in state0)]
        y, last = self._core(self.spec, self.params, x, state0, lengths)
        found = torch.autograd.grad((y, *last), leaves, (dy, *dstate))
        arrays = {self.names[name]: grad for name, grad in zip(self.params, found, strict=False)}
        return arrays, found[len(arrays)], tuple(found[len(arrays) + 1 :])


class TorchPeer:
    """See ``common.weights.peers.Peer``."""

    name = "torch"
    dtypes = frozenset(DTYPES)
    options = frozenset(OPTIONS) - {"reset_before", "mask", "dropout", "input_dropout", "recurrent_dropout"}
    has_gradients = True

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def load(self, path: Path, layer: Found) -> TorchLayer:
        """Raises ``InvalidInput`` for a file or a model that PyTorch cannot load or run, ``BackendMissing``."""
        spec = layer.spec
        if spec is None or set(spec.options) - self.options:
            raise InvalidInput(mismatch("layer", "one that torch.nn can run", spec.label if spec else layer.problem))
        names = {part + suffix: name for suffix, parts in layer.where.items() for part, name in parts.items()}
        if is_torchscript(path):
            module = scripted(path, layer)
            return TorchLayer(spec, dict(module.rnn.named_parameters()), names, partial(run_script, module))
        found = tensors(path)
        missing = [name for name in names.values() if name not in found]
        if missing:
            raise InvalidInput(mismatch(f"tensors in {path}", ", ".join(names.values()), f"no {', '.join(missing)}"))
        return TorchLayer(spec, {name: found[old] for name, old in names.items()}, names, torch_nn.forward)


PEER = TorchPeer()

"""What ``torch.save`` and ``torch.jit.save`` wrote, since PyTorch 0.1, and plain pickles; nothing in them is run.

A ``state_dict``, a checkpoint that holds one anywhere, a module that was pickled whole and a TorchScript archive are
all read alike: the pickle in them says where in the file the values of each tensor are (``common.weights.pickles``). So
PyTorch itself is not needed. The containers are a zip file (from 1.6, and TorchScript), pickles one after another with
the storages behind them (from 0.1.10), and a tar file (before).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from common.model.spec import NONLINEARITIES
from common.weights import limits, schemes
from common.weights.formats.pytorch import legacy
from common.weights.pickles.machine import Built, Machine, Malformed, Pairs
from common.weights.pickles.tensors import STORAGES, Order, Storage, Storages, Unreadable
from common.weights.pickles.walk import RECURRENT, Contents, SameName, TooLarge, contents, state_pairs
from common.weights.source import Found, Source, Unusable, WeightsFile

# How a pickle begins from protocol 2 on; earlier ones show nothing, and are known by their suffix and last byte.
# The first bytes of a pickle, unless they are the length and the first letter of the header of safetensors.
PICKLE = re.compile(rb"\x80[\x02-\x05](?!.{4}\0\0\{)", re.DOTALL)
SUFFIXES = (".pkl", ".pickle", ".p")
UNCHECKED = "{} is in {}, which has no checksums: damage goes unnoticed"
FROZEN = "{} is frozen TorchScript, which has lost the names of its weights; save it before torch.jit.freeze"
WAY_OUT = "load it where it was made and save its state_dict: torch.save(model.state_dict(), path)"


class Part(NamedTuple):
    """A pickle of a file: where its arrays stand among the names of the file, its nodes, and its storages."""

    path: str
    root: Any
    storages: Storages


class Entries(NamedTuple):
    """The storages of a zip file, which are entries below a folder."""

    entries: Mapping[str, bytes]
    folder: str
    order: Order

    def find(self, identifier: Any) -> Storage:
        kind, key, size = legacy.reference(identifier)
        data = self.entries.get(f"{self.folder}{key}")
        if data is None:
            raise Unreadable("its values are not in the file")
        storage = Storage(memoryview(data), STORAGES[kind])
        if len(data) != size * np.dtype(legacy.bytes_of(kind)).itemsize:
            raise Unreadable(f"its storage has {limits.in_words(len(data))}, not what its {size} elements take")
        return storage


def fits(source: Source) -> bool:
    """A zip file with PyTorch's pickle, a file in one of its old formats, or a pickle."""
    if source.entries is not None:
        return any(_is_data(name) or name.endswith("/model.json") for name in source.entries)
    if legacy.is_tar(source.data) or PICKLE.match(source.data):
        return True
    return source.path.suffix.lower() in SUFFIXES and source.data[-1:] == b"."


def _is_data(name: str) -> bool:
    return name.rpartition("/")[2] == "data.pkl"


def read(source: Source) -> WeightsFile:
    """Every array in the file, named by where it stands, in its own dtype. Raises ``Unusable``."""
    try:
        form, parts, note = _opened(source)
        found = _together(parts, limits.unpacked(len(source.data)))
    except (Malformed, TooLarge, SameName, Unreadable) as error:
        raise Unusable(str(error)) from error
    if not found.arrays:
        what = "; ".join(f"{name}: {reason}" for name, reason in list(found.skipped.items())[:3])
        raise Unusable(f"no arrays can be read from it{f' ({what})' if what else ''}; {WAY_OUT}")
    notes = [note] if note else []
    if parts[1:] and all(name.startswith("constants.") for name in found.arrays):
        notes.append(FROZEN.format(source.path))
    return WeightsFile(
        path=source.path,
        format=form if parts[1:] else _kind(form, parts[0].root, found),
        params=found.arrays,
        notes=tuple(notes),
        layers=_layers(found, source.entries or {}),
        skipped=found.skipped,
    )


def _opened(source: Source) -> tuple[str, list[Part], str]:
    """The format in words, its pickles, and a note."""
    if source.entries is not None:
        form, parts = _zip_parts(source.entries)
        return form, parts, ""
    if legacy.is_tar(source.data):
        root, storages = legacy.tar_file(source.data)
        note = UNCHECKED.format(source.path, "the format used before PyTorch 0.1.10")
        return "PyTorch's checkpoint", [Part("", root, storages)], note
    machine = Machine(source.data)
    root = machine.load()
    if root == legacy.MAGIC:
        root, storages = legacy.stream(source.data, machine)
        note = UNCHECKED.format(source.path, "the format used before PyTorch 1.6")
        return "PyTorch's checkpoint", [Part("", root, storages)], note
    if machine.position != len(source.data):
        raise Malformed("a pickle with something behind it")
    return "a pickle", [Part("", root, legacy.Inside())], UNCHECKED.format(source.path, "Python's pickle format")


def _zip_parts(entries: Mapping[str, bytes]) -> tuple[str, list[Part]]:
    """The pickle of the data and, in TorchScript, that of the constants."""
    if not any(_is_data(name) for name in entries):
        raise Malformed("TorchScript as PyTorch wrote it before 1.4; load it and save it with a newer one")
    top = min(filter(_is_data, entries), key=lambda name: name.count("/")).removesuffix("data.pkl")
    orders: dict[bytes, Order] = {b"little": "<", b"big": ">"}
    order = orders.get(entries.get(f"{top}byteorder", b"little"))
    if order is None:
        raise Malformed("an unknown order of bytes")
    parts = [_zip_part("", entries, f"{top}data.pkl", f"{top}data/", order)]
    if f"{top}constants.pkl" not in entries:
        return "PyTorch's checkpoint", parts
    parts.append(_zip_part("constants", entries, f"{top}constants.pkl", f"{top}constants/", order))
    return "a TorchScript archive", parts


def _zip_part(path: str, entries: Mapping[str, bytes], name: str, folder: str, order: Order) -> Part:
    machine = Machine(entries[name])
    root = machine.load()
    if machine.position != len(entries[name]):
        raise Malformed(f"something behind the pickle {name}")
    return Part(path, root, Entries(entries, folder, order))


def _together(parts: list[Part], limit: int) -> Contents:
    """What all pickles of a file hold."""
    arrays, skipped, classes, modules = {}, {}, (), {}
    for part in parts:
        found = contents(part.root, part.storages, limit - sum(value.nbytes for value in arrays.values()))
        dot = part.path and f"{part.path}."
        if clash := next((name for name in found.arrays if dot + name in arrays), None):
            raise SameName(f"two arrays are named {dot}{clash}")
        arrays |= {dot + name: value for name, value in found.arrays.items()}
        skipped |= {dot + name: reason for name, reason in found.skipped.items()}
        classes += found.classes
        modules |= {dot + name: node for name, node in found.modules.items()}
    return Contents(arrays, skipped, classes, modules)


def _kind(form: str, root: Any, found: Contents) -> str:
    """A checkpoint by what it is: a ``state_dict`` is one dictionary of tensors and of nothing else."""
    if form != "PyTorch's checkpoint":
        return form
    if any(name.startswith("torch.nn.modules.") for name in found.classes):
        return "PyTorch's checkpoint with whole modules"
    pairs = root.pairs if isinstance(root, Pairs) else getattr(root, "pairs", [])
    names = [key for key, _ in pairs]
    return "PyTorch's state_dict" if names == list(found.arrays) else form


def _layers(found: Contents, entries: Mapping[str, bytes]) -> tuple[Found, ...]:
    """The layers, with what a module of PyTorch that is whole records: its cell and its nonlinearity."""
    layers = []
    for layer in schemes.find(found.arrays):
        module = found.modules.get(layer.path)
        kind = RECURRENT.fullmatch(module.name) if module is not None else None
        if module is not None and kind and layer.spec is not None and layer.spec.cell == kind[1]:
            nonlinearity = _nonlinearity(module, entries) if layer.spec.kind.layer == "RNN" else ""
            spec = replace(layer.spec, nonlinearity=nonlinearity) if nonlinearity else layer.spec
            recorded = {"cell", "reset_after", *(["nonlinearity"] if nonlinearity else [])}
            layer = layer._replace(spec=spec, recorded=layer.recorded | recorded)
        layers.append(layer)
    return tuple(layers)


def _nonlinearity(module: Built, entries: Mapping[str, bytes]) -> str:
    """What an Elman network records: as an attribute, as its mode, or in TorchScript by the operator that it calls."""
    state = {key: value for key, value in state_pairs(module) if isinstance(key, str)}
    recorded = state.get("nonlinearity", state.get("mode"))
    if isinstance(recorded, str) and recorded.removeprefix("RNN_").lower() in NONLINEARITIES:
        return recorded.removeprefix("RNN_").lower()
    *path, name = module.name.split(".")
    text = next((data for entry, data in entries.items() if entry.endswith(f"/code/{'/'.join(path)}.py")), b"")
    _, _, after = text.partition(b"class %s(Module):" % name.encode())
    called = set(re.findall(rb"torch\.rnn_(tanh|relu)(?:_cell)?\(", after.partition(b"\nclass ")[0]))
    return called.pop().decode() if len(called) == 1 else ""

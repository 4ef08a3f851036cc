"""Files of PyTorch changed or made by hand: entries of a zip file exchanged, and tar files as before PyTorch 0.1.10."""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def with_entries(file: Path, entries: Mapping[str, bytes | None]) -> bytes:
    """A zip file of PyTorch with other entries (None: without it), named without the folder that all are in."""
    stream = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(stream, "w") as new:
        folder = old.namelist()[0].partition("/")[0]
        kept = {name.partition("/")[2]: old.read(name) for name in old.namelist()}
        for name, data in (kept | dict(entries)).items():
            if data is not None:
                new.writestr(f"{folder}/{name}", data)
    return stream.getvalue()


class Reference:
    """A tensor that the pickle of a tar file refers to."""

    def __init__(self, key: int) -> None:
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return str(obj.key) if isinstance(obj, Reference) else None


def tar(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A tar file as PyTorch wrote it before 0.1.10, by what ``torch.serialization`` reads of it.

    All tensors are views of one storage, and the last of a view of it.
    """
    flat = torch.cat([value.flatten() for value in tensors.values()])
    storages, views, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pickle.dump(1, storages, 2)
    pickle.dump((100, "cpu", torch.DoubleStorage), storages, 2)
    storages.write(struct.pack("<q", len(flat)) + flat.numpy().tobytes())
    last = list(tensors.values())[-1].numel()
    pickle.dump([(200, 100, len(flat) - last, last)], storages, 2)
    pickle.dump(len(tensors), views, 2)
    offset = 0
    for key, value in enumerate(tensors.values()):
        is_last = key == len(tensors) - 1
        pickle.dump((key, 200 if is_last else 100, torch.DoubleTensor), views, 2)
        views.write(struct.pack("<iI", value.ndim, 0))
        views.write(struct.pack(f"<{2 * value.ndim + 1}q", *value.shape, *value.stride(), 0 if is_last else offset))
        offset += value.numel()
    Pickler(pickled, 2).dump({name: Reference(key) for key, name in enumerate(tensors)})
    system = pickle.dumps({"protocol_version": 1000, "little_endian": True, "type_sizes": {}}, 2)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.PAX_FORMAT) as file:
        parts = {"sys_info": system, "pickle": pickled, "tensors": views, "storages": storages}
        for name, part in parts.items():
            data = part if isinstance(part, bytes) else part.getvalue()
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1480000000.25  # which takes a header of its own
            file.addfile(member, io.BytesIO(data))
    return stream.getvalue()

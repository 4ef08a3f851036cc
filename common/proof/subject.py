"""A layer of a file of weights, as it is checked, and the data from which a command finds it again."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.backend.contract import Problem
from common.errors import InvalidInput, mismatch
from common.model.dtypes import is_exact, numpy_dtype
from common.model.layout import Parameters
from common.model.spec import DTYPES, HALF_DTYPES, ModelSpec
from common.record_parts import CheckedFile
from common.weights import files
from common.weights.layer import is_whole, select
from common.weights.source import Found, WeightsFile

# How large files are read when they are hashed.
CHUNK = 1 << 20


class Subject(NamedTuple):
    """A layer of a file; ``chosen`` is the path by which the user chose it, "" for the only one.

    ``spec`` is that of the layer, without dropout, which acts in training only.
    """

    file: WeightsFile
    layer: Found
    spec: ModelSpec
    chosen: str
    sha256: str

    @property
    def name(self) -> str:
        """The layer and its file, as a sentence names them."""
        return f"{self.layer.path} of {self.file.path}" if self.layer.path else str(self.file.path)

    @property
    def is_whole(self) -> bool:
        """Whether the layer stands in the file as it is, and is no stack or part that the user made."""
        return is_whole(self.file, self.layer)

    def params(self, dtype: str) -> Parameters:
        """The parameters in a dtype, rounded where it is narrower than that of the file.

        Raises ``InvalidInput`` for a value that is too large for it.
        """
        cast = {}
        for name, value in self.layer.params.items():
            cast[name] = as_dtype(value, dtype)
            if not np.isfinite(cast[name]).all():
                got = f"{np.abs(value.astype('float64')).max():.3g} in {name}"
                raise InvalidInput(mismatch(f"weights in {self.file.path}", f"values within {dtype}", got))
        return cast

    def usual_dtypes(self) -> tuple[str, ...]:
        """The dtype of the file, and float64, in which it is exact."""
        return tuple(dict.fromkeys((self.spec.dtype, "float64")))


def open_subject(
    path: Path,
    chosen: str | None,
    *,
    cell: str | None = None,
    nonlinearity: str | None = None,
    reset_after: bool | None = None,
) -> Subject:
    """A layer of a file of weights (``weights.layer.select``). Raises ``InvalidInput``."""
    file = files.read(path)
    layer = select(file, chosen, cell=cell, nonlinearity=nonlinearity, reset_after=reset_after)
    assert layer.spec is not None
    spec = replace(layer.spec, dropout=0.0, input_dropout=0.0, recurrent_dropout=0.0)
    return Subject(file, layer, spec, chosen or "", digest(path))


def digest(path: Path) -> str:
    """The SHA-256 of a file, or of the names, sizes and contents of the files in a folder, in the order of names."""
    total, is_folder = hashlib.sha256(), path.is_dir()
    for part in sorted(path.rglob("*")) if is_folder else [path]:
        if is_folder and not part.is_file():
            continue
        if is_folder:
            name = part.relative_to(path).as_posix().encode(errors="surrogateescape")
            total.update(len(name).to_bytes(8, "little") + name + part.stat().st_size.to_bytes(8, "little"))
        with part.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                total.update(chunk)
    return total.hexdigest()


def fingerprint(problem: Problem) -> str:
    """The SHA-256 of the arrays of a problem other than the weights: names, dtypes, shapes and values."""
    total = hashlib.sha256()
    fields = problem._asdict()
    arrays = {name: fields[name] for name in ("x", "dy", "lengths", "mask")}
    for name in ("state0", "dstate"):
        arrays |= {f"{name} {k}": part for k, part in enumerate(fields[name] or ())}
    for name, array in arrays.items():
        if array is not None:
            total.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def file_facts(
    subject: Subject,
    problem: Problem,
    *,
    inputs: str | None,
    expect: str | None,
    batch_first: bool,
    guests: Sequence[str],
) -> CheckedFile:
    """The subject and its problem as a record holds them."""
    return CheckedFile(
        path=str(subject.file.path),
        sha256=subject.sha256,
        layer=subject.chosen,
        inputs=inputs,
        expect=expect,
        batch_first=batch_first,
        fingerprint=fingerprint(problem),
        guests=list(guests),
    )


def as_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in a dtype, rounded where it is not exact; a value beyond its range becomes infinite."""
    with np.errstate(over="ignore"):
        return array.astype(numpy_dtype(dtype))


def narrowest(dtypes: Sequence[str]) -> str:
    """The dtype with the fewest digits, in which numbers are drawn that all of them shall share."""
    order = (*HALF_DTYPES[::-1], *DTYPES[::-1])
    return min(dtypes, key=order.index)


def is_rounded(array: np.ndarray, dtype: str) -> bool:
    """Whether a conversion to this dtype changes any value."""
    if is_exact(array.dtype, dtype):
        return False
    return not np.array_equal(as_dtype(array, dtype).astype("float64"), array.astype("float64"))

"""Inputs and outputs that a user recorded, of any system: arrays in an ``.npy`` or ``.npz`` file, in the axes of torch.

>>> from pathlib import Path
>>> import numpy as np
>>> from common.model.spec import ModelSpec
>>> from common.proof.recorded import read_inputs
>>> np.save("x.npy", np.ones((2, 7, 3)))
>>> read_inputs(Path("x.npy"), ModelSpec(cell="GRU", input_size=3, hidden_size=5), batch_first=True).x.shape
(7, 2, 3)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.arrays import require_finite
from common.model.dtypes import dtype_label, numpy_dtype
from common.model.spec import DTYPES, HALF_DTYPES, ModelSpec
from common.proof.subject import as_dtype, narrowest
from common.weights.formats import npz
from common.weights.source import Unusable, open_source

FLOATS = (*DTYPES, *HALF_DTYPES)
# The most numbers of a tape of the exact network: 8 bytes each.
LARGEST = 1 << 30


class Inputs(NamedTuple):
    """x (T, B, I) in its own dtype, and the initial states (D*L, B, H), or None.

    ``is_single`` says that it was recorded without the axis of the batch.
    """

    path: str
    x: np.ndarray
    state0: tuple[np.ndarray, ...] | None
    is_single: bool


class Expected(NamedTuple):
    """Outputs by quantity, all in ``dtype``: y (T, B, D*H), h_n and c_n (D*L, B, H); ``notes`` say what was assumed."""

    path: str
    values: dict[str, np.ndarray]
    dtype: str
    notes: tuple[str, ...]


def read_arrays(path: Path, what: str) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` by name, or the one of an ``.npy`` under ""; no pickled object is read."""
    wanted = "an .npy or .npz file of arrays"
    try:
        source = open_source(path)
        if source.entries is not None:
            arrays = npz.arrays(source.entries)
        elif source.data.startswith(np.lib.format.MAGIC_PREFIX):
            arrays = {"": npz.arrays({"array.npy": source.data})["array"]}
        else:
            raise Unusable(source.kind)
    except OSError as error:
        raise InvalidInput(mismatch(what, wanted, f"{path} ({error.strerror or error})")) from error
    except Unusable as error:
        raise InvalidInput(mismatch(what, wanted, f"{path} ({error})")) from error
    return {name: _floats(f"{name or 'the array'} in {path}", value) for name, value in arrays.items()}


def _floats(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype == np.dtype("V2"):  # what NumPy makes of a bfloat16
        value = value.view(numpy_dtype("bfloat16"))
    value = value.astype(value.dtype.newbyteorder("="))
    if dtype_label(value.dtype) not in FLOATS:
        cause = "the numbers of symbols? give their rows of the embedding" if value.dtype.kind in "iu" else ""
        raise InvalidType(mismatch(name, f"one of {', '.join(FLOATS)}", value.dtype, cause))
    require_finite(name, value)
    return value


def _named(what: str, arrays: Mapping[str, np.ndarray], first: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays under these names; the only one of a file may have any name."""
    if len(arrays) == 1 and not set(arrays) & set(names):
        arrays = {first: next(iter(arrays.values()))}
    if not arrays or set(arrays) - set(names):
        raise InvalidInput(mismatch(f"arrays in {what}", " and ".join(names), ", ".join(arrays) or "none"))
    return dict(arrays)


def read_inputs(path: Path, spec: ModelSpec, batch_first: bool = False) -> Inputs:
    """x, and h_0 and c_0 if an ``.npz`` has them.

    x is (T, B, I), or (B, T, I) with ``batch_first``, or (T, I) for one sequence. For a one-step cell two axes are
    (B, I), as in torch.nn. States are (D*L, B, H), or without an axis that has one entry.
    """
    starts = tuple(f"{name}_0" for name in spec.state_names)
    arrays = _named(str(path), read_arrays(path, "--inputs"), "x", ("x", *starts))
    if "x" not in arrays:
        raise InvalidInput(mismatch(f"arrays in {path}", f"x, {', '.join(starts)}", ", ".join(arrays)))
    x, is_single = arrays["x"], False
    axes = "(B, T, I)" if batch_first else "(T, B, I)"
    two = "(B, I), one step" if spec.is_cell else "(T, I), one sequence"
    if x.ndim == 2:
        is_single = not spec.is_cell
        x = x[None] if spec.is_cell else x[:, None]
    elif x.ndim == 3 and batch_first:
        x = x.swapaxes(0, 1)
    if x.ndim != 3 or x.shape[2] != spec.input_size or 0 in x.shape:
        wanted = f"{axes}, or {two}, with I = {spec.input_size}"
        raise InvalidInput(mismatch(f"x in {path}", wanted, f"shape {arrays['x'].shape}"))
    needed = x.shape[0] * x.shape[1] * len(spec.state_names) * spec.state_rows * spec.hidden_size * 10
    if needed > LARGEST:
        got = f"{x.shape[0]} steps of {x.shape[1]} sequences"
        raise InvalidInput(mismatch(f"x in {path}", f"at most a {needed // LARGEST + 1}th of it", got, "memory"))
    given = [name for name in starts if name in arrays]
    if given and len(given) < len(starts):
        raise InvalidInput(mismatch(f"states in {path}", " and ".join(starts), given[0]))
    shapes = dict(zip(starts, spec.state_shapes(x.shape[1]), strict=True))
    state0 = tuple(_state(f"{name} in {path}", arrays[name], shapes[name], len(x), batch_first) for name in given)
    return Inputs(str(path), np.ascontiguousarray(x), state0 or None, is_single)


def _state(name: str, value: np.ndarray, shape: tuple[int, int, int], steps: int, batch_first: bool) -> np.ndarray:
    """A state with all three of its axes; one with a single entry may be missing. x was read as ``steps`` steps."""
    rows, batch, size = shape
    known = [shape] + [(batch, size)] * (rows == 1) + [(rows, size)] * (batch == 1) + [(size,)] * (rows == batch == 1)
    if value.shape not in known:
        cause = "the batch first? torch.nn leaves states as they are" if value.shape == (batch, rows, size) else ""
        if steps != batch and value.shape in [tuple(steps if n == batch else n for n in one) for one in known]:
            cause = "x holds the time first? then leave out --batch-first"
            cause = cause if batch_first else "x and y hold the batch first? then add --batch-first"
        raise InvalidInput(mismatch(name, f"{shape}, (D*L, B, H)", value.shape, cause))
    return value.reshape(shape)


def read_expected(
    path: Path, spec: ModelSpec, x: Inputs, batch_first: bool, valid: np.ndarray, dtypes: Sequence[str] = ()
) -> Expected:
    """y, and h_n and c_n, of which an ``.npz`` has at least one; their axes are those of the inputs.

    What y holds at steps that are not ``valid`` (T, B) is set to 0. Values that are all exact in the dtype of the file
    are taken for results in it, such as a float32 array that was saved as float64; so are values most of which are, and
    all of them if none of ``dtypes``, those that the user asks for, holds them exactly.
    """
    ends = tuple(f"{name}_n" for name in spec.state_names)
    arrays = _named(str(path), read_arrays(path, "--expect"), "y", ("y", *ends))
    batch = x.x.shape[1]
    shapes = dict(zip(ends, spec.state_shapes(batch), strict=True))
    values: dict[str, np.ndarray] = {}
    if "y" in arrays:
        y = _outputs(f"y in {path}", arrays["y"], spec, x, batch_first)
        values["y"] = np.where(valid[..., None], y, np.zeros((), y.dtype))
    steps = len(x.x)
    values |= {
        name: _state(f"{name} in {path}", arrays[name], shapes[name], steps, batch_first)
        for name in ends
        if name in arrays
    }
    dtype = narrowest([dtype_label(value.dtype) for value in values.values()])
    notes = []
    if narrowest([dtype, spec.dtype]) != dtype and (note := _exact_in(values, spec.dtype)):
        notes.append(f"{path}: {note}, so it was computed in {spec.dtype} and is compared as {spec.dtype}")
        dtype = spec.dtype
    narrower = {one for one in dtypes if narrowest([one, dtype]) != dtype}
    if narrower and dtype not in dtypes:
        (chosen,) = [one for one in narrower if all(narrowest([one, other]) == other for other in narrower)]
        notes.append(f"{path} holds {dtype}: it is rounded to {chosen} and compared as {chosen}")
        dtype = chosen
    values = {name: value.astype(numpy_dtype(dtype)) for name, value in values.items()}
    if not valid.all() and "y" in values:
        notes.append(f"{path}: y is compared at valid steps only")
    return Expected(str(path), values, dtype, tuple(notes))


def _exact_in(values: Mapping[str, np.ndarray], dtype: str) -> str:
    """Whether all or most of the numbers other than 0 are exact in a dtype, in words; "" if they are not."""
    flat = np.concatenate([value[value != 0].astype("float64").ravel() for value in values.values()])
    exact = int((as_dtype(flat, dtype).astype("float64") == flat).sum())
    if exact == flat.size:
        return f"every value is a {dtype}"
    return f"{exact:,} of its {flat.size:,} values are exact in {dtype}" if 2 * exact > flat.size else ""


def _outputs(name: str, y: np.ndarray, spec: ModelSpec, x: Inputs, batch_first: bool) -> np.ndarray:
    steps, batch, _ = x.x.shape
    shape = (steps, batch, spec.output_size)
    wanted = (batch, steps, spec.output_size) if batch_first else shape
    if x.is_single or (spec.is_cell and steps == 1 and y.ndim == 2):
        wanted = (steps if x.is_single else batch, spec.output_size)
    if y.shape != wanted:
        cause = ""
        if y.shape == (batch, spec.output_size):
            cause = "the last step alone? give it as h_n (D*L, B, H) in an .npz file"
        elif y.ndim == 3 and y.swapaxes(0, 1).shape == wanted:
            cause = "the batch first? then --batch-first, for x too"
        raise InvalidInput(mismatch(name, wanted, y.shape, cause))
    if y.ndim == 2:
        return y.reshape(shape)
    return y.swapaxes(0, 1) if batch_first else y

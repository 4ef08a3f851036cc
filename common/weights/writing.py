"""Files of weights for other systems: written beside their place, read back, and only then put into it.

>>> from pathlib import Path
>>> from common.weights.writing import write
>>> import numpy_impl
>>> write(Path("lstm.npz"), "npz", numpy_impl.LSTM(3, 5))
()
"""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, InvalidType, NotEquivalent, mismatch, unknown
from common.model.dtypes import is_exact, rounding
from common.model.layout import Parameters, require_parameters
from common.model.spec import DROPOUTS, ModelSpec
from common.weights import files, schemes
from common.weights.arrays import to_arrays
from common.weights.schemes import layers
from common.weights.source import Found, Target, Unusable
from common.weights.targets import TARGETS

# Names that the files of a suffix have as well.
ALIKE = {".pt": (".pt", ".pth", ".bin")}
# Options that some formats record and others do not.
UNRECORDED = ("cell", "nonlinearity", "reset_after")
# What a file of PyTorch's names is taken for that does not record one.
ELSE = {
    "cell": "; torch.nn would take it for a GRU",
    "reset_after": "; torch.nn.GRU, which applies r after the product, computes something else from it",
}


class Written(NamedTuple):
    """A file beside its place, and what it holds.

    ``layer`` is the layer as the project's own reader has found it in the file, with the options of the model that was
    written. ``notes`` say what was merged, what was added, and what the file does not record.
    """

    path: Path
    target: Target
    layer: Found
    notes: tuple[str, ...]


def write(path: Path | str, target: str, model: Any) -> tuple[str, ...]:
    """Write the weights of a layer or a module; returns a sentence for each thing that could not be kept as it was.

    ``target`` is a name in ``targets.TARGETS``. ``model`` is a layer that ``read`` has found, a module of one of the
    three implementations, or a mapping of names to arrays in which there is one layer. Raises ``InvalidInput`` or
    ``InvalidType``, before anything is written, for what the target cannot hold, and ``NotEquivalent`` if the file,
    read back, does not hold the weights. The file takes its place whole, in place of a file of the same name.
    """
    spec, params, notes = model_of(model)
    with written(Path(path), target, spec, params, force=True) as made:
        keep(made, Path(path))
        return notes + made.notes


def model_of(model: Any) -> tuple[ModelSpec, Parameters, tuple[str, ...]]:
    """The specification, the parameters as NumPy arrays, and the notes of whatever ``write`` takes."""
    if isinstance(model, Found) and (model.problem or model.spec is None):
        raise InvalidInput(mismatch(f"layer {model.path or 'of the file'}", "one that can be used", model.problem))
    spec = getattr(model, "spec", None)
    if isinstance(spec, ModelSpec):
        params = to_arrays(
            model.params if isinstance(model, Found) or not hasattr(model, "state_dict") else model.state_dict()
        )
        return spec, params, ()
    if not isinstance(model, Mapping):
        wanted = "a layer of a file, a module of the three implementations, or a mapping of names to arrays"
        raise InvalidType(mismatch("model", wanted, type(model).__name__))
    found = schemes.find(to_arrays(model))
    if len(found) != 1:
        names = ", ".join(layer.path or "the mapping itself" for layer in found)
        raise InvalidInput(mismatch("recurrent layers in the mapping", "one", names or "none"))
    spec, params, _ = model_of(found[0])
    return spec, params, found[0].notes


@contextmanager
def written(
    path: Path, target: str, spec: ModelSpec, params: Mapping[str, np.ndarray], *, force: bool = False
) -> Iterator[Written]:
    """A file of these weights in a folder of its own beside ``path``, read back; it vanishes unless it is kept.

    Raises as ``write``; an existing ``path`` is refused without ``force``.
    """
    if target not in TARGETS:
        raise InvalidInput(unknown("format", list(TARGETS), target))
    kind = TARGETS[target]
    require_place(path, kind, force)
    spec = replace(spec, forget_bias=None, **dict.fromkeys(DROPOUTS, 0.0))
    arrays, layout, where, notes, spec, params = _converted(kind, spec, params)
    try:
        folder = Path(mkdtemp(prefix=".rosetta-", dir=path.parent))
    except OSError as error:
        raise InvalidInput(mismatch("output file", "a writable folder", f"{path.parent} ({error.strerror})")) from error
    try:
        temporary = folder / path.name
        try:
            kind.write(temporary, spec, arrays)
        except OSError as error:
            raise InvalidInput(
                mismatch("output file", "a writable path", f"{path} ({error.strerror or error})")
            ) from error
        found = _read_back(temporary, spec)
        expected = layers.model(layout, where, arrays, **_options(spec))[1]
        require_same(found.params, expected, params)
        yield Written(
            temporary, kind, found._replace(spec=_as_asked(spec, found)), notes + _unrecorded(kind, spec, found)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_place(path: Path, kind: Target, force: bool) -> None:
    """Raise unless a file of this kind may take this place."""
    suffixes = ALIKE.get(kind.suffix, (kind.suffix,))
    if not path.name.endswith(suffixes) or path.name in suffixes:
        raise InvalidInput(
            mismatch("output file", f"a name that ends in {' or '.join(suffixes)}, as it is for {kind.name}", path)
        )
    if not os.path.isdir(path.parent):
        raise InvalidInput(mismatch("output file", "a folder that exists", path.parent))
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(mismatch("output file", "a writable path", f"{path} ({reason})")) from error
    if not force:
        raise InvalidInput(mismatch("output file", "a new name", f"{path}, which exists", "--force replaces it"))
    if path.is_dir() and not path.is_symlink():
        raise InvalidInput(mismatch("output file", "a new name", f"{path}, a folder", "remove it first"))


def _converted(kind: Target, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> Any:
    """The arrays of the file, their layout and places, the notes, and the model in the form in which it is written.

    A step is written as a layer where the system has no steps.
    """
    if spec.dtype not in kind.dtypes:
        wanted = " or ".join(kind.dtypes)
        exact = next((dtype for dtype in reversed(kind.dtypes) if is_exact(spec.dtype, dtype)), "")
        cause = rounding(spec.dtype, kind.dtypes[-1])
        if exact:
            cause = f"every {spec.dtype} is exact in {exact}: --dtype {exact} (in Python, cast them first)"
        raise InvalidType(mismatch(f"dtype for {kind.name}", wanted, spec.dtype, cause))
    require_parameters(spec, params)
    notes: tuple[str, ...] = ()
    try:
        layout, where = kind.scheme.places(spec)
    except InvalidInput:
        if not spec.is_cell:
            raise
        spec, params = as_layer(spec, params)
        layout, where = kind.scheme.places(spec)
        notes = ("the one-step cell is written as a layer",)
    arrays, merged = layers.written(kind.scheme, spec, params)
    return arrays, layout, where, notes + merged, spec, params


def as_layer(spec: ModelSpec, params: Mapping[str, np.ndarray]) -> tuple[ModelSpec, Parameters]:
    """The layer with the equations and the weights of a one-step cell; a layer stays as it is."""
    if not spec.is_cell:
        return spec, dict(params)
    return replace(spec, cell=spec.kind.layer), {f"{name}_l0": value for name, value in params.items()}


def _read_back(path: Path, spec: ModelSpec) -> Found:
    """The one layer that our reader finds in a file that was just written."""
    try:
        file = files.read(path)
    except (InvalidInput, InvalidType, Unusable) as error:
        raise NotEquivalent(f"the file that was written cannot be read back: {error}") from error
    found = file.layers or ()
    if len(found) != 1:
        names = ", ".join(layer.path or "the file itself" for layer in found) or "none"
        raise NotEquivalent(mismatch("layers in the file that was written", "one", names))
    if found[0].problem or found[0].spec is None:
        raise NotEquivalent(mismatch("the file that was written", "the layer", found[0].problem))
    _require_model(spec, found[0].spec, found[0].recorded)
    return found[0]


def _require_model(wanted: ModelSpec, got: ModelSpec, recorded: Collection[str]) -> None:
    """Raise unless a layer that was read back is the model that was written, apart from what a file may not record."""
    free = {name: getattr(wanted, name) for name in (*UNRECORDED, *DROPOUTS, "forget_bias")}
    free |= {"bias": wanted.bias} if got.bias else {}
    same_form = got.num_blocks == wanted.num_blocks and got.is_cell == wanted.is_cell
    wrong = [name for name in recorded if getattr(got, name, None) != getattr(wanted, name, None)]
    if not same_form or wrong or vars(got) | free != vars(wanted):
        raise NotEquivalent(mismatch("model in the file that was written", wanted.label, got.label))


def _options(spec: ModelSpec) -> dict[str, Any]:
    """What shapes do not show."""
    return {"cell": spec.cell} | {name: getattr(spec, name) for name in UNRECORDED if name in spec.kind.options}


def _as_asked(spec: ModelSpec, found: Found) -> ModelSpec:
    """The model in the file: what was written, with biases where they were added."""
    assert found.spec is not None
    return replace(spec, bias=found.spec.bias)


def _unrecorded(kind: Target, spec: ModelSpec, found: Found) -> tuple[str, ...]:
    """A note for each option that the file does not record, where it is not what a reader would assume."""
    different = [name for name in UNRECORDED if getattr(found.spec, name) != getattr(spec, name)]
    return tuple(
        f"{kind.name} does not record the {name}: give {getattr(spec, name)} when you load it{ELSE.get(name, '')}"
        for name in different
    )


def require_same(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], original: Mapping[str, np.ndarray]
) -> None:
    """Raise ``NotEquivalent`` unless what was read back is what was written to the bit, and stands for the original.

    It does if every weight is the original's to the bit, and every pair of biases is, or has the same sum up to a
    rounding.
    """
    if found.keys() != expected.keys():
        raise NotEquivalent(mismatch("parameters read back", ", ".join(expected), ", ".join(found)))
    for name, value in expected.items():
        if _differ(found[name], value):
            raise NotEquivalent(_where(f"{name} read back", found[name], value))
    for name, value in original.items():
        if not name.startswith("bias") and _differ(expected[name], value):
            raise NotEquivalent(_where(f"{name} in the file", expected[name], value))
    for name in (name for name in expected if name.startswith("bias_ih")):
        twin = name.replace("bias_ih", "bias_hh")
        pair = [original[one] if one in original else np.zeros_like(expected[one]) for one in (name, twin)]
        moved = abs((expected[name] - pair[0]).astype("float64") + (expected[twin] - pair[1]))
        unit = np.finfo(expected[name].dtype).eps
        if (moved > 4 * unit * (abs(pair[0]) + abs(pair[1]) + 1)).any():
            raise NotEquivalent(
                _where(f"the sum of {name} and {twin} in the file", expected[name] + expected[twin], sum(pair))
            )


def _differ(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.shape != b.shape
        or a.dtype != b.dtype
        or np.ascontiguousarray(a).tobytes() != np.ascontiguousarray(b).tobytes()
    )


def _where(what: str, got: np.ndarray, wanted: Any) -> str:
    """The first element that differs."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return mismatch(what, f"{wanted.shape} of {wanted.dtype}", f"{got.shape} of {got.dtype}")
    index = tuple(int(i) for i in np.argwhere(got != wanted)[0]) if (got != wanted).any() else ()
    return mismatch(f"{what}, element {index}" if index else what, wanted[index], got[index])


def keep(made: Written, path: Path) -> None:
    """Put a file into its place: whole, on the disk, and in place of a link rather than of what it points to."""
    for part in (made.path, *made.path.rglob("*")) if made.path.is_dir() else (made.path,):
        _flush(part)
    if made.path.is_dir() and os.path.lexists(path):
        path.unlink()
    os.replace(made.path, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

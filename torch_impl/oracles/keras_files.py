"""Files of Keras as Keras itself loads them, for the peer in ``keras_layers``.

A model with a configuration is loaded by ``keras.models.load_model`` in safe mode. Where a file holds weights alone,
layers are built as the specification says, and Keras' own readers fill them. Keras 3 has no layers over cuDNN: their
arrays are read and left as they are.

Keras runs on PyTorch. It chooses its backend once, on import, so the import fails where it runs on another one.
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from common.errors import BackendBroken
from common.model.spec import ModelSpec
from common.weights.source import Found

if "keras" not in sys.modules:
    os.environ["KERAS_BACKEND"] = "torch"
import h5py
import keras
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as BIT64_TO_BIT32_DTYPE
from keras.src.legacy.saving.legacy_h5_format import load_subset_weights_from_hdf5_group
from keras.src.saving.saving_lib import H5IOStore
from keras.src.utils.naming import to_snake_case

if keras.backend.backend() != "torch":
    raise BackendBroken(
        f"Keras is imported with the backend {keras.backend.backend()}, and is needed with torch; "
        "set KERAS_BACKEND=torch before Keras is imported"
    )

CLASSES = {"RNN": keras.layers.SimpleRNN, "LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}


class Level(NamedTuple):
    """One level of a layer: what runs it, and what Keras has read of each array of the file.

    ``given`` are arrays that the layer does not hold as they are: parts of each direction, for ``from_cudnn``.
    """

    layer: Any
    variables: Mapping[str, Any]
    given: tuple[Mapping[str, str], ...] = ()


@contextmanager
def as_keras_wants(path: Path) -> Iterator[Path]:
    """The file under a suffix by which Keras recognises its kind."""
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        suffix = ".keras"
    else:
        with h5py.File(path, "r") as file:
            is_old = {"model_config", "layer_names", "layer_names0"} & set(file.attrs)
        suffix = ".h5" if is_old else ".weights.h5"
    is_fitting = path.name.endswith(suffix) and (suffix != ".h5" or not path.name.endswith(".weights.h5"))
    if is_fitting:
        yield path
        return
    with TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder) / f"model{suffix}"))


def levels(path: Path, layer: Found) -> Iterator[Level]:
    """Every level of the layer, as Keras has loaded it.

    A model that Keras refuses to load whole (a class of the user's, a Lambda) is treated as a file of weights.
    """
    assert layer.spec is not None
    wide = layer.spec.num_directions
    places = list(layer.where.values())
    of_levels = [places[level * wide : (level + 1) * wide] for level in range(layer.spec.num_layers)]
    if path.name.endswith(".weights.h5"):
        yield from _filled_by_groups(path, layer, of_levels)
    elif "CuDNN" in layer.layout:
        for level, one in enumerate(of_levels):
            values = {name: torch.tensor(value) for name, value in _listed(path, _names(one)).items()}
            yield Level(_built(layer.spec, level, f"level_{level}"), values, tuple(one))
    elif (model := _model(path)) is not None:
        for one in of_levels:
            yield _loaded(model, {name: _variable(path, model, name) for name in _names(one)})
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as file, TemporaryDirectory() as folder:
            weights = Path(file.extract("model.weights.h5", folder))
            yield from _filled_by_groups(weights, layer, of_levels)
    else:
        for level, one in enumerate(of_levels):
            made = _built(layer.spec, level, f"level_{level}")
            yield Level(made, _filled(made, one, _listed(path, _names(one))))


def _model(path: Path) -> Any:
    """The whole model of a file, None where Keras does not load it."""
    if path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                return None
    try:
        return keras.models.load_model(path, compile=False)
    except (TypeError, ValueError):
        return None


def _names(directions: Sequence[Mapping[str, str]]) -> list[str]:
    return [name for parts in directions for name in parts.values()]


def _variable(path: Path, model: Any, name: str) -> Any:
    """The variable of a model behind an array of its file.

    In an archive, groups are attributes, or objects of a list; files of Keras 2 list the variables of each layer.
    """
    if path.suffix == ".h5":
        top, index = _place(path, name)
        owner = model.get_layer(top)
        return (owner.trainable_weights + owner.non_trainable_weights)[index]
    place, _, number = name.rpartition("/vars/")
    one: Any = model
    for part in place.split("/"):
        if isinstance(one, Mapping):
            one = one[part]
            continue
        one = getattr(one, "layers" if part == "_layer_checkpoint_dependencies" else part)
        if isinstance(one, list | tuple):
            one = dict(zip(_in_list(one), one, strict=True))
    return [*one._trainable_variables, *one._non_trainable_variables][int(number)]


def _in_list(objects: Sequence[Any]) -> list[str]:
    names: list[str] = []
    for one in objects:
        stem = to_snake_case(type(one).__name__)
        number = sum(name.rstrip("0123456789").rstrip("_") == stem for name in names)
        names.append(f"{stem}_{number}" if number else stem)
    return names


def _loaded(model: Any, variables: Mapping[str, Any]) -> Level:
    """The outermost recurrent layer of a model that holds these variables; of stacked cells, the one that does."""
    first = next(iter(variables.values()))

    def holds(one: Any) -> bool:
        return any(variable is first for variable in one.variables)

    layers = [one for one in model._flatten_layers() if holds(one)]
    wrappers = [one for one in layers if isinstance(one, keras.layers.Bidirectional)]
    recurrent = [one for one in layers if isinstance(one, keras.layers.RNN)]
    found = (wrappers or recurrent)[0]
    cell = getattr(found, "cell", None)
    if isinstance(cell, keras.layers.StackedRNNCells):
        found = keras.layers.RNN(next(one for one in cell.cells if holds(one)))
    return Level(found, variables)


def _built(spec: ModelSpec, level: int, name: str) -> Any:
    """A layer of Keras with this specification."""
    options: dict[str, Any] = {"use_bias": spec.bias, "dtype": spec.dtype}
    options |= {"activation": spec.nonlinearity} if spec.kind.layer == "RNN" else {}
    options |= {"reset_after": spec.reset_after} if spec.kind.layer == "GRU" else {}
    made = CLASSES[spec.kind.layer](spec.hidden_size, return_sequences=True, name=name, **options)
    if spec.bidirectional:
        made = keras.layers.Bidirectional(made, name=name, dtype=spec.dtype)
    made.build((None, None, spec.input_size if level == 0 else spec.output_size))
    return made


def cells_of(layer: Any) -> tuple[Any, ...]:
    if isinstance(layer, keras.layers.Bidirectional):
        return layer.forward_layer.cell, layer.backward_layer.cell
    return (layer.cell,)


def _filled(
    layer: Any, directions: Sequence[Mapping[str, str]], values: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    """The variables of a layer by the names of the file, with these values or those that they have."""
    variables = {}
    for cell, parts in zip(cells_of(layer), directions, strict=True):
        for part, name in parts.items():
            variables[name] = getattr(cell, part)
            if values is not None:
                variables[name].assign(values[name])
    return variables


def _filled_by_groups(path: Path, layer: Found, of_levels: Sequence[Any]) -> Iterator[Level]:
    """Keras 3's weights: by ``load_weights`` if the file is that of a stack of such layers alone, else by the group."""
    assert layer.spec is not None
    names = [f"level_{level}" for level in range(len(of_levels))]
    layers = [_built(layer.spec, level, name) for level, name in enumerate(names)]
    model: Any = keras.Sequential([keras.Input((None, layer.spec.input_size), dtype=layer.spec.dtype), *layers])
    with h5py.File(path, "r") as file:
        stored: list[str] = []
        file.visititems(lambda name, one: stored.append(name) if isinstance(one, h5py.Dataset) else None)
    if set(stored) == set(layer.names):
        model.load_weights(path)
        yield from (Level(made, _filled(made, one, None)) for made, one in zip(layers, of_levels, strict=True))
        return
    store: Any = H5IOStore(path, mode="r")
    try:
        for made, one in zip(layers, of_levels, strict=True):
            values = {}
            for name in _names(one):
                place, _, number = name.rpartition("/vars/")
                values[name] = store.get(place)[number]
            yield Level(made, _filled(made, one, values))
    finally:
        store.close()


def _place(path: Path, name: str) -> tuple[str, int]:
    """The layer of the whole model that an array of Keras 2 belongs to, and its number among the layer's."""
    with h5py.File(path, "r") as file:
        parts = name.split("/")
        for k in range(1, len(parts)):
            group = file["/".join(parts[:k])]
            listed = [one.decode() if isinstance(one, bytes) else one for one in group.attrs.get("weight_names", [])]
            if "/".join(parts[k:]) in listed:
                return "/".join(parts[:k]).removeprefix("model_weights/"), listed.index("/".join(parts[k:]))
    raise KeyError(name)


def _listed(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays that Keras' reader of Keras 2's files gives for these names."""
    values = {}
    for name in names:
        top, index = _place(path, name)
        with h5py.File(path, "r") as file:
            group = file[f"model_weights/{top}" if name.startswith("model_weights/") else top]
            values[name] = load_subset_weights_from_hdf5_group(group)[index]
    return values

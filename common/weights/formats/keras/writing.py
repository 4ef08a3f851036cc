"""Files as Keras writes them, made without Keras: a Sequential of one layer, or one Bidirectional, for each level.

The arrays come under the names of ``schemes.keras``. Every layer returns its whole sequence.
"""

import importlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BackendMissing
from common.model.spec import ModelSpec
from common.weights.schemes.keras import STEMS, layer_names

# Whose files these are like; both libraries have later versions that read them.
VERSION_3, VERSION_2, VERSION_CUDNN = "3.15.1", "2.15.0", "2.3.1"
CLASSES = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}
Arrays = Mapping[str, np.ndarray]


def archive(path: Path, spec: ModelSpec, arrays: Arrays) -> None:
    """An archive of Keras 3: ``model.save("model.keras")``."""
    layers = [_input(spec, "batch_shape"), *_layers(spec, "")]
    model = _object("Sequential", {"name": "sequential", "dtype": spec.dtype, "layers": layers}, "keras")
    entries = {
        "metadata.json": json.dumps({"keras_version": VERSION_3}).encode(),
        "config.json": json.dumps(model).encode(),
        "model.weights.h5": _weights(spec, arrays),
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)


def weights(path: Path, spec: ModelSpec, arrays: Arrays) -> None:
    """A file of weights of Keras 3: ``model.save_weights("model.weights.h5")``."""
    path.write_bytes(_weights(spec, arrays))


def keras2(path: Path, spec: ModelSpec, arrays: Arrays) -> None:
    """An HDF5 file of TensorFlow 2: ``model.save("model.h5")``."""
    _old(path, spec, arrays, "", VERSION_2)


def cudnn(path: Path, spec: ModelSpec, arrays: Arrays) -> None:
    """An HDF5 file of Keras 2 with layers over cuDNN."""
    _old(path, spec, arrays, "CuDNN", VERSION_CUDNN)


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        text = "HDF5 files are written by h5py, which is not installed; run: pip install -e '.[keras]'"
        raise BackendMissing(text) from error


def _object(kind: str, config: Mapping[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": dict(config), "registered_name": None}


def _input(spec: ModelSpec, shape: str) -> dict[str, Any]:
    config = {shape: [None, None, spec.input_size], "dtype": spec.dtype, "sparse": False, "name": "input_layer"}
    return _object("InputLayer", config)


def _layers(spec: ModelSpec, prefix: str) -> Iterator[dict[str, Any]]:
    """The configuration of each level; ``prefix`` stands before the name of the class."""
    for name in layer_names(spec):
        if not spec.bidirectional:
            yield _layer(spec, prefix, name)
            continue
        config = {"name": name, "trainable": True, "dtype": spec.dtype, "merge_mode": "concat"}
        config |= {"layer": _layer(spec, prefix, f"forward_{name}")}
        config |= {"backward_layer": _layer(spec, prefix, f"backward_{name}", go_backwards=True)}
        yield _object("Bidirectional", config)


def _layer(spec: ModelSpec, prefix: str, name: str, go_backwards: bool = False) -> dict[str, Any]:
    kind = CLASSES[spec.kind.layer]
    config: dict[str, Any] = {
        "name": name,
        "trainable": True,
        "dtype": spec.dtype,
        "return_sequences": True,
        "return_state": False,
        "go_backwards": go_backwards,
        "stateful": False,
        "units": spec.hidden_size,
    }
    if not prefix:
        config |= {"unroll": False, "use_bias": spec.bias, "dropout": 0.0, "recurrent_dropout": 0.0}
        config |= {"activation": spec.nonlinearity if kind == "SimpleRNN" else "tanh"}
        config |= {} if kind == "SimpleRNN" else {"recurrent_activation": "sigmoid"}
        config |= {"reset_after": spec.reset_after} if kind == "GRU" else {}
    return _object(f"{prefix}{kind}", config)


def _weights(spec: ModelSpec, arrays: Arrays) -> bytes:
    """The weights of Keras 3, in which the group of a layer's own variables has its name."""
    stream = io.BytesIO()
    stem = "bidirectional" if spec.bidirectional else STEMS[spec.kind.layer]
    with _h5py().File(stream, "w") as file:
        for level, name in enumerate(layer_names(spec)):
            group = f"layers/{stem}" + (f"_{level}" if level else "")
            file.create_group(f"{group}/vars").attrs["name"] = name
        for name, value in arrays.items():
            file.create_dataset(name, data=value)
    return stream.getvalue()


def _old(path: Path, spec: ModelSpec, arrays: Arrays, prefix: str, version: str) -> None:
    names = layer_names(spec)
    layers = [_input(spec, "batch_input_shape"), *_layers(spec, prefix)]
    model = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}
    with _h5py().File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model)
        top = file.create_group("model_weights")
        for owner in (file, top):
            owner.attrs["backend"], owner.attrs["keras_version"] = "tensorflow", version
        top.attrs["layer_names"] = np.array([name.encode() for name in names])
        for name in names:
            place = f"model_weights/{name}/"
            own = [each.removeprefix(place) for each in arrays if each.startswith(place)]
            group = top.create_group(name)
            group.attrs["weight_names"] = np.array([each.encode() for each in own])
            for each in own:
                group.create_dataset(each, data=arrays[place + each])

"""Files of Keras 2, written here as it writes them, and its layers over cuDNN, transformed as it transforms them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from common.backend import registry
from common.weights import files, peers
from common.weights.schemes.layers import file_gradients
from tests.refusals import parts
from tests.weights.formats.keras.keras_models import LENGTHS, B, H, I, L, T, found_in
from torch_impl.oracles.keras_files import keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
RNG = np.random.default_rng(4)
Arrays = list[np.ndarray]


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32") * 0.5


def arrays_of(gates: int, inputs: int, bias: tuple[int, ...]) -> Arrays:
    return [drawn(inputs, gates * H), drawn(H, gates * H), drawn(*bias)]


def write(
    path: Path, layers: Sequence[tuple[str, list[str], Arrays]], config: Any = None, version: str = "2.3.1"
) -> Path:
    """``save_weights_to_hdf5_group`` of Keras 2; each layer's name, its weights' names and values."""
    with h5py.File(path, "w") as file:
        top: Any = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            file.attrs["keras_version"] = version.encode()
            file.attrs["backend"] = b"tensorflow"
            top = file.create_group("model_weights")
        top.attrs["layer_names"] = [name.encode() for name, _, _ in layers]
        top.attrs["backend"], top.attrs["keras_version"] = b"tensorflow", version.encode()
        for name, weights, values in layers:
            group = top.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, value in zip(weights, values, strict=True):
                group.create_dataset(weight, data=value)
    return path


def names(prefix: str) -> list[str]:
    return [f"{prefix}/{part}:0" for part in ("kernel", "recurrent_kernel", "bias")]


def config(*layers: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    """As TensorFlow 2 writes it, with a layer for the input."""
    made = [
        {"class_name": kind, "config": {"name": name, "units": H, "return_sequences": True, **options}}
        for kind, name, options in layers
    ]
    inputs = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, None, I], "name": "input_1"}}
    return {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": [inputs, *made]}}


def transformed(kind: str, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> Arrays:
    """What Keras 2.3 makes of arrays of CuDNNLSTM and CuDNNGRU on loading (``preprocess_weights_for_loading``)."""
    gates = {"LSTM": 4, "GRU": 3}[kind]

    def transform(kernels: np.ndarray, function: Any) -> np.ndarray:
        return np.hstack([function(one) for one in np.hsplit(kernels, gates)])

    return [
        transform(kernel, lambda one: one.T.reshape(one.shape, order="F")),
        transform(recurrent, lambda one: one.T),
        np.sum(np.split(bias, 2), axis=0) if kind == "LSTM" else bias.reshape((2, -1)),
    ]


def keras_layer(kind: str, arrays: Arrays, **options: Any) -> Any:
    layer = getattr(L, kind)(H, return_sequences=True, **options)
    layer.build((None, None, I))
    layer.set_weights(arrays)
    return layer


def runs_like(layer: Any, found: Any) -> None:
    """Our NumPy backend with what we found gives what a layer of Keras gives."""
    x = drawn(T, B, I)
    y, _ = registry.load("numpy").forward(found.spec, found.params, x)
    expected = layer(keras.ops.convert_to_tensor(x.transpose(1, 0, 2))).detach().numpy().transpose(1, 0, 2)
    assert abs(y - expected).max() < 1e-5


@pytest.mark.parametrize("has_config", [True, False], ids=["model", "weights"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_layers_over_cudnn(kind: str, has_config: bool, tmp_path: Path) -> None:
    gates = {"LSTM": 4, "GRU": 3}[kind]
    arrays = arrays_of(gates, I, (2 * gates * H,))
    about = config((f"CuDNN{kind}", "rnn_1", {})) if has_config else None
    path = write(tmp_path / "model.h5", [("rnn_1", names("rnn_1"), arrays)], about)
    (found,) = found_in(path)
    assert (found.path, found.layout, found.notes) == ("rnn_1", f"keras CuDNN{kind}", ())
    expected = keras_layer(kind, transformed(kind, *arrays))
    runs_like(expected, found)
    loaded = peers.load("keras").load(path, found)
    x, state0 = drawn(T, B, I), tuple(drawn(1, B, H) for _ in found.spec.state_names)
    y, _ = loaded.forward(x, state0)
    given = [keras.ops.convert_to_tensor(one) for one in (x.transpose(1, 0, 2), *(part[0] for part in state0))]
    assert abs(y - expected(given[0], initial_state=given[1:]).detach().numpy().transpose(1, 0, 2)).max() < 1e-6
    dy, dstate = drawn(*y.shape), tuple(drawn(1, B, H) for _ in state0)
    ours = registry.load("numpy").vjp(found.spec, found.params, x, state0, dy, dstate, lengths=LENGTHS)
    theirs = loaded.vjp(x, state0, dy, dstate, LENGTHS)
    gradients = file_gradients(found, ours.params)
    assert gradients.keys() == theirs.arrays.keys()
    assert all(abs(gradients[name] - value).max() < 3e-5 for name, value in theirs.arrays.items())


def test_both_directions_and_two_levels_of_cudnn(tmp_path: Path) -> None:
    """Weights alone, as a Keras 2 of TensorFlow 1 has them."""
    forward, backward = arrays_of(4, I, (8 * H,)), arrays_of(4, I, (8 * H,))
    weights = names("bi/forward_cu_dnnlstm") + names("bi/backward_cu_dnnlstm")
    path = write(tmp_path / "weights.h5", [("bi", weights, forward + backward)])
    (found,) = found_in(path)
    assert (found.path, list(found.where)) == ("bi", ["_l0", "_l0_reverse"])
    both = L.Bidirectional(L.LSTM(H, return_sequences=True))
    both.build((None, None, I))
    both.set_weights(transformed("LSTM", *forward) + transformed("LSTM", *backward))
    runs_like(both, found)


KINDS = {
    "LSTM": ("LSTM", 4, (4 * H,), {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "GRU": ("GRU", 3, (2, 3 * H), {"reset_after": True, "recurrent_activation": "sigmoid"}),
    "GRU of Keras 2": ("GRU", 3, (3 * H,), {"recurrent_activation": "sigmoid"}),
    "RNN": ("SimpleRNN", 1, (H,), {"activation": "tanh"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_keras_2(name: str, tmp_path: Path) -> None:
    """Two layers that Keras 3's own reader of such files loads as well."""
    kind, gates, bias, options = KINDS[name]
    layers = [(one, names(one), arrays_of(gates, size, bias)) for one, size in (("one", I), ("two", H))]
    about = config((kind, "one", options), (kind, "two", options))
    path = write(tmp_path / "model.h5", layers, about)
    (found,) = found_in(path)
    assert (found.path, found.spec.num_layers if found.spec else 0) == ("one+two", 2)
    assert found.spec is not None
    assert found.spec.reset_after == ("Keras 2" not in name)
    for layer in about["config"]["layers"][1:] if kind == "GRU" else []:
        layer["config"].setdefault("reset_after", False)  # which Keras 2 left out before it had the other form
    runs_like(keras.models.load_model(write(tmp_path / "again.h5", layers, about), compile=False), found)
    separate = found_in(write(tmp_path / "weights.h5", layers))
    assert [layer.path for layer in separate] == ["one", "two"]
    values = [value for layer in separate for value in layer.params.values()]
    assert all(map(np.array_equal, values, found.params.values()))


def test_a_long_list_of_names_is_in_parts(tmp_path: Path) -> None:
    """Keras cuts lists that are longer than 64 KiB."""
    path = write(tmp_path / "weights.h5", [("one", names("one"), arrays_of(4, I, (4 * H,)))])
    with h5py.File(path, "a") as file:
        file.attrs["layer_names0"] = file.attrs["layer_names"]
        file["one"].attrs["weight_names0"] = file["one"].attrs["weight_names"]
        del file.attrs["layer_names"], file["one"].attrs["weight_names"]
    file = files.read(path)
    assert (file.format, [layer.path for layer in found_in(path)]) == ("Keras HDF5 weights", ["one"])


def test_infinite_numbers_are_a_problem(tmp_path: Path) -> None:
    """Found without a warning of NumPy's on the way."""
    kernel, recurrent, bias = arrays_of(4, I, (4 * H,))
    bias[2] = np.inf
    (found,) = found_in(write(tmp_path / "weights.h5", [("one", names("one"), [kernel, recurrent, bias])]))
    assert "finite" in parts(found.problem).expected


def test_layers_stand_in_the_order_of_the_model(tmp_path: Path) -> None:
    """And not in that of the alphabet, which is HDF5's."""
    layers = [(name, names(name), arrays_of(4, I, (4 * H,))) for name in ("z", "b_9", "b_10", "a")]
    assert [layer.path for layer in found_in(write(tmp_path / "weights.h5", layers))] == ["z", "b_9", "b_10", "a"]


@pytest.mark.parametrize(("version", "is_old"), [("2.1.5", True), ("2.2.4-tf", True), ("2.4.0", False)])
def test_weights_of_an_old_keras_may_be_for_hard_sigmoid(version: str, is_old: bool, tmp_path: Path) -> None:
    layers = [("one", names("one"), arrays_of(4, I, (4 * H,)))]
    (found,) = found_in(write(tmp_path / "weights.h5", layers, version=version))
    assert any("hard_sigmoid" in note for note in found.notes) == is_old


def test_a_model_with_hard_sigmoid_is_refused(tmp_path: Path) -> None:
    about = config(("LSTM", "one", {"recurrent_activation": "hard_sigmoid"}))
    path = write(tmp_path / "model.h5", [("one", names("one"), arrays_of(4, I, (4 * H,)))], about)
    (found,) = found_in(path)
    assert found.problem == "recurrent_activation='hard_sigmoid' (expected sigmoid)"


def test_arrays_that_do_not_fit_together_are_a_problem(tmp_path: Path) -> None:
    kernel, recurrent, _ = arrays_of(4, I, (1,))
    layers = [("one", names("one"), [kernel, recurrent, drawn(3)])]
    (found,) = found_in(write(tmp_path / "model.h5", layers, config(("LSTM", "one", {}))))
    assert parts(found.problem).got == "(3,)"
    missing = [("one", names("one")[:1], [kernel])]
    file = files.read(write(tmp_path / "model.h5", missing, config(("LSTM", "one", {}))))
    assert file.layers == ()
    assert "other arrays" in file.skipped["one"]

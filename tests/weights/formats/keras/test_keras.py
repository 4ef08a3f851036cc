"""Models that Keras makes, saved as its users do: what we read gives what Keras gives, in every backend."""

from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from common.backend import registry
from common.weights import peers
from common.weights.schemes.layers import file_gradients
from common.weights.source import Found
from tests.weights.formats.keras.keras_models import LENGTHS, Answer, L, answer, found_in, stack

save_weights_to_hdf5_group = import_module("keras.src.legacy.saving.legacy_h5_format").save_weights_to_hdf5_group

CASES: dict[str, tuple[Any, int, bool, dict[str, Any]]] = {
    "LSTM": (L.LSTM, 2, True, {}),
    "GRU": (L.GRU, 2, True, {}),
    "GRU, reset before": (L.GRU, 2, False, {"reset_after": False}),
    "SimpleRNN, relu": (L.SimpleRNN, 2, True, {"activation": "relu"}),
    "LSTM without bias": (L.LSTM, 1, False, {"use_bias": False}),
}
# Keras hands its variables to NumPy in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
SAVED = ("model.keras", "model.h5", "model.weights.h5", "weights.h5")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path]]:
    """Each model, and the folder with its files."""
    made = {}
    for name, (kind, layers, both, options) in CASES.items():
        folder = tmp_path_factory.mktemp("keras")
        model = stack(kind, layers, both, **options)
        save(model, folder)
        made[name] = model, folder
    return made


def save(model: Any, folder: Path) -> None:
    for name in SAVED[:2]:
        model.save(folder / name)
    model.save_weights(folder / SAVED[2])
    with h5py.File(folder / SAVED[3], "w") as file:  # Keras 3 reads such files, and writes none
        save_weights_to_hdf5_group(file, model)


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(abs(a - b).max() <= 3e-6 * max(1, abs(b).max()))


def same(layer: Found, given: Answer, backend: str, lengths: np.ndarray | None) -> None:
    """A backend with the layer's parameters gives what Keras gave; gradients under the names of the file."""
    assert layer.spec is not None
    ours = registry.load(backend)
    y, state = ours.forward(layer.spec, layer.params, given.x, given.state0, lengths=lengths)
    assert close(y, given.y)
    assert all(map(close, state, given.state))
    grads = ours.vjp(layer.spec, layer.params, given.x, given.state0, given.dy, given.dstate, lengths=lengths)
    assert close(grads.x, given.dx)
    assert all(map(close, grads.state0, given.dstate0))
    assert all(map(close, file_gradients(layer, grads.params).values(), given.grads))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
def test_every_backend_gives_what_keras_gives(name: str, lengths: Any, saved: Any) -> None:
    model, folder = saved[name]
    (layer,) = found_in(folder / "model.keras")
    given = answer(model, 2 if "LSTM" in name else 1, lengths)
    in_jax = name in ("LSTM", "GRU") and lengths is not None  # which takes seconds to compile
    for backend in ("numpy", "torch", *(["jax"] if in_jax else [])):
        same(layer, given, backend, lengths)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("file", SAVED[1:])
def test_every_file_of_a_model_holds_the_same_arrays(name: str, file: str, saved: Any) -> None:
    """Without a configuration, layers stand apart, and relu cannot be known."""
    folder = saved[name][1]
    (expected,) = found_in(folder / "model.keras")
    layers = found_in(folder / file)
    assert len(layers) == (1 if file == "model.h5" else CASES[name][1])
    values = [value for layer in layers for value in layer.params.values()]
    assert all(map(np.array_equal, values, expected.params.values()))
    assert [layer.spec.reset_after for layer in layers if layer.spec] == [expected.spec.reset_after] * len(layers)
    if file == "model.h5":
        assert (layers[0].spec, layers[0].notes) == (expected.spec, ())
    else:
        assert all("activations" in str(layer.notes) for layer in layers if layer.layout != "keras RNN")
        assert all("nonlinearity" not in layer.recorded for layer in layers)


@pytest.mark.parametrize(
    ("name", "file"),
    # Without a configuration, layers stand apart.
    [(name, file) for name in CASES for file in SAVED if file in SAVED[:2] or CASES[name][1] == 1],
)
def test_the_peer_loads_what_keras_saved(name: str, file: str, saved: Any) -> None:
    """The peer, from the file, gives what the model in memory gave."""
    model, folder = saved[name]
    (layer,) = found_in(folder / file)
    loaded = peers.load("keras").load(folder / file, layer)
    given = answer(model, 2 if "LSTM" in name else 1, LENGTHS)
    y, state = loaded.forward(given.x, given.state0, LENGTHS)
    assert close(y, given.y)
    assert all(map(close, state, given.state))
    grads = loaded.vjp(given.x, given.state0, given.dy, given.dstate, LENGTHS)
    assert list(grads.arrays) == list(layer.names)
    assert all(map(close, grads.arrays.values(), given.grads))
    assert close(grads.x, given.dx)
    assert all(map(close, grads.state0, given.dstate0))

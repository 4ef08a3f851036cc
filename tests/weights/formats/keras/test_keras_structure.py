"""Where layers stand in a Keras model, what successive ones are, and what is noted or refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.weights import files, peers
from common.weights.source import Found
from tests.weights.formats.keras.keras_models import B, H, I, L, T, randomize
from torch_impl.oracles.keras_files import keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
SEQUENCE: dict[str, Any] = {"return_sequences": True}


def layers_of(model: Any, folder: Path, *names: str) -> dict[str, tuple[Found, ...]]:
    """What we find in each file of a model with random weights."""
    randomize(model)
    found = {}
    for name in names or ("model.keras", "model.h5", "model.weights.h5"):
        (model.save_weights if name.endswith(".weights.h5") else model.save)(folder / name)
        found[name] = files.read(folder / name).layers or ()
    return found


def sequential(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((None, I)), *layers], name="whole")


def paths(found: dict[str, tuple[Found, ...]]) -> list[list[str]]:
    return [[layer.path for layer in layers] for layers in found.values()]


def test_layers_are_named_as_keras_names_them(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((None, I)), L.GRU(H, name="deep", **SEQUENCE), L.Dense(2)], name="inner")
    x = keras.Input((None, I))
    y = L.LSTM(4, name="last")(L.RNN(L.LSTMCell(3), name="plain", **SEQUENCE)(inner(x)))
    model = keras.Model(x, L.Dense(2)(y))
    found = layers_of(model, tmp_path)
    assert [set(one) for one in paths(found)] == [{"inner/deep", "plain", "last"}] * 3
    for layers in found.values():
        kernels = {layer.path: layer.params["weight_ih_l0"].shape for layer in layers}
        assert kernels == {"inner/deep": (3 * H, I), "plain": (12, 2), "last": (16, 3)}


def test_successive_layers_alike_are_one_where_the_model_says_so(tmp_path: Path) -> None:
    found = layers_of(
        sequential(
            L.LSTM(H, name="a", **SEQUENCE), L.Dropout(0.1), L.LSTM(H, name="b", **SEQUENCE), L.Dense(H),
            L.LSTM(H, name="c", **SEQUENCE), L.GRU(H, name="d", **SEQUENCE), L.GRU(H, name="e_l0", **SEQUENCE),
            L.GRU(H, name="e_l1"),
        ),
        tmp_path,
    )  # fmt: skip
    assert paths(found)[:2] == [["a+b", "c", "d+e_l0+e_l1"]] * 2
    assert sorted(paths(found)[2]) == ["a", "b", "c", "d", "e"]


def test_an_output_that_goes_elsewhere_too_keeps_layers_apart(tmp_path: Path) -> None:
    x = keras.Input((None, H))
    first = L.LSTM(H, name="first", **SEQUENCE)(x)
    second = L.LSTM(H, name="second", **SEQUENCE)(first)
    third = L.LSTM(H, name="third", **SEQUENCE)(second)
    found = layers_of(keras.Model(x, L.Add()([first, third])), tmp_path, "model.keras", "model.h5")
    assert paths(found) == [["first", "second+third"]] * 2


def test_what_follows_within_another_model_keeps_layers_apart(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((None, I)), L.LSTM(H, name="deep", **SEQUENCE), L.Dense(H)], name="inner")
    found = layers_of(sequential(inner, L.LSTM(H, name="last")), tmp_path, "model.keras", "model.h5")
    assert paths(found) == [["inner/deep", "last"]] * 2


def test_a_layer_of_another_model_class_is_found_by_its_groups(tmp_path: Path) -> None:
    class Custom(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = L.LSTM(H, name="encoder", **SEQUENCE)
            self.decoders = [L.GRU(H, name=f"decoder_l{level}", **SEQUENCE) for level in range(2)]

        def call(self, x: Any) -> Any:
            x = self.encoder(x)
            for layer in self.decoders:
                x = layer(x)
            return x

    model = Custom()
    model(np.zeros((B, T, I), "float32"))
    (layers,) = layers_of(model, tmp_path, "model.keras").values()
    assert {layer.path: layer.spec.num_layers for layer in layers if layer.spec} == {
        "encoder": 1,
        "decoders/decoder": 2,
    }
    for layer in layers:  # Keras cannot load the model without its class, and so fills layers of its own
        loaded = peers.load("keras").load(tmp_path / "model.keras", layer)
        assert layer.spec is not None
        y, _ = loaded.forward(np.ones((T, B, layer.spec.input_size), "float32"), states(layer))
        assert y.shape == (T, B, H)


def states(layer: Found) -> tuple[np.ndarray, ...]:
    assert layer.spec is not None
    return tuple(np.zeros(shape, "float32") for shape in layer.spec.state_shapes(B))


def test_stacked_cells_are_one_layer_if_they_are_alike(tmp_path: Path) -> None:
    alike, others = [L.LSTMCell(H), L.LSTMCell(H)], [L.LSTMCell(H), L.GRUCell(H)]
    model = sequential(L.RNN(alike, name="alike", **SEQUENCE), L.RNN(others, name="others"))
    found = layers_of(model, tmp_path)
    for layers in found.values():
        assert {layer.path for layer in layers} == {"alike", "others/lstm_cell", "others/gru_cell"}
        assert {layer.spec.num_layers for layer in layers if layer.spec and layer.path == "alike"} == {2}


REFUSED: dict[str, tuple[Any, str]] = {
    "hard_sigmoid": (L.LSTM(H, recurrent_activation="hard_sigmoid"), "recurrent_activation='hard_sigmoid'"),
    "relu": (L.GRU(H, activation="relu"), "activation='relu' (expected tanh)"),
    "linear": (L.SimpleRNN(H, activation=None), "activation='linear' (expected tanh or relu)"),
    "backwards": (L.LSTM(H, go_backwards=True), "go_backwards=True"),
    "sum": (L.Bidirectional(L.LSTM(H), merge_mode="sum"), "merge_mode='sum'"),
    "different": (L.Bidirectional(L.LSTM(H), backward_layer=L.GRU(H, go_backwards=True)), "two directions that differ"),
    "stacked": (L.Bidirectional(L.RNN([L.LSTMCell(H), L.LSTMCell(H)])), "stacked cells"),
    "half": (L.Bidirectional(L.LSTM(H, recurrent_activation="relu")), "recurrent_activation='relu'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_equations_do_not_have_is_refused_by_name(name: str, tmp_path: Path) -> None:
    layer, problem = REFUSED[name]
    for layers in layers_of(sequential(layer), tmp_path, "model.keras", "model.h5").values():
        assert problem in layers[0].problem
        assert layers[0].spec is None
        assert layers[0].names


def test_a_convolutional_lstm_is_refused_by_name(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((T, 4, 4, I)), L.ConvLSTM2D(2, 2)])
    (layers,) = layers_of(model, tmp_path, "model.keras").values()
    assert [layer.problem for layer in layers] == ["ConvLSTM2D, a cell that RNN Rosetta does not have"]


def test_what_acts_outside_the_equations_is_noted(tmp_path: Path) -> None:
    model = sequential(L.Masking(name="mask"), L.LSTM(H, dropout=0.25, recurrent_dropout=0.5, name="dropping"))
    for layers in layers_of(model, tmp_path, "model.keras", "model.h5").values():
        notes = [
            f"{name} acts in training only and is left out" for name in ("dropout = 0.25", "recurrent_dropout = 0.5")
        ]
        assert list(layers[0].notes) == notes
    assert "mask masks padding in this model" in files.read(tmp_path / "model.h5").notes[0]
    inputs = keras.Input(batch_shape=(B, T, I))
    stateful = keras.Model(inputs, L.LSTM(H, stateful=True)(inputs))
    assert "stateful" in layers_of(stateful, tmp_path, "stateful.keras")["stateful.keras"][0].notes[0]
    distributed = keras.Sequential([keras.Input((2, T, I)), L.TimeDistributed(L.LSTM(H, name="words"))])
    (layer,) = layers_of(distributed, tmp_path, "distributed.keras")["distributed.keras"]
    assert "TimeDistributed applies it to each part" in layer.notes[0]

"""Stacks of twelve layers: every naming of layers is read in the order of their numbers, not of their letters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import schemes
from common.weights.schemes import equinox_names, flax_names, haiku_names, keras, nnx_names, tf1_names, torch_names
from common.weights.schemes.layers import written

LAYERS = 12
SCHEMES: dict[str, Any] = {
    "torch": torch_names,
    "flax": flax_names,
    "nnx": nnx_names,
    "haiku": haiku_names,
    "equinox": equinox_names,
    "tf1": tf1_names,
    "keras": keras.Keras3,
    "keras2": keras.Keras2,
    "cudnn": keras.CuDNN,
}


def deep(bidirectional: bool) -> tuple[ModelSpec, dict[str, np.ndarray]]:
    """No two layers have a number in common, and any two but the first have the same sizes."""
    spec = ModelSpec(
        cell="LSTM", input_size=3, hidden_size=2, num_layers=LAYERS, bidirectional=bidirectional, dtype="float32"
    )
    rng = np.random.default_rng(0)
    params = initial_parameters(spec, seed=0)
    return spec, {name: rng.standard_normal(value.shape).astype("float32") for name, value in params.items()}


def require_whole(found: Any, spec: ModelSpec, params: Mapping[str, np.ndarray]) -> None:
    """One layer of twelve, whose weights stand in the same levels and directions."""
    (layer,) = found
    assert layer.spec is not None, layer.problem
    assert (layer.spec.num_layers, layer.spec.bidirectional) == (LAYERS, spec.bidirectional)
    for name, value in params.items():
        if name.startswith("weight"):
            assert np.array_equal(layer.params[name], value), name
    for name in (name for name in params if name.startswith("bias_ih")):
        twin = name.replace("bias_ih", "bias_hh")
        assert np.allclose(layer.params[name] + layer.params[twin], params[name] + params[twin], atol=1e-6), name


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "both"])
@pytest.mark.parametrize("name", SCHEMES)
def test_twelve_layers_are_one_stack_in_their_order(name: str, bidirectional: bool) -> None:
    spec, params = deep(bidirectional)
    arrays, _ = written(SCHEMES[name], spec, params)
    turned = dict(sorted(arrays.items(), reverse=True))
    if name == "keras":  # whose layers are numbered by their class, and named beside their arrays
        stem = "bidirectional" if bidirectional else "lstm"
        labels = {f"layers/{stem}{f'_{level}' if level else ''}": f"lstm_l{level}" for level in range(LAYERS)}
        require_whole(tuple(keras.find(turned, labels)), spec, params)
    else:
        find = SCHEMES[name].find if name in ("keras2", "cudnn") else schemes.find
        require_whole(tuple(find(turned)), spec, params)


def test_twelve_cells_in_one_layer_of_keras_are_a_stack() -> None:
    spec, params = deep(False)
    arrays, _ = written(keras.Keras3, spec, params)
    cells = {}
    for name, value in arrays.items():
        group, _, rest = name.removeprefix("layers/").partition("/cell/")
        level = group.removeprefix("lstm")
        cells[f"layers/rnn/cell/cells/lstm_cell{level}/{rest}"] = value
    assert len(cells) == len(arrays)
    require_whole(tuple(keras.find(dict(sorted(cells.items())))), spec, params)


def test_moments_of_an_optimiser_of_keras_are_no_layers() -> None:
    """TensorFlow's Keras puts the name of the moment before that of the variable."""
    spec, params = deep(False)
    arrays, _ = written(keras.Keras2, spec, params)
    moments = {f"optimizer_weights/Adam/m/{name.removeprefix('model_weights/')}": arrays[name] for name in arrays}
    require_whole(tuple(keras.find(moments | arrays)), spec, params)

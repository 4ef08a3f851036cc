"""Haiku's parameters: models that Haiku makes are read, run by our implementations, written and read back."""

import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.equivalence.comparison import relative_distance
from common.errors import InvalidInput
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.layer import select
from common.weights.schemes import find, haiku_names
from common.weights.schemes.layers import file_gradients, written
from common.weights.targets import TARGETS
from numpy_impl.backend import BACKEND
from tests.weights.formats.cells.jax_models import LAYERS, TOLERANCES, assert_reproduced, haiku_model

CELLS = ("RNN", "LSTM", "GRU")
PATHS = {"RNN": "net/~/vanilla_rnn", "LSTM": "net/~/lstm", "GRU": "net/~/gru"}
both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def spec_of(cell: str, **options: Any) -> ModelSpec:
    options = {"input_size": 3, "hidden_size": 4} | options
    options |= {"nonlinearity": "relu"} if cell == "RNN" else {"reset_after": False} if cell == "GRU" else {}
    return ModelSpec(cell=cell, **options)


@both_dtypes
@pytest.mark.parametrize("cell", CELLS)
def test_a_model_of_haikus_is_reproduced(cell: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "params.npz"
    wanted = haiku_model(cell, dtype, path)
    file = files.read(path)
    assert file.layers is not None
    (layer,) = file.layers
    assert (layer.path, layer.spec, file.others) == (
        PATHS[cell],
        spec_of(cell, input_size=2, hidden_size=5, num_layers=LAYERS[dtype], bidirectional=True, dtype=dtype),
        (),
    )
    assert_reproduced(layer, wanted, ("numpy", "torch", *(["jax"] if (cell, dtype) == ("LSTM", "float64") else [])))
    assert "Haiku adds 1 to the bias of f" in " ".join(layer.notes) or cell != "LSTM"


@pytest.mark.parametrize(
    ("cell", "dtype", "options"),
    [
        ("LSTM", "float64", {"bidirectional": True}),
        ("GRU", "float32", {"bidirectional": True}),
        ("RNN", "float64", {"num_layers": 2}),
    ],
)
def test_the_peer_runs_a_file_with_lengths(cell: str, dtype: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Haiku on a file that we wrote, and our NumPy cells on the weights as they are read from it."""
    spec = spec_of(cell, dtype=dtype, **options)
    layer, path = rewritten(spec, tmp_path, "haiku")
    assert_peer_agrees("haiku", layer, path)


def rewritten(spec: ModelSpec, folder: Path, target: str) -> tuple[Any, Path]:
    """The layer that is read from what a target writes of random weights, and the file."""
    path = folder / f"file{TARGETS[target].suffix}"
    arrays, _ = written(TARGETS[target].scheme, spec, drawn(spec))
    TARGETS[target].write(path, spec, arrays)
    layer = select(files.read(path), nonlinearity=spec.nonlinearity if spec.cell == "RNN" else None)
    assert layer.spec == spec, layer.problem
    again, _ = written(TARGETS[target].scheme, spec, layer.params)
    assert {name: value.tobytes() for name, value in again.items()} == {
        name: value.tobytes() for name, value in arrays.items()
    }
    return layer, path


def drawn(spec: ModelSpec) -> dict[str, np.ndarray]:
    """Weights of which none is 0, biases too."""
    return {name: value + 0.1 for name, value in initial_parameters(spec, 8).items()}


@jax.disable_jit()
def assert_peer_agrees(name: str, layer: Any, path: Path) -> None:
    spec, peer, rng = layer.spec, peers.load(name), np.random.default_rng(2)
    loaded = peer.load(path, layer)
    x, dy = (rng.normal(size=(5, 3, size)).astype(spec.dtype) for size in (spec.input_size, spec.output_size))
    state0, dstate = (
        tuple(rng.normal(size=shape).astype(spec.dtype) for shape in spec.state_shapes(3)) for _ in range(2)
    )
    for lengths in (None, np.array([5, 1, 3])):
        theirs = loaded.forward(x, state0, lengths)
        ours = BACKEND.forward(spec, layer.params, x, state0, lengths=lengths)
        pairs = [(ours[0], theirs[0]), *zip(ours[1], theirs[1], strict=True)]
        if peer.has_gradients and lengths is not None:
            dy = dy * (np.arange(5)[:, None] < lengths)[:, :, None]
            grads = loaded.vjp(x, state0, dy, dstate, lengths)
            own = BACKEND.vjp(spec, layer.params, x, state0, dy, dstate, lengths=lengths)
            of_file = file_gradients(layer, own.params)
            assert set(of_file) == set(grads.arrays)
            pairs += [(of_file[key], value) for key, value in grads.arrays.items()]
            pairs += [(own.x, grads.x), *zip(own.state0, grads.state0, strict=True)]
        for a, b in pairs:
            assert a.dtype == b.dtype == spec.dtype
            assert relative_distance(a, b) < TOLERANCES[spec.dtype]


@pytest.mark.parametrize("separator", ["/", ".", "~", ":", "/~/"])
def test_names_are_joined_as_people_join_them(separator: str) -> None:
    arrays = {f"lstm/linear{separator}w": np.ones((7, 16)), f"lstm/linear{separator}b": np.ones(16)}
    (layer,) = find(arrays)
    assert (layer.path, layer.spec) == ("lstm", spec_of("LSTM"))


@pytest.mark.parametrize(
    ("module", "is_core"),
    [
        ("lstm", True),
        ("net/~/encoder_lstm", True),
        ("lstm_1", True),
        ("LSTM_fw", True),
        ("memory_l0", True),
        ("lstm_classifier", False),
        ("mlp", False),
        ("net/~/head", False),
    ],
)
def test_a_linear_is_an_lstm_only_if_its_module_is_named_so(module: str, is_core: bool) -> None:
    arrays = {f"{module}/linear/w": np.ones((7, 16)), f"{module}/linear/b": np.ones(16)}
    assert [layer.path for layer in find(arrays)] == [module] * is_core


def test_cores_of_one_deep_rnn_are_separate_and_stacked_when_asked(tmp_path: Path) -> None:
    arrays = {"lstm/linear/w": np.ones((7, 16)), "lstm/linear/b": np.ones(16)}
    arrays |= {"lstm_1/linear/w": np.ones((8, 16)), "lstm_1/linear/b": np.ones(16), "linear/w": np.ones((4, 8))}
    np.savez(tmp_path / "deep.npz", **arrays)  # pyright: ignore
    file = files.read(tmp_path / "deep.npz")
    assert [layer.path for layer in file.layers or ()] == ["lstm", "lstm_1"]
    assert file.others == ("linear/w",)
    assert select(file, "lstm+lstm_1").spec == spec_of("LSTM", num_layers=2)


def test_moments_of_an_optimiser_are_no_layers() -> None:
    arrays = {"lstm/linear/w": np.ones((7, 16)), "lstm/linear/b": np.ones(16), "gru/w_i": np.ones((3, 12))}
    arrays |= {"gru/w_h": np.ones((4, 12)), "gru/b": np.ones(12)}
    moments = {f"{at}/{name}": value for name, value in arrays.items() for at in ("opt_state/0/mu", "0/mu", "0/nu")}
    assert [layer.path for layer in find(arrays | moments)] == ["lstm", "gru"]


def test_the_biases_of_x_and_of_h_stay_apart() -> None:
    arrays = {"vanilla_rnn/linear/w": np.ones((3, 4)), "vanilla_rnn/linear/b": np.full(4, 2.0)}
    (layer,) = find(arrays | {"vanilla_rnn/linear_1/w": np.ones((4, 4)), "vanilla_rnn/linear_1/b": np.full(4, 3.0)})
    assert (set(layer.params["bias_ih_l0"]), set(layer.params["bias_hh_l0"])) == ({2.0}, {3.0})


def test_one_bias_of_an_elman_network_is_read() -> None:
    """``hk.VanillaRNN(5, double_bias=False)``."""
    arrays = {"vanilla_rnn/linear/w": np.ones((3, 4)), "vanilla_rnn/linear/b": np.arange(1.0, 5)}
    (layer,) = find(arrays | {"vanilla_rnn/linear_1/w": np.ones((4, 4))})
    assert layer.spec == spec_of("RNN")
    assert layer.params["bias_ih_l0"].tolist() == [1, 2, 3, 4]
    assert not layer.params["bias_hh_l0"].any()


def test_a_convolutional_lstm_is_refused_by_name() -> None:
    parts = {"w": np.ones((3, 3, 2, 16)), "b": np.ones(16)}
    names = ("conv2_dlstm/input_to_hidden", "conv2_dlstm/hidden_to_hidden")
    (layer,) = find({f"{module}/{part}": value for module in names for part, value in parts.items()})
    assert layer.spec is None
    assert "a convolutional LSTM" in layer.problem


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ModelSpec(cell="RNN", input_size=3, hidden_size=4), "nonlinearity: expected relu"),
        (ModelSpec(cell="GRU", input_size=3, hidden_size=4), "haiku.GRU resets h before the product"),
        (ModelSpec(cell="LSTM", input_size=3, hidden_size=4, proj_size=2), "has no projection"),
        (ModelSpec(cell="LSTM1997", input_size=3, hidden_size=4), "one that Haiku has"),
    ],
)
def test_what_haiku_cannot_hold_is_refused(spec: ModelSpec, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        haiku_names.places(spec)


def test_a_layer_without_biases_gets_zeros() -> None:
    spec = spec_of("LSTM", bias=False)
    arrays, notes = written(haiku_names, spec, drawn(spec))
    assert arrays["lstm_l0/linear/b"].tolist() == [0] * 8 + [-1] * 4 + [0] * 4
    assert any("zeros were added" in note for note in notes)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_pickled_trees_are_read_without_running_them(array: Any, protocol: int, tmp_path: Path) -> None:
    """Arrays of JAX too, as ``pickle.dump(params, file)`` writes them."""
    rng = np.random.default_rng(0)
    parts = {"w": rng.random((7, 16), "float32"), "b": rng.random(16, "float32")}
    tree = {"lstm/linear": {name: array(value) for name, value in parts.items()}}
    (tmp_path / "params.pkl").write_bytes(pickle.dumps(tree, protocol))
    layer = select(files.read(tmp_path / "params.pkl"))
    assert (layer.path, layer.spec) == ("lstm", spec_of("LSTM", dtype="float32"))
    assert np.array_equal(layer.params["weight_ih_l0"][4:8], parts["w"][:3, 8:12].T)
    with pytest.raises(InvalidInput, match="needs no pickle"):
        peers.load("haiku").load(tmp_path / "params.pkl", layer)


def test_a_tree_that_numpy_pickled_is_refused_with_the_way_out(tmp_path: Path) -> None:
    tree: Any = {"lstm/linear": {"w": np.ones((7, 16)), "b": np.ones(16)}}
    np.savez(tmp_path / "params.npz", **tree)
    np.save(tmp_path / "params.npy", tree)
    for name in ("params.npz", "params.npy"):
        with pytest.raises(InvalidInput, match=r"Object arrays cannot be loaded.*np\.savez\("):
            files.read(tmp_path / name)

"""Files of Keras that we write: Keras loads them by its public functions, and the peer runs them in both dtypes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.errors import BackendBroken, BackendMissing, InvalidInput
from common.model.layout import Parameters, parameter_shapes
from common.model.spec import ModelSpec
from common.weights import peers
from common.weights.schemes.layers import file_gradients
from common.weights.targets import TARGETS
from common.weights.writing import Written, keep, written
from tests.weights.formats.keras.keras_models import LENGTHS, B, H, I, L, T, found_in, keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
NAMES = ("keras", "keras-weights", "keras2", "cudnn")
CELLS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "GRU": {},
    "GRU, reset before": {"reset_after": False},
    "RNN": {"nonlinearity": "relu"},
    "LSTM without bias": {"bias": False},
}


def model(name: str, dtype: str, **options: Any) -> tuple[ModelSpec, Parameters]:
    both: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
    spec = ModelSpec(
        cell=name.partition(",")[0].partition(" ")[0],
        input_size=I,
        hidden_size=H,
        dtype=dtype,
        **both | CELLS.get(name, {}) | options,
    )
    rng = np.random.default_rng(6)
    return spec, {key: (rng.normal(size=shape) / 2).astype(dtype) for key, shape in parameter_shapes(spec).items()}


def possible() -> Iterator[tuple[str, str]]:
    for target in NAMES:
        for name in CELLS:
            if target != "cudnn" or name in ("LSTM", "GRU", "LSTM without bias"):
                yield target, name


@pytest.mark.parametrize(("target", "name"), list(possible()))
def test_the_peer_runs_what_was_written(target: str, name: str, tmp_path: Path) -> None:
    dtype = "float64" if target in ("keras", "cudnn") else "float32"
    spec, params = model(name, dtype)
    with written(tmp_path / f"model{TARGETS[target].suffix}", target, spec, params) as made:
        agrees(made, 1e-13 if dtype == "float64" else 3e-6)
        assert made.layer.path == {"LSTM": "lstm", "GRU": "gru", "RNN": "simple_rnn"}[spec.cell]


def agrees(made: Written, bound: float) -> None:
    """Keras and our NumPy backend, each with what it read, on the same problem."""
    spec, rng = made.layer.spec, np.random.default_rng(7)
    assert spec is not None
    loaded, ours = peers.load("keras").load(made.path, made.layer), registry.load("numpy")

    def drawn(*shape: int) -> Any:
        return rng.normal(size=shape).astype(spec.dtype)

    def close(a: Any, b: Any) -> bool:
        return a.dtype == b.dtype == spec.dtype and bool(abs(a - b).max() <= bound * max(1, abs(b).max()))

    for lengths in (None, LENGTHS):
        x, state0 = drawn(T, B, I), tuple(drawn(*shape) for shape in spec.state_shapes(B))
        y, state = ours.forward(spec, made.layer.params, x, state0, lengths=lengths)
        dy, dstate = drawn(*y.shape), tuple(drawn(*part.shape) for part in state)
        theirs_y, theirs_state = loaded.forward(x, state0, lengths)
        assert close(theirs_y, y)
        assert all(map(close, theirs_state, state))
        grads = ours.vjp(spec, made.layer.params, x, state0, dy, dstate, lengths=lengths)
        theirs = loaded.vjp(x, state0, dy, dstate, lengths)
        expected = file_gradients(made.layer, grads.params)
        assert theirs.arrays.keys() == expected.keys()
        assert all(close(theirs.arrays[key], value) for key, value in expected.items())
        assert close(theirs.x, grads.x)
        assert all(map(close, theirs.state0, grads.state0))


@pytest.mark.parametrize("target", NAMES[:3])
def test_keras_loads_it_as_its_users_do(target: str, tmp_path: Path) -> None:
    """The whole model, whose output is that of all layers; weights go into a model that the user builds."""
    spec, params = model("GRU", "float32")
    path = tmp_path / f"model{TARGETS[target].suffix}"
    with written(path, target, spec, params) as made:
        keep(made, path)
    if target == "keras-weights":
        loaded: Any = keras.Sequential([keras.Input((None, I))])
        for _ in range(2):
            loaded.add(L.Bidirectional(L.GRU(H, return_sequences=True)))
        loaded.load_weights(path)
    else:
        loaded = keras.models.load_model(path, compile=False)
    x = np.random.default_rng(8).normal(size=(T, B, I)).astype("float32")
    y, _ = registry.load("numpy").forward(spec, params, x)
    assert abs(loaded(x.transpose(1, 0, 2)).detach().numpy().transpose(1, 0, 2) - y).max() < 3e-6


@pytest.mark.parametrize("target", NAMES)
def test_what_was_written_comes_back_to_the_bit(target: str, tmp_path: Path) -> None:
    """From Keras' arrays to Keras' arrays; ours have two biases, which only some of its layers have."""
    suffix = TARGETS[target].suffix
    spec, params = model("LSTM", "float64")
    with written(tmp_path / f"one{suffix}", target, spec, params) as first:
        spec, params = first.layer.spec, first.layer.params
        assert spec is not None
        with written(tmp_path / f"two{suffix}", target, spec, params) as second:
            assert second.layer.spec == spec
            assert all(np.array_equal(second.layer.params[name], value) for name, value in params.items())
            assert second.notes == () or "merged" in second.notes[0]
            (again,) = found_in(second.path)
            assert again.where == first.layer.where


@pytest.mark.parametrize(
    ("target", "options", "word"),
    [
        ("keras", {"cell": "LSTM1997"}, "LSTM1997"),
        ("keras2", {"cell": "LSTM", "proj_size": 2}, "projection"),
        ("cudnn", {"cell": "RNN"}, "RNN"),
        ("cudnn", {"cell": "GRU", "reset_after": False}, "reset_after=False"),
    ],
)
def test_what_keras_cannot_hold_is_refused(target: str, options: dict[str, Any], word: str, tmp_path: Path) -> None:
    spec, params = model(options["cell"], "float32", **{key: one for key, one in options.items() if key != "cell"})
    with (
        pytest.raises(InvalidInput, match=word),
        written(tmp_path / f"model{TARGETS[target].suffix}", target, spec, params),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_of_weights_says_what_it_does_not_record(tmp_path: Path) -> None:
    spec, params = model("RNN", "float32")
    with written(tmp_path / "model.weights.h5", "keras-weights", spec, params) as made:
        assert made.notes[-1] == "keras-weights does not record the nonlinearity: give relu when you load it"


def test_keras_on_another_backend_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keras_files", "keras_layers"):
        monkeypatch.delitem(sys.modules, f"torch_impl.oracles.{name}", raising=False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BackendBroken, match=r"imported with the backend jax, and is needed with torch"):
        peers.load("keras")


def test_without_h5py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    spec, params = model("GRU", "float32")
    with (
        pytest.raises(BackendMissing, match=r"pip install -e '.\[keras\]'"),
        written(tmp_path / "model.keras", "keras", spec, params),
    ):
        pass

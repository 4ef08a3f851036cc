"""Every library that owns a format computes what the file holds, whatever our own readers made of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.equivalence.comparison import relative_distance
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.peers import PEERS
from common.weights.schemes.layers import written
from common.weights.source import Found, Source, WeightsFile
from common.weights.targets import TARGETS

# What is written, without the checkpoints, and the library that is asked about it.
WRITTEN = {
    "npz": "torch",
    "torch": "torch",
    "safetensors": "torch",
    "torchscript": "torch",
    "keras": "keras",
    "keras-weights": "keras",
    "keras2": "keras",
    "cudnn": "keras",
    "flax-npz": "flax",
    "flax-msgpack": "flax",
    "nnx-npz": "nnx",
    "haiku": "haiku",
    "equinox": "equinox",
    "tf1": "tf1",
    "onnx": "onnxruntime",
}
T, B, I, H = 3, 2, 4, 5


def test_every_peer_takes_part() -> None:
    assert set(WRITTEN.values()) == set(PEERS)
    assert all(TARGETS[target].peer == peer for target, peer in WRITTEN.items())


@pytest.fixture(name="misled")
def misled_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reader of ours gives other numbers than the file holds."""

    def misleading(read: Any) -> Any:
        def wrong(source: Source) -> WeightsFile:
            file = read(source)
            layers = None if file.layers is None else tuple(map(changed, file.layers))
            return file._replace(params={name: 1 - value for name, value in file.params.items()}, layers=layers)

        return wrong

    for form in files.FORMATS:
        monkeypatch.setattr(form, "read", misleading(form.read))


def changed(layer: Found) -> Found:
    return layer._replace(params={name: 1 - value for name, value in layer.params.items()})


@pytest.mark.parametrize("target", WRITTEN)
def test_a_library_computes_what_the_file_holds(target: str, tmp_path: Path, misled: None) -> None:
    kind = TARGETS[target]
    spec = ModelSpec(cell="LSTM", input_size=I, hidden_size=H)
    params = initial_parameters(spec, 3)
    rng = np.random.default_rng(4)
    x, h, c = rng.standard_normal((T, B, I)), rng.standard_normal((1, B, H)), rng.standard_normal((1, B, H))
    path = tmp_path / f"own{kind.suffix}"
    kind.write(path, spec, written(kind.scheme, spec, params)[0])
    (layer,) = tuple(files.read(path).layers or ())
    weight = layer.params["weight_hh_l0"]
    assert relative_distance(weight, params["weight_hh_l0"]) > 0.5, "the reader is misled, or this shows nothing"
    y, state = peers.load(kind.peer).load(path, layer).forward(x, (h, c))
    wanted, states = registry.load("numpy").forward(spec, params, x, (h, c))
    for ours, theirs in zip((y, *state), (wanted, *states), strict=True):
        assert ours.shape == theirs.shape
        assert relative_distance(ours, theirs) < 1e-12

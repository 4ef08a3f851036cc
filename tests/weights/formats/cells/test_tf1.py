"""TensorFlow 1's variables: read as TensorFlow named them, run to the numbers that TensorFlow computed, and written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.equivalence.comparison import relative_distance
from common.errors import InvalidInput
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.layer import select
from common.weights.schemes import find, tf1_names
from numpy_impl.backend import BACKEND
from tests.weights.formats.cells.tensorflow_numbers import LENGTHS, RUNS, values
from tests.weights.formats.cells.test_haiku import assert_peer_agrees, both_dtypes, rewritten, spec_of

every_run = pytest.mark.parametrize("name", RUNS)


def recorded(name: str, folder: Path) -> tuple[Any, Path]:
    """The layer in a file of the variables that TensorFlow ran with."""
    path = folder / "model.npz"
    arrays = {variable: values(variable, shape) for variable, shape in RUNS[name]["variables"].items()}
    np.savez(path, **arrays)  # pyright: ignore
    return select(files.read(path), nonlinearity="relu" if "relu" in name else None), path


def inputs(spec: ModelSpec) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """x and the initial states that TensorFlow had, as h and c."""
    size = spec.state_sizes
    shapes = [(2, size[0])] if len(size) == 1 else [(2, size[1]), (2, size[0])]
    order = [values(f"state{k}", shapes[k % len(shapes)]) for k in range(len(size) * spec.state_rows)]
    return values("x", (3, 2, 3)), states(order, len(size))


def states(order: list[Any], count: int) -> tuple[np.ndarray, ...]:
    """TensorFlow's c, h, c, h, ... -> h and c of all layers and directions."""
    return tuple(np.stack(order[place::count]) for place in reversed(range(count)))


@every_run
def test_tensorflows_numbers_come_out(name: str, tmp_path: Path) -> None:
    """Of our NumPy cells on the weights as they were read, and of the transcription on the file."""
    layer, path = recorded(name, tmp_path)
    spec = layer.spec
    x, state0 = inputs(spec)
    wanted = [np.array(RUNS[name]["y"]), *states(RUNS[name]["final"], len(state0))]
    for y, state in (
        BACKEND.forward(spec, layer.params, x, state0, lengths=LENGTHS),
        peers.load("tf1").load(path, layer).forward(x, state0, LENGTHS),
    ):
        for a, b in zip([y, *state], wanted, strict=True):
            assert relative_distance(a, b) < 1e-13


@pytest.mark.parametrize(
    ("name", "path", "label"),
    [
        ("projected lstm", "rnn/lstm_cell", "LSTM proj_size 2"),
        ("two lstm", "rnn/multi_rnn_cell", "LSTM 2 layers"),
        ("gru both ways", "bidirectional_rnn/gru_cell", "GRU reset before bidirectional"),
    ],
)
def test_cells_that_belong_together_are_one_layer(name: str, path: str, label: str, tmp_path: Path) -> None:
    layer, _ = recorded(name, tmp_path)
    assert (layer.path, layer.spec.label) == (path, label)
    assert "lstm" not in name or "forget_bias" in " ".join(layer.notes)


CASES = [("LSTM", {"proj_size": 2}), ("LSTM", {}), ("GRU", {}), ("RNN", {})]


@both_dtypes
@pytest.mark.parametrize(
    "shape", [{}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]
)
@pytest.mark.parametrize(("cell", "options"), CASES)
def test_what_is_written_reads_back_and_runs(
    cell: str, options: dict[str, Any], shape: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    layer, path = rewritten(spec_of(cell, dtype=dtype, **options, **shape), tmp_path, "tf1")
    assert_peer_agrees("tf1", layer, path)


def cudnn(folder: Path) -> tuple[Any, Path]:
    """The cell of TensorFlow 1 that has torch's GRU."""
    scope, shapes = "rnn/multi_rnn_cell/cell_0/cudnn_compatible_gru_cell", {"gates/kernel": (7, 8), "gates/bias": (8,)}
    for side, size in (("input", 3), ("hidden", 4)):
        shapes |= {f"candidate/{side}_projection/kernel": (size, 4), f"candidate/{side}_projection/bias": (4,)}
    np.savez(folder / "g.npz", **{f"{scope}/{part}:0": values(part, shape) for part, shape in shapes.items()})  # pyright: ignore
    return select(files.read(folder / "g.npz")), folder / "g.npz"


def test_cudnns_gru_resets_after_the_product(tmp_path: Path) -> None:
    layer, path = cudnn(tmp_path)
    assert layer.spec == ModelSpec(cell="GRU", input_size=3, hidden_size=4)
    assert layer.params["bias_hh_l0"][8:].all()
    assert_peer_agrees("tf1", layer, path)


def lstm(scope: str, size: int = 3, **more: Any) -> dict[str, np.ndarray]:
    return {f"{scope}/kernel": np.ones((size + 4, 16)), f"{scope}/bias": np.ones(16)} | {
        f"{scope}/{name}": value for name, value in more.items()
    }


def test_slots_of_optimisers_are_no_layers() -> None:
    arrays = lstm("rnn/lstm_cell")
    slots = {f"{name}/{slot}": value for name, value in arrays.items() for slot in ("Adam", "Adam_1", "Momentum")}
    slots |= {f"training/Adam/{name}/m": value for name, value in arrays.items()}
    (layer,) = find(arrays | slots | {"beta1_power": np.array(0.9)})
    assert layer.names == tuple(arrays)


@pytest.mark.parametrize(
    ("arrays", "paths"),
    [
        (lstm("rnn/lstm_cell") | lstm("other/lstm_cell_1"), ["rnn/lstm_cell", "other/lstm_cell_1"]),
        (lstm("m/cell_0/lstm_cell") | lstm("m/cell_1/lstm_cell", 4), ["m"]),
        (lstm("m/cell_0/lstm_cell") | lstm("m/cell_1/lstm_cell", 9), ["m/cell_0/lstm_cell", "m/cell_1/lstm_cell"]),
        (lstm("m/cell_1/lstm_cell"), ["m/cell_1/lstm_cell"]),
        (lstm("encoder/fw/lstm_cell") | lstm("encoder/bw/lstm_cell"), ["encoder/lstm_cell"]),
        (
            lstm("encoder/fw/lstm_cell") | lstm("encoder/bw/lstm_cell", 5),
            ["encoder/fw/lstm_cell", "encoder/bw/lstm_cell"],
        ),
        (
            lstm("b/fw/m/cell_0/lstm_cell")
            | lstm("b/fw/m/cell_1/lstm_cell", 4)
            | lstm("b/bw/m/cell_0/lstm_cell")
            | lstm("b/bw/m/cell_1/lstm_cell", 4),
            ["b/fw/m", "b/bw/m"],
        ),
        ({"lstm/lstm_cell/kernel:0": np.ones((3, 16)), "lstm/lstm_cell/recurrent_kernel:0": np.ones((4, 16))}, []),
        ({"dense/kernel": np.ones((3, 16)), "dense/bias": np.ones(16)}, []),
    ],
)
def test_scopes_say_what_belongs_together(arrays: dict[str, np.ndarray], paths: list[str]) -> None:
    layers = [layer for layer in find(arrays) if layer.layout.startswith("tf1")]
    assert [layer.path for layer in layers] == paths
    assert all(("from the last step" in " ".join(layer.notes)) == ("/bw/" in layer.path) for layer in layers)


def test_a_forget_bias_of_zero_is_known_from_the_name() -> None:
    (layer,) = find(lstm("rnn/cudnn_compatible_lstm_cell"))
    assert not layer.params["bias_hh_l0"].any()
    assert not layer.notes


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (lstm("rnn/lstm_cell", w_i_diag=np.ones(4), w_f_diag=np.ones(4)), r"peepholes \(w_i_diag, w_f_diag\)"),
        (
            lstm("rnn/layer_norm_basic_lstm_cell", **{"input/gamma": np.ones(4)}),  # pyright: ignore
            r"layer normalisation \(input/gamma\)",
        ),
        (lstm("rnn/nas_cell"), "a nas_cell, whose equations"),
        (lstm("rnn/lstm_cell") | {"rnn/lstm_cell/bias": np.ones(12)}, r"rnn/lstm_cell/bias: expected \(4H,\)"),
    ],
)
def test_other_cells_are_refused_by_name(arrays: dict[str, np.ndarray], reason: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **arrays)  # pyright: ignore
    with pytest.raises(InvalidInput, match=reason):
        select(files.read(tmp_path / "m.npz"))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ModelSpec(cell="GRU", input_size=3, hidden_size=4), "resets h before the product"),
        (ModelSpec(cell="LSTM1997", input_size=3, hidden_size=4), "one that TensorFlow 1 has"),
    ],
)
def test_what_tensorflow_cannot_hold_is_refused(spec: ModelSpec, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        tf1_names.places(spec)


def test_the_transcription_says_that_it_has_no_gradients(tmp_path: Path) -> None:
    layer, path = recorded("gru", tmp_path)
    assert not peers.load("tf1").has_gradients
    with pytest.raises(InvalidInput, match="computes no gradients"):
        peers.load("tf1").load(path, layer).vjp(*inputs(layer.spec), *inputs(layer.spec))

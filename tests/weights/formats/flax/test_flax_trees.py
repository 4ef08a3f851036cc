"""Where layers stand in the trees that Flax's users save: beside heads, in training states, steps and items."""

import shutil
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization
from flax.training.train_state import TrainState

from common.weights import files, peers, schemes
from common.weights.source import Found
from tests.weights.formats.flax.flax_models import flat, randomised


class Model(nn.Module):
    """Cells that are made inside a module: linen puts their parameters beside those of the head."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.RNN(nn.OptimizedLSTMCell(4))(nn.Dense(3)(x))
        x = nn.RNN(nn.SimpleCell(5))(x)
        return nn.Dense(2)(x)


def trained(seed: int = 1) -> TrainState:
    model = Model()
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 5, 3)))
    params = randomised(shapes, seed, "float32")["params"]
    return TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3))


def layers_of(path: Path) -> dict[str, Found]:
    return {layer.path: layer for layer in files.read(path).layers or ()}


def kernel(path: Path, name: str = "params/SimpleCell_0/i/kernel") -> np.ndarray:
    return files.read(path).params[name]


WHERE = ["params/OptimizedLSTMCell_0", "params/SimpleCell_0"]


def test_an_optimiser_s_moments_are_no_layers(tmp_path: Path) -> None:
    """In a training state, under any name for the optimiser's, and where the moments alone were saved."""
    state = trained()
    (tmp_path / "state").write_bytes(serialization.to_bytes(state))
    assert sorted(layers_of(tmp_path / "state")) == WHERE
    arrays: dict[str, Any] = flat(serialization.to_state_dict(state))
    moved = {name.replace("opt_state/0", "mine"): value for name, value in arrays.items()}
    assert any(name.startswith("mine/mu/") for name in moved)
    assert sorted(layer.path for layer in schemes.find(moved)) == WHERE
    assert sorted(layer.path for layer in schemes.find({f"a/{name}": moved[name] for name in moved})) == [
        f"a/{path}" for path in WHERE
    ]
    momentum = optax.sgd(1e-3, momentum=0.9).init(state.params)  # one tree, without a twin
    arrays = flat({"params": state.params, "opt_state": serialization.to_state_dict(momentum)})
    assert any("trace/SimpleCell_0" in name for name in arrays)
    assert sorted(layer.path for layer in schemes.find(arrays)) == WHERE
    for kind in ("mu", "nu"):  # one alone may be a module's name
        assert len(schemes.find({name: value for name, value in moved.items() if f"mine/{kind}" in name})) == 2


def test_checkpoints_are_read_however_they_were_written(tmp_path: Path) -> None:
    """In a database or in folders, by steps and items: the same arrays, without the optimiser's."""
    state = trained()
    with ocp.StandardCheckpointer() as standard:
        standard.save(tmp_path / "standard", state)
    ocp.PyTreeCheckpointer(use_ocdbt=False).save(tmp_path / "folders", {"params": state.params})
    ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_zarr3=True)).save(tmp_path / "zarr3", {"params": state.params})
    for name in ("standard", "folders", "zarr3"):
        file = files.read(tmp_path / name)
        assert file.format == "Orbax's checkpoint"
        assert sorted(layer.path for layer in file.layers or ()) == WHERE
        expected = flat({"params": state.params})
        assert {name: value.tobytes() for name, value in file.params.items() if name != "step"} == {
            name: value.tobytes() for name, value in expected.items()
        }
    reasons = set(files.read(tmp_path / "standard").skipped.values())
    assert reasons == {"the state of an optimiser", "not an array (None)"}


def test_the_last_step_is_read_and_named(tmp_path: Path) -> None:
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        for step in (9, 10):
            items = {
                "state": ocp.args.StandardSave({"params": trained(step).params}),
                "more": ocp.args.JsonSave({"a": 1}),
            }
            manager.save(step, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    nine, ten = (np.asarray(trained(step).params["SimpleCell_0"]["i"]["kernel"]) for step in (9, 10))
    assert (kernel(tmp_path / "run") == ten).all()
    assert (kernel(tmp_path / "run" / "9") == nine).all()
    notes = files.read(tmp_path / "run").notes
    assert any("using 10" in note and "9" in note for note in notes)
    shutil.rmtree(tmp_path / "run" / "10")
    assert not any("using" in note for note in files.read(tmp_path / "run").notes)
    shutil.copytree(tmp_path / "run" / "9" / "state", tmp_path / "run" / "9" / "other")
    assert sorted(layers_of(tmp_path / "run")) == [f"{item}/{path}" for item in ("other", "state") for path in WHERE]


def test_nnx_states_and_their_dicts_are_read(tmp_path: Path) -> None:
    """An ``nnx.State`` names each variable's ``value``, and holds states of generators, too."""

    class Two(nnx.Module):
        def __init__(self) -> None:
            self.gru = nnx.Bidirectional(*(nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(k))) for k in range(2)))
            self.lstm = nnx.RNN(nnx.LSTMCell(8, 5, rngs=nnx.Rngs(3)))
            self.head = nnx.Linear(5, 2, rngs=nnx.Rngs(4))

    model = Two()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(model))
    arrays: dict[str, Any] = flat(nnx.state(model, nnx.Param))
    np.savez(tmp_path / "dict.npz", **arrays)
    np.savez(tmp_path / "dots.npz", **{name.replace("/", "."): value for name, value in arrays.items()})
    for name in ("state", "dict.npz", "dots.npz"):
        layers = layers_of(tmp_path / name)
        assert {path: layer.layout for path, layer in layers.items()} == {"gru": "nnx GRU", "lstm": "nnx LSTM"}
        assert list(layers["gru"].where) == ["_l0", "_l0_reverse"]
        values = peers.load("nnx").load(tmp_path / name, layers["gru"]).values  # pyright: ignore
        assert values.keys() == set(layers["gru"].names)
        assert any("merged" in note for note in layers["gru"].notes)
        assert (layers["lstm"].params["weight_hh_l0"][5:10] == arrays["lstm/cell/hf/kernel"].T).all()
        forward, reverse = (arrays[f"gru/{one}_rnn/cell/dense_h/kernel"].T for one in ("forward", "backward"))
        assert (layers["gru"].params["weight_hh_l0"] == forward).all()
        assert (layers["gru"].params["weight_hh_l0_reverse"] == reverse).all()


def simple(path: str, size: int, hidden: int = 4) -> dict[str, np.ndarray]:
    shapes = {"i/kernel": (size, hidden), "i/bias": (hidden,), "h/kernel": (hidden, hidden)}
    return {f"{path}/{name}": np.ones(shape) for name, shape in shapes.items()}


def test_layers_are_stacked_by_their_names_alone() -> None:
    """Numbered from 0, and of sizes that fit; others are layers by themselves, and a cell at the root is a cell."""
    stack = simple("m/a_l0/cell", 3) | simple("m/a_l1/cell", 4) | simple("m/b", 4)
    assert {layer.path: list(layer.where) for layer in schemes.find(stack)} == {"m/a": ["_l0", "_l1"], "m/b": ["_l0"]}
    for other in (simple("m/a_l1", 3), simple("m/a_l2", 4)):
        found = schemes.find(simple("m/a_l0", 3) | other)
        assert [list(layer.where) for layer in found] == [["_l0"], ["_l0"]]
        assert not any(layer.problem for layer in found)
    for root in ("params", "params/cell", "cell"):
        (layer,) = schemes.find(simple(root, 3))
        assert layer.spec is not None
        assert layer.spec.cell == ("RNNCell" if root == "params" else "RNN")
    apart = simple("b/forward_rnn/cell", 3) | simple("c/backward_rnn/cell", 3)
    assert sorted(layer.path for layer in schemes.find(apart)) == ["b/forward_rnn", "c/backward_rnn"]


@pytest.mark.parametrize("cell", ["MGUCell", "ConvLSTMCell"])
def test_other_cells_of_flax_are_refused_by_name(cell: str) -> None:
    if cell == "MGUCell":
        module: Any = nn.RNN(nn.MGUCell(4))
        variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((2, 5, 3)))
    else:
        module = nn.RNN(nn.ConvLSTMCell(4, kernel_size=(3,)))
        variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((2, 5, 6, 3)))
    (layer,) = schemes.find(flat(randomised(variables, 1, "float32")))
    assert layer.spec is None
    assert f"flax.linen.{cell}" in layer.problem


def test_arrays_that_do_not_fit_are_a_problem() -> None:
    arrays = simple("params/a", 3)
    for change in ({"params/a/i/kernel": np.ones((3, 5))}, {"params/a/i/bias": np.ones((2, 3, 4))}):
        (layer,) = schemes.find(arrays | change)
        assert layer.spec is None
        assert "flax.linen.SimpleCell" in layer.problem
    fused = {"a/dense_i/kernel": np.ones((3, 8)), "a/dense_h/kernel": np.ones((4, 8)), "a/dense_h/bias": np.ones(8)}
    (layer,) = schemes.find(fused)
    assert "(4, 8)" in layer.problem
    # four blocks are an LSTM's, whose bias is at dense_h
    fused = {"a/dense_i/kernel": np.ones((3, 16)), "a/dense_h/kernel": np.ones((4, 16)), "a/dense_i/bias": np.ones(16)}
    (layer,) = schemes.find(fused)
    assert "nnx.OptimizedLSTMCell has its bias at dense_h" in layer.problem

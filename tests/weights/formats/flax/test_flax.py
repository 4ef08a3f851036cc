"""Files that Flax's users write, of models that Flax makes and runs: our backends compute the same from them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization

from common.backend import registry
from common.model.layout import Parameters, parameter_shapes
from common.model.spec import ModelSpec
from common.weights import files, peers
from common.weights.schemes import flax_names, nnx_names
from common.weights.schemes.layers import file_gradients, written
from common.weights.source import Found, Scheme
from common.weights.targets import TARGETS
from tests.refusals import refused
from tests.weights.formats.flax.flax_models import Answer, H, I, Problem, answer, flat, linen, nnx_model, problem

RELU = {"activation_fn": jax.nn.relu}
OF_RELU = ("SimpleCell with relu", "nnx SimpleCell")
CASES: dict[str, tuple[Callable[..., Any], int, str]] = {
    "SimpleCell": (nn.SimpleCell, 1, "float64"),
    "SimpleCell with relu": (partial(nn.SimpleCell, **RELU), 1, "float32"),
    "OptimizedLSTMCell": (nn.OptimizedLSTMCell, 2, "float64"),
    "LSTMCell": (nn.LSTMCell, 2, "float32"),
    "GRUCell": (nn.GRUCell, 1, "float64"),
    "nnx SimpleCell": (partial(nnx.SimpleCell, **RELU), 1, "float64"),
    "nnx OptimizedLSTMCell": (nnx.OptimizedLSTMCell, 2, "float64"),
    "nnx LSTMCell": (nnx.LSTMCell, 2, "float32"),
    "nnx GRUCell": (nnx.GRUCell, 1, "float32"),
}
# Those that are saved as checkpoints too, which takes a second.
WITH_ORBAX = ("SimpleCell with relu", "OptimizedLSTMCell", "nnx LSTMCell", "nnx GRUCell")
TOLERANCE = {"float64": 2e-13, "float32": 3e-5}


def orbax(path: Path, tree: Any) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)


def msgpack(path: Path, tree: Any) -> None:
    path.write_bytes(serialization.to_bytes(nnx.to_pure_dict(tree) if isinstance(tree, nnx.State) else tree))


def npz(path: Path, tree: Any) -> None:
    arrays: dict[str, Any] = flat(tree)
    np.savez(path, **arrays)


SAVED = {"orbax": orbax, "msgpack": msgpack, "tree.npz": npz}


def made(name: str, seed: int = 3, layers: int = 2, both: bool = True) -> tuple[Any, Callable[..., Any]]:
    """The tree that a user saves, and Flax's run of it."""
    cell, _, dtype = CASES[name]
    if not name.startswith("nnx"):
        module, variables = linen(cell, seed, dtype, layers, both)
        return variables, module.apply
    graph, params, rest = nnx.split(nnx_model(cell, seed, dtype, layers, both), nnx.Param, ...)
    return params, lambda params, *arguments: nnx.merge(graph, params, rest)(*arguments)


def close(ours: Any, theirs: Any, dtype: str) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == dtype
    assert abs(ours - theirs).max() <= TOLERANCE[dtype] * abs(theirs).max()


def same(ours: Answer, theirs: Answer, dtype: str) -> None:
    close(ours.y, theirs.y, dtype)
    assert ours.of_arrays.keys() == theirs.of_arrays.keys()
    for name, value in ours.of_arrays.items():
        close(value, theirs.of_arrays[name], dtype)
    close(ours.dx, theirs.dx, dtype)
    for mine, its in zip((*ours.state, *ours.dstate0), (*theirs.state, *theirs.dstate0), strict=True):
        close(mine, its, dtype)


def of_backend(name: str, layer: Found, given: Problem) -> Answer:
    backend, spec = registry.load(name), layer.spec
    assert spec is not None
    y, state = backend.forward(spec, layer.params, given.x, given.state0, lengths=given.lengths)
    grads = backend.vjp(spec, layer.params, given.x, given.state0, given.dy, given.dstate, lengths=given.lengths)
    return Answer(y, state, file_gradients(layer, grads.params), grads.x, grads.state0)


def of_peer(name: str, path: Path, layer: Found, given: Problem) -> Answer:
    loaded = peers.load(name).load(path, layer)
    grads = loaded.vjp(given.x, given.state0, given.dy, given.dstate, given.lengths)
    return Answer(*loaded.forward(given.x, given.state0, given.lengths), dict(grads.arrays), grads.x, grads.state0)


def only_layer(path: Path, nonlinearity: str = "tanh") -> Found:
    layers = files.read(path).layers or ()
    assert len(layers) == 1
    assert layers[0].spec is not None, layers[0].problem
    return layers[0]._replace(spec=replace(layers[0].spec, nonlinearity=nonlinearity))


@pytest.mark.parametrize("name", CASES)
def test_what_flax_saves_is_read_and_computes_the_same(name: str, tmp_path: Path) -> None:
    """Two layers, both directions, sequences of several lengths; the gradients are those of the file's own arrays."""
    _, states, dtype = CASES[name]
    given = problem(5, states, dtype)
    with jax.enable_x64(True):
        tree, run = made(name)
        theirs = answer(run, tree, given)
    read = {}
    for suffix in SAVED if name in WITH_ORBAX else ("msgpack", "tree.npz"):
        SAVED[suffix](tmp_path / suffix, tree)
        layer = only_layer(tmp_path / suffix, "relu" if name in OF_RELU else "tanh")
        assert layer.path == "rnn" if name.startswith("nnx") else layer.path == "params/rnn"
        assert layer.spec is not None
        assert (layer.spec.num_layers, layer.spec.bidirectional, layer.spec.dtype) == (2, True, dtype)
        assert any("residual" in note for note in layer.notes) == (layer.spec.cell == "RNN")
        read[suffix] = layer
    first, *others = read.values()
    for other in others:  # to the bit
        assert other.params.keys() == first.params.keys()
        assert all((other.params[one] == first.params[one]).all() for one in first.params)
    for backend in ("numpy", "torch", *(["jax"] if name == "GRUCell" else [])):
        same(of_backend(backend, read["tree.npz"], given), theirs, dtype)


@pytest.mark.parametrize(("name", "peer"), [("OptimizedLSTMCell", "flax"), ("nnx SimpleCell", "nnx")])
def test_peers_load_what_flax_saves(name: str, peer: str, tmp_path: Path) -> None:
    _, states, dtype = CASES[name]
    given = problem(6, states, dtype)
    with jax.enable_x64(True):
        tree, run = made(name)
        theirs = answer(run, tree, given)
        for suffix, save in SAVED.items():
            save(tmp_path / suffix, tree)
    nonlinearity = "relu" if name in OF_RELU else "tanh"
    layer = only_layer(tmp_path / "tree.npz", nonlinearity)
    same(of_peer(peer, tmp_path / "tree.npz", layer, given), theirs, dtype)
    for suffix in ("orbax", "msgpack"):
        layer = only_layer(tmp_path / suffix, nonlinearity)
        values = peers.load(peer).load(tmp_path / suffix, layer).values  # pyright: ignore
        assert values.keys() == set(layer.names)
        arrays = files.read(tmp_path / suffix).params
        assert all((arrays[one] == value).all() for one, value in values.items())


# One layer and several, in one direction and both: with names of their own in a file.
ROUND_TRIPS = [
    (f"{prefix}{cell}", target, layers, both)
    for cell, layers, both in (("SimpleCell", 1, False), ("LSTMCell", 2, True), ("GRUCell", 1, True))
    for prefix, targets in (("", ("flax-msgpack", "flax-npz")), ("nnx ", ("nnx-npz",)))
    for target in targets
]
ROUND_TRIPS += [("LSTMCell", "flax-orbax", 2, True), ("nnx GRUCell", "nnx-orbax", 2, False)]


@pytest.mark.parametrize(("name", "target", "layers", "both"), ROUND_TRIPS)
def test_round_trips_are_lossless(name: str, target: str, layers: int, both: bool, tmp_path: Path) -> None:
    """From Flax to each of its targets and back: the same parameters, to the bit."""
    with jax.enable_x64(True):
        npz(tmp_path / "source.npz", made(name, 4, layers, both)[0])
    layer = only_layer(tmp_path / "source.npz")
    assert layer.spec is not None
    form = TARGETS[target]
    arrays, _ = written(form.scheme, layer.spec, layer.params)
    path = tmp_path / f"out{form.suffix}"
    form.write(path, layer.spec, arrays)
    again = only_layer(path)
    assert again.spec == layer.spec
    assert all((again.params[one] == value).all() for one, value in layer.params.items())


def torch_model(bias_hn: bool = True) -> tuple[ModelSpec, Parameters]:
    """Two layers in one direction, of this project, as they come from a file of PyTorch's."""
    cell = "LSTM" if bias_hn else "GRU"
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=H, num_layers=2, dtype="float32")
    rng = np.random.default_rng(8)
    return spec, {name: rng.normal(size=shape).astype("float32") for name, shape in parameter_shapes(spec).items()}


def test_linen_takes_the_file_that_is_written_as_it_is(tmp_path: Path) -> None:
    """As the docstring of the scheme shows it."""
    spec, params = torch_model()
    arrays, notes = written(flax_names, spec, params)
    assert notes
    TARGETS["flax-msgpack"].write(tmp_path / "file", spec, arrays)

    class Stack(nn.Module):
        def setup(self) -> None:
            self.rnn_l0 = nn.RNN(nn.OptimizedLSTMCell(H))
            self.rnn_l1 = nn.RNN(nn.OptimizedLSTMCell(H))

        def __call__(self, x: Any) -> Any:
            return self.rnn_l1(self.rnn_l0(x))  # pyright: ignore

    given = problem(9, 2, "float32", both=False, ragged=False)
    variables: Any = serialization.msgpack_restore((tmp_path / "file").read_bytes())
    y = np.asarray(Stack().apply(variables, given.x.swapaxes(0, 1))).swapaxes(0, 1)
    close(registry.load("torch").forward(spec, params, given.x)[0], y, "float32")


def test_nnx_restores_the_checkpoint_that_is_written_as_it_is(tmp_path: Path) -> None:
    spec, params = torch_model()
    arrays, _ = written(nnx_names, spec, params)
    TARGETS["nnx-orbax"].write(tmp_path / "folder", spec, arrays)

    class Stack(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.rnn_l0 = nnx.RNN(nnx.OptimizedLSTMCell(I, H, rngs=rngs))
            self.rnn_l1 = nnx.RNN(nnx.OptimizedLSTMCell(H, H, rngs=rngs))

        def __call__(self, x: Any) -> Any:
            return self.rnn_l1(self.rnn_l0(x))  # pyright: ignore

    graph, state, rest = nnx.split(Stack(nnx.Rngs(0)), nnx.Param, ...)
    model = nnx.merge(graph, ocp.StandardCheckpointer().restore(tmp_path / "folder", state), rest)
    given = problem(9, 2, "float32", both=False, ragged=False)
    y = np.asarray(model(given.x.swapaxes(0, 1))).swapaxes(0, 1)
    close(registry.load("torch").forward(spec, params, given.x)[0], y, "float32")


@pytest.mark.parametrize("target", ["flax-npz", "nnx-npz"])
@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("cell", {"cell": "LSTM1997"}),
        ("proj_size", {"cell": "LSTM", "proj_size": 2}),
        ("reset_after", {"cell": "GRU", "reset_after": False}),
    ],
)
def test_what_flax_cannot_hold_is_refused(target: str, argument: str, options: dict[str, Any]) -> None:
    with refused(argument):
        TARGETS[target].scheme.places(ModelSpec(input_size=I, hidden_size=H, **options))


def test_nnx_has_no_hidden_bias_of_the_candidate() -> None:
    spec, params = torch_model(bias_hn=False)
    assert written(flax_names, spec, params)[0]
    with refused("bias_hh of the candidate"):
        written(nnx_names, spec, params)


def test_a_model_without_biases_gets_zeros() -> None:
    spec = ModelSpec(cell="GRU", input_size=I, hidden_size=H, bias=False)
    params = {name: np.ones(shape) for name, shape in parameter_shapes(spec).items()}
    schemes: tuple[Scheme, ...] = (flax_names, nnx_names)
    for scheme in schemes:
        arrays, notes = written(scheme, spec, params)
        assert any("zeros were added" in note for note in notes)
        assert not any(value.any() for name, value in arrays.items() if name.endswith("bias"))


def test_peers_say_which_layers_are_theirs(tmp_path: Path) -> None:
    npz(tmp_path / "tree.npz", made("nnx GRUCell")[0])
    with refused("layer rnn for flax"):
        peers.load("flax").load(tmp_path / "tree.npz", only_layer(tmp_path / "tree.npz"))

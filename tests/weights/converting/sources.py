"""A file of each kind as the library that owns it makes and saves it: random weights, two layers, both directions.

Two libraries are not here to make one: TensorFlow 1, and Keras 2 with its layers over cuDNN. Their files are written
by the project, as the tests of those formats show that the libraries would.
"""

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InvalidInput
from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.weights.schemes import layers
from common.weights.targets import TARGETS
from common.weights.writing import keep, written

I, H, B, T = 3, 5, 2, 4
BOTH: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
# Case -> the options of its specification.
CASES: dict[str, dict[str, Any]] = {
    "LSTM": {"cell": "LSTM"},
    "GRU": {"cell": "GRU"},
    "RNN": {"cell": "RNN"},
    "RNN-relu": {"cell": "RNN", "nonlinearity": "relu"},
    "GRU-before": {"cell": "GRU", "reset_after": False},
    "LSTM-proj": {"cell": "LSTM", "proj_size": 2},
    "LSTM-no-bias": {"cell": "LSTM", "bias": False},
    "LSTM1997": {"cell": "LSTM1997"},
}
# A specification, the path of the file.
Make = Callable[[ModelSpec, Path], None]


def spec_of(case: str, dtype: str) -> ModelSpec:
    return ModelSpec(input_size=I, hidden_size=H, dtype=dtype, **BOTH, **CASES[case])


def told(spec: ModelSpec) -> dict[str, Any]:
    """What a user says of a file that may not record it."""
    options: dict[str, Any] = {"cell": spec.cell}
    options |= {"nonlinearity": spec.nonlinearity} if spec.cell == "RNN" else {}
    return options | ({"reset_after": spec.reset_after} if spec.cell == "GRU" else {})


def parameters(spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Random numbers, none zero and no two alike; every bias too."""
    rng = np.random.default_rng(seed)
    shapes = {name: value.shape for name, value in initial_parameters(spec, 0).items()}
    return {name: rng.normal(size=shape).astype(spec.dtype) / 2 for name, shape in shapes.items()}


def holds(target: str, spec: ModelSpec) -> bool:
    """Whether there are such models in the system of a target: ``nnx.GRUCell`` has them with less biases."""
    params = {name: value * 0 if name.startswith("bias_hh") else value for name, value in parameters(spec).items()}
    try:
        layers.written(TARGETS[target].scheme, spec, params)
    except InvalidInput:
        return False
    return True


def make(target: str, spec: ModelSpec, folder: Path) -> Path:
    """A file of this kind with a model of this specification."""
    path = folder / f"{target}{TARGETS[target].suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MAKERS.get(target, partial(_ours, target))(spec, path)
    return path


def _ours(target: str, spec: ModelSpec, path: Path) -> None:
    with written(path, target, spec, parameters(spec)) as made:
        keep(made, path)


def _torch(save: Callable[[Any, Path], Any]) -> Make:
    def write(spec: ModelSpec, path: Path) -> None:
        import torch

        import torch_impl

        kind = (
            getattr(torch.nn, spec.cell) if spec.layer.in_torch and spec.reset_after else getattr(torch_impl, spec.cell)
        )
        options = {name: getattr(spec, name) for name in ("nonlinearity", "reset_after") if name in told(spec)}
        options.pop("reset_after", None) if spec.reset_after else None
        options |= {"proj_size": spec.proj_size} if spec.proj_size else {}
        module = kind(I, H, bias=spec.bias, dtype=getattr(torch, spec.dtype), **BOTH, **options)
        torch.manual_seed(1)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        save(module, path)

    return write


def _npz(module: Any, path: Path) -> None:
    np.savez(path, **{name: value.numpy() for name, value in module.state_dict().items()})  # pyright: ignore


def _state_dict(module: Any, path: Path) -> None:
    import torch

    torch.save(module.state_dict(), path)


def _checkpoint(module: Any, path: Path) -> None:
    import torch

    optimizer = torch.optim.Adam(module.parameters())
    state = {f"encoder.{name}": value for name, value in module.state_dict().items()}
    torch.save({"epoch": 3, "model": state, "optimizer": optimizer.state_dict()}, path)


def _torchscript(module: Any, path: Path) -> None:
    import torch

    torch.jit.script(module).save(str(path))


def _safetensors(module: Any, path: Path) -> None:
    from safetensors.torch import save_file

    save_file(module.state_dict(), path)


def _keras(save: Callable[[Any, Path], Any]) -> Make:
    def write(spec: ModelSpec, path: Path) -> None:
        from tests.weights.formats.keras.keras_models import L, keras, randomize

        kind = {"LSTM": L.LSTM, "GRU": L.GRU, "RNN": L.SimpleRNN}[spec.cell]
        options: dict[str, Any] = {"use_bias": spec.bias, "dtype": spec.dtype}
        options |= {"reset_after": spec.reset_after} if spec.cell == "GRU" else {}
        options |= {"activation": spec.nonlinearity} if spec.cell == "RNN" else {}
        made = [keras.Input((None, I), dtype=spec.dtype)]
        for level in range(2):  # by their names, layers in a file without a configuration are a stack
            layer = kind(H, return_sequences=True, **options)
            made.append(L.Bidirectional(layer, dtype=spec.dtype, name=f"rnn_l{level}"))
        save(randomize(keras.Sequential(made)), path)

    return write


def _onnx(spec: ModelSpec, path: Path) -> None:
    import onnx

    from tests.weights.onnx_graph.models import network

    options: dict[str, Any] = {"linear_before_reset": int(spec.reset_after)} if spec.cell == "GRU" else {}
    options |= {"activations": [spec.nonlinearity.capitalize()] * 2} if spec.cell == "RNN" else {}
    onnx.save(network(spec.cell, 2, 2, spec.dtype, **options).model(), path)


def _flax(save: Callable[[Path, Any], Any], is_nnx: bool = False) -> Make:
    def write(spec: ModelSpec, path: Path) -> None:
        import flax.linen as nn
        import jax
        from flax import nnx

        from tests.weights.formats.flax.flax_models import linen, nnx_model

        package: Any = nnx if is_nnx else nn
        name = {"LSTM": "OptimizedLSTMCell", "GRU": "GRUCell", "RNN": "SimpleCell"}[spec.cell]
        cell = getattr(package, name)
        cell = partial(cell, activation_fn=jax.nn.relu) if spec.nonlinearity == "relu" else cell
        with jax.enable_x64(True):
            tree = nnx.state(nnx_model(cell, 3, spec.dtype), nnx.Param) if is_nnx else linen(cell, 3, spec.dtype)[1]
            save(path, tree)

    return write


def _orbax(path: Path, tree: Any) -> None:
    from tests.weights.formats.flax.test_flax import orbax

    orbax(path.absolute(), tree)


def _msgpack(path: Path, tree: Any) -> None:
    from tests.weights.formats.flax.test_flax import msgpack

    msgpack(path, tree)


def _tree(path: Path, tree: Any) -> None:
    from tests.weights.formats.flax.test_flax import npz

    npz(path, tree)


def _haiku(spec: ModelSpec, path: Path) -> None:
    import haiku as hk
    import jax
    import jax.numpy as jnp

    from tests.weights.formats.cells.jax_models import CORES, SUFFIXES, drawn, hk_names, precise

    stem = "vanilla_rnn" if spec.cell == "RNN" else spec.cell.lower()

    def net(x: Any) -> Any:
        for level in range(2):
            outputs = []
            for suffix in SUFFIXES[2 * level : 2 * level + 2]:
                core: Any = CORES[spec.cell](H, name=f"{stem}{suffix}")  # pyright: ignore
                outputs.append(hk.dynamic_unroll(core, x, core.initial_state(B), reverse="reverse" in suffix)[0])
            x = jnp.concatenate(outputs, axis=2)
        return x

    with precise():
        shapes = jax.eval_shape(hk.transform(net).init, jax.random.key(0), jnp.zeros((T, B, I), "float32"))
        arrays = hk_names(drawn(shapes, 3, spec.dtype))
    np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()})  # pyright: ignore


def _equinox(spec: ModelSpec, path: Path) -> None:
    import equinox as eqx
    import jax

    from tests.weights.formats.cells.jax_models import SUFFIXES, drawn, precise

    kind = {"LSTM": eqx.nn.LSTMCell, "GRU": eqx.nn.GRUCell}[spec.cell]
    with precise():
        cells = {}
        for row, suffix in enumerate(SUFFIXES):
            size, key = I if row < 2 else 2 * H, jax.random.key(row)
            shape = eqx.filter_eval_shape(kind, size, H, use_bias=spec.bias, dtype=np.dtype(spec.dtype), key=key)
            cells[f"rnn{suffix}"] = drawn(shape, row, spec.dtype)
        eqx.tree_serialise_leaves(path, cells)
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(cells, eqx.is_array_like))
    names = [jax.tree_util.keystr(place) for place, _ in leaves]
    path.with_name(f"{path.name}.json").write_text(json.dumps({"leaves": names}))


MAKERS: dict[str, Make] = {
    "npz": _torch(_npz),
    "torch": _torch(_state_dict),
    "torch-checkpoint": _torch(_checkpoint),
    "torchscript": _torch(_torchscript),
    "safetensors": _torch(_safetensors),
    "onnx": _onnx,
    "flax-orbax": _flax(_orbax),
    "flax-msgpack": _flax(_msgpack),
    "flax-npz": _flax(_tree),
    "nnx-orbax": _flax(_orbax, is_nnx=True),
    "nnx-npz": _flax(_tree, is_nnx=True),
    "keras": _keras(lambda model, path: model.save(path)),
    "keras-weights": _keras(lambda model, path: model.save_weights(path)),
    "keras2": _keras(lambda model, path: model.save(path)),
    "haiku": _haiku,
    "equinox": _equinox,
}

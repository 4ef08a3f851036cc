"""Models that Keras makes and runs: random weights and biases, initial states, a mask, and gradients by autograd."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from common.weights import files
from torch_impl.oracles.keras_files import keras

L: Any = keras.layers
I, H, T, B = 3, 5, 6, 4
LENGTHS = np.array([6, 2, 1, 4])


def found_in(path: Path) -> tuple[Any, ...]:
    """The layers in a file."""
    layers = files.read(path).layers
    assert layers is not None
    return layers


def randomize(model: Any, seed: int = 0) -> Any:
    """Every weight and bias random, and none zero."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=value.shape).astype(value.dtype) * 0.5 for value in model.get_weights()])
    return model


def stack(kind: Callable[..., Any], layers: int, both: bool, **options: Any) -> Any:
    """A Sequential of recurrent layers, as users build it."""
    made: list[Any] = [keras.Input((None, I))]
    for _ in range(layers):
        layer = kind(H, return_sequences=True, **options)
        made.append(L.Bidirectional(layer) if both else layer)
    return randomize(keras.Sequential(made))


class Answer(NamedTuple):
    """What a model gives, as NumPy arrays in the project's shapes; ``grads`` are those of ``model.weights``."""

    x: np.ndarray
    state0: tuple[np.ndarray, ...]
    dy: np.ndarray
    dstate: tuple[np.ndarray, ...]
    y: np.ndarray
    state: tuple[np.ndarray, ...]
    grads: list[np.ndarray]
    dx: np.ndarray
    dstate0: tuple[np.ndarray, ...]


def answer(model: Any, num_states: int, lengths: np.ndarray | None, seed: int = 1) -> Answer:
    """Run the recurrent layers of a model one after another, each from random states."""
    rng = np.random.default_rng(seed)
    layers = [layer for layer in model.layers if isinstance(layer, L.RNN | L.Bidirectional)]
    wide = 2 if isinstance(layers[0], L.Bidirectional) else 1

    def drawn(*shape: int) -> torch.Tensor:
        return torch.tensor(rng.normal(size=shape).astype("float32"), requires_grad=True)

    x, state0 = drawn(T, B, I), [drawn(len(layers) * wide, B, H) for _ in range(num_states)]
    mask = None if lengths is None else torch.tensor(np.arange(T) < lengths[:, None])
    y, finals = x.transpose(0, 1), []
    for place, layer in enumerate(layers):
        for one in (layer, *layer._flatten_layers(include_self=False)):
            if isinstance(one, L.RNN | L.Bidirectional):
                one.return_state = True
            if isinstance(one, L.RNN):
                one.zero_output_for_mask = True
        rows = [place * wide + direction for direction in range(wide)]
        y, *last = layer(y, initial_state=[part[row] for row in rows for part in state0], mask=mask)
        finals += [last[:num_states], last[num_states:]][:wide]
    outputs = [y.transpose(0, 1), *(torch.stack([one[k] for one in finals]) for k in range(num_states))]
    given = [torch.tensor(rng.normal(size=tuple(one.shape)).astype("float32")) for one in outputs]
    inputs = [weight.value for weight in model.weights] + [x, *state0]
    grads = as_numpy(torch.autograd.grad(outputs, inputs, given))
    (y_given, *state_given), (y, *state) = as_numpy(given), as_numpy(outputs)
    count = len(model.weights)
    return Answer(
        x=x.detach().numpy(),
        state0=tuple(as_numpy(state0)),
        dy=y_given,
        dstate=tuple(state_given),
        y=y,
        state=tuple(state),
        grads=grads[:count],
        dx=grads[count],
        dstate0=tuple(grads[count + 1 :]),
    )


def as_numpy(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [one.detach().numpy() for one in tensors]

"""Models of torch.nn with random weights, as users save them, and their layers run by our own backends."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.backend import registry
from common.weights import files
from common.weights.source import Found, WeightsFile

I, H, T, B = 3, 5, 4, 6


class Tagger(torch.nn.Module):
    """A whole model: the layers stand between an embedding and a head."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, I)
        self.encoder = torch.nn.ModuleDict(
            {
                "lstm": torch.nn.LSTM(I, H, 2, bidirectional=True, proj_size=2),
                "gru": torch.nn.GRU(4, H, 2, bidirectional=True),
                "rnn": torch.nn.RNN(2 * H, H, bidirectional=True, nonlinearity="relu"),
            }
        )
        self.cell = torch.nn.LSTMCell(2 * H, 4, bias=False)
        self.head = torch.nn.Linear(4, 2)
        self.to(dtype)
        for parameter in self.parameters():  # the biases of torch.nn would be small
            torch.nn.init.normal_(parameter, std=0.7)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        x = self.embedding(symbols)
        for layer in self.encoder.values():
            x = layer(x)[0]
        return self.head(self.cell(x[-1])[0])


LAYERS = {
    "encoder.lstm": "LSTM 2 layers bidirectional proj_size 2",
    "encoder.gru": "GRU 2 layers bidirectional",
    "encoder.rnn": "RNN relu bidirectional",
    "cell": "LSTMCell no bias",
}


def tagger(seed: int = 0, dtype: torch.dtype = torch.float64) -> Tagger:
    torch.manual_seed(seed)
    return Tagger(dtype)


def trained(model: torch.nn.Module) -> torch.optim.Optimizer:
    """An optimiser with moments, which have the shapes of the weights."""
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randint(11, (T, B))).square().sum().backward()
    optimizer.step()
    return optimizer


def read(folder: Path, value: Any, name: str = "own.pt", **options: Any) -> WeightsFile:
    torch.save(value, folder / name, **options)
    return files.read(folder / name)


def by_path(file: WeightsFile) -> dict[str, Found]:
    return {layer.path: layer for layer in file.layers or ()}


def labels(file: WeightsFile) -> dict[str, str]:
    return {layer.path: layer.problem or layer.spec.label for layer in file.layers or () if layer.spec}


def same_arrays(found: Mapping[str, np.ndarray], wanted: Mapping[str, Any], prefix: str = "") -> bool:
    """Whether these are the same names, dtypes and bits, in the same order."""
    expected = {prefix + name: value.detach().cpu() for name, value in wanted.items()}
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert str(value.dtype) == f"torch.{found[name].dtype.name}"
        assert found[name].shape == tuple(value.shape)
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable
        bits = value.contiguous().view(torch.uint8) if value.ndim else value.reshape(1).view(torch.uint8)
        assert bits.numpy().tobytes() == found[name].tobytes(), name
    return True


def runs_as(module: Any, layer: Found) -> Iterator[tuple[str, float]]:
    """Quantity -> how far our NumPy backend, given the layer that was read, is from the module that was saved."""
    spec, rng = layer.spec, np.random.default_rng(3)
    assert spec is not None
    x = rng.normal(size=(T, B, spec.input_size))
    states = tuple(rng.normal(size=shape) for shape in spec.state_shapes(B))
    dy, dstate = rng.normal(size=(T, B, spec.output_size)), tuple(rng.normal(size=part.shape) for part in states)
    ours = registry.load("numpy")
    y, last = ours.forward(spec, layer.params, x, states)
    grads = ours.vjp(spec, layer.params, x, states, dy, dstate)
    inputs = [torch.tensor(value, requires_grad=True) for value in (x, *states)]
    if spec.is_cell:
        state, outputs = tuple(part[0] for part in inputs[1:]), []
        for x_t in inputs[0]:
            state = module(x_t, state)
            outputs.append(state[0])
        wanted, final = torch.stack(outputs), tuple(part[None] for part in state)
    else:
        wanted, final = module(inputs[0], tuple(inputs[1:]) if len(states) > 1 else inputs[1])
        final = final if isinstance(final, tuple) else (final,)
    names = [name for name, _ in module.named_parameters()]
    leaves = [*module.parameters(), *inputs]
    found = torch.autograd.grad((wanted, *final), leaves, tuple(map(torch.tensor, (dy, *dstate))))
    for name, mine, theirs in [("y", y, wanted), *zip(spec.state_names, last, final, strict=True)]:
        yield name, float(np.abs(mine - theirs.detach().numpy()).max())
    for name, theirs in zip(names, found, strict=False):
        yield name, float(np.abs(grads.params[name] - theirs.numpy()).max())
    for name, mine, theirs in zip(("x", *spec.state_names), (grads.x, *grads.state0), found[len(names) :], strict=True):
        yield name, float(np.abs(mine - theirs.numpy()).max())

"""A peer for the tests of conversion: torch.nn's own modules, loaded with np.load, and faulty ones made of it.

It reads .npz files alone, by names that it makes itself, and takes from the layer that was found only its model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from common.weights.peers import PeerGradients
from common.weights.source import Found


class Loaded:
    def __init__(self, path: Path, layer: Found):
        spec = layer.spec
        assert spec is not None
        options: dict[str, Any] = {
            "bias": spec.bias,
            "num_layers": spec.num_layers,
            "bidirectional": spec.bidirectional,
        }
        if spec.cell == "RNN":
            options["nonlinearity"] = spec.nonlinearity
        if spec.proj_size:
            options["proj_size"] = spec.proj_size
        dtype = getattr(torch, spec.dtype)
        self.module = getattr(torch.nn, spec.cell)(spec.input_size, spec.hidden_size, dtype=dtype, **options)
        with np.load(path) as arrays:
            prefix = f"{layer.path}." if layer.path else ""
            state = {name: torch.tensor(arrays[prefix + name]) for name in self.module.state_dict()}
        self.module.load_state_dict(state)
        self.prefix = prefix

    def run(self, x: Any, state0: Any, lengths: Any) -> tuple[Any, tuple[Any, ...]]:
        given: Any = x if lengths is None else pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        y, state = self.module(given, state0 if len(state0) > 1 else state0[0])
        y = y if lengths is None else pad_packed_sequence(y, total_length=len(x))[0]
        return y, state if isinstance(state, tuple) else (state,)

    def forward(self, x: Any, state0: Any, lengths: Any = None) -> tuple[Any, tuple[Any, ...]]:
        with torch.no_grad():
            y, state = self.run(torch.tensor(x), tuple(map(torch.tensor, state0)), lengths)
        return y.numpy(), tuple(part.numpy() for part in state)

    def vjp(self, x: Any, state0: Any, dy: Any, dstate: Any, lengths: Any = None) -> PeerGradients:
        leaves = [torch.tensor(value, requires_grad=True) for value in (x, *state0)]
        y, state = self.run(leaves[0], tuple(leaves[1:]), lengths)
        weights: Mapping[str, torch.Tensor] = dict(self.module.named_parameters())
        outputs, cotangents = (y, *state), [torch.tensor(value) for value in (dy, *dstate)]
        found = torch.autograd.grad(outputs, [*weights.values(), *leaves], cotangents)
        arrays = {self.prefix + name: grad.numpy() for name, grad in zip(weights, found, strict=False)}
        return PeerGradients(arrays, found[len(weights)].numpy(), tuple(g.numpy() for g in found[len(weights) + 1 :]))


class Peer:
    name = "torch"
    dtypes = frozenset({"float32", "float64"})
    options = frozenset({"num_layers", "bidirectional", "proj_size", "lengths"})
    has_gradients = True

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def load(self, path: Path, layer: Found) -> Loaded:
        return Loaded(path, layer)


class WrongGradients(Peer):
    """Agrees in everything but the gradient of one array, by a thousandth part."""

    def load(self, path: Path, layer: Found) -> Any:
        loaded: Any = Loaded(path, layer)
        right = loaded.vjp

        def vjp(*args: Any) -> PeerGradients:
            found = right(*args)
            name = layer.names[-1]
            return found._replace(arrays={**found.arrays, name: found.arrays[name] * found.x.dtype.type(1.05)})

        loaded.vjp = vjp
        return loaded


class WrongState(Peer):
    """Agrees in everything but the final state of a ragged batch, which is that after the last step."""

    def load(self, path: Path, layer: Found) -> Any:
        loaded: Any = Loaded(path, layer)
        right = loaded.forward

        def forward(x: Any, state0: Any, lengths: Any = None) -> Any:
            y, state = right(x, state0, lengths)
            return y, state if lengths is None else right(x, state0)[1]

        loaded.forward = forward
        return loaded


class WithoutGradients(Peer):
    """As onnxruntime is: no gradients, no lengths, float32 alone."""

    dtypes = frozenset({"float32"})
    options = frozenset({"num_layers", "bidirectional"})
    has_gradients = False


PEER, WRONG_GRADIENTS, WRONG_STATE, WITHOUT_GRADIENTS = Peer(), WrongGradients(), WrongState(), WithoutGradients()

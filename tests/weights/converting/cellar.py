"""A system of the tests' own, "Cellar", with every convention that a conversion can get wrong, and its library.

Its LSTM has one layer in one direction, ``wx`` (I, 4H) and ``wh`` (H, 4H) with the gates in the order i, g, f, o along
the last axis, one bias, and adds 1 to f when it runs. The library is written here, in PyTorch's primitives, from this
paragraph; it uses nothing of the project.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.conversions.layouts import SUM, H, Layout, Part, X
from common.errors import InvalidInput, mismatch
from common.model.spec import ModelSpec
from common.weights.peers import PeerGradients
from common.weights.schemes.layers import found
from common.weights.source import Found, Where

GATES = "igfo"
LAYOUT = Layout(
    system="Cellar",
    owner="cellar.LSTM",
    cell="LSTM",
    parts=(Part("wx", X, GATES), Part("wh", H, GATES), Part("b", SUM, GATES, added={"f": 1.0})),
    source="this module",
    needs_bias=True,
    state=("h", "c"),
)
WHERE: Where = {"_l0": {part: f"cellar/{part}" for part in ("wx", "wh", "b")}}


def find(arrays: Mapping[str, np.ndarray]) -> Iterator[Found]:
    if "cellar/wx" in arrays:
        yield found("cellar", "cellar LSTM", WHERE, arrays)


def places(spec: ModelSpec) -> tuple[str, Where]:
    if spec.cell != "LSTM" or spec.state_rows > 1:
        raise InvalidInput(mismatch("model", "an LSTM of one layer in one direction", spec.label))
    return "cellar LSTM", WHERE


class Loaded:
    def __init__(self, path: Path):
        with np.load(path) as arrays:
            self.weights = {f"cellar/{name}": torch.tensor(arrays[f"cellar/{name}"]) for name in ("wx", "wh", "b")}

    def run(self, weights: Mapping[str, Any], x: Any, h: Any, c: Any) -> tuple[Any, ...]:
        outputs = []
        for x_t in x:
            a = x_t @ weights["cellar/wx"] + h @ weights["cellar/wh"] + weights["cellar/b"]
            i, g, f, o = torch.chunk(a, 4, dim=1)
            c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs), h, c

    def forward(self, x: Any, state0: Any, lengths: Any = None) -> Any:
        y, h, c = self.run(self.weights, *(torch.tensor(value) for value in (x, state0[0][0], state0[1][0])))
        return y.numpy(), (h.numpy()[None], c.numpy()[None])

    def vjp(self, x: Any, state0: Any, dy: Any, dstate: Any, lengths: Any = None) -> PeerGradients:
        leaves = [torch.tensor(value, requires_grad=True) for value in (x, state0[0][0], state0[1][0])]
        weights = {name: value.clone().requires_grad_() for name, value in self.weights.items()}
        cotangents = [torch.tensor(value) for value in (dy, dstate[0][0], dstate[1][0])]
        inputs = [*leaves, *weights.values()]
        grads = [grad.numpy() for grad in torch.autograd.grad(self.run(weights, *leaves), inputs, cotangents)]
        arrays = dict(zip(weights, grads[3:], strict=True))
        return PeerGradients(arrays, grads[0], (grads[1][None], grads[2][None]))


class Peer:
    name = "cellar"
    dtypes = frozenset({"float32", "float64"})
    options: frozenset[str] = frozenset()
    has_gradients = True

    def versions(self) -> dict[str, str]:
        return {"cellar": "1.0"}

    def load(self, path: Path, layer: Found) -> Loaded:
        return Loaded(path)


PEER = Peer()

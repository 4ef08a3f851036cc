"""Third-party modules of one layer in one direction, run as a model of several layers and directions.

Haiku and Equinox have neither layers nor directions nor lengths. What their users write around a core is written here
once: the reverse direction runs over each sequence turned around within its length, both outputs are joined, and the
next layer takes them. The modules compute every step; only where a sequence ends is chosen here.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.model.layout import layer_suffixes
from common.model.spec import ModelSpec
from common.weights.peers import PeerGradients
from common.weights.source import Found

from ..native import BOUNDARY

State = tuple[jax.Array, ...]
# A module, x (T, B, I) and its initial state, each (B, H) -> its state after every step, each (T, B, H).
Run = Callable[[Any, jax.Array, State], State]


class Modules:
    """Modules as their library has loaded them: ``modules`` by the suffix of the layer and direction, trees of JAX's.

    ``parts`` gives the arrays of such a tree by the names of the layout, ``where`` their names in the file. See
    ``common.weights.peers.Loaded``.
    """

    def __init__(
        self,
        layer: Found,
        modules: Mapping[str, Any],
        run: Run,
        parts: Callable[[Any], Mapping[str, jax.Array]],
    ):
        self.spec, self.where = usable(layer), layer.where
        self.modules, self.run, self.parts = dict(modules), run, parts
        self._forward, self._vjp = jax.jit(self._outputs), jax.jit(self._gradients)

    def forward(self, x: np.ndarray, state0: Any, lengths: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        return BOUNDARY.cross(self._forward, self.modules, x, state0, _ends(x, lengths))

    def vjp(
        self, x: np.ndarray, state0: Any, dy: np.ndarray, dstate: Any, lengths: np.ndarray | None = None
    ) -> PeerGradients:
        arguments = self.modules, x, state0, dy, dstate, _ends(x, lengths)
        modules, dx, dstate0 = BOUNDARY.cross(self._vjp, *arguments)
        arrays = {
            names[part]: np.asarray(value)
            for suffix, names in self.where.items()
            for part, value in self.parts(modules[suffix]).items()
        }
        return PeerGradients(arrays, dx, dstate0)

    def _gradients(self, modules: Any, x: Any, state0: Any, dy: Any, dstate: Any, ends: Any) -> Any:
        _, pull_back = jax.vjp(partial(self._outputs, ends=ends), modules, x, state0)
        return pull_back((dy, dstate))

    def _outputs(self, modules: Mapping[str, Any], x: Any, state0: State, ends: Any) -> tuple[jax.Array, State]:
        """y (T, B, D*H), 0 past the end of a sequence, and the final state."""
        steps = jnp.arange(len(x))[:, None]
        turned = jnp.where(steps < ends, ends - 1 - steps, steps)[:, :, None]
        finals, outputs = [], []
        for row, suffix in enumerate(layer_suffixes(self.spec)):
            reverse = row % self.spec.num_directions == 1
            inputs = jnp.take_along_axis(x, turned, axis=0) if reverse else x
            states = self.run(modules[suffix], inputs, tuple(part[row] for part in state0))
            finals.append(tuple(part[ends - 1, jnp.arange(len(ends))] for part in states))
            outputs.append(jnp.take_along_axis(states[0], turned, axis=0) if reverse else states[0])
            if len(outputs) == self.spec.num_directions:
                x = jnp.where((steps < ends)[:, :, None], jnp.concatenate(outputs, axis=2), 0)
                outputs = []
        return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def _ends(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """How many steps each sequence of x (T, B, I) has."""
    return np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)


def usable(layer: Found) -> ModelSpec:
    assert layer.spec is not None, layer.problem
    return layer.spec

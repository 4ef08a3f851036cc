"""The trace of one example (``common.tracing.trace``): JAX's derivatives with respect to zeros added in a cell's step.

JAX has no name for an intermediate value. So the step is copied, a zero is added after each of its tagged lines, and
the derivative with respect to that zero is the derivative with respect to the value. Every step has its own weights.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from common.model.layout import Weights
from common.tracing.collect import assigned, by_step, gathered
from common.tracing.trace import Example, Trace, require_example
from common.tracing.watch import perturbed, watching

from .native import precision, to_jax, to_numpy
from .stack import STEPS


def trace(example: Example) -> Trace:
    """Every value and derivative of ``Trace``."""
    require_example(example)
    cell = STEPS[example.spec.kind.layer]
    step, options, entering = perturbed(cell, "step").step, example.options, example.entering

    def loss(weights: list[Weights], inputs: list[jax.Array], eps: list[dict[str, jax.Array]]) -> Any:
        state, total = state0, jnp.zeros(())
        for t, (w, x_t) in enumerate(zip(weights, inputs, strict=True)):
            state = tuple(part + eps[t][name] for name, part in zip(entering, state, strict=True))
            state = step(w, x_t, state, **options, eps=eps[t])
            total += counted[t] * ((state[0] - target[t]) ** 2).sum() / 2
        return total

    with precision():
        w, x, target, counted = to_jax((example.weights, example.x, example.target, example.counted))
        state = state0 = to_jax(example.state)
        states = []
        with watching(Path(cell.__file__)) as events:
            for x_t in x:
                states.append(dict(zip(entering, state, strict=True)))
                state = cell.step(w, x_t, state, **options)
        values = [before | assigned(step) for before, step in zip(states, by_step(events), strict=True)]
        inputs, zeros = list(x), jax.tree.map(jnp.zeros_like, values)
        derivatives = jax.grad(loss, argnums=(0, 1, 2))([w] * len(inputs), inputs, zeros)
        return gathered(to_numpy(values), *to_numpy(derivatives))

"""The trace of one example (``common.tracing.trace``): tensors of a cell's tagged lines, and autograd's derivatives.

Every step has its own weights, so that its contribution to their gradient can be separated. Where a line gives a state
a second name, as (G7) does in a GRU, both names are one tensor with one derivative; there, as in JAX, a zero is added.
"""

from pathlib import Path
from typing import Any

import torch

from common.model.layout import Weights
from common.tracing.collect import assigned, by_step, gathered
from common.tracing.trace import Example, Trace, require_example
from common.tracing.watch import perturbed, watching

from .native import precision, to_numpy, to_torch
from .stack import STEPS


def trace(example: Example) -> Trace:
    """Every value and derivative of ``Trace``."""
    require_example(example)
    cell = STEPS[example.spec.kind.layer]
    with precision():
        x, target, counted, state = map(to_torch, (example.x, example.target, example.counted, example.state))
        inputs = [x_t.clone().requires_grad_() for x_t in x]
        weights = [Weights(*to_torch(tuple(example.weights))) for _ in inputs]
        for part in state:
            part.requires_grad_()
        leaves = inputs + [part.requires_grad_() for w in weights for part in w if part is not None]
        loss, states, zeros = x.new_zeros(()), [], []
        renamed = _renamed(cell, weights[0], inputs[0], state, example.options)
        step = perturbed(cell, "step").step if renamed else cell.step
        with watching(Path(cell.__file__)) as events:
            for t, (w, x_t) in enumerate(zip(weights, inputs, strict=True)):
                # A view for this step alone: its derivative leaves out what the loss of the step before sends.
                state = tuple(part.view_as(part) for part in state)
                states.append(dict(zip(example.entering, state, strict=True)))
                zeros.append({name: torch.zeros_like(state[0], requires_grad=True) for name in renamed})
                eps = {"eps": zeros[-1]} if renamed else {}
                state = step(w, x_t, state, **example.options, **eps)
                loss = loss + counted[t] * ((state[0] - target[t]) ** 2).sum() / 2
        values = [before | assigned(step) for before, step in zip(states, by_step(events), strict=True)]
        for zero, named in zip(zeros, values, strict=True):
            leaves += [zero.get(name, value) for name, value in named.items()]
        # The derivative with respect to a value that a step computes but does not use, as a faulty one may, is zero.
        grads = iter(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))
        dx = [to_numpy(next(grads)) for _ in inputs]
        dweights = [Weights(*(None if part is None else to_numpy(next(grads)) for part in w)) for w in weights]
        dvalues = [{name: to_numpy(next(grads)) for name in named} for named in values]
        return gathered([to_numpy(named) for named in values], dweights, dx, dvalues)


def _renamed(cell: Any, w: Weights, x: torch.Tensor, state: tuple[torch.Tensor, ...], options: Any) -> tuple[str, ...]:
    """The names that lines of a step give to an entering state as it is."""
    with watching(Path(cell.__file__), keep=lambda value: value) as events, torch.no_grad():
        cell.step(w, x, state, **options)
    return tuple(name for name, value in assigned(events).items() if any(value is part for part in state))

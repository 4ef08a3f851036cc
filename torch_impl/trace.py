"""The trace of one example (``common.tracing.trace``): tensors of a cell's tagged lines, and autograd's derivatives.

Every step has its own weights, so that its contribution to their gradient can be separated.
"""

from pathlib import Path

import torch

from common.model.layout import Weights
from common.tracing.collect import assigned, by_step, gathered
from common.tracing.trace import Example, Trace, require_example
from common.tracing.watch import watching

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
        loss, states = x.new_zeros(()), []
        with watching(Path(cell.__file__)) as events:
            for t, (w, x_t) in enumerate(zip(weights, inputs, strict=True)):
                # A view for this step alone: its derivative leaves out what the loss of the step before sends.
                state = tuple(part.view_as(part) for part in state)
                states.append(dict(zip(example.entering, state, strict=True)))
                state = cell.step(w, x_t, state, **example.options)
                loss = loss + counted[t] * ((state[0] - target[t]) ** 2).sum() / 2
        values = [before | assigned(step) for before, step in zip(states, by_step(events), strict=True)]
        leaves += [tensor for step in values for tensor in step.values()]
        # The derivative with respect to a value that a step computes but does not use, as a faulty one may, is zero.
        grads = iter(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))
        dx = [to_numpy(next(grads)) for _ in inputs]
        dweights = [Weights(*(None if part is None else to_numpy(next(grads)) for part in w)) for w in weights]
        dvalues = [{name: to_numpy(next(grads)) for name in step} for step in values]
        return gathered([to_numpy(step) for step in values], dweights, dx, dvalues)

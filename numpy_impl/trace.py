"""The trace of one example (``common.tracing.trace``): what the tagged lines of a cell and of ``unroll`` assign.

The only thing computed for it is the gradient of the loss with respect to h; the da of several gates is theirs side by
side, and so is a GRU's dq.

>>> from common.model.spec import ModelSpec
>>> from common.tracing.examples import example
>>> from numpy_impl.trace import trace
>>> arrays = trace(example(ModelSpec(cell="RNN", input_size=2, hidden_size=3), steps=4, seed=0)).arrays
>>> arrays["h"].shape, arrays["dh"].shape, arrays["dweight_hh_step"].shape
((4, 3), (4, 3), (4, 3, 3))
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.model.layout import named_weights
from common.tracing.collect import assigned, by_step, stacked
from common.tracing.trace import Example, Step, Trace, require_example
from common.tracing.watch import Event, watching

from . import unroll
from .stack import STEPS


def trace(example: Example) -> Trace:
    """The values and derivatives of ``Trace`` that lines compute, which leaves out ``di`` or ``dz``, and the log.

    Besides them ``dy``, the gradient of h from the loss of its own step, and ``da_i``, ... of every gate, each (T, H).
    """
    require_example(example)
    w, options = example.weights, example.options
    cell = STEPS[example.spec.kind.layer]
    files = [Path(module.__file__ or "") for module in (cell, unroll)]
    with watching(*files) as forth:
        h, last, tapes = unroll.forward(partial(cell.forward, **options), w, example.x, example.state)
    dy, dlast = np.where(example.counted[:, None, None], h - example.target, 0), tuple(map(np.zeros_like, last))
    with watching(*files) as back:
        unroll.backward(partial(cell.backward, **options), w, tapes, dy, dlast)
    times = range(len(example.x))
    log = [Step(t, "forward", events) for t, events in zip(times, by_step(forth), strict=True)]
    log += [Step(t, "backward", events) for t, events in zip(reversed(times), by_step(back), strict=True)]
    letters = example.spec.kind.letters
    backward = [derivatives(step.events, letters) for step in reversed(log[len(times) :])]
    arrays = {"dy": dy[:, 0]} | stacked([assigned(step.events) for step in log[: len(times)]])
    return Trace(arrays | stacked(backward), tuple(log))


def derivatives(events: tuple[Event, ...], letters: tuple[str, ...]) -> dict[str, Any]:
    """What one step on the way back assigned, under the names of a trace."""
    values = assigned(events)
    state, total = values.pop("dstate"), values.pop("total")
    found = {f"{name}_step" if name.startswith(("dweight", "dbias")) else name: v for name, v in values.items()}
    found |= dict(zip(("dh", "dc_next"), state, strict=False))
    found |= {f"d{name}": part for name, part in named_weights(total, "").items()}
    if letters:
        found["da"] = np.concatenate([found[f"da_{letter}"] for letter in letters], axis=1)
    if "dq_n" in found:
        found["dq"] = np.concatenate([found["da_r"], found["da_z"]], axis=1)
    return found

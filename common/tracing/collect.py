"""Turns the events and values of the single steps into the arrays of a trace."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import InvalidInput, mismatch
from common.model.layout import Weights
from common.tracing.trace import Trace
from common.tracing.watch import Event


def by_step(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """The events of every step; a step begins wherever the tag of the first event appears."""
    if not events:
        raise InvalidInput(mismatch("tagged lines executed", "at least one", 0))
    begins = [place for place, event in enumerate(events) if event.tag == events[0].tag]
    return [tuple(events[start:end]) for start, end in zip(begins, [*begins[1:], len(events)], strict=True)]


def assigned(events: Sequence[Event]) -> dict[str, Any]:
    """Name -> the value that it has at the end."""
    return {name: value for event in events for name, value in event.values.items()}


def stacked(steps: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The values of every step, each (1, H) except for weights and biases -> arrays (T, H)."""
    arrays = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
    return {k: v if k.startswith(("dweight", "dbias")) else v[:, 0] for k, v in arrays.items()}


def gathered(
    values: Sequence[Mapping[str, Any]],
    dweights: Sequence[Weights],
    dx: Sequence[Any],
    dvalues: Sequence[Mapping[str, Any]],
) -> Trace:
    """The trace made from the values and derivatives of every step, where each step has its own weights."""
    steps = []
    for of_value, dw, dx_t, d in zip(values, dweights, dx, dvalues, strict=True):
        contributions = {f"d{name}_step": part for name, part in dw._asdict().items() if part is not None}
        steps.append({**of_value, **{f"d{name}": part for name, part in d.items()}, "dx": dx_t, **contributions})
    arrays = stacked(steps)
    for name in [name for name in arrays if name.endswith("_step")]:
        arrays[name.removesuffix("_step")] = arrays[name][::-1].cumsum(axis=0)[::-1]
    return Trace(arrays | from_later(arrays))


def from_later(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``dc_next``, which arrives at a step: what the step after sends back, and zero at the last step."""
    sent = arrays.get("dc_prev")
    return {} if sent is None else {"dc_next": np.concatenate([sent[1:], 0 * sent[:1]])}

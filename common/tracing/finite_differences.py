"""The derivatives of a trace by central differences (f(z + d) - f(z - d)) / 2d over a forward step in NumPy.

They do not rely on the chain rule, but lose a third of the digits: the error is of the order d^2 + 1e-16 / d.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from common.model.layout import Weights
from common.tracing.collect import assigned, from_later, stacked
from common.tracing.trace import Example, Trace, require_example
from common.tracing.watch import perturbed, watching

STEP = 1e-5


def trace(
    example: Example,
    cell: ModuleType,
    units: Sequence[int] | None = None,
    features: Sequence[int] | None = None,
    done: Callable[[], object] = lambda: None,
) -> Trace:
    """Every derivative of L, with ``forward`` of a module as the step: weights, x_t (1, I), state -> state and tape.

    The accumulated gradient at step t is the difference for weights that are changed from step t on. With ``units`` and
    ``features`` (numbers of hidden units and of inputs, from 0), everything that belongs to others is NaN, because many
    take long. ``done`` is called after each of the T steps.
    """
    require_example(example)
    with watching(Path(cell.__file__ or "")) as events:
        cell.forward(example.weights, example.x[0], example.state, **example.options)
    shapes = {name: value.shape for name, value in assigned(events).items()}
    forward, T = perturbed(cell, "forward").forward, len(example.x)

    def loss(t: int, later: Weights, x_t: np.ndarray, eps: dict[str, np.ndarray]) -> float:
        """L with other weights from step t on, and another input and other intermediates at step t."""
        state, total = example.state, 0.0
        for s in range(T):
            w, x = example.weights if s < t else later, x_t if s == t else example.x[s]
            if s == t:
                state = tuple(part + eps[name] for name, part in zip(example.entering, state, strict=True))
            state, _ = forward(w, x, state, **example.options, eps=eps if s == t else {})
            total += example.counted[s] * ((state[0] - example.target[s]) ** 2).sum() / 2
        return total

    steps = []
    for t in range(T):
        w, x_t = Weights(*(None if part is None else part.copy() for part in example.weights)), example.x[t].copy()
        eps = {name: np.zeros(shape) for name, shape in shapes.items()}
        eps |= {name: np.zeros_like(part) for name, part in zip(example.entering, example.state, strict=True)}
        moved = {**eps, "x": x_t, **{name: part for name, part in w._asdict().items() if part is not None}}

        def here(t: int = t, w: Weights = w, x_t: np.ndarray = x_t, eps: dict[str, np.ndarray] = eps) -> float:
            return loss(t, w, x_t, eps)

        slopes = {
            name: differences(here, array, _chosen(name, example, units, features)) for name, array in moved.items()
        }
        steps.append({f"d{name}": array for name, array in slopes.items()})
        done()
    arrays = stacked(steps)
    return Trace(arrays | from_later(arrays))


def forward_steps(example: Example, units: Sequence[int] | None = None, features: Sequence[int] | None = None) -> int:
    """How many steps of the cell ``trace`` computes for these units and features; many are slow for large networks."""
    spec, T = example.spec, len(example.x)
    U = spec.hidden_size if units is None else len(units)
    I = spec.input_size if features is None else len(features)
    products = 4 if "z" in spec.kind.letters else 0  # the state's side of a GRU's gates, s and q_n
    blocks = 2 * spec.num_blocks + 2 * len(spec.state_names) + products
    weights = spec.num_blocks * U * (I + U + (2 if spec.bias else 0))
    return 2 * T * T * (blocks * U + I + weights)


def seconds(example: Example, units: Sequence[int] | None = None, features: Sequence[int] | None = None) -> float:
    """About how long they take: 40 microseconds a step, and 1.5 nanoseconds for each number of the weights in it."""
    size = sum(value.size for value in example.params.values())
    return forward_steps(example, units, features) * (40e-6 + 1.5e-9 * size)


def _chosen(
    name: str, example: Example, units: Sequence[int] | None, features: Sequence[int] | None
) -> Callable[[tuple[int, ...]], bool]:
    """Whether an element is wanted: rows of weights, columns of W_hh and of states belong to a unit, others to x."""
    H = example.spec.hidden_size
    axes = {"x": (), "weight_ih": (0,), "weight_hh": (0, 1)}.get(name, (-1,))
    reads_x = name in ("x", "weight_ih")

    def is_wanted(index: tuple[int, ...]) -> bool:
        if reads_x and features is not None and index[-1] not in features:
            return False
        return units is None or all(index[axis] % H in units for axis in axes)

    return is_wanted


def differences(
    function: Callable[[], float], array: np.ndarray, chosen: Callable[[tuple[int, ...]], bool] = lambda _: True
) -> np.ndarray:
    """The derivative of a function that reads ``array``; each chosen element is changed in place and restored."""
    derivative = np.full_like(array, np.nan)
    for index in filter(chosen, np.ndindex(array.shape)):
        value = array[index]
        d = STEP * max(1.0, abs(value))
        array[index] = above = value + d
        high = function()
        array[index] = below = value - d
        derivative[index] = (high - function()) / (above - below)
        array[index] = value
    return derivative

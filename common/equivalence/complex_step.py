"""The complex-step derivative (Squire & Trapp 1998), by which BPTT by hand is judged.

f(z + ih) = f(z) + ih f'(z) + O(h^2), so Im f(z + ih) / h is f'(z), and no difference of close numbers is taken: h can
be so small that the result is right to the last digits, where finite differences lose half of them.
"""

from collections.abc import Callable

import numpy as np

from common.backend.contract import Backend, Grads, Problem
from common.model.masks import Masks, as_masks
from common.model.spec import COMPLEX, ModelSpec

STEP = 1e-30
DIRECTIONS = 2


def complex_step(backend: Backend, spec: ModelSpec, problem: Problem, along: Grads | None = None) -> Grads:
    """The gradients of sum(dy * y) + sum(dstate * state): one forward pass in complex128 for each element.

    With ``along``, one forward pass for each of those directions instead, and the derivatives along them
    (``directions``).
    """
    spec = spec.with_dtype(COMPLEX)
    leaves = {name: value.astype(COMPLEX) for name, value in problem.params.items()}
    state0 = problem.state0
    if state0 is None:
        state0 = tuple(np.zeros_like(part) for part in problem.dstate)
    x, state = problem.x.astype(COMPLEX), tuple(part.astype(COMPLEX) for part in state0)
    masks = as_masks(problem.masks)
    if masks is not None:
        masks = Masks(*(None if mask is None else mask.astype(COMPLEX) for mask in masks)).simplest
    keywords = problem._replace(masks=masks).keywords

    def derivative() -> float:
        y, final = backend.forward(spec, leaves, x, state, **keywords)
        parts = zip((problem.dy, *problem.dstate), (y, *final), strict=True)
        return sum((cotangent * np.imag(output)).sum() for cotangent, output in parts) / STEP

    def gradient(leaf: np.ndarray, steps: np.ndarray | None) -> np.ndarray:
        original = leaf.copy()
        if steps is not None:
            derivatives = []
            for direction in steps:
                leaf += 1j * STEP * direction
                derivatives.append(derivative())
                leaf[...] = original
            return np.array(derivatives)
        grad = np.empty(leaf.shape)
        for index in np.ndindex(leaf.shape):
            leaf[index] = original[index] + 1j * STEP
            grad[index] = derivative()
            leaf[index] = original[index]
        return grad

    params, of_x, of_state = along or Grads({}, None, (None,) * len(state))  # pyright: ignore
    return Grads(
        {name: gradient(leaf, params.get(name)) for name, leaf in leaves.items()},
        gradient(x, of_x),
        tuple(gradient(part, direction) for part, direction in zip(state, of_state, strict=True)),
    )


def directions(grads: Grads, rng: np.random.Generator) -> Grads:
    """``DIRECTIONS`` random directions for each array, along its new first axis.

    Their signs are random, so that rounding accumulates as it does in sums; no element is left out; and they are scaled
    so that a derivative is about as large as an element of the gradient.
    """

    def draw(grad: np.ndarray) -> np.ndarray:
        shape = (DIRECTIONS, *grad.shape)
        return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape) / grad.size**0.5

    return _each(draw, grads)


def inner(grads: Grads, along: Grads) -> Grads:
    """The derivatives in the directions ``along``, array by array, in the dtype of the gradients."""

    def derivatives(grad: np.ndarray, steps: np.ndarray) -> np.ndarray:
        return (steps.reshape(DIRECTIONS, -1) @ grad.ravel().astype("float64")).astype(grad.dtype)

    return _each(derivatives, grads, along)


def _each(function: Callable[..., np.ndarray], grads: Grads, *others: Grads) -> Grads:
    """``function`` applied to each array of the gradients together with the matching arrays of the others."""
    params = {name: function(grad, *(other.params[name] for other in others)) for name, grad in grads.params.items()}
    states = tuple(function(*parts) for parts in zip(grads.state0, *(other.state0 for other in others), strict=True))
    return Grads(params, function(grads.x, *(other.x for other in others)), states)

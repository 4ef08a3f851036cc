"""The complex-step derivative (Squire & Trapp 1998), the judge of BPTT by hand.

f(z + ih) = f(z) + ih f'(z) + O(h^2), so Im f(z + ih) / h is f'(z), and no difference of close numbers is taken: h can
be so small that the result is right to the last digits, where finite differences lose half of them.
"""

import numpy as np

from common.contract import Backend, Grads, Problem
from common.spec import COMPLEX, ModelSpec

STEP = 1e-30


def complex_step(backend: Backend, spec: ModelSpec, problem: Problem, along: Grads | None = None) -> Grads:
    """The gradients of sum(dy * y) + sum(dstate * state), one forward pass of the backend in complex128 an element.

    With ``along`` one forward pass an array instead: the derivative in that direction, a number.
    """
    spec = spec.with_dtype(COMPLEX)
    leaves = {name: value.astype(COMPLEX) for name, value in problem.params.items()}
    state0 = problem.state0
    if state0 is None:
        state0 = tuple(np.zeros_like(part) for part in problem.dstate)
    x, state = problem.x.astype(COMPLEX), tuple(part.astype(COMPLEX) for part in state0)
    masks = None if problem.masks is None else problem.masks.astype(COMPLEX)

    def derivative() -> float:
        y, final = backend.forward(spec, leaves, x, state, lengths=problem.lengths, masks=masks)
        parts = zip((problem.dy, *problem.dstate), (y, *final), strict=True)
        return sum((cotangent * np.imag(output)).sum() for cotangent, output in parts) / STEP

    def gradient(leaf: np.ndarray, direction: np.ndarray | None) -> np.ndarray:
        kept = leaf.copy()
        if direction is not None:
            leaf += 1j * STEP * direction
            found = np.array(derivative())
            leaf[...] = kept
            return found
        grad = np.empty(leaf.shape)
        for index in np.ndindex(leaf.shape):
            leaf[index] = kept[index] + 1j * STEP
            grad[index] = derivative()
            leaf[index] = kept[index]
        return grad

    params, of_x, of_state = along or Grads({}, None, (None,) * len(state))  # pyright: ignore
    return Grads(
        {name: gradient(leaf, params.get(name)) for name, leaf in leaves.items()},
        gradient(x, of_x),
        tuple(gradient(part, direction) for part, direction in zip(state, of_state, strict=True)),
    )


def directions(grads: Grads) -> Grads:
    """A direction for each array, along which no two elements of its gradient cancel: the signs of the gradient."""
    return Grads(
        {name: _signs(grad) for name, grad in grads.params.items()}, _signs(grads.x), tuple(map(_signs, grads.state0))
    )


def inner(grads: Grads, along: Grads) -> Grads:
    """The derivative in the direction ``along``, array by array."""
    return Grads(
        {name: (grad * along.params[name]).sum() for name, grad in grads.params.items()},
        (grads.x * along.x).sum(),
        tuple((grad * signs).sum() for grad, signs in zip(grads.state0, along.state0, strict=True)),
    )


def _signs(grad: np.ndarray) -> np.ndarray:
    return np.where(grad < 0, -1, 1).astype(grad.dtype)

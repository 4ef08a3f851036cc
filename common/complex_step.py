"""The complex-step derivative (Squire & Trapp 1998), the judge of BPTT by hand.

f(z + ih) = f(z) + ih f'(z) + O(h^2), so Im f(z + ih) / h is f'(z), and no difference of close numbers is taken: h can
be so small that the result is right to the last digits, where finite differences lose half of them.
"""

import numpy as np

from common.contract import Backend, Grads, Problem
from common.spec import COMPLEX, ModelSpec

STEP = 1e-30


def complex_step(backend: Backend, spec: ModelSpec, problem: Problem) -> Grads:
    """The gradients of sum(dy * y) + sum(dstate * state), one forward pass of the backend in complex128 an element."""
    spec = spec.with_dtype(COMPLEX)
    leaves = {name: value.astype(COMPLEX) for name, value in problem.params.items()}
    state0 = problem.state0
    if state0 is None:
        state0 = tuple(np.zeros_like(part) for part in problem.dstate)
    x, state = problem.x.astype(COMPLEX), tuple(part.astype(COMPLEX) for part in state0)

    def derivative(leaf: np.ndarray) -> np.ndarray:
        grad = np.empty(leaf.shape)
        for index in np.ndindex(leaf.shape):
            value = leaf[index]
            leaf[index] = value + 1j * STEP
            y, final = backend.forward(spec, leaves, x, state)
            leaf[index] = value
            parts = zip((problem.dy, *problem.dstate), (y, *final), strict=True)
            grad[index] = sum((cotangent * np.imag(output)).sum() for cotangent, output in parts) / STEP
        return grad

    return Grads({k: derivative(leaf) for k, leaf in leaves.items()}, derivative(x), tuple(map(derivative, state)))

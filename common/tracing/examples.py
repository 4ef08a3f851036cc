"""Examples to trace: random data for a cell, with random weights or with weights that are given."""

from typing import Any

import numpy as np

from common.model.initial import initial_parameters
from common.model.layout import Parameters
from common.model.spec import ModelSpec
from common.model.validate import require_positive_int, require_seed
from common.tracing.trace import Example


def example(
    spec: ModelSpec, params: Parameters | None = None, *, steps: int, seed: int, x: np.ndarray | None = None
) -> Example:
    """One sequence of ``steps`` standard normal inputs, targets within +-0.8, and an initial state that is not zero.

    Without ``params`` the weights are ``initial_parameters`` of the seed. The loss counts every step. Inputs x (T, 1,
    I) that are given start from a state of zeros, as torch.nn does.
    """
    require_positive_int("steps", steps)
    require_seed(seed)
    rng = np.random.default_rng([seed, 7])
    drawn = rng.standard_normal((steps, 1, spec.input_size))
    target = rng.uniform(-0.8, 0.8, (steps, 1, spec.hidden_size))
    state0: Any = tuple(0.5 * rng.standard_normal(shape) for shape in spec.state_shapes(1))
    if x is not None:
        state0 = tuple(np.zeros(shape) for shape in spec.state_shapes(1))
    params = initial_parameters(spec, seed) if params is None else params
    return Example(
        spec=spec,
        params=params,
        x=drawn if x is None else x,
        target=target,
        state0=state0,
        counted=np.ones(steps),
    )

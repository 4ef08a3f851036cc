"""A small example to trace, for any model of one layer."""

import numpy as np

from common.model.initial import initial_parameters
from common.model.spec import ModelSpec
from common.tracing.trace import Example

T, I, H = 4, 2, 3
RNN, LSTM, GRU = (ModelSpec(cell=cell, input_size=I, hidden_size=H) for cell in ("RNN", "LSTM", "GRU"))
EXACT, DIFFERENCES = 1e-12, 1e-7


def example(spec: ModelSpec, counted: tuple[int, ...] = (1, 1, 1, 1)) -> Example:
    rng = np.random.default_rng(7)
    x, target = rng.standard_normal((T, 1, I)), rng.standard_normal((T, 1, H))
    state0 = tuple(rng.standard_normal((1, 1, H)) for _ in spec.state_names)
    return Example(spec, initial_parameters(spec, 3), x, target, state0, np.array(counted, "float64"))

"""The NumPy implementation behind the contract of ``common.contract.Backend``."""

import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from common.contract import (
    Batch,
    Grads,
    Problem,
    State,
    check_batch,
    check_forward,
    check_problem,
    check_run,
    check_vjp,
    zero_state,
)
from common.layout import Parameters, join_network, split_network
from common.spec import CELLS, COMPLEX, DTYPES, OPTIONS, ModelSpec, RunSpec

from . import optim, readout, stack


class NumpyTrainer:
    """See ``common.contract.Trainer``."""

    def __init__(self, run: RunSpec, params: Parameters, forward: Any = stack.forward, backward: Any = stack.backward):
        self.run = run
        self._core = forward, backward
        self.optimizer = optim.build(run.optimizer)
        self._params = {name: value.copy() for name, value in params.items()}
        self._state = self.optimizer.init(self._params)

    def _forward(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, Any]:
        check_batch(self.run, batch)
        model = self.run.network.model
        recurrent, out = split_network(self._params)
        zero = zero_state(model, batch.x.shape[1])
        y, _, tapes = self._core[0](model, recurrent, batch.x, zero, None, batch.masks)
        return readout.forward(out, y, self.run.network.readout), y, tapes

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        model, kind = self.run.network.model, self.run.network.readout
        recurrent, out = split_network(self._params)
        prediction, y, tapes = self._forward(batch)
        loss, dprediction = readout.mse(prediction, batch.target)
        out_grads, dy = readout.backward(out, y, kind, dprediction)
        grads, _, _ = self._core[1](model, recurrent, tapes, dy, zero_state(model, y.shape[1]))
        return float(loss), join_network(grads, out_grads)

    def step(self, batch: Batch) -> float:
        loss, grads = self.gradients(batch)
        self._update(grads)
        return loss

    def _update(self, grads: Parameters) -> None:
        self._params, self._state = self.optimizer.update(grads, self._state, self._params)

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        prediction, _, _ = self._forward(batch)
        return float(readout.mse(prediction, batch.target)[0]), prediction

    def params(self) -> Parameters:
        return {name: value.copy() for name, value in self._params.items()}

    def wait(self) -> None:
        """NumPy has computed by the time it returns."""


class NumpyBackend:
    """See ``common.contract.Backend``."""

    name = "numpy"
    oracle = False
    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset({*DTYPES, "float16", COMPLEX})
    options: frozenset[str] = frozenset(OPTIONS)
    _forward = staticmethod(stack.forward)
    _backward = staticmethod(stack.backward)

    def forward(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: State | None = None,
        *,
        lengths: np.ndarray | None = None,
        masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, State]:
        state0 = check_forward(self, spec, params, x, state0, lengths, masks)
        y, state, _ = self._forward(spec, params, x, state0, lengths, masks)
        return y, state

    def vjp(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: State | None,
        dy: np.ndarray,
        dstate: State,
        *,
        lengths: np.ndarray | None = None,
        masks: np.ndarray | None = None,
    ) -> Grads:
        state0 = check_forward(self, spec, params, x, state0, lengths, masks)
        check_vjp(spec, x, dy, dstate)
        _, _, tapes = self._forward(spec, params, x, state0, lengths, masks)
        return Grads(*self._backward(spec, params, tapes, dy, dstate))

    def trainer(self, run: RunSpec, params: Parameters) -> NumpyTrainer:
        check_run(self, run, params)
        return NumpyTrainer(run, params)

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        params, x, _, dy, dstate, lengths, masks = problem
        state0 = check_problem(self, spec, problem)

        def run() -> None:
            _, _, tapes = self._forward(spec, params, x, state0, lengths, masks)
            if backward:
                self._backward(spec, params, tapes, dy, dstate)

        return run

    def environment(self) -> dict[str, Any]:
        import threadpoolctl  # here, so that the backend itself needs NumPy alone

        blas = [
            {key: lib[key] for key in ("internal_api", "version", "architecture", "num_threads") if key in lib}
            for lib in threadpoolctl.threadpool_info()
            if lib["user_api"] == "blas" and "numpy" in lib["filepath"]
        ]
        return {
            "numpy": np.__version__,
            "python": platform.python_version(),
            "device": "cpu",
            "blas": blas[0] if blas else {"internal_api": "not recognised by threadpoolctl"},
            "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(("OPENBLAS_", "OMP_", "MKL_"))},
        }


BACKEND = NumpyBackend()

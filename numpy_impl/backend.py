"""The NumPy implementation behind the contract of ``common.backend.contract.Backend``."""

import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from common.backend.contract import Batch, Grads, Problem, State
from common.backend.guards import (
    require_forward,
    require_inputs,
    require_predict,
    require_problem,
    require_run,
    require_vjp,
)
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import CELLS, COMPLEX, DTYPES, OPTIONS, ModelSpec

from . import stack
from .network import Core
from .network import forward as forward_network
from .trainer import NumpyTrainer


class NumpyBackend:
    """See ``common.backend.contract.Backend``."""

    name = "numpy"
    oracle = False
    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset({*DTYPES, "float16", COMPLEX})
    options: frozenset[str] = frozenset(OPTIONS)
    _forward = staticmethod(stack.forward)
    _backward = staticmethod(stack.backward)

    @property
    def _core(self) -> Core:
        return Core(self._forward, self._backward)

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
        state0 = require_forward(self, spec, params, x, state0, lengths, masks)
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
        state0 = require_forward(self, spec, params, x, state0, lengths, masks)
        require_vjp(spec, x, dy, dstate)
        _, _, tapes = self._forward(spec, params, x, state0, lengths, masks)
        return Grads(*self._backward(spec, params, tapes, dy, dstate))

    def trainer(self, run: RunSpec, params: Parameters) -> NumpyTrainer:
        require_run(self, run, params)
        return NumpyTrainer(run, params)

    def predict(
        self, network: NetworkSpec, params: Parameters, batch: Batch, state0: State | None = None
    ) -> tuple[np.ndarray, State]:
        require_inputs(network, batch)
        state0 = require_predict(self, network, params, batch, state0)
        prediction, state, _ = forward_network(network, params, batch, state0, self._core)
        return prediction, state

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        params, x, _, dy, dstate, lengths, masks = problem
        state0 = require_problem(self, spec, problem)

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

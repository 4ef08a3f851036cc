"""The NumPy implementation as a backend: the hooks of ``common.backend.base.Adapter``."""

import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from common.backend.base import Adapter, Boundary
from common.backend.contract import Batch, State
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import CELLS, COMPLEX, DTYPES, OPTIONS, ModelSpec

from . import stack
from .network import Core
from .network import forward as forward_network
from .trainer import NumpyTrainer


class NumpyBackend(Adapter):
    """Native arrays are NumPy's own, so nothing is copied on the way in, and every result is a new array."""

    name = "numpy"
    oracle = False
    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset({*DTYPES, "float16", COMPLEX})
    options: frozenset[str] = frozenset(OPTIONS)
    boundary = Boundary()
    _forward = staticmethod(stack.forward)
    _backward = staticmethod(stack.backward)

    def compute_forward(
        self, spec: ModelSpec, params: Any, x: Any, state0: Any, lengths: Any, masks: Any, mask: Any
    ) -> tuple[np.ndarray, State]:
        y, state, _ = self._forward(spec, params, x, state0, lengths, masks, mask)
        return y, state

    def compute_vjp(self, spec: ModelSpec, problem: Any) -> tuple[Parameters, np.ndarray, State]:
        params, x, state0, dy, dstate, *given = problem
        _, _, tapes = self._forward(spec, params, x, state0, *given)
        return self._backward(spec, params, tapes, dy, dstate)

    def compute_predict(self, network: NetworkSpec, params: Any, batch: Batch, state0: Any) -> tuple[np.ndarray, State]:
        prediction, state, _ = forward_network(network, params, batch, state0, Core(self._forward, self._backward))
        return prediction, state

    def timed_function(self, spec: ModelSpec, backward: bool) -> Callable[[Any], Any]:
        if backward:
            return lambda problem: self.compute_vjp(spec, problem)
        return lambda problem: self._forward(spec, *problem[:3], **problem.keywords)

    def build_trainer(self, run: RunSpec, params: Parameters) -> NumpyTrainer:
        return NumpyTrainer(run, params)

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

"""The JAX implementation behind the contract of ``common.backend.contract.Backend``.

Every call runs under ``precision()``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from jaxlib.version import __version__ as jaxlib_version

from common.backend.contract import Batch, Grads, Problem
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
from common.model.spec import CELLS, DTYPES, HALF_DTYPES, OPTIONS, ModelSpec

from . import stack
from .native import MATMUL_PRECISION, precision, to_jax, to_numpy
from .network import Core
from .network import forward as forward_network
from .trainer import JaxTrainer


class JaxBackend:
    """See ``common.backend.contract.Backend``; ``core`` is our own stack, or an oracle's."""

    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset((*DTYPES, *HALF_DTYPES))
    options: frozenset[str] = frozenset(OPTIONS)

    def __init__(self, name: str, core: Core, *, oracle: bool):
        self.name, self.oracle, self._core = name, oracle, core
        self._forward = jax.jit(core, static_argnums=0)
        self._vjp = jax.jit(self._native_vjp, static_argnums=0)
        self._predict = jax.jit(partial(forward_network, core), static_argnums=0)

    def _native_vjp(self, spec: ModelSpec, problem: Problem) -> Any:
        return self._both(spec, problem)[1]

    def _both(self, spec: ModelSpec, problem: Problem) -> tuple[Any, Any]:
        """The outputs and every gradient."""
        core = partial(self._core, spec, **problem.keywords)
        outputs, pull_back = jax.vjp(core, problem.params, problem.x, problem.state0)
        return outputs, pull_back((problem.dy, problem.dstate))

    def forward(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: tuple[np.ndarray, ...] | None = None,
        *,
        lengths: np.ndarray | None = None,
        masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        state0 = require_forward(self, spec, params, x, state0, lengths, masks)
        with precision():
            return to_numpy(self._forward(spec, *to_jax((dict(params), x, state0, lengths, masks))))

    def vjp(
        self,
        spec: ModelSpec,
        params: Parameters,
        x: np.ndarray,
        state0: tuple[np.ndarray, ...] | None,
        dy: np.ndarray,
        dstate: tuple[np.ndarray, ...],
        *,
        lengths: np.ndarray | None = None,
        masks: np.ndarray | None = None,
    ) -> Grads:
        state0 = require_forward(self, spec, params, x, state0, lengths, masks)
        require_vjp(spec, x, dy, dstate)
        with precision():
            problem = to_jax(Problem(dict(params), x, state0, dy, dstate, lengths, masks))
            return Grads(*to_numpy(self._vjp(spec, problem)))

    def trainer(self, run: RunSpec, params: Parameters) -> JaxTrainer:
        require_run(self, run, params)
        return JaxTrainer(run, params, self._core)

    def predict(
        self,
        network: NetworkSpec,
        params: Parameters,
        batch: Batch,
        state0: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        require_inputs(network, batch)
        state0 = require_predict(self, network, params, batch, state0)
        with precision():
            return to_numpy(self._predict(network, *to_jax((dict(params), batch, state0))))

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        state0 = require_problem(self, spec, problem)
        with precision():
            native = to_jax(problem._replace(params=dict(problem.params), state0=state0))

        def forward(problem: Problem) -> Any:
            return self._core(spec, *problem[:3], **problem.keywords)

        function = jax.jit(partial(self._both, spec) if backward else forward)

        def run() -> None:
            with precision():
                jax.block_until_ready(function(native))

        return run

    def environment(self) -> dict[str, Any]:
        device = jax.devices()[0]
        return {
            "jax": jax.__version__,
            "jaxlib": jaxlib_version,
            "optax": optax.__version__,
            "device": f"{device.platform}: {device.device_kind}",
            "x64": "on within every call" + (", and for the process" if jax.config.jax_enable_x64 else ""),  # pyright: ignore
            "matmul_precision": MATMUL_PRECISION,
        }


BACKEND = JaxBackend("jax", stack.forward, oracle=False)

"""The JAX implementation as a backend: the hooks of ``common.backend.base.Adapter``, each a compiled function."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import optax
from jaxlib.version import __version__ as jaxlib_version

from common.backend.base import Adapter
from common.backend.contract import Batch
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import CELLS, DTYPES, HALF_DTYPES, OPTIONS, ModelSpec

from . import stack
from .native import BOUNDARY, MATMUL_PRECISION
from .network import Core
from .network import forward as forward_network
from .trainer import JaxTrainer


class JaxBackend(Adapter):
    """``core`` is our own stack, or an oracle's. Programs that XLA has compiled live as long as the backend."""

    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset((*DTYPES, *HALF_DTYPES))
    options: frozenset[str] = frozenset(OPTIONS)
    boundary = BOUNDARY

    def __init__(self, name: str, core: Core, *, oracle: bool):
        self.name, self.oracle, self._core = name, oracle, core
        self._forward = jax.jit(core, static_argnums=0)
        self._vjp = jax.jit(self._gradients, static_argnums=0)
        self._predict = jax.jit(partial(forward_network, core), static_argnums=0)

    def _outputs(self, spec: ModelSpec, problem: Any) -> Any:
        return self._core(spec, *problem[:3], **problem.keywords)

    def _both(self, spec: ModelSpec, problem: Any) -> tuple[Any, Any]:
        """The outputs and every gradient."""
        core = partial(self._core, spec, **problem.keywords)
        outputs, pull_back = jax.vjp(core, problem.params, problem.x, problem.state0)
        return outputs, pull_back((problem.dy, problem.dstate))

    def _gradients(self, spec: ModelSpec, problem: Any) -> Any:
        return self._both(spec, problem)[1]

    def compute_forward(
        self, spec: ModelSpec, params: Any, x: Any, state0: Any, lengths: Any, masks: Any, mask: Any
    ) -> Any:
        return self._forward(spec, params, x, state0, lengths, masks, mask)

    def compute_vjp(self, spec: ModelSpec, problem: Any) -> Any:
        return self._vjp(spec, problem)

    def compute_predict(self, network: NetworkSpec, params: Any, batch: Batch, state0: Any) -> Any:
        return self._predict(network, params, batch, state0)

    def timed_function(self, spec: ModelSpec, backward: bool) -> Callable[[Any], Any]:
        """Returns the outputs too: otherwise XLA would leave out what only they need."""
        return jax.jit(partial(self._both if backward else self._outputs, spec))

    def build_trainer(self, run: RunSpec, params: Parameters) -> JaxTrainer:
        return JaxTrainer(run, params, self._core)

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

"""The JAX implementation behind the contract of ``common.contract.Backend``.

Every call runs under ``precision()``: JAX would turn float64 into float32 without a word unless 64-bit types are on,
and may use TF32 in matrix products. Both are set for the call and left as they were for the rest of the process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxlib.version import __version__ as jaxlib_version

from common.contract import Batch, Grads, Problem, check_batch, check_forward, check_problem, check_run, check_vjp
from common.layout import Parameters, split_network
from common.spec import CELLS, DTYPES, HALF_DTYPES, OPTIONS, ModelSpec, OptimizerSpec, RunSpec

from . import readout, stack

# (spec, params, x, state0, lengths, masks) -> (y, final state), as ``stack.forward``.
Core = Callable[..., tuple[jax.Array, stack.State]]
MATMUL_PRECISION = "highest"


@contextmanager
def precision() -> Iterator[None]:
    """64-bit types on, and matrix products in full precision, within the block."""
    with jax.enable_x64(True), jax.default_matmul_precision(MATMUL_PRECISION):
        yield


def to_numpy(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


def to_jax(tree: Any) -> Any:
    return jax.tree.map(jnp.asarray, tree)


def optimizer(spec: OptimizerSpec) -> optax.GradientTransformation:
    if spec.name == "sgd":
        return optax.sgd(spec.lr)
    return optax.adam(spec.lr, *spec.betas, eps=spec.eps)


class JaxTrainer:
    """See ``common.contract.Trainer``.

    The loss, its gradient and the update are one compiled function; ``gradients`` calls it too and drops the update.
    """

    def __init__(self, run: RunSpec, params: Parameters, core: Core):
        self.run = run
        model, kind = run.network.model, run.network.readout
        rule = optimizer(run.optimizer)

        def loss(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
            recurrent, out = split_network(params)
            zero = tuple(jnp.zeros(shape, batch.x.dtype) for shape in model.state_shapes(batch.x.shape[1]))
            y, _ = core(model, recurrent, batch.x, zero, None, batch.masks)
            prediction = readout.forward(out, y, kind)
            return readout.mse(prediction, batch.target), prediction

        def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any, jax.Array, Any]:
            (value, _), grads = jax.value_and_grad(loss, has_aux=True)(params, batch)
            updates, state = rule.update(grads, state, params)
            return optax.apply_updates(params, updates), state, value, grads

        self._loss = jax.jit(loss)
        self._step = jax.jit(step)
        with precision():
            self._params = to_jax(dict(params))
            self._state = rule.init(self._params)

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        check_batch(self.run, batch)
        with precision():
            _, _, loss, grads = self._step(self._params, self._state, to_jax(batch))
        return float(loss), to_numpy(grads)

    def step(self, batch: Batch) -> float:
        check_batch(self.run, batch)
        with precision():
            self._params, self._state, loss, _ = self._step(self._params, self._state, to_jax(batch))
        return float(loss)

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        check_batch(self.run, batch)
        with precision():
            loss, prediction = self._loss(self._params, to_jax(batch))
        return float(loss), np.array(prediction)

    def params(self) -> Parameters:
        return to_numpy(self._params)

    def wait(self) -> None:
        jax.block_until_ready((self._params, self._state))


class JaxBackend:
    """See ``common.contract.Backend``; ``core`` is our own stack, or an oracle's."""

    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset((*DTYPES, *HALF_DTYPES))
    options: frozenset[str] = frozenset(OPTIONS)

    def __init__(self, name: str, core: Core, *, oracle: bool):
        self.name, self.oracle, self._core = name, oracle, core
        self._forward = jax.jit(core, static_argnums=0)
        self._vjp = jax.jit(self._native_vjp, static_argnums=0)

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
        state0 = check_forward(self, spec, params, x, state0, lengths, masks)
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
        state0 = check_forward(self, spec, params, x, state0, lengths, masks)
        check_vjp(spec, x, dy, dstate)
        with precision():
            problem = to_jax(Problem(dict(params), x, state0, dy, dstate, lengths, masks))
            return Grads(*to_numpy(self._vjp(spec, problem)))

    def trainer(self, run: RunSpec, params: Parameters) -> JaxTrainer:
        check_run(self, run, params)
        return JaxTrainer(run, params, self._core)

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        state0 = check_problem(self, spec, problem)
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

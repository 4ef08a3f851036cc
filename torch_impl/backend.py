"""The PyTorch implementation behind the contract of ``common.backend.contract.Backend``.

Arrays go to ``device()`` and come back as NumPy. Every call runs under ``precision()``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from .native import MATMUL_PRECISION, device, precision, to_numpy, to_torch, wait
from .network import Core
from .network import forward as forward_network
from .trainer import TorchTrainer


class TorchBackend:
    """See ``common.backend.contract.Backend``; ``core`` is our own stack, or an oracle's."""

    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset((*DTYPES, *HALF_DTYPES))
    options: frozenset[str] = frozenset(OPTIONS)

    def __init__(self, name: str, core: Core, *, oracle: bool):
        self.name, self.oracle, self._core = name, oracle, core

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
        with precision(), torch.no_grad():
            return to_numpy(self._core(spec, *to_torch((dict(params), x, state0, lengths, masks))))

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
            arguments = to_torch((dict(params), x, state0, dy, dstate, lengths, masks))
            return Grads(*to_numpy(self._native_vjp(spec, *arguments)))

    def _native_vjp(
        self, spec: ModelSpec, params: Any, x: Tensor, state0: Any, dy: Tensor, dstate: Any, lengths: Any, masks: Any
    ) -> Any:
        leaves = [*params.values(), x, *state0]
        for leaf in leaves:
            leaf.requires_grad_()
        y, state = self._core(spec, params, x, state0, lengths, masks)
        grads = torch.autograd.grad((y, *state), leaves, (dy, *dstate))
        of_params = dict(zip(params, grads, strict=False))
        return of_params, grads[len(params)], tuple(grads[len(params) + 1 :])

    def trainer(self, run: RunSpec, params: Parameters) -> TorchTrainer:
        require_run(self, run, params)
        return TorchTrainer(run, params, self._core)

    def predict(
        self,
        network: NetworkSpec,
        params: Parameters,
        batch: Batch,
        state0: tuple[np.ndarray, ...] | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        require_inputs(network, batch)
        state0 = require_predict(self, network, params, batch, state0)
        with precision(), torch.no_grad():
            weights, arrays, start = to_torch((dict(params), tuple(batch), state0))
            return to_numpy(forward_network(self._core, network, weights, Batch(*arrays), start))

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        state0 = require_problem(self, spec, problem)
        native = to_torch(tuple(problem._replace(params=dict(problem.params), state0=state0)))
        params, x, state0, _, _, lengths, masks = native

        def run() -> None:
            with precision():
                if backward:
                    self._native_vjp(spec, *native)
                else:
                    with torch.no_grad():
                        self._core(spec, params, x, state0, lengths, masks)
                wait()

        return run

    def environment(self) -> dict[str, Any]:
        where = device()
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if where.type == "cuda" else "cpu",
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "float32_matmul_precision": f"{MATMUL_PRECISION} (no TF32)",
        }


BACKEND = TorchBackend("torch", stack.forward, oracle=False)

"""The PyTorch implementation as a backend: the hooks of ``common.backend.base.Adapter``, on tensors of ``device()``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from common.backend.base import Adapter
from common.backend.contract import Batch
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import CELLS, DTYPES, HALF_DTYPES, OPTIONS, ModelSpec

from . import stack
from .native import BOUNDARY, MATMUL_PRECISION, device
from .network import Core
from .network import forward as forward_network
from .trainer import TorchTrainer


class TorchBackend(Adapter):
    """``core`` is our own stack, or an oracle's."""

    cells: frozenset[str] = frozenset(CELLS)
    dtypes: frozenset[str] = frozenset((*DTYPES, *HALF_DTYPES))
    options: frozenset[str] = frozenset(OPTIONS)
    boundary = BOUNDARY

    def __init__(self, name: str, core: Core, *, oracle: bool):
        self.name, self.oracle, self._core = name, oracle, core

    @torch.no_grad()
    def compute_forward(
        self, spec: ModelSpec, params: Any, x: Any, state0: Any, lengths: Any, masks: Any, mask: Any = None
    ) -> Any:
        return self._core(spec, params, x, state0, lengths, masks, mask)

    def compute_vjp(self, spec: ModelSpec, problem: Any) -> tuple[dict[str, Tensor], Tensor, tuple[Tensor, ...]]:
        params, x, state0, dy, dstate, *given = problem
        leaves = [*params.values(), x, *state0]
        for leaf in leaves:
            leaf.requires_grad_()
        y, state = self._core(spec, params, x, state0, *given)
        grads = torch.autograd.grad((y, *state), leaves, (dy, *dstate))
        of_params = dict(zip(params, grads, strict=False))
        return of_params, grads[len(params)], tuple(grads[len(params) + 1 :])

    @torch.no_grad()
    def compute_predict(self, network: NetworkSpec, params: Any, batch: Batch, state0: Any) -> Any:
        return forward_network(self._core, network, params, batch, state0)

    def timed_function(self, spec: ModelSpec, backward: bool) -> Callable[[Any], Any]:
        if backward:
            return lambda problem: self.compute_vjp(spec, problem)
        return lambda problem: self.compute_forward(spec, *problem[:3], **problem.keywords)

    def build_trainer(self, run: RunSpec, params: Parameters) -> TorchTrainer:
        return TorchTrainer(run, params, self._core)

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

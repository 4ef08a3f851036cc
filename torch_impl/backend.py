"""The PyTorch implementation behind the contract of ``common.contract.Backend``.

Arrays go to ``device()`` and come back as NumPy. Every call runs under ``precision()``, as PyTorch may otherwise use
TF32 in matrix products and in cuDNN.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.contract import Batch, Grads, Problem, check_batch, check_forward, check_problem, check_run, check_vjp
from common.layout import Parameters, numpy_dtype, split_network
from common.spec import CELLS, DTYPES, HALF_DTYPES, OPTIONS, ModelSpec, OptimizerSpec, RunSpec

from . import readout, stack

# (spec, params, x, state0, lengths, masks) -> (y, final state), as ``stack.forward``.
Core = Callable[..., tuple[Tensor, stack.State]]
MATMUL_PRECISION = "highest"
BFLOAT16 = numpy_dtype("bfloat16")


@contextmanager
def precision() -> Iterator[None]:
    """No TF32 within the block; the process keeps its own switches."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(MATMUL_PRECISION)
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_torch(tree: Any) -> Any:
    """Arrays -> fresh tensors on the device, in tuples and dicts alike; None stays None."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: to_torch(value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(to_torch(value) for value in tree)
    array = np.array(tree, order="C")  # a copy: torch takes no negative strides
    if array.dtype == BFLOAT16:  # which torch exchanges with nobody: the bits go over as integers
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device())
    return torch.from_numpy(array).to(device())


def to_numpy(tree: Any) -> Any:
    """The inverse of ``to_torch``."""
    if isinstance(tree, dict):
        return {name: to_numpy(value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(to_numpy(value) for value in tree)
    tensor = tree.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BFLOAT16).copy()
    return tensor.numpy().copy()


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def optimizer(spec: OptimizerSpec, params: list[Tensor]) -> torch.optim.Optimizer:
    if spec.name == "sgd":
        return torch.optim.SGD(params, lr=spec.lr)
    return torch.optim.Adam(params, lr=spec.lr, betas=(float(spec.betas[0]), float(spec.betas[1])), eps=spec.eps)


class TorchTrainer:
    """See ``common.contract.Trainer``."""

    def __init__(self, run: RunSpec, params: Parameters, core: Core):
        self.run = run
        self._core = core
        self._params: dict[str, Tensor] = {k: v.requires_grad_() for k, v in to_torch(dict(params)).items()}
        self._optimizer = optimizer(run.optimizer, list(self._params.values()))

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        check_batch(self.run, batch)
        model = self.run.network.model
        x, target, masks = to_torch(tuple(batch))
        recurrent, out = split_network(self._params)
        zero = tuple(x.new_zeros(shape) for shape in model.state_shapes(x.shape[1]))
        y, _ = self._core(model, recurrent, x, zero, None, masks)
        prediction = readout.forward(out, y, self.run.network.readout)
        return readout.mse(prediction, target), prediction

    def gradients(self, batch: Batch) -> tuple[float, Parameters]:
        with precision():
            loss, _ = self._loss(batch)
            grads = torch.autograd.grad(loss, list(self._params.values()))
        return float(loss.detach()), to_numpy(dict(zip(self._params, grads, strict=True)))

    def step(self, batch: Batch) -> float:
        with precision():
            self._optimizer.zero_grad()
            loss, _ = self._loss(batch)
            loss.backward()
            self._optimizer.step()
        return float(loss.detach())

    def evaluate(self, batch: Batch) -> tuple[float, np.ndarray]:
        with precision(), torch.no_grad():
            loss, prediction = self._loss(batch)
        return float(loss), to_numpy(prediction)

    def params(self) -> Parameters:
        return to_numpy(self._params)

    def wait(self) -> None:
        wait()


class TorchBackend:
    """See ``common.contract.Backend``; ``core`` is our own stack, or an oracle's."""

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
        state0 = check_forward(self, spec, params, x, state0, lengths, masks)
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
        state0 = check_forward(self, spec, params, x, state0, lengths, masks)
        check_vjp(spec, x, dy, dstate)
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
        check_run(self, run, params)
        return TorchTrainer(run, params, self._core)

    def timed(self, spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        state0 = check_problem(self, spec, problem)
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

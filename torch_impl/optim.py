"""Clipping, rule and schedule, from ``torch.optim``."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from common.model.run import OptimizerSpec


class Optimizer:
    """A rule of ``torch.optim``, its schedule, and clipping by the global norm before each update.

    ``torch.nn.utils.clip_grad_norm_`` would add 1e-6 to the norm. ``CosineAnnealingLR`` would let the rate rise again
    past its end, so it is not stepped beyond it.
    """

    def __init__(self, spec: OptimizerSpec, params: Sequence[Tensor]):
        self.spec, self.params, self.updates = spec, list(params), 0
        self.rule = rule(spec, self.params)
        self.schedule = schedule(spec, self.rule)

    def step(self) -> None:
        """One update from the gradients that the parameters hold."""
        if self.spec.clip_norm is not None:
            clip([p.grad for p in self.params if p.grad is not None], self.spec.clip_norm)
        self.rule.step()
        self.updates += 1
        ended = self.spec.schedule == "cosine" and self.updates > (self.spec.schedule_steps or 0)
        if self.schedule and not ended:
            self.schedule.step()


def clip(grads: Sequence[Tensor], largest: float) -> None:
    """Scales the gradients so that their norm, over all together, is at most ``largest``."""
    norm = torch.nn.utils.get_total_norm(grads)
    if norm > largest:
        for grad in grads:
            grad.mul_(largest / norm)


def rule(spec: OptimizerSpec, params: list[Tensor]) -> torch.optim.Optimizer:
    match spec.name:
        case "adam":
            return torch.optim.Adam(
                params, lr=spec.lr, betas=(float(spec.betas[0]), float(spec.betas[1])), eps=spec.eps
            )
        case "rmsprop":
            return torch.optim.RMSprop(params, lr=spec.lr, alpha=spec.alpha, eps=spec.eps, momentum=spec.momentum)
        case _:
            return torch.optim.SGD(params, lr=spec.lr, momentum=spec.momentum)


def schedule(spec: OptimizerSpec, rule: torch.optim.Optimizer) -> lr_scheduler.LRScheduler | None:
    if spec.schedule_steps is None:
        return None
    n, last = spec.schedule_steps, spec.schedule_factor
    match spec.schedule:
        case "step":
            return lr_scheduler.StepLR(rule, n, gamma=last)
        case "linear":
            return lr_scheduler.LinearLR(rule, start_factor=1.0, end_factor=last, total_iters=n)
        case _:
            return lr_scheduler.CosineAnnealingLR(rule, n, eta_min=last * spec.lr)

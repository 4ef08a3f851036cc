"""Clipping, rule and schedule, chained from the parts of Optax.

``optax.rmsprop`` and ``optax.sgd`` with momentum are such chains too; there, RMSprop's momentum accumulates after
the learning rate is applied, so that a change of the rate acts with a delay, unlike in torch.
"""

import jax.numpy as jnp
import optax

from common.model.run import OptimizerSpec


def schedule(spec: OptimizerSpec) -> optax.ScalarOrSchedule:
    """The learning rate at every update.

    Optax divides the count, an int32, in float32, so that its rates are only accurate to 1e-8: it gets a float64.
    """
    if spec.schedule_steps is None:
        return spec.lr
    n, last = spec.schedule_steps, spec.schedule_factor
    match spec.schedule:
        case "step" if not last:  # for which exponential_decay would return a constant
            rate = optax.piecewise_constant_schedule(spec.lr, {n: 0.0})
        case "step":
            rate = optax.exponential_decay(spec.lr, n, last, staircase=True)
        case "linear":
            rate = optax.linear_schedule(spec.lr, last * spec.lr, n)
        case _:
            rate = optax.cosine_decay_schedule(spec.lr, n, alpha=last)
    return lambda count: rate(jnp.asarray(count, "float64"))


def rule(spec: OptimizerSpec) -> optax.GradientTransformation:
    """By how much the parameters move, for a learning rate of 1."""
    match spec.name:
        case "adam":
            return optax.scale_by_adam(*spec.betas, eps=spec.eps)
        case "rmsprop":
            scale = optax.scale_by_rms(spec.alpha, spec.eps, eps_in_sqrt=False)
            return optax.chain(scale, optax.trace(spec.momentum))
        case _:
            return optax.trace(spec.momentum)


def build(spec: OptimizerSpec) -> optax.GradientTransformation:
    clip = [] if spec.clip_norm is None else [optax.clip_by_global_norm(spec.clip_norm)]
    return optax.chain(*clip, rule(spec), optax.scale_by_learning_rate(schedule(spec)))

"""How a network is trained: the optimiser and the run; frozen, and checked when they are built."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.cells import TABLE
from common.model.network import NetworkSpec
from common.model.validate import (
    require_number,
    require_one_of,
    require_positive_int,
    require_positive_number,
    require_seed,
)

OPTIMIZERS = {
    "sgd": "gradient descent, with momentum if given",
    "adam": "Adam (Kingma & Ba 2015)",
    "rmsprop": "RMSprop (Hinton 2012), with momentum if given",
}
# The factor of the learning rate at update k = 0, 1, ...; n is ``schedule_steps`` and g ``schedule_factor``.
SCHEDULES = {
    "constant": "1",
    "step": "g ** (k // n)",
    "linear": "1 + (g - 1) * min(k, n) / n",
    "cosine": "g + (1 - g) * (1 + cos(pi * min(k, n) / n)) / 2",
}

WITH_INPUT_GATE = tuple(cell.name for cell in TABLE.values() if "i" in cell.letters)


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """How gradients update the parameters: clip by the global norm, apply the rule, scale by the scheduled rate.

    Clipping multiplies all gradients by min(1, clip_norm / norm) (Pascanu et al. 2013, Algorithm 1); ``torch.nn.utils``
    would add 1e-6 to the norm. The rules are those of ``torch.optim``. Adam has bias correction, Adam and RMSprop add
    epsilon outside the root. Momentum accumulates before the learning rate is applied: a changing rate acts at once.
    """

    name: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.99
    eps: float = 1e-8
    clip_norm: float | None = None
    schedule: str = "constant"
    schedule_steps: int | None = None
    schedule_factor: float = 0.1

    def __post_init__(self) -> None:
        require_one_of("optimizer", tuple(OPTIMIZERS), self.name)
        require_one_of("schedule", tuple(SCHEDULES), self.schedule)
        require_positive_number("lr", self.lr)
        require_positive_number("eps", self.eps)
        for name in ("momentum", "alpha"):
            require_number(name, getattr(self, name))
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(mismatch(name, "a number in [0, 1)", getattr(self, name)))
        if self.momentum and self.name == "adam":
            raise InvalidInput(mismatch("momentum", "0 for adam, whose first beta is one", self.momentum))
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        if not pair or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in self.betas):
            raise InvalidInput(mismatch("betas", "a tuple of two numbers in [0, 1)", self.betas))
        if self.clip_norm is not None:
            require_positive_number("clip_norm", self.clip_norm)
        self._require_schedule()

    def _require_schedule(self) -> None:
        require_number("schedule_factor", self.schedule_factor)
        if not 0 <= self.schedule_factor <= 1:
            raise InvalidInput(mismatch("schedule_factor", "a number in [0, 1]", self.schedule_factor))
        if self.schedule == "constant":
            if self.schedule_steps is not None:
                raise InvalidInput(mismatch("schedule_steps", "None with a constant schedule", self.schedule_steps))
            return
        require_positive_int("schedule_steps", self.schedule_steps)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a training run, except the data.

    ``batch_size`` is the number of sequences in a mini-batch; None means all of them at once. With ``patience``,
    training ends when the validation loss has not fallen for that many epochs, and the best parameters are kept.
    ``input_bias`` is the initial value of the two biases of the input gate together; a negative one keeps it shut at
    first (Hochreiter & Schmidhuber 1997, section 4). None draws them like all others.
    """

    network: NetworkSpec
    optimizer: OptimizerSpec
    epochs: int = 100
    seed: int = 0
    batch_size: int | None = None
    patience: int | None = None
    input_bias: float | None = None

    def __post_init__(self) -> None:
        kinds: tuple[tuple[str, Any], ...] = (("network", NetworkSpec), ("optimizer", OptimizerSpec))
        for name, kind in kinds:
            if not isinstance(getattr(self, name), kind):
                raise InvalidType(mismatch(name, f"a {kind.__name__}", type(getattr(self, name)).__name__))
        require_positive_int("epochs", self.epochs)
        for name in ("batch_size", "patience"):
            if getattr(self, name) is not None:
                require_positive_int(name, getattr(self, name))
        require_seed(self.seed)
        self._require_input_bias()

    def _require_input_bias(self) -> None:
        if self.input_bias is None:
            return
        require_number("input_bias", self.input_bias)
        model = self.network.model
        if "i" not in model.kind.letters:
            cause = f"only {', '.join(WITH_INPUT_GATE)} have an input gate"
            raise InvalidInput(mismatch("input_bias", f"None for {model.cell}", self.input_bias, cause))
        if not model.bias or not isfinite(self.input_bias):
            raise InvalidInput(mismatch("input_bias", "a finite number, with bias=True", self.input_bias))

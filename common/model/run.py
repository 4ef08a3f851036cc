"""What is around a recurrent model: inputs, readout, loss, optimiser, run; frozen, and checked when they are built."""

from dataclasses import dataclass, replace
from typing import Any

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.spec import (
    ModelSpec,
    check_number,
    check_one_of,
    check_positive_int,
    check_positive_number,
    check_seed,
)

# What x holds -> what the recurrent layer sees of it.
INPUTS = {
    "features": "x (T, B, I) as it is",
    "one_hot": "symbols x (T, B): row x of the identity, I = the number of symbols",
    "embedding": "symbols x (T, B): row x of a table (symbols, I) that is learnt",
}
# Readout -> what the linear layer sees, and the shape of the prediction.
READOUTS = {
    "last_step": "y at the last step of each sequence: (B, O)",
    "last_sequence": "y of the last sequence in the batch, at every step: (T, O)",
    "every_step": "y at every step: (T, B, O)",
    "final_state": "h_n of the last layer, both directions side by side: (B, O)",
    "encoder_decoder": "the final state starts a decoder, whose y is read at every step: (T', B, O)",
}
LOSSES = {
    "mse": "mean of the squared errors",
    "cross_entropy": "mean of -log softmax(prediction)[target]; a target below 0 does not count",
}
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


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """How parameters follow their gradients: clip by the global norm, then the rule, times the scheduled rate.

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
        check_one_of("optimizer", tuple(OPTIMIZERS), self.name)
        check_one_of("schedule", tuple(SCHEDULES), self.schedule)
        check_positive_number("lr", self.lr)
        check_positive_number("eps", self.eps)
        for name in ("momentum", "alpha"):
            check_number(name, getattr(self, name))
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInput(mismatch(name, "a number in [0, 1)", getattr(self, name)))
        if self.momentum and self.name == "adam":
            raise InvalidInput(mismatch("momentum", "0 for adam, whose first beta is one", self.momentum))
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        if not pair or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in self.betas):
            raise InvalidInput(mismatch("betas", "a tuple of two numbers in [0, 1)", self.betas))
        if self.clip_norm is not None:
            check_positive_number("clip_norm", self.clip_norm)
        self._check_schedule()

    def _check_schedule(self) -> None:
        check_number("schedule_factor", self.schedule_factor)
        if not 0 <= self.schedule_factor <= 1:
            raise InvalidInput(mismatch("schedule_factor", "a number in [0, 1]", self.schedule_factor))
        if self.schedule == "constant":
            if self.schedule_steps is not None:
                raise InvalidInput(mismatch("schedule_steps", "None with a constant schedule", self.schedule_steps))
            return
        check_positive_int("schedule_steps", self.schedule_steps)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Inputs, a recurrent model, a readout of ``readout_size`` values, and a loss.

    ``vocabulary`` is the number of symbols in x; None for ``features``. ``encoder_decoder`` has a second model of the
    same kind, the decoder, whose symbols are those that are read out.
    """

    model: ModelSpec
    readout_size: int
    readout: str = "last_step"
    loss: str = "mse"
    inputs: str = "features"
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, ModelSpec):
            raise InvalidType(mismatch("model", "a ModelSpec", type(self.model).__name__))
        check_positive_int("readout_size", self.readout_size)
        for name, options in (("readout", READOUTS), ("loss", LOSSES), ("inputs", INPUTS)):
            check_one_of(name, tuple(options), getattr(self, name))
        if self.inputs == "features":
            if self.vocabulary is not None:
                raise InvalidInput(mismatch("vocabulary", "None for features", self.vocabulary))
        else:
            check_positive_int("vocabulary", self.vocabulary)
        if self.inputs == "one_hot" and self.vocabulary != self.model.input_size:
            wanted = f"input_size={self.model.input_size} for one_hot"
            raise InvalidInput(mismatch("vocabulary", wanted, self.vocabulary))
        if self.has_decoder:
            self._check_decoder()

    def _check_decoder(self) -> None:
        for name, only in (("inputs", ("one_hot", "embedding")), ("loss", ("cross_entropy",))):
            if getattr(self, name) not in only:
                raise InvalidInput(mismatch(name, f"{' or '.join(only)} for encoder_decoder", getattr(self, name)))
        if self.model.bidirectional:
            raise InvalidInput(
                mismatch("bidirectional", "False for encoder_decoder, whose decoder has one direction", True)
            )

    @property
    def has_decoder(self) -> bool:
        return self.readout == "encoder_decoder"

    @property
    def decoder(self) -> ModelSpec:
        """The model of the decoder: the encoder's, for the symbols that are read out."""
        return replace(self.model, input_size=self.readout_size) if self.inputs == "one_hot" else self.model

    @property
    def models(self) -> dict[str, ModelSpec]:
        """Every recurrent model of the network, under the prefix of its parameters."""
        return {"rnn": self.model} | ({"decoder": self.decoder} if self.has_decoder else {})

    @property
    def tables(self) -> dict[str, tuple[int, int]]:
        """The shape of every embedding table, under the prefix of its parameter."""
        if self.inputs != "embedding" or self.vocabulary is None:
            return {}
        sizes = {"embedding": self.vocabulary} | ({"decoder_embedding": self.readout_size} if self.has_decoder else {})
        return {name: (symbols, self.model.input_size) for name, symbols in sizes.items()}


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a training run, except the data.

    ``batch_size`` is the number of sequences in a mini-batch, None for all at once. With ``patience`` training ends
    when the loss on the validation data has not fallen for so many epochs, and the best parameters are kept.
    """

    network: NetworkSpec
    optimizer: OptimizerSpec
    epochs: int = 100
    seed: int = 0
    batch_size: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        kinds: tuple[tuple[str, Any], ...] = (("network", NetworkSpec), ("optimizer", OptimizerSpec))
        for name, kind in kinds:
            if not isinstance(getattr(self, name), kind):
                raise InvalidType(mismatch(name, f"a {kind.__name__}", type(getattr(self, name)).__name__))
        check_positive_int("epochs", self.epochs)
        for name in ("batch_size", "patience"):
            if getattr(self, name) is not None:
                check_positive_int(name, getattr(self, name))
        check_seed(self.seed)

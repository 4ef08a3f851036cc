"""What a model, a readout, an optimiser and a run are: frozen, hashable, and checked when they are built."""

from dataclasses import dataclass, replace
from typing import Any, Self

from common.errors import InvalidInput, InvalidType, choice, mismatch

CELLS: tuple[str, ...] = ("RNN", "RNNCell", "LSTM", "LSTMCell")
NONLINEARITIES = ("tanh", "relu")
DTYPES: tuple[str, ...] = ("float64", "float32")
# complex128 serves complex-step differentiation only; a backend that can do it says so in ``Backend.dtypes``.
COMPLEX = "complex128"
READOUTS = ("last_step", "last_sequence")
OPTIMIZERS = ("sgd", "adam")


def check_positive_int(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(mismatch(what, "an int", type(value).__name__))
    if value < 1:
        raise InvalidInput(mismatch(what, "at least 1", value))


def _positive_number(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(mismatch(what, "a number", type(value).__name__))
    if not 0 < value < float("inf"):
        raise InvalidInput(mismatch(what, "a finite number above 0", value))


def _flag(what: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidType(mismatch(what, "a bool", type(value).__name__))


def _one_of(what: str, options: tuple[str, ...], value: Any) -> None:
    if value not in options:
        raise InvalidInput(choice(what, options, value))


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A recurrent layer, with the constructor arguments and defaults of ``torch.nn.RNN`` and ``torch.nn.LSTM``.

    ``RNN`` and ``LSTM`` run over the whole sequence; ``RNNCell`` and ``LSTMCell`` are one step, which the contract
    applies T times in a plain loop, as the examples in torch's documentation of the cells do. Options that exist in
    torch and not yet here are refused by name.
    """

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    nonlinearity: str = "tanh"
    bias: bool = True
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    dtype: str = "float64"

    def __post_init__(self) -> None:
        _one_of("cell", CELLS, self.cell)
        check_positive_int("input_size", self.input_size)
        check_positive_int("hidden_size", self.hidden_size)
        _one_of("nonlinearity", NONLINEARITIES, self.nonlinearity)
        _flag("bias", self.bias)
        _one_of("dtype", (*DTYPES, COMPLEX), self.dtype)
        if self.is_lstm and self.nonlinearity != "tanh":
            raise InvalidInput(mismatch("nonlinearity", f"'tanh' for {self.cell}", repr(self.nonlinearity)))
        check_positive_int("num_layers", self.num_layers)
        _flag("bidirectional", self.bidirectional)
        for name, only in (("num_layers", 1), ("dropout", 0.0), ("bidirectional", False), ("proj_size", 0)):
            if isinstance(getattr(self, name), bool) != isinstance(only, bool) or getattr(self, name) != only:
                raise InvalidInput(mismatch(name, only, getattr(self, name), "not implemented yet"))

    @property
    def is_lstm(self) -> bool:
        return self.cell in ("LSTM", "LSTMCell")

    @property
    def is_cell(self) -> bool:
        """True for the one-step cells, whose parameter names carry no layer suffix."""
        return self.cell in ("RNNCell", "LSTMCell")

    @property
    def num_gates(self) -> int:
        return 4 if self.is_lstm else 1

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("h", "c") if self.is_lstm else ("h",)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def state_rows(self) -> int:
        """D*L, the leading axis of every state."""
        return 1

    @property
    def label(self) -> str:
        """The variant in a few words, as tables and errors show it."""
        options = [] if self.nonlinearity == "tanh" else [self.nonlinearity]
        options += [] if self.bias else ["no bias"]
        return " ".join([self.cell, *options])

    def with_dtype(self, dtype: str) -> Self:
        return replace(self, dtype=dtype)


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """Plain SGD, or Adam (Kingma & Ba 2015, Algorithm 1) with bias correction and epsilon added outside the root."""

    name: str = "sgd"
    lr: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _one_of("optimizer", OPTIMIZERS, self.name)
        _positive_number("lr", self.lr)
        _positive_number("eps", self.eps)
        pair = isinstance(self.betas, tuple) and len(self.betas) == 2
        if not pair or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in self.betas):
            raise InvalidInput(mismatch("betas", "a tuple of two numbers in [0, 1)", self.betas))


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A recurrent layer, a linear readout of ``readout_size`` values and the mean squared error.

    ``last_step`` reads y[-1], the last time step of every sequence: (B, H) -> (B, O). ``last_sequence`` reads
    y[:, -1], every time step of the last sequence in the batch: (T, H) -> (T, O).
    """

    model: ModelSpec
    readout_size: int
    readout: str = "last_step"

    def __post_init__(self) -> None:
        if not isinstance(self.model, ModelSpec):
            raise InvalidType(mismatch("model", "a ModelSpec", type(self.model).__name__))
        check_positive_int("readout_size", self.readout_size)
        _one_of("readout", READOUTS, self.readout)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a training run, except the data: the network, the optimiser, the epochs, the seed."""

    network: NetworkSpec
    optimizer: OptimizerSpec
    epochs: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("network", NetworkSpec), ("optimizer", OptimizerSpec)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidType(mismatch(name, f"a {kind.__name__}", type(getattr(self, name)).__name__))
        check_positive_int("epochs", self.epochs)
        check_seed(self.seed)


def check_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidType(mismatch("seed", "an int", type(seed).__name__))
    if seed < 0:
        raise InvalidInput(mismatch("seed", "at least 0", seed))

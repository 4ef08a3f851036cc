"""What a recurrent model is: frozen, hashable, and checked when it is built. ``run_spec`` has what is around it."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Self

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.validate import require_flag, require_number, require_one_of, require_positive_int

CELLS: tuple[str, ...] = ("RNN", "RNNCell", "LSTM", "LSTMCell")
NONLINEARITIES = ("tanh", "relu")
DTYPES: tuple[str, ...] = ("float64", "float32")
# 16 bits; NumPy knows bfloat16 through ml_dtypes.
HALF_DTYPES: tuple[str, ...] = ("float16", "bfloat16")
# complex128 serves complex-step differentiation only; a backend that can do it says so in ``Backend.dtypes``.
COMPLEX = "complex128"
# What a model may have beyond one direction of one layer; a backend says in ``Backend.options`` which it computes.
OPTIONS: tuple[str, ...] = ("num_layers", "bidirectional", "dropout", "proj_size", "lengths")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A recurrent network, with the constructor arguments and defaults of ``torch.nn.RNN`` and ``torch.nn.LSTM``.

    ``RNN`` and ``LSTM`` run over the whole sequence; ``RNNCell`` and ``LSTMCell`` are one step, which the contract
    applies T times in a plain loop, as the examples in torch's documentation of the cells do. ``batch_first`` belongs
    to the faces, not to the core. ``forget_bias`` is the initial value of the two biases of the forget gate together;
    None draws them like all others, as torch does.
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
    forget_bias: float | None = None
    dtype: str = "float64"

    def __post_init__(self) -> None:
        require_one_of("cell", CELLS, self.cell)
        require_positive_int("input_size", self.input_size)
        require_positive_int("hidden_size", self.hidden_size)
        require_positive_int("num_layers", self.num_layers)
        require_one_of("nonlinearity", NONLINEARITIES, self.nonlinearity)
        require_flag("bias", self.bias)
        require_flag("bidirectional", self.bidirectional)
        require_number("dropout", self.dropout)
        if not 0 <= self.dropout <= 1:
            raise InvalidInput(mismatch("dropout", "a probability in [0, 1]", self.dropout))
        require_one_of("dtype", (*DTYPES, *HALF_DTYPES, COMPLEX), self.dtype)
        if self.is_lstm:
            self._only("nonlinearity", "tanh", f"for {self.cell}")
        if self.is_cell:
            for name, only in (("num_layers", 1), ("dropout", 0), ("bidirectional", False)):
                self._only(name, only, f"for {self.cell}, which is one step of one layer")
        self._require_projection()
        self._require_forget_bias()

    def _only(self, name: str, only: Any, where: str) -> None:
        if getattr(self, name) != only:
            raise InvalidInput(mismatch(name, f"{only!r} {where}", repr(getattr(self, name))))

    def _require_projection(self) -> None:
        if isinstance(self.proj_size, bool) or not isinstance(self.proj_size, int):
            raise InvalidType(mismatch("proj_size", "an int", type(self.proj_size).__name__))
        if self.cell != "LSTM":
            self._only("proj_size", 0, f"for {self.cell}, as only LSTM has a projection")
        if not 0 <= self.proj_size < self.hidden_size:
            wanted = f"0 (no projection) to {self.hidden_size - 1}, below hidden_size"
            raise InvalidInput(mismatch("proj_size", wanted, self.proj_size))

    def _require_forget_bias(self) -> None:
        if self.forget_bias is None:
            return
        require_number("forget_bias", self.forget_bias)
        if not self.is_lstm or not self.bias or not isfinite(self.forget_bias):
            wanted = "a finite number, for an LSTM with bias" if self.is_lstm else f"None for {self.cell}"
            raise InvalidInput(mismatch("forget_bias", wanted, self.forget_bias))

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
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("h", "c") if self.is_lstm else ("h",)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The size of h, which a projection makes smaller, and of c."""
        return (self.proj_size or self.hidden_size, self.hidden_size)[: len(self.state_names)]

    @property
    def output_size(self) -> int:
        """D*H, or D*P with a projection to P."""
        return self.num_directions * self.state_sizes[0]

    @property
    def state_rows(self) -> int:
        """D*L, the leading axis of every state."""
        return self.num_directions * self.num_layers

    def state_shapes(self, batch: int) -> tuple[tuple[int, int, int], ...]:
        """(D*L, B, size) of h, and of c."""
        return tuple((self.state_rows, batch, size) for size in self.state_sizes)

    def mask_shape(self, steps: int, batch: int) -> tuple[int, int, int, int]:
        """(L-1, T, B, D*H): a dropout mask for the output of every layer but the last."""
        return self.num_layers - 1, steps, batch, self.output_size

    @property
    def options(self) -> tuple[str, ...]:
        """The names in ``OPTIONS`` whose value is not the default."""
        used = {
            "num_layers": self.num_layers > 1,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout > 0,
            "proj_size": self.proj_size > 0,
        }
        return tuple(name for name, on in used.items() if on)

    @property
    def label(self) -> str:
        """The variant in a few words, as tables and errors show it."""
        words = [self.cell] + [self.nonlinearity] * (self.nonlinearity != "tanh") + ["no bias"] * (not self.bias)
        words += [f"{self.num_layers} layers"] * (self.num_layers > 1) + ["bidirectional"] * self.bidirectional
        words += [f"proj_size {self.proj_size}"] * (self.proj_size > 0)
        return " ".join(words)

    def with_dtype(self, dtype: str) -> Self:
        return replace(self, dtype=dtype)

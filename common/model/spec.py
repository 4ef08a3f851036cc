"""What a recurrent model is: frozen, hashable, and checked when it is built.

>>> from common.model.spec import ModelSpec
>>> spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=5, num_layers=2, bidirectional=True)
>>> spec.output_size, spec.state_shapes(batch=7)
(10, ((4, 7, 5), (4, 7, 5)))
>>> ModelSpec(cell="LSTM", input_size=3, hidden_size=0)
Traceback (most recent call last):
common.errors.InvalidInput: hidden_size: expected ...
"""

from dataclasses import MISSING, dataclass, fields, replace
from math import isfinite
from typing import Any, Self

from common.errors import InvalidInput, mismatch
from common.model.cells import CELLS, OPTIONAL, TABLE, Cell, with_option
from common.model.validate import require_flag, require_int, require_number, require_one_of, require_positive_int

NONLINEARITIES = ("tanh", "relu")
DTYPES: tuple[str, ...] = ("float64", "float32")
# 16 bits; NumPy gets bfloat16 from ml_dtypes.
HALF_DTYPES: tuple[str, ...] = ("float16", "bfloat16")
# complex128 serves complex-step differentiation only; a backend that can do it says so in ``Backend.dtypes``.
COMPLEX = "complex128"
# The options that change the equations of a step.
STEP_OPTIONS: tuple[str, ...] = ("nonlinearity", "reset_after")
# Probabilities of dropout: of a layer's output, of the input, and of the state inside the recurrence.
DROPOUTS: tuple[str, ...] = ("dropout", "input_dropout", "recurrent_dropout")
# What a model may have beyond one direction of one layer in torch.nn's form; ``Backend.options`` lists what a backend
# supports of it.
OPTIONS: tuple[str, ...] = ("num_layers", "bidirectional", *DROPOUTS, "proj_size", "lengths", "mask", "reset_before")
# Those that are forms of a step, which a framework's own layers may lack.
OTHER_FORMS = frozenset({"reset_before"})


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A recurrent network, with the constructor arguments and defaults of the layers of ``torch.nn``.

    A layer runs over the whole sequence. A one-step cell is applied T times in a plain loop, as in torch's own examples
    of the cells. ``batch_first`` belongs to the modules, not to the core. ``forget_bias`` is the initial value of the
    two biases of the forget gate together; None draws them like all others, as torch does. ``reset_after`` is where the
    reset gate of a GRU acts: on W_hn h + b_hn, as in torch.nn, or, if it is False, on h before the product (Cho et al.
    2014; ONNX calls the first ``linear_before_reset``, and Keras has both under this name). torch.nn has no
    ``input_dropout`` and no ``recurrent_dropout``; for their masks see ``common.model.masks``.

    Raises ``InvalidInput`` or ``InvalidType`` for a value out of range, and for an option that the cell does not take.
    """

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    nonlinearity: str = "tanh"
    bias: bool = True
    dropout: float = 0.0
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    forget_bias: float | None = None
    reset_after: bool = True
    dtype: str = "float64"

    def __post_init__(self) -> None:
        require_one_of("cell", CELLS, self.cell)
        require_positive_int("input_size", self.input_size)
        require_positive_int("hidden_size", self.hidden_size)
        require_positive_int("num_layers", self.num_layers)
        require_one_of("nonlinearity", NONLINEARITIES, self.nonlinearity)
        require_flag("bias", self.bias)
        require_flag("bidirectional", self.bidirectional)
        require_flag("reset_after", self.reset_after)
        for name in DROPOUTS:
            require_number(name, getattr(self, name))
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(mismatch(name, "a probability in [0, 1]", getattr(self, name)))
        require_one_of("dtype", (*DTYPES, *HALF_DTYPES, COMPLEX), self.dtype)
        require_int("proj_size", self.proj_size)
        if self.forget_bias is not None:
            require_number("forget_bias", self.forget_bias)
        for name in sorted(OPTIONAL - self.kind.options):
            self._refuse(name)
        self._require_projection()
        self._require_forget_bias()

    def _refuse(self, name: str) -> None:
        """Raise unless an option that the cell does not take has its default."""
        value, default = getattr(self, name), DEFAULTS[name]
        if value == default:
            return
        owners = with_option(name)
        cause = f"only {' and '.join(owners)} {'has' if len(owners) == 1 else 'have'} it"
        if self.is_cell and name in self.layer.options:
            cause = f"{self.cell} is one step of one layer"
        raise InvalidInput(mismatch(name, f"{default!r} for {self.cell}", repr(value), cause))

    def _require_projection(self) -> None:
        if not 0 <= self.proj_size < self.hidden_size:
            wanted = f"0 (no projection) to {self.hidden_size - 1}, below hidden_size"
            raise InvalidInput(mismatch("proj_size", wanted, self.proj_size))

    def _require_forget_bias(self) -> None:
        if self.forget_bias is not None and (not self.bias or not isfinite(self.forget_bias)):
            raise InvalidInput(mismatch("forget_bias", "a finite number, with bias=True", self.forget_bias))

    @property
    def kind(self) -> Cell:
        """The cell's entry in the table."""
        return TABLE[self.cell]

    @property
    def layer(self) -> Cell:
        """The entry of the layer that has the cell's equations."""
        return TABLE[self.kind.layer]

    @property
    def is_cell(self) -> bool:
        """True for the one-step cells, whose parameter names carry no layer suffix."""
        return self.kind.is_step

    @property
    def step_options(self) -> dict[str, Any]:
        """What the equations of the cell take by name, where the cell has it to choose."""
        return {name: getattr(self, name) for name in STEP_OPTIONS if name in self.kind.options}

    @property
    def num_blocks(self) -> int:
        """G: how many blocks of H rows each weight and bias has, one for each gate."""
        return self.kind.num_blocks

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def state_names(self) -> tuple[str, ...]:
        return self.kind.states

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
            **{name: getattr(self, name) > 0 for name in DROPOUTS},
            "proj_size": self.proj_size > 0,
            "reset_before": not self.reset_after,
        }
        return tuple(name for name, on in used.items() if on)

    @property
    def is_single(self) -> bool:
        """Whether this is one direction of one layer, without dropout or a projection."""
        return OTHER_FORMS.issuperset(self.options)

    @property
    def label(self) -> str:
        """The variant in a few words, as tables and errors show it."""
        words = {
            self.cell: True,
            self.nonlinearity: self.nonlinearity != "tanh",
            "reset before": not self.reset_after,
            "no bias": not self.bias,
            f"{self.num_layers} layers": self.num_layers > 1,
            "bidirectional": self.bidirectional,
            f"proj_size {self.proj_size}": self.proj_size > 0,
        }
        return " ".join(word for word, applies in words.items() if applies)

    def with_dtype(self, dtype: str) -> Self:
        return replace(self, dtype=dtype)


# The default of every argument that has one.
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(ModelSpec) if field.default is not MISSING}

"""The cells as ``torch.nn.Module``, with torch.nn's constructor arguments, call and names of parameters.

>>> import torch
>>> from torch_impl import RNN
>>> rnn, reference, x = RNN(3, 5), torch.nn.RNN(3, 5), torch.ones(7, 2, 3)  # x (T, B, I)
>>> rnn.load_state_dict(reference.state_dict())
<All keys matched successfully>
>>> torch.allclose(rnn(x)[0], reference(x)[0], atol=1e-6)
True

The algorithm is this package's own; the precision of its matrix products (TF32) is what the process has set.
A wrong argument raises ``InvalidInput`` (a ValueError) or ``InvalidType`` (a TypeError).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from common.backend.arrangement import arrange
from common.backend.guards import require_supported
from common.backend.module import SpecAttributes, constructor_text, module_spec
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.arrays import refuse_masked
from common.model.dtypes import is_exact, rounding
from common.model.initial import initial_parameters
from common.model.layout import likely_owner, parameter_shapes
from common.model.masks import Masks, mask_shapes, named_masks
from common.model.validate import require_seed

from . import stack
from .backend import BACKEND


class _Module(SpecAttributes, nn.Module):
    """Parameters under torch's names, drawn from ``seed``, or from a seed of torch's own generator."""

    def __init__(self, cell: str, arguments: Mapping[str, Any]):
        """``arguments`` are those of the constructor, by name."""
        super().__init__()
        dtype, device, seed = arguments["dtype"], arguments["device"], arguments["seed"]
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, torch.dtype):
            raise InvalidType(mismatch("dtype", "a torch.dtype", repr(dtype)))
        self.batch_first = arguments.get("batch_first", False)
        self.spec = module_spec(cell, arguments, str(dtype).removeprefix("torch."))
        require_supported(BACKEND, self.spec)
        if seed is None:
            seed = int(torch.randint(2**63 - 1, (), device="cpu"))
        require_seed(seed)
        wide = self.spec.with_dtype("float64")  # rounded by torch, which cannot take NumPy's bfloat16
        for name, value in initial_parameters(wide, seed).items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, device=device, dtype=dtype)))

    def flatten_parameters(self) -> None:
        """Nothing to do here: torch.nn's modules use it to lay out their weights for cuDNN."""

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: Any,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """One module's share of ``load_state_dict``, also of a module around it, and with ``assign=True``.

        A dtype that is exact in the parameter's is converted, such as float32 to float64; one that can round, integers
        and complex numbers are refused (``common.model.dtypes``). Names and shapes are torch's to check; where they are
        those of another cell, the error says so.
        """
        for name, parameter in self._parameters.items():
            value = state_dict.get(prefix + name)
            if parameter is None or not isinstance(value, Tensor) or value.dtype == parameter.dtype:
                continue
            if not is_exact(value.dtype, parameter.dtype):
                owner, cause = f"{parameter.dtype} for {self}", rounding(value.dtype, parameter.dtype)
                raise InvalidType(mismatch(prefix + name, owner, value.dtype, cause))
            state_dict[prefix + name] = value.detach().to(parameter.dtype)
        known = len(error_msgs)
        found = (missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *found)
        given = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        if len(error_msgs) > known and (cause := self._cause(given)):
            error_msgs.append(cause)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """``torch.nn.Module``'s; its error about names also says which module of this package the parameters fit."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            cause = self._cause(state_dict) if isinstance(state_dict, Mapping) else ""
            if not cause or cause in str(error) or isinstance(error, InvalidInput | InvalidType):
                raise
            raise RuntimeError(f"{error}\n\t{cause}") from error

    def _cause(self, params: Mapping[str, Any]) -> str:
        """The line that names the module whose parameters these are, if it is another cell's."""
        owner = likely_owner(self.spec, params)
        return mismatch("parameters", f"those of {self.spec.label}", "others", owner) if owner else ""

    def extra_repr(self) -> str:
        return constructor_text(self)

    def _core(self, x: Tensor, hx: Any, lengths: Any = None, masks: Any = None) -> tuple[Tensor, Any]:
        spec = self.spec
        # By attribute, not named_parameters(), which would drop a tensor that has two names.
        params = {name: getattr(self, name) for name in parameter_shapes(spec)}
        weight = next(iter(params.values()))
        arrangement, x = arrange(spec, x, self.batch_first, Tensor, weight.dtype)
        traced = lengths is not None and (tracing() or not readable(lengths))
        if traced:
            refuse_masked("lengths", lengths)
            if torch.jit.is_tracing() and not isinstance(lengths, Tensor):  # pyright: ignore
                cause = "a trace would keep the values of this call"
                raise InvalidType(mismatch("lengths", "a tensor under torch.jit.trace", type(lengths).__name__, cause))
            lengths = torch.as_tensor(lengths)
        lengths = arrangement.require_lengths(lengths, traced)
        state0 = arrangement.enter_state("hx", hx)
        shape = spec.mask_shape(arrangement.steps, arrangement.batch)
        if masks is not None:
            masks = arrangement.enter_masks(masks)
        elif self._drops:
            drawn = [functional.dropout(x.new_ones(shape[1:]), spec.dropout) for _ in range(shape[0])]
            masks = Masks(torch.stack(drawn))
        dropped = ((name, tensor) for name, _, tensor in named_masks(masks))
        given = (("x", x), *(("hx", part) for part in state0 or ()), *dropped)
        for name, tensor in given:
            if tensor.device != weight.device:
                raise InvalidInput(mismatch(name, f"the parameters' device {weight.device}", tensor.device))
        # Views of the same shape: in a trace, which has no checks, they refuse a batch size other than that of x.
        shapes = spec.state_shapes(arrangement.batch)
        if state0 is None:
            state0 = tuple(x.new_zeros(whole) for whole in shapes)
        state0 = tuple(part.view(whole) for part, whole in zip(state0, shapes, strict=True))
        x = x.view(arrangement.steps, arrangement.batch, spec.input_size)
        if masks is not None:
            shapes = mask_shapes(spec, arrangement.steps, arrangement.batch)
            pairs = zip(masks, shapes, strict=True)
            masks = Masks(*(None if part is None else part.view(whole) for part, whole in pairs))
        factor = None
        if lengths is not None:
            lengths = torch.as_tensor(lengths, device=weight.device).view(arrangement.batch)
            lengths, factor = in_range(lengths, arrangement.steps, weight.dtype) if traced else (lengths, None)
        y, state = stack.forward(spec, params, x, state0, lengths, masks)
        if factor is not None:
            y, state = y * factor, tuple(part * factor for part in state)
        return arrangement.leave(y), arrangement.leave_state(state)

    @property
    def _drops(self) -> bool:
        return self.training and self.spec.dropout > 0 and self.spec.num_layers > 1


def tracing() -> bool:
    """Whether a call is being recorded, to be repeated with other values."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore


def readable(lengths: Any) -> bool:
    """Whether lengths have values to check: a tensor inside a transform of ``torch.func`` has none."""
    try:
        return not isinstance(lengths, Tensor) or lengths.detach().cpu().numpy() is not None
    except RuntimeError:
        return False


def in_range(lengths: Tensor, steps: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Traced lengths (B,), as integers in 0..T; and a factor (B, 1) of the results: NaN where they were not, else 1.

    Being a factor, it also applies to the gradients. In those sequences all steps are valid, so NaN reaches each of
    them.
    """
    lengths = lengths.long()
    wrong = (lengths < 0) | (lengths > steps)
    factor = torch.where(wrong, torch.nan, torch.ones_like(lengths, dtype=dtype))
    return torch.where(wrong, steps, lengths), factor[:, None]


class _Layer(_Module):
    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Any = None,
        masks: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, D*H), the final state (D*L, B, H).

        x and y are (B, T, ...) with ``batch_first``, and (T, ...) without a batch. ``lengths`` (B,) are those of a
        ragged batch, as in ``torch.nn.utils.rnn.pack_padded_sequence``; one of 0 steps has y = 0 and keeps its state.
        While tracing or compiling, lengths cannot be checked: the results of a length outside 0..T, and their
        gradients, are NaN.
        A ``PackedSequence`` has its own lengths, of at least 1, and gives another ``PackedSequence``.
        ``masks`` (L-1, T, B, D*H) take the place of dropout's own, which are those that torch.nn would draw
        (``common.model.initial.dropout_masks``).
        """
        if not isinstance(input, PackedSequence):
            return self._core(input, hx, lengths, masks)
        if lengths is not None:
            raise InvalidInput(mismatch("lengths", "None with a PackedSequence", type(lengths).__name__))
        padded, own = pad_packed_sequence(input, self.batch_first)
        if masks is None and self._drops:
            masks = torch.stack([self._packed_mask(input) for _ in range(self.num_layers - 1)])
        y, state = self._core(padded, hx, own, masks)
        y = y.swapaxes(0, 1) if self.batch_first else y
        if input.sorted_indices is not None:
            y, own = y.index_select(1, input.sorted_indices), own[input.sorted_indices.cpu()]
        return input._replace(data=pack_padded_sequence(y, own).data), state

    def _packed_mask(self, packed: PackedSequence) -> Tensor:
        """A dropout mask (T, B, D*H), drawn as torch.nn draws it: only for the valid steps."""
        ones = packed.data.new_ones(packed.data.shape[0], self.spec.output_size)
        return pad_packed_sequence(packed._replace(data=functional.dropout(ones, self.dropout)))[0]


class _Cell(_Module):
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """x (B, I) or (I,) and the state (B, H) or (H,), zeros where None -> the next state."""
        return self._core(input, hx)[1]


class RNN(_Layer):
    """``torch.nn.RNN``; ``hx`` and ``h_n`` are one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
        proj_size: int = 0,
    ):
        super().__init__("RNN", locals())


class LSTM(_Layer):
    """``torch.nn.LSTM``; ``hx`` and the final state are pairs (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
        forget_bias: float | None = None,
    ):
        super().__init__("LSTM", locals())


class RNNCell(_Cell):
    """``torch.nn.RNNCell``; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__("RNNCell", locals())


class LSTMCell(_Cell):
    """``torch.nn.LSTMCell``; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
        forget_bias: float | None = None,
    ):
        super().__init__("LSTMCell", locals())


class GRU(_Layer):
    """``torch.nn.GRU``; ``hx`` and ``h_n`` are one array.

    ``reset_after=False`` is the form of Cho et al. 2014, which torch.nn does not have (``ModelSpec``).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
        reset_after: bool = True,
    ):
        super().__init__("GRU", locals())


class GRUCell(_Cell):
    """``torch.nn.GRUCell``; the state is one array."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
        reset_after: bool = True,
    ):
        super().__init__("GRUCell", locals())


class LSTM1997(_Layer):
    """The LSTM without a forget gate, with the arguments of ``torch.nn.GRU``; states are pairs (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__("LSTM1997", locals())


class LSTM1997Cell(_Cell):
    """One step of it; the state is a pair (h, c)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        seed: int | None = None,
    ):
        super().__init__("LSTM1997Cell", locals())

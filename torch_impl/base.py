"""What the modules of this package share: parameters, a call of a layer and of a cell; ``modules`` has the classes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from common.backend.arrangement import arrange
from common.backend.guards import require_supported
from common.backend.module import SpecAttributes, constructor_text, module_spec
from common.errors import InvalidArray, InvalidDtype, InvalidInput, InvalidType, mismatch
from common.model.dtypes import is_exact, rounding
from common.model.initial import initial_parameters, set_forget_bias
from common.model.layout import Weights, layer_suffixes, likely_owner, parameter_shapes
from common.model.masks import Masks, mask_shapes, named_masks, probabilities
from common.model.validate import require_flag, require_seed
from common.weights.arrays import to_array

from . import stack, transforms
from .backend import BACKEND
from .native import as_tensor


class Module(SpecAttributes, nn.Module):
    """Parameters under torch's names, drawn as torch.nn draws them, or from ``seed``."""

    def __init__(self, cell: str, arguments: Mapping[str, Any]):
        """``arguments`` are those of the constructor, by name."""
        super().__init__()
        dtype, device, self._seed = arguments["dtype"], arguments["device"], arguments["seed"]
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, torch.dtype):
            raise InvalidType(mismatch("dtype", "a torch.dtype", repr(dtype)))
        self.batch_first = arguments.get("batch_first", False)
        self.spec = module_spec(cell, arguments, str(dtype).removeprefix("torch."))
        require_supported(BACKEND, self.spec)
        if self._seed is not None:
            require_seed(self._seed)
        for name, shape in parameter_shapes(self.spec).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the parameters as the constructor does: from ``seed``, or, without one, from torch's own generator.

        Under one ``torch.manual_seed`` the latter are the numbers of torch.nn's module: uniform in +-1/sqrt(H).
        """
        if self._seed is None:
            bound = 1 / sqrt(self.hidden_size)
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -bound, bound)
            set_forget_bias(self.spec, dict(self.named_parameters()))
            return
        wide = self.spec.with_dtype("float64")  # rounded by torch, which cannot take NumPy's bfloat16
        for name, value in initial_parameters(wide, self._seed).items():
            parameter = self._parameters.get(name)
            if parameter is None:
                got = f"{name} as the result of a parametrization or of pruning"
                raise InvalidInput(mismatch("reset_parameters with a seed", "the module's own parameters", got))
            parameter.copy_(torch.tensor(value, device=parameter.device, dtype=parameter.dtype))

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

        Arrays of NumPy and JAX become tensors. A dtype that is exact in the parameter's is converted, such as float32
        to float64; one that can round, integers and complex numbers are refused (``common.model.dtypes``). Names and
        shapes are torch's to check; if they are another cell's, the error says whose.
        """
        for name, parameter in self._parameters.items():
            key = prefix + name
            value = state_dict.get(key)
            if parameter is None or not (isinstance(value, Tensor) or hasattr(value, "__array__")):
                continue
            if not isinstance(value, Tensor):
                value = to_array(key, value)
            if not is_exact(value.dtype, parameter.dtype):
                owner, cause = f"{parameter.dtype} for {self}", rounding(value.dtype, parameter.dtype)
                raise InvalidDtype(mismatch(key, owner, value.dtype, cause))
            value = value if isinstance(value, Tensor) else as_tensor(value)
            if value.dtype != parameter.dtype:
                value = value.detach().to(parameter.dtype)
            state_dict[key] = value
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

    def __prepare_scriptable__(self) -> Any:
        """What ``torch.jit.script`` asks for first: a module to compile in place of this one."""
        cause = "use torch.jit.trace, torch.export or torch.compile"
        raise InvalidType(mismatch("torch.jit.script", "a module that TorchScript can compile", repr(self), cause))

    def _core(
        self, x: Tensor, hx: Any, lengths: Any = None, masks: Any = None, mask: Any = None, return_steps: bool = False
    ) -> Any:
        require_flag("return_steps", return_steps)
        spec = self.spec
        # By attribute, not named_parameters(), which would drop a tensor that has two names.
        params = {name: getattr(self, name) for name in parameter_shapes(spec)}
        weight = next(iter(params.values()))
        low = transforms.autocast_dtype(weight)
        dtypes = weight.dtype if low is None else transforms.CASTABLE
        arrangement, x = arrange(spec, x, self.batch_first, Tensor, dtypes, empty=True)
        transforms.require_tensor_in_trace("mask", mask)
        mask = arrangement.enter_mask(mask, lengths)
        lengths, traced = transforms.enter_lengths(arrangement, lengths)
        state0 = arrangement.enter_state("hx", hx)
        masks = arrangement.enter_masks(masks)
        if masks is None and self.training:
            masks = self._drawn(x, arrangement.steps, arrangement.batch)
        dropped = ((name, tensor) for name, _, tensor in named_masks(masks))
        given = (("x", x), *(("hx", part) for part in state0 or ()), *dropped)
        for name, tensor in given:
            if tensor.device != weight.device:
                raise InvalidArray(mismatch(name, f"the parameters' device {weight.device}", tensor.device))
        # Views of the same shape: in a trace, which has no checks, they refuse a batch size other than that of x.
        shapes = spec.state_shapes(arrangement.batch)
        if state0 is None:
            state0 = tuple(x.new_zeros(whole) for whole in shapes)
        state0 = tuple(part.view(whole) for part, whole in zip(state0, shapes, strict=True))
        x = x.view(arrangement.steps, arrangement.batch, spec.input_size)
        if masks is not None:
            pairs = zip(masks, mask_shapes(spec, arrangement.steps, arrangement.batch), strict=True)
            masks = Masks(*(None if part is None else part.view(whole) for part, whole in pairs))
        if low is not None:
            params, x, state0 = transforms.cast(spec, low, params, x, state0, lengths is not None or mask is not None)
        if mask is not None:
            mask = torch.as_tensor(mask, device=weight.device).view(arrangement.steps, arrangement.batch)
        factor = None
        if lengths is not None:
            lengths = torch.as_tensor(lengths, device=weight.device).view(arrangement.batch)
            lengths, factor = transforms.in_range(lengths, arrangement.steps, x.dtype) if traced else (lengths, None)
        y, state, *steps = stack.forward(spec, params, x, state0, lengths, masks, mask, record=return_steps)
        if factor is not None:
            y, state = y * factor, tuple(part * factor for part in state)
            steps = [{name: part * factor for name, part in found.items()} for found in steps]
        return arrangement.leave_results(y, state, *steps)

    def _drawn(self, x: Tensor, steps: int, batch: int, one: Callable[[], Tensor] | None = None) -> Masks:
        """Dropout masks of each kind that the module drops; ``one`` draws that of a layer, as torch.nn does."""
        p, shapes = probabilities(self.spec), mask_shapes(self.spec, steps, batch)
        one = one or (lambda: functional.dropout(x.new_ones(shapes.layers[1:]), p.layers))
        return Masks(
            torch.stack([one() for _ in range(shapes.layers[0])]) if p.layers else None,
            functional.dropout(x.new_ones(shapes.input), p.input) if p.input else None,
            functional.dropout(x.new_ones(shapes.recurrent), p.recurrent) if p.recurrent else None,
        )


class Layer(Module):
    """A layer over a whole sequence; besides its parameters it has what users of ``torch.nn.RNNBase`` read.

    It is not an ``RNNBase``, since it has none of its kernels: ``isinstance`` asks for the classes of this package.
    """

    @property
    def mode(self) -> str:
        """torch's name of the equations: LSTM, GRU, RNN_TANH or RNN_RELU; LSTM1997, which torch does not have."""
        return self.spec.cell if self.spec.kind.gates else f"RNN_{self.spec.nonlinearity.upper()}"

    @property
    def dropout(self) -> float:  # pyright: ignore
        """The probability with which an output of every layer but the last is zero; may be set."""
        return self.spec.dropout

    @dropout.setter
    def dropout(self, probability: float) -> None:
        self.spec = replace(self.spec, dropout=probability)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each direction of each layer, in torch's order."""
        names = [[field + suffix for field in Weights._fields] for suffix in layer_suffixes(self.spec)]
        return [[getattr(self, name) for name in layer if name in self._flat_weights_names] for layer in names]

    @property
    def _flat_weights_names(self) -> list[str]:
        return list(parameter_shapes(self.spec))

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name, None) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Nothing to do here: torch.nn's modules use it to lay out their weights for cuDNN."""

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        lengths: Any = None,
        masks: Any = None,
        mask: Any = None,
        return_steps: bool = False,
    ) -> tuple[Any, ...]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, D*H), the final state (D*L, B, H).

        x and y are (B, T, ...) with ``batch_first``, and (T, ...) without a batch. ``lengths`` (B,) are those of a
        ragged batch, as in ``torch.nn.utils.rnn.pack_padded_sequence``; one of 0 steps has y = 0 and keeps its state.
        While tracing or compiling, lengths cannot be checked: the results of a length outside 0..T, and their
        gradients, are NaN.
        A ``PackedSequence`` has its own lengths, of at least 1, and gives another ``PackedSequence``.
        ``mask``, in the place of lengths, are booleans in the layout of x without its last axis, True where a step is
        valid, in any pattern: at a step that is not, y is 0 and the state stays as it is (Keras' ``mask``).
        ``masks`` take the place of dropout's own, of which torch.nn would draw those between layers
        (``common.model.masks``): an array (L-1, T, B, D*H), or a ``Masks``.
        With ``return_steps`` a third result says what every step computed: a dict of h (before dropout), c (of an LSTM)
        and each gate by its letter (``common.model.cells``). Each is (D*L, T, B, H), with the rows of a state, or
        (D*L, B, T, H) with ``batch_first``, or (D*L, T, H) without a batch; in the order of x, in the reverse direction
        too; and zero at a step that is not valid. With a ``PackedSequence`` they are padded, and the sequences stand
        in the order of a state.
        """
        if transforms.is_symbolic(input, hx, lengths, masks, mask):
            return transforms.leaf(self, input, hx, lengths=lengths, masks=masks, mask=mask, return_steps=return_steps)
        if not isinstance(input, PackedSequence):
            return self._core(input, hx, lengths, masks, mask, return_steps)
        for name, given in (("lengths", lengths), ("mask", mask)):
            if given is not None:
                raise InvalidInput(mismatch(name, "None with a PackedSequence", type(given).__name__))
        padded, own = pad_packed_sequence(input, self.batch_first)
        if masks is None and self.training:
            masks = self._drawn(padded, padded.shape[0], len(own), partial(self._packed_mask, input))
        y, *others = self._core(padded, hx, own, masks, None, return_steps)
        y = y.swapaxes(0, 1) if self.batch_first else y
        if input.sorted_indices is not None:
            y, own = y.index_select(1, input.sorted_indices), own[input.sorted_indices.cpu()]
        return input._replace(data=pack_padded_sequence(y, own).data), *others

    def _packed_mask(self, packed: PackedSequence) -> Tensor:
        """A dropout mask (T, B, D*H), drawn as torch.nn draws it: only for the valid steps."""
        ones = packed.data.new_ones(packed.data.shape[0], self.spec.output_size)
        return pad_packed_sequence(packed._replace(data=functional.dropout(ones, self.dropout)))[0]


class Cell(Module):
    """One step of a layer."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """x (B, I) or (I,) and the state (B, H) or (H,), zeros where None -> the next state."""
        if transforms.is_symbolic(input, hx):
            return transforms.leaf(self, input, hx)
        return self._core(input, hx)[1]

"""The checks of a backend's arguments: each raises unless they are what the contract says.

Every public entry of the contract has one guard, which checks each argument once: ``require_forward``,
``require_problem`` (for ``vjp`` and ``timed``), ``require_run`` (for ``trainer``), ``require_predict``, and
``require_batch`` for a batch that a trainer is given. Nothing below an entry checks again, except
that a conversion checks the weights that it converts.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from common.backend.contract import Backend, Batch, Problem, State
from common.errors import InvalidInput, InvalidType, choice, mismatch
from common.model.arrays import require_array, require_finite, require_form, require_ndarray
from common.model.dtypes import numpy_dtype
from common.model.layout import require_network, require_parameters
from common.model.masks import AXES, Masks, as_masks, mask_shapes, named_masks
from common.model.network import NetworkSpec
from common.model.run import RunSpec
from common.model.spec import DTYPES, OPTIONS, ModelSpec


def unsupported(backend: Backend, spec: ModelSpec, called: Collection[str] = ()) -> tuple[str, ...]:
    """What a model needs and a backend does not support: its cell, its dtype, names of ``spec.OPTIONS``.

    ``called`` are the names that belong to the call, such as "lengths" (``used_by``).
    """
    lacking = []
    if spec.cell not in backend.cells:
        lacking.append(spec.cell)
    if spec.dtype not in backend.dtypes:
        lacking.append(spec.dtype)
    return (*lacking, *(name for name in _options(spec, called) if name not in backend.options))


def used_by(lengths: Any, mask: Any = None, masks: Any = None) -> tuple[str, ...]:
    """The names in ``spec.OPTIONS`` that a call uses by its arguments, whatever the model is."""
    given = as_masks(masks)
    used = {"input_dropout": given and given.input, "recurrent_dropout": given and given.recurrent}
    used |= {"lengths": lengths, "mask": mask}
    return tuple(name for name, value in used.items() if value is not None)


def _options(spec: ModelSpec, called: Collection[str]) -> tuple[str, ...]:
    """The names in ``spec.OPTIONS`` that a call uses, each once."""
    return tuple(dict.fromkeys((*spec.options, *called)))


def require_supported(backend: Backend, spec: ModelSpec, called: Collection[str] = ()) -> None:
    """Raise unless the backend computes this cell in this dtype with these options."""
    if not isinstance(spec, ModelSpec):
        raise InvalidType(mismatch("spec", "a ModelSpec", type(spec).__name__))
    if spec.cell not in backend.cells:
        raise InvalidInput(choice(f"cell for backend {backend.name}", sorted(backend.cells), spec.cell))
    if spec.dtype not in backend.dtypes:
        raise InvalidType(choice(f"dtype for backend {backend.name}", sorted(backend.dtypes), spec.dtype))
    for name in _options(spec, called):
        if name not in backend.options:
            able = ", ".join(option for option in OPTIONS if option in backend.options)
            wanted = f"none but {able}" if able else "none"
            raise InvalidInput(mismatch(f"options for backend {backend.name}", wanted, repr(name)))


def zero_state(spec: ModelSpec, batch: int) -> State:
    """Zeros in the shape and dtype of a state."""
    return tuple(np.zeros(shape, numpy_dtype(spec.dtype)) for shape in spec.state_shapes(batch))


def require_forward(
    backend: Backend,
    spec: ModelSpec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    state0: State | None,
    lengths: np.ndarray | None = None,
    masks: Masks | np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> State:
    """Check the arguments of ``forward``; returns the initial state, zeros where none was given."""
    require_supported(backend, spec, used_by(lengths, mask, masks))
    require_parameters(spec, params)
    batch = require_input(spec, x)
    require_valid_steps(lengths, mask, x.shape[0], batch)
    require_masks(spec, masks, x.shape[0], batch)
    return _initial_state(spec, state0, batch)


def require_problem(backend: Backend, spec: ModelSpec, problem: Problem) -> Problem:
    """Check what ``vjp`` and ``timed`` take; returns it with an initial state, zeros where none was given."""
    state0 = require_forward(backend, spec, problem.params, problem.x, problem.state0, **problem.keywords)
    steps, batch, _ = problem.x.shape
    require_array("dy", problem.dy, (steps, batch, spec.output_size), spec.dtype, spec.label)
    require_state(spec, "dstate", problem.dstate, batch)
    return problem._replace(state0=state0)


def require_run(backend: Backend, run: RunSpec, params: Mapping[str, np.ndarray]) -> None:
    """Check the arguments of ``trainer``."""
    if not isinstance(run, RunSpec):
        raise InvalidType(mismatch("run", "a RunSpec", type(run).__name__))
    require_supported(backend, run.network.model)
    if run.network.model.dtype not in DTYPES:
        raise InvalidType(choice("dtype of a training run", DTYPES, run.network.model.dtype))
    require_network(run.network, params)


def require_predict(
    backend: Backend, network: NetworkSpec, params: Mapping[str, np.ndarray], batch: Batch, state0: State | None
) -> State:
    """Check the arguments of ``predict``; returns the initial state, zeros where none was given."""
    require_inputs(network, batch)
    require_supported(backend, network.model, used_by(batch.lengths, batch.mask, batch.masks))
    require_network(network, params)
    return _initial_state(network.model, state0, batch.x.shape[1])


def _initial_state(spec: ModelSpec, state0: State | None, batch: int) -> State:
    if state0 is None:
        return zero_state(spec, batch)
    require_state(spec, "state0", state0, batch)
    return state0


def require_valid_steps(lengths: Any, mask: Any, steps: int, batch: int) -> None:
    """Check what says which steps are valid: lengths, a mask, or neither."""
    refuse_both(lengths, mask)
    if lengths is not None:
        require_lengths(lengths, steps, batch)
    if mask is not None:
        require_ndarray("mask", mask)
        require_mask_form(mask, (steps, batch), "(T, B)")


def refuse_both(lengths: Any, mask: Any) -> None:
    if lengths is not None and mask is not None:
        cause = "each says which steps are valid"
        raise InvalidInput(mismatch("mask", "None where lengths are given", "both", cause))


def require_mask_form(mask: Any, shape: tuple[int, ...], axes: str) -> None:
    """Check shape and dtype of a mask of valid steps, in any framework's array."""
    if str(mask.dtype).removeprefix("torch.") != "bool":
        cause = "mask > 0 makes booleans of numbers; the masks of dropout are masks="
        raise InvalidType(mismatch("mask", "booleans, True where a step is valid", mask.dtype, cause))
    if tuple(mask.shape) != shape:
        cause = "transposed?" if len(shape) > 1 and tuple(mask.shape) == shape[::-1] else ""
        raise InvalidInput(mismatch("mask", f"{shape}, {axes}", tuple(mask.shape), cause))


def require_lengths(lengths: Any, steps: int, batch: int) -> None:
    """Check the lengths of the sequences of a batch: (B,), integers from 0 to T."""
    require_ndarray("lengths", lengths)
    require_lengths_form(lengths, batch)
    for index, length in enumerate(lengths.tolist()):
        if not 0 <= length <= steps:
            raise InvalidInput(mismatch("lengths", f"0 to {steps} steps", f"{length} at index {index}"))


def require_lengths_form(lengths: Any, batch: int) -> None:
    """Check only shape and dtype, in any framework's array: traced lengths have no values yet."""
    if not str(lengths.dtype).removeprefix("torch.").startswith(("int", "uint")):
        raise InvalidType(mismatch("lengths", "integers", lengths.dtype))
    if tuple(lengths.shape) != (batch,):
        raise InvalidInput(mismatch("lengths", f"({batch},), one for each sequence", tuple(lengths.shape)))


def require_masks(spec: ModelSpec, masks: Any, steps: int, batch: int) -> None:
    """Check dropout masks: a ``Masks``, an array of those of the layers, or None."""
    shapes = mask_shapes(spec, steps, batch)
    for name, kind, array in named_masks(masks):
        refuse_masks_without_use(spec, name, kind)
        require_array(name, array, getattr(shapes, kind), spec.dtype, f"{spec.label}, {AXES[kind]}")


def refuse_masks_without_use(spec: ModelSpec, name: str, kind: str) -> None:
    """Raise if masks were given although the model has nothing for them to act on."""
    if kind == "layers" and spec.num_layers == 1:
        raise InvalidInput(mismatch(name, "None with num_layers=1, as the last layer has no dropout", "masks"))
    if spec.is_cell and kind != "layers":
        raise InvalidInput(mismatch(name, f"None for {spec.cell}, which is one step", "masks"))


def require_input(spec: ModelSpec, x: Any) -> int:
    """Check x (T, B, I); returns B."""
    require_ndarray("x", x)
    if x.ndim != 3:
        raise InvalidInput(mismatch("x", "3 axes (T, B, I)", f"{x.ndim} of shape {x.shape}"))
    if 0 in x.shape[:2]:
        raise InvalidInput(mismatch("x", "at least one step and one sequence", f"shape {x.shape}"))
    require_form("x", x, (*x.shape[:2], spec.input_size), spec.dtype, f"{spec.cell}(input_size={spec.input_size})")
    require_finite("x", x)
    return x.shape[1]


def require_state(spec: ModelSpec, name: str, state: Any, batch: int) -> None:
    """Check a state: a tuple of one array for each of the cell's states, each (D*L, B, H)."""
    fields = ", ".join(spec.state_names) + ("," if len(spec.state_names) == 1 else "")
    if not isinstance(state, tuple):
        raise InvalidType(mismatch(name, f"a tuple ({fields}) for {spec.cell}", type(state).__name__))
    if len(state) != len(spec.state_names):
        raise InvalidInput(mismatch(name, f"a tuple ({fields}) for {spec.cell}", f"{len(state)} arrays"))
    label = spec.label
    for part, array, shape in zip(spec.state_names, state, spec.state_shapes(batch), strict=True):
        require_array(f"{name}.{part}", array, shape, spec.dtype, label)


def require_carried(network: NetworkSpec, batch: Batch, last_state: tuple[Any, ...] | None) -> None:
    """Raise unless a batch can start from the state in which the last step ended."""
    if network.has_decoder:
        raise InvalidInput(mismatch("carried", "False for encoder_decoder", True))
    if last_state is None:
        raise InvalidInput(mismatch("carried", "False in the first step", True))
    if last_state[0].shape[1] != batch.x.shape[1]:
        raise InvalidInput(
            mismatch("x", f"{last_state[0].shape[1]} sequences, as in the step before", batch.x.shape[1])
        )


def rows_shape(network: NetworkSpec, batch: Batch) -> tuple[int, ...]:
    """The shape of the prediction without its last axis, O."""
    steps, size = batch.x.shape[:2]
    match network.readout:
        case "last_step" | "final_state":
            return (size,)
        case "last_sequence":
            return (steps,)
        case "every_step":
            return steps, size
        case _:
            return (0 if batch.decoder_x is None else batch.decoder_x.shape[0]), size


def require_inputs(network: NetworkSpec, batch: Batch) -> None:
    """Raise unless everything except the target is what the network reads."""
    if not isinstance(network, NetworkSpec):
        raise InvalidType(mismatch("network", "a NetworkSpec", type(network).__name__))
    if not isinstance(batch, Batch):
        raise InvalidType(mismatch("batch", "a Batch", type(batch).__name__))
    model = network.model
    if network.vocabulary is None:
        require_input(model, batch.x)
    else:
        _require_symbols("x", batch.x, 0, network.vocabulary)
    size = batch.x.shape[1]
    for name in ("lengths", "mask"):
        if getattr(batch, name) is not None and network.readout == "last_sequence":
            raise InvalidInput(mismatch(name, "None for last_sequence, whose steps are examples", name))
    require_valid_steps(batch.lengths, batch.mask, *batch.x.shape[:2])
    require_masks(model, batch.masks, *batch.x.shape[:2])
    if (batch.decoder_x is not None) != network.has_decoder:
        wanted = "symbols (T', B)" if network.has_decoder else "None"
        got = "None" if batch.decoder_x is None else "an array"
        raise InvalidInput(mismatch(f"decoder_x for the readout {network.readout}", wanted, got))
    if batch.decoder_masks is not None and not network.has_decoder:
        raise InvalidInput(mismatch(f"decoder_masks for the readout {network.readout}", "None", "an array"))
    if batch.decoder_x is not None:
        _require_symbols("decoder_x", batch.decoder_x, 0, network.readout_size)
        if batch.decoder_x.shape[1] != size:
            raise InvalidInput(mismatch("decoder_x", f"{size} sequences, as in x", batch.decoder_x.shape[1]))
        require_masks(network.decoder, batch.decoder_masks, *batch.decoder_x.shape)


def require_batch(network: NetworkSpec, batch: Batch) -> None:
    """Raise unless inputs and targets are what the network is trained on."""
    require_inputs(network, batch)
    shape = rows_shape(network, batch)
    if network.loss == "mse":
        owner = f"the readout {network.readout}"
        require_array("target", batch.target, (*shape, network.readout_size), network.model.dtype, owner)
        for name, got in (("lengths", "0 everywhere"), ("mask", "False everywhere")):
            valid = getattr(batch, name)
            if network.readout == "every_step" and valid is not None and not valid.any():
                raise InvalidInput(mismatch(name, "at least one step whose target counts", got))
        return
    _require_symbols("target", batch.target, -1, network.readout_size, shape)
    if (batch.target < 0).all():
        raise InvalidInput(mismatch("target", "at least one that counts", "-1 everywhere"))


def _require_symbols(name: str, array: Any, low: int, count: int, shape: tuple[int, ...] | None = None) -> None:
    require_ndarray(name, array)
    if array.dtype.kind not in "iu":
        raise InvalidType(mismatch(name, "integers, the numbers of symbols", array.dtype))
    if shape is None and (array.ndim != 2 or 0 in array.shape):
        raise InvalidInput(mismatch(name, "symbols (T, B), at least one of each", f"shape {array.shape}"))
    if shape is not None and array.shape != shape:
        raise InvalidInput(mismatch(name, shape, array.shape))
    if not low <= array.min() <= array.max() < count:
        wrong = array[(array < low) | (array >= count)][0]
        raise InvalidInput(mismatch(name, f"numbers from {low} to {count - 1}", wrong))

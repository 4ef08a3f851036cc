"""What the modules share: their parameters, their dropout, and how the arrays of a call reach the core.

The classes, with their constructors, are in ``modules``.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from common.backend.arrangement import arrange
from common.backend.guards import require_supported
from common.backend.module import SpecAttributes, dtype_name, module_spec
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.initial import initial_parameters
from common.model.layout import Parameters, parameter_shapes
from common.model.masks import Masks, mask_shapes, probabilities
from common.model.spec import ModelSpec
from common.model.validate import require_flag
from common.weights.arrays import loaded_parameters

from . import stack
from .backend import BACKEND
from .promotion import promoted


class Module(SpecAttributes, nnx.Module):
    """Parameters under the neutral names, each an ``nnx.Param``."""

    def __init__(self, cell: str, arguments: Mapping[str, Any]):
        """``arguments`` are those of the constructor, by name."""
        rngs = arguments["rngs"]
        self.batch_first = arguments.get("batch_first", False)
        self.spec = module_spec(cell, arguments, dtype_name(arguments["dtype"]))
        require_supported(BACKEND, self.spec)
        require_x64(self.spec.dtype)
        if not isinstance(rngs, nnx.Rngs):
            raise InvalidType(mismatch("rngs", "an nnx.Rngs", type(rngs).__name__))
        device = find_device(arguments["device"])
        for name, value in draw(self.spec, rngs.params()).items():
            setattr(self, name, nnx.Param(value if device is None else jax.device_put(value, device)))
        self.deterministic = False
        if any(probabilities(self.spec)):
            if not {"dropout", "default"} & set(rngs):
                raise InvalidInput(mismatch("rngs", "a stream 'dropout' or 'default' for dropout", list(rngs)))
            self.rngs = rngs["dropout"].fork()

    @property
    def param_dtype(self) -> Any:
        """The dtype of the parameters as they are now; the computation's is that to which all arrays promote."""
        return jnp.result_type(*self._params().values())

    def _params(self) -> dict[str, jax.Array]:
        return {name: getattr(self, name).get_value() for name in parameter_shapes(self.spec)}

    def set_view(self, deterministic: bool | None = None) -> None:
        """What ``nnx.view(module, deterministic=...)`` sets; ``train()`` and ``eval()`` set it in place.

        Args:
          deterministic: whether dropout is off; None leaves it as it is.
        """
        if deterministic is not None:
            require_flag("deterministic", deterministic)
            self.deterministic = deterministic

    @property
    def num_feature_axes(self) -> int:
        """What ``nnx.RNN`` asks its cell first: it takes none of these modules, as the calls differ."""
        name = type(self).__name__
        wanted = f"FlaxCell({name}(...))" if self.spec.is_cell else f"a cell; jax_impl.{name} is a layer itself"
        got = f"{name}, which has the call signature of torch's"
        raise InvalidType(mismatch("cell of nnx.RNN", wanted, got))

    def state_dict(self) -> Parameters:
        """The parameters as NumPy arrays under the neutral names."""
        return {name: np.array(getattr(self, name).get_value()) for name in parameter_shapes(self.spec)}

    def load_state_dict(self, params: Mapping[str, Any]) -> None:
        """Replace all parameters by copies of these; names and shapes must be this module's own.

        NumPy and JAX arrays and torch tensors are accepted. A dtype that is exact in this module's is converted, such
        as float32 to float64; one that can round, integers and complex numbers are refused (``common.model.dtypes``).
        """
        require_x64(self.spec.dtype)
        own = loaded_parameters(self.spec, params)
        for name in parameter_shapes(self.spec):
            getattr(self, name).set_value(jnp.array(own[name]))

    def _drawn(self, steps: int, batch: int, dtype: Any) -> Masks | None:
        """Dropout masks from the module's own stream, a key for each kind; None where nothing is dropped."""
        if self.deterministic or not any(probabilities(self.spec)):
            return None

        def draw(p: float, shape: tuple[int, ...]) -> jax.Array | None:
            if not p:
                return None
            kept = jax.random.bernoulli(self.rngs(), 1.0 - p, shape)
            return jnp.where(kept, 1 / (1 - p) if p < 1 else 0, 0).astype(dtype)

        return Masks(*map(draw, probabilities(self.spec), mask_shapes(self.spec, steps, batch)))

    def _core(
        self, x: Any, hx: Any, lengths: Any = None, masks: Any = None, mask: Any = None, return_steps: bool = False
    ) -> tuple[Any, ...]:
        require_flag("return_steps", return_steps)
        spec, kind, params = self.spec, jax.Array | np.ndarray, self._params()
        for value in params.values():
            require_x64(value.dtype)
        params, x, hx = promoted(params, x, hx)
        dtype = next(iter(params.values())).dtype
        arrangement, x = arrange(spec, x, self.batch_first, kind, dtype)
        traced = isinstance(lengths, Tracer)
        mask = arrangement.enter_mask(mask, lengths)
        lengths = arrangement.require_lengths(lengths, traced)
        masks = arrangement.enter_masks(masks) or self._drawn(arrangement.steps, arrangement.batch, dtype)
        state0 = arrangement.enter_state("hx", hx)
        if state0 is None:
            state0 = tuple(jnp.zeros(whole, dtype) for whole in spec.state_shapes(arrangement.batch))
        # NumPy's arrays are copied: JAX may read them later, when the caller has changed the originals.
        arrays = (lengths, masks, mask)
        lengths, masks, mask = jax.tree.map(lambda a: jnp.array(a) if isinstance(a, np.ndarray) else a, arrays)
        lengths, factor = in_range(lengths, arrangement.steps, dtype) if traced else (lengths, None)
        y, state, *steps = stack.forward(spec, params, x, state0, lengths, masks, mask, record=return_steps)
        if factor is not None:
            y, state = jax.tree.map(lambda part: part * factor, (y, state))
            steps = [{name: part * factor for name, part in found.items()} for found in steps]
        return arrangement.leave_results(y, state, *steps)


def in_range(lengths: jax.Array, steps: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Traced lengths (B,), as integers in 0..T; and a factor (B, 1) of the results: NaN where they were not, else 1.

    Being a factor, it also applies to the gradients. In those sequences all steps are valid, so NaN reaches each of
    them.
    """
    lengths = lengths.astype(jnp.promote_types(lengths.dtype, "int32"))
    wrong = (lengths < 0) | (lengths > steps)
    return jnp.where(wrong, steps, lengths).astype("int32"), jnp.where(wrong, jnp.nan, 1).astype(dtype)[:, None]


def find_device(device: Any) -> Any:
    """A device of JAX, by itself or by the name of its platform; None is JAX's default."""
    if not isinstance(device, str):
        return device
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise InvalidInput(mismatch("device", "a platform of JAX, such as 'cpu'", repr(device))) from error


def draw(spec: ModelSpec, key: jax.Array) -> dict[str, jax.Array]:
    """The initial parameters for a key; by a callback, so that a module can be built while tracing."""

    def initial(words: Any) -> Parameters:
        return initial_parameters(spec, int.from_bytes(np.asarray(words).astype("<u4").tobytes(), "little"))

    shapes = {name: jax.ShapeDtypeStruct(shape, spec.dtype) for name, shape in parameter_shapes(spec).items()}
    return jax.pure_callback(initial, shapes, jax.random.key_data(key), vmap_method="sequential")


def require_x64(dtype: Any) -> None:
    """Refuse float64 where JAX would silently make it float32."""
    if dtype == "float64" and not jax.config.jax_enable_x64:  # pyright: ignore
        cause = "run jax.config.update('jax_enable_x64', True) before the first use of JAX"
        raise InvalidInput(mismatch("dtype", "float32, as 64-bit types are off in JAX", "float64", cause))


class Layer(Module):
    def __call__(
        self,
        x: Any,
        hx: Any = None,
        *,
        lengths: Any = None,
        masks: Any = None,
        mask: Any = None,
        return_steps: bool = False,
    ) -> tuple[Any, ...]:
        """x (T, B, I) and the initial state (zeros where None) -> y (T, B, D*H), the final state (D*L, B, H).

        x and y are (B, T, ...) with ``batch_first``, and (T, ...) without a batch. ``lengths`` (B,) are those of a
        ragged batch, as in ``torch.nn.utils.rnn.pack_padded_sequence``; one of 0 steps has y = 0 and keeps its state.
        While tracing, lengths cannot be checked: the results of a length outside 0..T, and their gradients, are NaN.
        ``mask``, in the place of lengths, are booleans in the layout of x without its last axis, True where a step is
        valid, in any pattern: at a step that is not, y is 0 and the state stays as it is (Keras' ``mask``).
        ``masks`` take the place of dropout's own (``common.model.masks``): an array (L-1, T, B, D*H), or a ``Masks``.
        With ``return_steps`` a third result says what every step computed: a dict of h (before dropout), c (of an LSTM)
        and each gate by its letter (``common.model.cells``). Each is (D*L, T, B, H), with the rows of a state, or
        (D*L, B, T, H) with ``batch_first``, or (D*L, T, H) without a batch; in the order of x, in the reverse direction
        too; and zero at a step that is not valid.
        """
        return self._core(x, hx, lengths, masks, mask, return_steps)


class Step(Module):
    def __call__(self, x: Any, hx: Any = None) -> Any:
        """x (B, I) or (I,) and the state (B, H) or (H,), zeros where None -> the next state."""
        return self._core(x, hx)[1]

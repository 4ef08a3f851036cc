"""The dtype of a call, as Flax has it: parameters, x and hx are promoted to one dtype, and it computes in that.

The rule is that of ``flax.nnx.nn.dtypes.promote_dtype`` without a ``dtype``, which ``nnx.LSTMCell`` and ``nnx.GRUCell``
follow: ``jnp.result_type`` of all arrays. Booleans and integers take the dtype of the parameters; the wider of two
floating-point dtypes wins, and float16 with bfloat16 makes float32. While 64-bit types are off, float64 is float32, as
everywhere in JAX. Complex numbers are refused, which Flax would take, and what JAX promotes to nothing, such as float8.

>>> import jax.numpy as jnp
>>> from jax_impl.promotion import promoted
>>> params, x, hx = promoted({"weight_ih": jnp.ones((5, 3), "bfloat16")}, jnp.ones((2, 3), "float32"), None)
>>> params["weight_ih"].dtype.name, x.dtype.name
('float32', 'float32')
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.errors import InvalidType, mismatch


def promoted(params: Mapping[str, jax.Array], x: Any, hx: Any) -> tuple[dict[str, jax.Array], Any, Any]:
    """The parameters, x and the state hx (an array, several, or None) in the dtype to which they promote.

    Anything that is not an array is left alone, and the check of the arguments refuses it; NumPy's arrays are copied.
    """
    parts = {f"hx[{i}]": part for i, part in enumerate(hx)} if isinstance(hx, tuple | list) else {"hx": hx}
    arrays = {label: array for label, array in {"x": x, **parts}.items() if is_array(array)}
    own = jnp.result_type(*params.values())
    for label, array in arrays.items():
        require_promotion(label, array, own)
    dtype = jnp.result_type(*params.values(), *arrays.values())

    def cast(value: Any) -> Any:
        if not is_array(value):
            return value
        return jnp.array(np.asarray(value), dtype) if isinstance(value, np.ndarray) else value.astype(dtype)

    state = type(hx)(map(cast, hx)) if type(hx) in (tuple, list) else hx if isinstance(hx, tuple | list) else cast(hx)
    return {name: cast(value) for name, value in params.items()}, cast(x), state


def is_array(value: Any) -> bool:
    """Whether it is an array of JAX or NumPy that can be converted: a masked one would lose its mask."""
    return isinstance(value, jax.Array | np.ndarray) and not isinstance(value, np.ma.MaskedArray)


def require_promotion(label: str, array: Any, own: Any) -> None:
    """Raise unless an argument holds real numbers whose dtype JAX promotes with that of the parameters."""
    dtype = array.dtype
    real = jnp.issubdtype(dtype, np.bool_) or jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)
    try:
        if real:
            jnp.result_type(own, array)
            return
    except ValueError:  # jax.dtypes.TypePromotionError: float8, or any other dtype under strict promotion
        pass
    wanted = f"real numbers of a dtype that JAX promotes with {own}, the parameters' dtype"
    raise InvalidType(mismatch(label, wanted, dtype))

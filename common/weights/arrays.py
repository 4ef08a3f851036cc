"""Parameters of any framework as NumPy arrays: the one door through which ``load_state_dict`` takes weights.

>>> import torch
>>> from common.model.spec import ModelSpec
>>> from common.weights.arrays import loaded_parameters
>>> spec = ModelSpec(cell="RNN", input_size=3, hidden_size=5, dtype="float64")
>>> params = loaded_parameters(spec, torch.nn.RNN(3, 5).state_dict())  # float32 is exact in float64
>>> params["weight_hh_l0"].shape, params["weight_hh_l0"].dtype
((5, 5), dtype('float64'))
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import InvalidType, mismatch
from common.model.arrays import refuse_masked
from common.model.dtypes import numpy_dtype, widened
from common.model.layout import Parameters, require_parameters
from common.model.spec import ModelSpec


def loaded_parameters(spec: ModelSpec, params: Any) -> Parameters:
    """Copies of parameters of any framework as NumPy arrays in the dtype of ``spec``, which ``load_state_dict`` takes.

    A dtype that is exact in it is converted; any other is refused (``common.model.dtypes``), as are names and shapes
    that are not those of the model (``layout.require_parameters``).
    """
    arrays, dtype = to_arrays(params), numpy_dtype(spec.dtype)
    if isinstance(arrays, Mapping):
        arrays = {name: widened(value, dtype) for name, value in arrays.items()}
    require_parameters(spec, arrays)
    return {name: value.copy() for name, value in arrays.items()}


def to_arrays(params: Any) -> Any:
    """Parameters of any framework as NumPy arrays in their own dtype; anything but a mapping is returned as it is."""
    if not isinstance(params, Mapping):
        return params
    for name, value in params.items():
        if not hasattr(value, "__array__"):
            raise InvalidType(mismatch(name, "an array or a tensor", type(value).__name__))
    return {name: to_array(name, value) for name, value in params.items()}


def to_array(name: str, value: Any) -> np.ndarray:
    """An array of any framework as a plain NumPy array."""
    refuse_masked(name, value)
    try:
        if hasattr(value, "detach"):  # a tensor of PyTorch, which converts neither leaves of gradients nor bfloat16
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":
                return value.float().numpy().astype(numpy_dtype("bfloat16"))
            return value.numpy()
    except (TypeError, RuntimeError) as error:  # sparse, on no device, or of a dtype that NumPy lacks
        got = f"a tensor of {value.dtype}, {value.layout}, on {value.device}"
        raise InvalidType(mismatch(name, "a dense tensor that NumPy can take", got)) from error
    return np.asarray(value)

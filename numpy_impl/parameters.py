"""The parameters of a NumPy module: checked when they are made or changed, so that no call has to."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch, unknown
from common.model.dtypes import numpy_dtype, widened
from common.model.layout import Parameters, parameter_shapes, require_parameter
from common.model.spec import ModelSpec
from common.weights.arrays import loaded_parameters, to_arrays


class CheckedParameters(MutableMapping[str, np.ndarray]):
    """The parameters by name. Whatever is assigned is checked, and copied.

    The arrays may be changed in place, as in ``params["weight_hh_l0"] -= 0.1 * gradient``, which is checked too, as it
    ends in an assignment. What is refused then is already in the array, so ``require_sound`` refuses it again at each
    call until it is replaced. Only a value written into part of an array, as in ``params["weight_hh_l0"][0] = value``,
    goes unnoticed: if it is not finite, neither is the output.
    """

    def __init__(self, spec: ModelSpec, arrays: Parameters):
        self._spec, self._shapes, self._arrays = spec, parameter_shapes(spec), arrays
        self._refused: set[str] = set()

    def load(self, params: Any) -> None:
        """Take over parameters of any framework (copied): all of this module's, and no others."""
        self._arrays = loaded_parameters(self._spec, params)
        self._refused.clear()

    def copies(self) -> Parameters:
        """A copy of each array."""
        return {name: value.copy() for name, value in self._arrays.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self._shapes:
            raise InvalidInput(unknown("parameter", list(self._shapes), name))
        in_place = value is self._arrays[name]
        if not in_place:
            value = widened(to_arrays({name: value})[name], numpy_dtype(self._spec.dtype))
        try:
            require_parameter(self._spec, name, value, self._shapes[name])
        except (InvalidInput, InvalidType):
            if in_place:
                self._refused.add(name)
            raise
        self._refused.discard(name)
        self._arrays[name] = value if in_place else value.copy()

    def require_sound(self) -> None:
        """Raise if an array still holds what was refused after it had been changed in place."""
        for name in self._refused:
            require_parameter(self._spec, name, self._arrays[name], self._shapes[name])

    def __delitem__(self, name: str) -> None:
        raise InvalidType(mismatch(f"del of {name}", "a module that keeps all its parameters", "one without it"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return self._arrays | dict(other)

    def __repr__(self) -> str:
        return repr(self._arrays)

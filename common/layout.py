"""The neutral layout: the names, shapes, order of gates and initial values of every parameter.

Names and shapes are those of ``torch.nn.RNN``, ``RNNCell``, ``LSTM`` and ``LSTMCell`` (their documentation, section
*Variables*): ``weight_ih`` (G*H, I), ``weight_hh`` (G*H, H), ``bias_ih`` and ``bias_hh`` (G*H,), with the suffix
``_l0`` for a layer and none for a cell. G is 1 for an Elman network and 4 for an LSTM, whose gates are stacked in the
order i, f, g, o. Every backend keeps both biases: one bias computes the same function and trains differently.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch
from common.spec import ModelSpec, NetworkSpec

Shape = tuple[int, ...]
Parameters = dict[str, np.ndarray]

GATES = ("i", "f", "g", "o")
RECURRENT, READOUT = "rnn.", "readout."


class Weights(NamedTuple):
    """The parameters of one direction of one layer, in any framework's arrays; a bias is None without bias."""

    weight_ih: Any
    weight_hh: Any
    bias_ih: Any = None
    bias_hh: Any = None


def layer_suffixes(spec: ModelSpec) -> tuple[str, ...]:
    """The name suffix of each layer and direction, in the order in which states are stacked."""
    return ("",) if spec.is_cell else ("_l0",)


def layer_weights(params: Mapping[str, Any], suffix: str) -> Weights:
    """The parameters whose names end in ``suffix``, without it."""
    return Weights(**{field: params.get(field + suffix) for field in Weights._fields})


def named_weights(weights: Weights, suffix: str) -> dict[str, Any]:
    """The inverse of ``layer_weights``: absent biases stay absent."""
    return {field + suffix: value for field, value in weights._asdict().items() if value is not None}


def parameter_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Name -> shape of every parameter of a recurrent layer, in torch's order."""
    rows = spec.num_gates * spec.hidden_size
    biases = {"bias_ih": (rows,), "bias_hh": (rows,)} if spec.bias else {}
    layer: dict[str, Shape] = {
        "weight_ih": (rows, spec.input_size),
        "weight_hh": (rows, spec.hidden_size),
        **biases,
    }
    return {name + suffix: shape for suffix in layer_suffixes(spec) for name, shape in layer.items()}


def network_shapes(network: NetworkSpec) -> dict[str, Shape]:
    """Name -> shape for a recurrent layer (prefix ``rnn.``) and its linear readout (prefix ``readout.``)."""
    recurrent = {RECURRENT + name: shape for name, shape in parameter_shapes(network.model).items()}
    out = {
        READOUT + "weight": (network.readout_size, network.model.output_size),
        READOUT + "bias": (network.readout_size,),
    }
    return recurrent | out


def split_network(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recurrent layer's parameters and the readout's, each without its prefix."""
    parts = [
        {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
        for prefix in (RECURRENT, READOUT)
    ]
    return parts[0], parts[1]


def join_network(recurrent: Mapping[str, Any], readout: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``split_network``."""
    return {RECURRENT + k: v for k, v in recurrent.items()} | {READOUT + k: v for k, v in readout.items()}


def initial_parameters(spec: ModelSpec, seed: int) -> Parameters:
    """Every parameter uniform in +-1/sqrt(H), the distribution of ``torch.nn.RNNBase.reset_parameters``.

    Drawn in float64 and rounded, so one seed gives the same weights in every dtype, and the same to a cell as to a
    layer of the same size.
    """
    return _draw(parameter_shapes(spec), spec, seed)


def initial_network(network: NetworkSpec, seed: int) -> Parameters:
    """The same for a layer and its readout; ``torch.nn.Linear`` draws from the same distribution (fan-in H)."""
    return _draw(network_shapes(network), network.model, seed)


def _draw(shapes: Mapping[str, Shape], spec: ModelSpec, seed: int) -> Parameters:
    rng = np.random.default_rng(seed)
    bound = spec.hidden_size**-0.5
    return {name: rng.uniform(-bound, bound, shape).astype(spec.dtype) for name, shape in shapes.items()}


def check_parameters(spec: ModelSpec, params: Mapping[str, Any]) -> None:
    """Raise unless ``params`` holds exactly the parameters of ``spec``, in its shapes and dtype, all finite."""
    _check(params, parameter_shapes(spec), spec)


def check_network(network: NetworkSpec, params: Mapping[str, Any]) -> None:
    """The same for a layer and its readout."""
    _check(params, network_shapes(network), network.model)


def _check(params: Mapping[str, Any], shapes: Mapping[str, Shape], spec: ModelSpec) -> None:
    if not isinstance(params, Mapping):
        raise InvalidType(mismatch("parameters", "a mapping of names to arrays", type(params).__name__))
    missing, extra = sorted(shapes.keys() - params.keys()), sorted(params.keys() - shapes.keys())
    if missing or extra:
        found = [f"missing {', '.join(missing)}"] * bool(missing) + [f"extra {', '.join(extra)}"] * bool(extra)
        raise InvalidInput(mismatch(f"parameters of {spec.label}", ", ".join(shapes), "; ".join(found)))
    for name, shape in shapes.items():
        check_array(name, params[name], shape, spec.dtype, owner=f"{spec.cell}(hidden_size={spec.hidden_size})")


def check_array(name: str, array: Any, shape: Shape, dtype: str, owner: str = "") -> None:
    """Raise unless ``array`` is a finite NumPy array of this shape and dtype; says where a transpose is likely."""
    if not isinstance(array, np.ndarray):
        raise InvalidType(mismatch(name, "a numpy.ndarray", type(array).__name__))
    where = f" for {owner}" if owner else ""
    if array.shape != shape:
        cause = "transposed?" if array.ndim == 2 and array.shape == shape[::-1] else ""
        if not cause and array.size == prod(shape):
            cause = "axes in another order?" if sorted(array.shape) == sorted(shape) else "an axis too many or too few?"
        raise InvalidInput(mismatch(name, f"{shape}{where}", array.shape, cause))
    if array.dtype != dtype:
        raise InvalidType(mismatch(name, f"{dtype}{where}", array.dtype))
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInput(mismatch(name, "finite values", f"{array[where]} at index {where}"))

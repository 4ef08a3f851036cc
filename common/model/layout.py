"""The neutral layout: the name and the shape of every parameter.

Names and shapes are those of ``torch.nn.RNN``, ``RNNCell``, ``LSTM`` and ``LSTMCell`` (their documentation, section
*Variables*): ``weight_ih`` (G*H, I), ``weight_hh`` (G*H, H), ``bias_ih`` and ``bias_hh`` (G*H,), with the suffix
``_l0``, ``_l1``, ... for a layer, ``_reverse`` after it for the reverse direction, and none for a cell. From the
second layer on, I is the size of the output below. G counts the gates, which are stacked in the order of the table of
cells (``common.model.cells``); it is 1 for an Elman network. A projection is ``weight_hr`` (P, H), and h then has P
columns. Every backend keeps both biases: one bias computes the same function and trains differently.

>>> from common.model.layout import parameter_shapes
>>> from common.model.spec import ModelSpec
>>> parameter_shapes(ModelSpec(cell="LSTM", input_size=3, hidden_size=5))
{'weight_ih_l0': (20, 3), 'weight_hh_l0': (20, 5), 'bias_ih_l0': (20,), 'bias_hh_l0': (20,)}
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.arrays import Shape, require_array
from common.model.cells import TABLE, whose, with_blocks
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec

Parameters = dict[str, np.ndarray]


class Weights(NamedTuple):
    """The parameters of one direction of one layer, in any framework's arrays; None stands for what is absent."""

    weight_ih: Any
    weight_hh: Any
    bias_ih: Any = None
    bias_hh: Any = None
    weight_hr: Any = None


def layer_suffixes(spec: ModelSpec) -> tuple[str, ...]:
    """The name suffix of each layer and direction, in the order of the rows of a state: layer*D + direction."""
    if spec.is_cell:
        return ("",)
    directions = ("", "_reverse")[: spec.num_directions]
    return tuple(f"_l{layer}{direction}" for layer in range(spec.num_layers) for direction in directions)


def layer_weights(params: Mapping[str, Any], suffix: str) -> Weights:
    """The parameters whose names end in ``suffix``, without it."""
    return Weights(**{field: params.get(field + suffix) for field in Weights._fields})


def named_weights(weights: Weights, suffix: str) -> dict[str, Any]:
    """The inverse of ``layer_weights``: what is absent stays absent."""
    return {field + suffix: value for field, value in weights._asdict().items() if value is not None}


def parameter_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Name -> shape of every parameter of a recurrent network, in torch's order."""
    rows, width = spec.num_blocks * spec.hidden_size, spec.state_sizes[0]
    biases = {"bias_ih": (rows,), "bias_hh": (rows,)} if spec.bias else {}
    projection = {"weight_hr": (width, spec.hidden_size)} if spec.proj_size else {}
    shapes: dict[str, Shape] = {}
    for row, suffix in enumerate(layer_suffixes(spec)):
        columns = spec.input_size if row < spec.num_directions else spec.output_size
        layer = {"weight_ih": (rows, columns), "weight_hh": (rows, width), **biases, **projection}
        shapes |= {name + suffix: shape for name, shape in layer.items()}
    return shapes


def network_shapes(network: NetworkSpec) -> dict[str, Shape]:
    """Name -> shape for a whole network.

    Prefixes: ``rnn.`` for the recurrent model, ``decoder.`` for that of a decoder, ``readout.`` for the linear layer
    (``weight`` (O, D*H), ``bias`` (O,)), ``embedding.`` and ``decoder_embedding.`` for the tables (``weight`` (symbols,
    I)).
    """
    parts: dict[str, dict[str, Shape]] = {name: parameter_shapes(model) for name, model in network.models.items()}
    parts["readout"] = {"weight": (network.readout_size, network.model.output_size), "bias": (network.readout_size,)}
    return join_network(parts | {name: {"weight": shape} for name, shape in network.tables.items()})


def split_network(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Prefix -> the parameters of that part, without the prefix."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        part, _, own = name.partition(".")
        parts.setdefault(part, {})[own] = value
    return parts


def join_network(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The inverse of ``split_network``."""
    return {f"{part}.{name}": value for part, own in parts.items() for name, value in own.items()}


def require_parameters(spec: ModelSpec, params: Mapping[str, Any]) -> None:
    """Raise unless ``params`` holds exactly the parameters of ``spec``, in its shapes and dtype, all finite."""
    _require(params, parameter_shapes(spec), spec)


def require_network(network: NetworkSpec, params: Mapping[str, Any]) -> None:
    """The same for a network."""
    _require(params, network_shapes(network), network.model)


def _require(params: Mapping[str, Any], shapes: Mapping[str, Shape], spec: ModelSpec) -> None:
    if not isinstance(params, Mapping):
        raise InvalidType(mismatch("parameters", "a mapping of names to arrays", type(params).__name__))
    missing, extra = sorted(shapes.keys() - params.keys()), sorted(params.keys() - shapes.keys())
    if missing or extra:
        problems = {"missing": missing, "extra": extra}
        got = "; ".join(f"{what} {', '.join(names)}" for what, names in problems.items() if names)
        cause = _likely_cause(spec, params, shapes)
        raise InvalidInput(mismatch(f"parameters of {spec.label}", ", ".join(shapes), got, cause))
    for name, shape in shapes.items():
        require_parameter(spec, name, params[name], shape, params)


def require_parameter(
    spec: ModelSpec, name: str, array: Any, shape: Shape, params: Mapping[str, Any] | None = None
) -> None:
    """Raise unless this can be the parameter of that name and shape: in the spec's dtype, and finite.

    ``params`` are those that were given with it, if any: together they show which cell they belong to.
    """
    owner, cause = f"{spec.cell}(hidden_size={spec.hidden_size})", ""
    if getattr(array, "shape", ()) != shape:
        cause = likely_owner(spec, params or {}) or _other_cell(spec, array, shape)
    require_array(name, array, shape, spec.dtype, owner, cause)


def recurrent_sizes(params: Mapping[str, Any]) -> tuple[int, int] | None:
    """G and H of the first layer or the step that has these parameters; None where there is none, or rows are left.

    The parameters may be arrays of any framework.
    """
    suffix = "" if "weight_hh" in params else "_l0"
    hh, hr = (tuple(getattr(params.get(f"{name}{suffix}"), "shape", ())) for name in ("weight_hh", "weight_hr"))
    if len(hh) != 2:
        return None
    hidden_size = hr[1] if len(hr) == 2 else hh[1]
    blocks, rest = divmod(hh[0], hidden_size) if hidden_size else (0, 0)
    return None if rest or not blocks else (blocks, hidden_size)


def likely_owner(spec: ModelSpec, params: Mapping[str, Any]) -> str:
    """The cells whose parameters these probably are, as a question, where that of ``spec`` is none of them, or "".

    A GRU and an LSTM without a forget gate have the same names and shapes, and so cannot be told apart.
    """
    sizes = recurrent_sizes(params)
    cells = with_blocks(sizes[0], "weight_hh" in params) if sizes else ()
    if any(name.startswith("weight_hr") for name in params):
        cells = tuple(cell for cell in cells if "proj_size" in TABLE[cell].options)
    return "" if spec.cell in cells else whose(cells)


def _other_cell(spec: ModelSpec, array: Any, shape: Shape) -> str:
    """The cells whose parameter this probably is, where its number of rows is that of another cell."""
    got = getattr(array, "shape", ())
    if shape[0] != spec.num_blocks * spec.hidden_size or not got or got[1:] != shape[1:]:
        return ""
    blocks, rest = divmod(got[0], spec.hidden_size)
    return "" if rest else whose(with_blocks(blocks, spec.is_cell))


def _likely_cause(spec: ModelSpec, params: Mapping[str, Any], shapes: Mapping[str, Shape]) -> str:
    """What the names and shapes of the parameters say about the model that they belong to."""
    if owner := likely_owner(spec, params):
        return owner
    names = list(params)
    prefix = names[0][: names[0].rfind(".") + 1] if names else ""
    if prefix and {name.removeprefix(prefix) for name in names} == set(shapes):
        return f"every name begins with {prefix!r}: take it off"
    layers = {int(found[1]) for name in names if (found := re.search(r"_l(\d{1,6})(?!\d)", name))}
    if not layers:
        return ""
    reverse, bias, projected = (any(part in name for name in names) for part in ("_reverse", "bias_", "weight_hr"))
    arguments = {
        f"num_layers={max(layers) + 1}": max(layers) + 1 != spec.num_layers,
        f"bidirectional={reverse}": reverse != spec.bidirectional,
        f"bias={bias}": bias != spec.bias,
        "a proj_size" if projected else "no proj_size": projected != bool(spec.proj_size),
    }
    different = [argument for argument, differs in arguments.items() if differs]
    return f"a model with {', '.join(different)}?" if different else ""

"""Parameters from Flax's own cells into our modules, and back: ``from_nnx`` and ``to_nnx``.

An nnx cell matches one of our cells, ``nnx.RNN`` a layer, and ``nnx.Bidirectional`` a layer in two directions. Several
layers are converted one at a time.

>>> import jax.numpy as jnp
>>> from flax import nnx
>>> from jax_impl import LSTM, from_nnx, to_nnx
>>> theirs = nnx.RNN(nnx.OptimizedLSTMCell(3, 5, rngs=nnx.Rngs(0)))
>>> ours, x = from_nnx(theirs), jnp.ones((2, 7, 3))
>>> type(ours).__name__, ours.batch_first, bool(jnp.allclose(ours(x)[0], theirs(x), atol=1e-6))
('LSTM', True, True)
>>> state, note = to_nnx(LSTM(3, 5, rngs=nnx.Rngs(1), batch_first=True), theirs)
>>> nnx.update(theirs, state)
>>> note
'two biases were merged into one: ...'
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from common.conversions.layers import (
    Converted,
    from_flax_gru,
    from_flax_lstm,
    from_flax_simple_cell,
    to_lstm,
    to_nnx_gru,
    to_nnx_lstm,
    to_nnx_optimized_lstm,
    to_nnx_simple_cell,
)
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.cells import TABLE
from common.model.dtypes import is_exact, rounding
from common.model.layout import Weights, layer_suffixes, layer_weights, named_weights, parameter_shapes
from common.model.spec import ModelSpec

from . import modules
from .base import Module

TANH, RELU, SIGMOID = (jnp.tanh, jax.lax.tanh), (jax.nn.relu,), (jax.nn.sigmoid, jax.lax.logistic)


class Counterpart(NamedTuple):
    """The layer of the table of cells that has an nnx cell's equations, and the conversions of its weights."""

    layer: str
    from_flax: Callable[[Any], Weights]
    to_nnx: Callable[[Weights], Converted]


COUNTERPARTS: dict[type, Counterpart] = {
    nnx.SimpleCell: Counterpart("RNN", from_flax_simple_cell, to_nnx_simple_cell),
    nnx.LSTMCell: Counterpart("LSTM", from_flax_lstm, to_nnx_lstm),
    nnx.OptimizedLSTMCell: Counterpart("LSTM", from_flax_lstm, to_nnx_optimized_lstm),
    nnx.GRUCell: Counterpart("GRU", from_flax_gru, to_nnx_gru),
}
# The fields of a specification in which a module and what it is converted to need not be equal.
FREE = {"bias", "dropout", "dtype", "forget_bias"}


def from_nnx(source: Any) -> Any:
    """A module of this package with the parameters and the function of an nnx cell, an RNN or a Bidirectional.

    The one bias goes to ``bias_ih``, and ``bias_hh`` is zero: the function is the same, and as both are trained,
    gradient descent then moves their sum twice as far. Raises where no module of ours computes the same: another
    activation, ``residual``, a ``dtype`` other than that of the parameters, ``reverse``, another ``merge_fn``.
    """
    spec, cells = read(source)
    sizes = {name: getattr(spec, name) for name in ("input_size", "hidden_size", "dtype")}
    options = {"nonlinearity": spec.nonlinearity} if "nonlinearity" in spec.kind.options else {}
    if not spec.is_cell:
        options |= {"bidirectional": spec.bidirectional, "batch_first": not source.time_major}
    module: Module = getattr(modules, spec.cell)(**sizes, **options, rngs=nnx.Rngs(0))
    params: dict[str, Any] = {}
    for suffix, cell in zip(layer_suffixes(spec), cells.values(), strict=True):
        params |= named_weights(COUNTERPARTS[type(cell)].from_flax(nnx.state(cell, nnx.Param)), suffix)
    module.load_state_dict(params)
    return module


def to_nnx(module: Module, target: nnx.Module) -> Converted:
    """The state with which ``nnx.update(target, state)`` gives an nnx cell, RNN or Bidirectional a module's function.

    ``note`` says what the conversion merged; an LSTM of 1997 becomes an LSTM whose forget gate is held open. A dtype is
    converted where that is exact. Raises where the target does not compute what the module does, and so for a GRU with
    ``reset_after=False``, or with a ``bias_hh`` of the candidate, which ``nnx.GRUCell`` does not have.
    """
    if not isinstance(module, Module):
        raise InvalidType(mismatch("module", "a module of jax_impl", type(module).__name__))
    spec, cells = read(target)
    own, notes = module.spec, []
    opened = (own.kind.layer, spec.kind.layer) == ("LSTM1997", "LSTM") and own.is_cell == spec.is_cell
    if opened:
        own, notes = replace(own, cell=spec.cell), ["the forget gate is held open, by a bias"]
    for name in (field.name for field in fields(ModelSpec)):
        ours, theirs = getattr(own, name), getattr(spec, name)
        if name not in FREE and ours != theirs:
            raise InvalidInput(mismatch(name, f"{theirs!r}, as nnx.{type(target).__name__} has it", repr(ours)))
    if not spec.is_cell and module.batch_first == cast(Any, target).time_major:
        wanted = f"{not module.batch_first}, as batch_first is {module.batch_first}"
        cause = "flax's layers take (B, T, I) unless they are built with time_major=True"
        raise InvalidInput(mismatch(f"time_major of nnx.{type(target).__name__}", wanted, module.batch_first, cause))
    if not is_exact(module.param_dtype, spec.dtype):
        wanted, cause = f"one that is exact in the target's {spec.dtype}", rounding(module.param_dtype, spec.dtype)
        raise InvalidType(mismatch("dtype", wanted, module.param_dtype, cause))
    params = {name: getattr(module, name).get_value() for name in parameter_shapes(module.spec)}
    state: dict[str, Any] = {}
    for suffix, (path, cell) in zip(layer_suffixes(spec), cells.items(), strict=True):
        weights = layer_weights(params, suffix)
        tree, note = COUNTERPARTS[type(cell)].to_nnx(to_lstm(weights).params if opened else weights)
        tree = jax.tree.map(lambda value: value.astype(spec.dtype), tree)
        for name in reversed(path):
            tree = {name: tree}
        state |= tree
        notes += [note] if note and note not in notes else []
    return Converted(state, "; ".join(notes))


def read(source: Any) -> tuple[ModelSpec, dict[tuple[str, ...], nnx.Module]]:
    """The specification of what an nnx module computes, and its cells by their path."""
    match source:
        case nnx.Bidirectional():
            require_attributes(source, {"merge_fn": (nnx.Bidirectional.merge_fn,)})
            paths = [(name, "cell") for name in ("forward_rnn", "backward_rnn")]
            rnns: list[Any] = [source.forward_rnn, source.backward_rnn]
        case nnx.RNN():
            require_attributes(source, {"reverse": (False,)})
            paths, rnns = [("cell",)], [source]
        case _:
            paths, rnns = [()], []
    for rnn in rnns:
        if not isinstance(rnn, nnx.RNN):
            raise InvalidType(mismatch("a direction of nnx.Bidirectional", "an nnx.RNN", type(rnn).__name__))
    cells = [rnn.cell for rnn in rnns] or [source]
    options = [read_cell(cell) for cell in cells]
    if options[0] != options[-1]:
        raise InvalidInput(mismatch("the second cell of nnx.Bidirectional", f"{options[0]}", f"{options[-1]}"))
    layer = options[0].pop("layer")
    name = next(cell.name for cell in TABLE.values() if cell.layer == layer and cell.is_step != bool(rnns))
    spec = ModelSpec(cell=name, bidirectional=len(rnns) > 1, **options[0])
    return spec, dict(zip(paths, cells, strict=True))


def read_cell(cell: Any) -> dict[str, Any]:
    """The layer and the options of a specification for an nnx cell; raises where no cell of ours computes the same."""
    if type(cell) not in COUNTERPARTS:
        names = ", ".join(f"nnx.{kind.__name__}" for kind in COUNTERPARTS)
        raise InvalidType(
            mismatch("cell", f"one of {names}, alone, in nnx.RNN or nnx.Bidirectional", type(cell).__name__)
        )
    kernel = jax.tree.leaves(nnx.state(cell, nnx.Param))[0]
    dtype = kernel.dtype.name
    if cell.dtype is not None and jnp.dtype(cell.dtype) != kernel.dtype:
        cause = "ours computes in the dtype to which parameters and input promote"
        raise InvalidInput(mismatch("dtype", f"None or {dtype}, that of the parameters", jnp.dtype(cell.dtype), cause))
    require_attributes(cell, {"promote_dtype": (promote_dtype,)})
    options = {"input_size": cell.in_features, "hidden_size": cell.hidden_features, "dtype": dtype}
    if isinstance(cell, nnx.SimpleCell):
        require_attributes(cell, {"residual": (False,), "activation_fn": TANH + RELU})
        options["nonlinearity"] = "relu" if cell.activation_fn in RELU else "tanh"
    else:
        require_attributes(cell, {"gate_fn": SIGMOID, "activation_fn": TANH})
    return {"layer": COUNTERPARTS[type(cell)].layer, **options}


def require_attributes(module: nnx.Module, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise unless each of these attributes has one of the values with which ours computes the same."""
    for name, values in allowed.items():
        got = getattr(module, name)
        if not any(got is value for value in values):
            wanted = " or ".join(dict.fromkeys(getattr(value, "__name__", str(value)) for value in values))
            cause = "no module of ours computes the same; common.conversions.layers converts the parameters alone"
            label = f"{name} of nnx.{type(module).__name__}"
            raise InvalidInput(mismatch(label, wanted, getattr(got, "__name__", got), cause))

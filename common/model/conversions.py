"""Named conversions between the neutral layout and those of other systems, each with its inverse.

A conversion into a system with one bias merges two, which keeps the function and changes the training; it says so in
``Converted.note``. Conversions use only slices, transposes, sums and concatenations, so they take NumPy and JAX
arrays alike, return the same kind, and can be differentiated through.

Every conversion, in either direction, first compares its argument with a table of names and shapes (``Table``), and
raises ``InvalidInput`` or ``InvalidType`` for another cell's weights, a projection, a wrong shape, or arrays that are
not all of one floating-point dtype.

The ``from_flax_*`` take what Flax's modules hold of one direction of one layer, as a tree of arrays or of
``nnx.Variable``: the parameters of a ``flax.linen`` cell, alone or under ``params``; those of ``flax.linen.RNN``, under
``cell``; an ``nnx.state(cell, nnx.Param)`` or ``nnx.state(rnn, nnx.Param)``. A ``Bidirectional`` holds two, which are
converted one at a time. The carry of Flax's LSTMs is (c, h), where torch's state and ours is (h, c). Parameters do not
record activations, gate functions or ``residual``: Flax's defaults are ours, and nothing else has a counterpart.
``nnx.SimpleCell`` computes in float32 unless it is given a ``dtype``, even with parameters of float64.

>>> from common.model.conversions import from_flax_lstm, to_flax_lstm
>>> from common.model.initial import initial_parameters
>>> from common.model.layout import layer_weights
>>> from common.model.spec import ModelSpec
>>> params = initial_parameters(ModelSpec(cell="LSTM", input_size=3, hidden_size=5), seed=0)
>>> flax, note = to_flax_lstm(layer_weights(params, "_l0"))
>>> sorted(flax), flax["hf"]["kernel"].shape
(['hf', 'hg', 'hi', 'ho', 'if', 'ig', 'ii', 'io'], (5, 5))
>>> note
'two biases were merged into one: ...'
>>> bool((from_flax_lstm(flax).weight_hh == params["weight_hh_l0"]).all())
True
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.cells import CELL_OF_BLOCKS, TABLE
from common.model.dtypes import dtype_label
from common.model.layout import Weights, named_weights
from common.model.spec import COMPLEX, DTYPES, HALF_DTYPES
from common.model.validate import require_positive_int

GATES, GRU_GATES = TABLE["LSTM"].letters, TABLE["GRU"].letters
# sigmoid of this is 1 in every dtype, to the last bit, and its slope is 0.
OPEN = 50.0
ONE_BIAS_NOTE = (
    "two biases were merged into one: the function is the same, the training is not "
    "(gradient descent moves the sum of two biases twice as far as one)"
)
GRU_NOTE = (
    "the two biases of r and of z were merged into one: the function is the same, the training is not "
    "(gradient descent moves the sum of two biases twice as far as one)"
)
NO_BIAS_NOTE = "biases were added, which are zero except for the forget gate: the function is the same"
DIRECTIONS = ("forward_rnn", "backward_rnn")


class OneBias(NamedTuple):
    """The Linear over [x, h] of an Elman cell: weight (H, I+H), x first, and bias (H,) or None."""

    weight: Any
    bias: Any


class Converted(NamedTuple):
    """Parameters in another system's layout, and what the conversion could not keep (empty if it kept all)."""

    params: Any
    note: str


class Table(NamedTuple):
    """Name -> axes of every parameter of a cell in one system, each axis H, I, 3H, 4H or I+H.

    H is the shorter axis of the ``recurrent`` parameter, and I is read from the ``input`` one.
    """

    owner: str
    shapes: Mapping[str, tuple[str, ...]]
    recurrent: str
    input: str

    def without(self, *names: str) -> "Table":
        return self._replace(shapes={name: axes for name, axes in self.shapes.items() if name not in names})


def _neutral(owner: str, rows: str) -> Table:
    biases = {"bias_ih": (rows,), "bias_hh": (rows,)}
    return Table(owner, {"weight_ih": (rows, "I"), "weight_hh": (rows, "H"), **biases}, "weight_hh", "weight_ih")


def _gated(owner: str, suffix: str) -> Table:
    """Flax's LSTM with a Dense for each gate; ``if`` is a word of Python, which nnx cannot have as an attribute."""
    names = {gate: gate + suffix if gate == "f" else gate for gate in GATES}
    shapes: dict[str, tuple[str, ...]] = {f"i{names[gate]}.kernel": ("I", "H") for gate in GATES}
    shapes |= {f"h{gate}.kernel": ("H", "H") for gate in GATES} | {f"h{gate}.bias": ("H",) for gate in GATES}
    return Table(owner, shapes, "hi.kernel", "ii.kernel")


def _gru(owner: str) -> Table:
    """Flax's GRU with a Dense for each gate; only the candidate has a bias on the recurrent side."""
    shapes: dict[str, tuple[str, ...]] = {}
    for gate in GRU_GATES:
        shapes |= {f"i{gate}.kernel": ("I", "H"), f"i{gate}.bias": ("H",), f"h{gate}.kernel": ("H", "H")}
    return Table(owner, shapes | {"hn.bias": ("H",)}, "hr.kernel", "ir.kernel")


def _dense(owner: str, i: str, h: str, columns: str, bias: str) -> Table:
    """Flax's cells with one Dense for x and one for h."""
    shapes = {f"{i}.kernel": ("I", columns), f"{h}.kernel": ("H", columns), f"{bias}.bias": (columns,)}
    return Table(owner, shapes, f"{h}.kernel", f"{i}.kernel")


ELMAN, LSTM = _neutral("an Elman network", "H"), _neutral("an LSTM", "4H")
GRU, LSTM1997 = _neutral("a GRU", "3H"), _neutral("an LSTM without a forget gate", "3H")
ONE_BIAS = Table("tanh(Linear([x, h]))", {"weight": ("H", "I+H"), "bias": ("H",)}, "weight", "weight")
LINEN_SIMPLE = _dense("flax.linen.SimpleCell", "i", "h", "H", "i")
NNX_SIMPLE = _dense("nnx.SimpleCell", "dense_i", "dense_h", "H", "dense_i")
LINEN_LSTM, NNX_LSTM = _gated("flax.linen.LSTMCell", ""), _gated("nnx.LSTMCell", "_")
NNX_OPTIMIZED_LSTM = _dense("nnx.OptimizedLSTMCell", "dense_i", "dense_h", "4H", "dense_h")
LINEN_GRU = _gru("flax.linen.GRUCell")
NNX_GRU = Table(
    "nnx.GRUCell",
    {"dense_i.kernel": ("I", "3H"), "dense_i.bias": ("3H",), "dense_h.kernel": ("H", "3H")},
    "dense_h.kernel",
    "dense_i.kernel",
)
# A name, alone or as a prefix, that shows where parameters come from if they are not the table's.
MARKS = {"weight_hr": "it has a projection, which the other system does not have", "in": "a GRU's?", "ii": "an LSTM's?"}
MARKS |= {"i": "an RNN's?", "rngs": "nnx.state(module, nnx.Param) leaves it out"}
MARKS |= dict.fromkeys(DIRECTIONS, "one direction at a time, of " + " and ".join(f"[{name!r}]" for name in DIRECTIONS))


def _require(table: Table, params: Mapping[str, Any], hidden: int | None = None) -> None:
    """Raise unless these are the parameters of the table; reads no values, so that JAX can trace them."""
    missing, extra = [n for n in table.shapes if n not in params], [n for n in params if n not in table.shapes]
    if missing or extra:
        problems = {"missing": missing, "extra": extra}
        got = [f"{what} {', '.join(names)}" for what, names in problems.items() if names]
        cause = next((MARKS[mark] for mark in MARKS if any(name.split(".")[0] == mark for name in extra)), "")
        cause = cause or _cause(table, table.recurrent, getattr(params.get(table.recurrent), "shape", ()))
        raise InvalidInput(mismatch(f"parameters of {table.owner}", ", ".join(table.shapes), "; ".join(got), cause))
    _require_dtypes(params)
    for name, axes in table.shapes.items():
        shape = tuple(params[name].shape)
        if len(shape) != len(axes) or 0 in shape:
            cause = "" if 0 in shape else "an axis too many or too few?"
            raise InvalidInput(mismatch(name, f"{_text(axes)} of {table.owner}", shape, cause))
    hidden = hidden or min(params[table.recurrent].shape)
    columns = params[table.input].shape[next(i for i, axis in enumerate(table.shapes[table.input]) if "I" in axis)]
    sizes = {"H": hidden, "3H": 3 * hidden, "4H": 4 * hidden, "I": columns, "I+H": max(columns, hidden + 1)}
    for name in sorted(table.shapes, key=lambda name: name != table.recurrent):
        axes, shape = table.shapes[name], tuple(params[name].shape)
        if shape != tuple(sizes[axis] for axis in axes):
            known = f"H={hidden}" if name == table.input else f"H={hidden}, I={columns}"
            cause = _cause(table, name, shape, hidden)
            raise InvalidInput(mismatch(name, f"{_text(axes)} of {table.owner} with {known}", shape, cause))


def _require_dtypes(params: Mapping[str, Any]) -> None:
    """Raise unless these are arrays of one floating-point dtype, or of the complex one of complex-step derivatives."""
    first: dict[str, str] = {}
    for name, value in params.items():
        if not hasattr(value, "__array_namespace__"):
            raise InvalidType(mismatch(name, "an array of NumPy or JAX", type(value).__name__))
        dtype = dtype_label(value.dtype)
        if dtype not in (*DTYPES, *HALF_DTYPES, COMPLEX):
            raise InvalidType(mismatch(name, "an array of floating-point numbers", dtype))
        other = first.setdefault(dtype, name)
        if len(first) > 1:
            expected = f"{next(iter(first))}, as {next(iter(first.values()))} has"
            raise InvalidType(mismatch(other, expected, dtype, "cast them to one dtype first"))


def _cause(table: Table, name: str, shape: tuple[int, ...], hidden: int | None = None) -> str:
    """What a wrong shape suggests: a transpose, or the number of gates of another cell."""
    axes = table.shapes[name]
    hidden = hidden or min(shape, default=0)
    if len(shape) != len(axes) or not hidden:
        return ""
    sizes = {"H": (hidden,), "3H": (3 * hidden,), "4H": (4 * hidden,), "I": shape}
    sizes["I+H"] = tuple(size for size in shape if size > hidden)
    if len(axes) == 2 and all(size in sizes[axis] for size, axis in zip(shape[::-1], axes, strict=True)):
        return "transposed?"
    for order in (shape, shape[::-1]):
        for size, axis in zip(order, axes, strict=True):
            if "I" not in axis and size not in sizes[axis] and size % hidden == 0:
                return CELL_OF_BLOCKS.get(size // hidden, "")
    return ""


def _text(axes: tuple[str, ...]) -> str:
    """As Python shows a shape."""
    return str(axes).replace("'", "")


def _require_neutral(table: Table, w: Weights) -> None:
    """Raise unless these are the neutral weights of the table, with both biases or without."""
    if not isinstance(w, Weights):
        raise InvalidType(mismatch("weights", "a common.model.layout.Weights", type(w).__name__))
    bias = w.bias_ih is not None or w.bias_hh is not None
    _require(table if bias else table.without("bias_ih", "bias_hh"), named_weights(w, ""))


def _flax_params(tree: Any, *tables: Table) -> dict[str, Any]:
    """The parameters in a Flax tree as ``name.part``, checked against the table with which they share most names."""
    while isinstance(tree, Mapping) and (set(tree) in ({"params"}, {"cell"})):
        (tree,) = tree.values()
    if not isinstance(tree, Mapping):
        cause = "nnx.state(module, nnx.Param) is one"
        raise InvalidType(mismatch(f"parameters of {tables[0].owner}", "a tree of them", type(tree).__name__, cause))
    params = dict(_leaves(tree))
    _require(max(tables, key=lambda table: len(table.shapes.keys() & params.keys())), params)
    return params


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value.get_value() if hasattr(value, "get_value") else value


def _joined(arrays: Sequence[Any], axis: int = 0) -> Any:
    return arrays[0].__array_namespace__().concat(arrays, axis=axis)


def _merged(w: Weights) -> tuple[Any, str]:
    return (None, "") if w.bias_ih is None else (w.bias_ih + w.bias_hh, ONE_BIAS_NOTE)


def _split(bias: Any) -> tuple[Any, Any]:
    """One bias as two: all of it on the input side, zero on the recurrent side."""
    return (None, None) if bias is None else (bias, bias * 0)


def to_one_bias(w: Weights) -> Converted:
    """Weights of an Elman network -> the Linear over [x, h] of a home-made cell."""
    _require_neutral(ELMAN, w)
    bias, note = _merged(w)
    return Converted(OneBias(_joined([w.weight_ih, w.weight_hh], axis=1), bias), note)


def from_one_bias(one: OneBias, hidden_size: int) -> Weights:
    """The Linear over [x, h] -> weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero.

    ``hidden_size`` is given because the shape of a Linear without a bias does not distinguish H from 4H.
    """
    require_positive_int("hidden_size", hidden_size)
    params = {name: value for name, value in one._asdict().items() if value is not None}
    _require(ONE_BIAS if "bias" in params else ONE_BIAS.without("bias"), params, hidden_size)
    return Weights(one.weight[:, :-hidden_size], one.weight[:, -hidden_size:], *_split(one.bias))


def to_flax_simple_cell(w: Weights) -> Converted:
    """-> ``flax.linen.SimpleCell``: kernels ``i`` (I, H) and ``h`` (H, H), one bias on the input side.

    The cell cannot be built without that bias, so it is zero where there is none.
    """
    _require_neutral(ELMAN, w)
    bias, note = _merged(w)
    if bias is None:
        bias = w.weight_hh[:, 0] * 0
    return Converted({"i": {"kernel": w.weight_ih.T, "bias": bias}, "h": {"kernel": w.weight_hh.T}}, note)


def from_flax_simple_cell(params: Mapping[str, Any]) -> Weights:
    """``flax.linen.SimpleCell`` or ``nnx.SimpleCell`` -> weights; the bias goes to ``bias_ih``, ``bias_hh`` is zero."""
    cell = _flax_params(params, LINEN_SIMPLE, NNX_SIMPLE)
    cell = {name.removeprefix("dense_"): value for name, value in cell.items()}
    return Weights(cell["i.kernel"].T, cell["h.kernel"].T, *_split(cell["i.bias"]))


def to_flax_lstm(w: Weights) -> Converted:
    """-> ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``: ``ii if ig io`` (I, H), ``hi hf hg ho`` (H, H).

    One bias, on the recurrent side; zero where there is none, as the cell cannot be built without it.
    """
    _require_neutral(LSTM, w)
    bias, note = _merged(w)
    if bias is None:
        bias = w.weight_hh[:, 0] * 0
    size = w.weight_hh.shape[1]
    params = {}
    for gate, name in enumerate(GATES):
        rows = slice(gate * size, (gate + 1) * size)
        params["i" + name] = {"kernel": w.weight_ih[rows].T}
        params["h" + name] = {"kernel": w.weight_hh[rows].T, "bias": bias[rows]}
    return Converted(params, note)


def from_flax_lstm(params: Mapping[str, Any]) -> Weights:
    """Flax's LSTM -> weights; the bias goes to ``bias_ih``, and ``bias_hh`` is zero.

    It takes ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``, ``nnx.LSTMCell``, whose forget gate is ``if_``, and
    ``nnx.OptimizedLSTMCell``, whose names and shapes differ: ``dense_i`` (I, 4H) and ``dense_h`` (H, 4H), in the
    order i, f, g, o.
    """
    cell = _flax_params(params, LINEN_LSTM, NNX_LSTM, NNX_OPTIMIZED_LSTM)
    if "dense_h.bias" in cell:
        return Weights(cell["dense_i.kernel"].T, cell["dense_h.kernel"].T, *_split(cell["dense_h.bias"]))
    cell = {name.replace("_.", "."): value for name, value in cell.items()}
    weight_ih, weight_hh, bias = (
        _joined([cell[f"{side}{gate}.{part}"].T for gate in GATES])
        for side, part in (("i", "kernel"), ("h", "kernel"), ("h", "bias"))
    )
    return Weights(weight_ih, weight_hh, *_split(bias))


def to_flax_gru(w: Weights) -> Converted:
    """-> ``flax.linen.GRUCell``: kernels ``ir iz in`` (I, H), ``hr hz hn`` (H, H); biases on ``ir iz in`` and ``hn``.

    The two biases of r and of z are merged; the candidate keeps two, as the reset gate stands between them. Zero where
    there is none, as the cell cannot be built without them.
    """
    _require_neutral(GRU, w)
    size, note = w.weight_hh.shape[1], ""
    bias_ih = bias_hh = w.weight_hh[:, 0] * 0
    if w.bias_ih is not None:
        merged = w.bias_ih[: 2 * size] + w.bias_hh[: 2 * size]
        bias_ih, bias_hh, note = _joined([merged, w.bias_ih[2 * size :]]), w.bias_hh, GRU_NOTE
    params = {}
    for gate, name in enumerate(GRU_GATES):
        rows = slice(gate * size, (gate + 1) * size)
        params["i" + name] = {"kernel": w.weight_ih[rows].T, "bias": bias_ih[rows]}
        params["h" + name] = {"kernel": w.weight_hh[rows].T} | ({"bias": bias_hh[rows]} if name == "n" else {})
    return Converted(params, note)


def from_flax_gru(params: Mapping[str, Any]) -> Weights:
    """``flax.linen.GRUCell`` or ``nnx.GRUCell`` -> weights; the biases of r and z go to ``bias_ih``.

    ``nnx.GRUCell`` has ``dense_i`` (I, 3H) and ``dense_h`` (H, 3H), in the order r, z, n, and no bias on the recurrent
    side at all, so that ``bias_hh`` is zero.
    """
    cell = _flax_params(params, LINEN_GRU, NNX_GRU)
    if "dense_i.bias" in cell:
        return Weights(cell["dense_i.kernel"].T, cell["dense_h.kernel"].T, *_split(cell["dense_i.bias"]))
    weight_ih, weight_hh, bias_ih = (
        _joined([cell[f"{side}{gate}.{part}"].T for gate in GRU_GATES])
        for side, part in (("i", "kernel"), ("h", "kernel"), ("i", "bias"))
    )
    zeros = cell["hn.bias"] * 0
    return Weights(weight_ih, weight_hh, bias_ih, _joined([zeros, zeros, cell["hn.bias"]]))


def to_lstm(w: Weights) -> Converted:
    """An LSTM without a forget gate -> an LSTM whose forget gate is always open: the same function, to the last bit.

    Its rows of the weights are zero and its bias is ``OPEN``, of which the sigmoid is 1. Trained, the LSTM keeps it
    open, as the slope there is 0. It has biases even where the other has none.
    """
    _require_neutral(LSTM1997, w)
    size = w.weight_hh.shape[1]

    def widened(value: Any, forget: Any) -> Any:
        return _joined([value[:size], forget, value[size:]])

    zeros = w.weight_hh[:, 0] * 0
    bias_ih, bias_hh = (zeros, zeros) if w.bias_ih is None else (w.bias_ih, w.bias_hh)
    lstm = Weights(
        weight_ih=widened(w.weight_ih, w.weight_ih[:size] * 0),
        weight_hh=widened(w.weight_hh, w.weight_hh[:size] * 0),
        bias_ih=widened(bias_ih, zeros[:size] + OPEN),
        bias_hh=widened(bias_hh, zeros[:size]),
    )
    return Converted(lstm, NO_BIAS_NOTE if w.bias_ih is None else "")

"""The names and shapes of a cell's parameters in each system that ``common.conversions.layers`` converts, and checks.

``Table`` is one such layout. ``require_params``, ``require_neutral`` and ``flax_params`` compare parameters with it and
raise ``InvalidInput`` or ``InvalidType``; they read no values, so that JAX can trace them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from common.errors import InvalidInput, InvalidType, mismatch
from common.model.cells import whose, with_blocks
from common.model.dtypes import dtype_label
from common.model.layout import Weights, named_weights
from common.model.spec import COMPLEX, DTYPES, HALF_DTYPES

DIRECTIONS = ("forward_rnn", "backward_rnn")


class Table(NamedTuple):
    """Name -> axes of every parameter of a cell in one system, each axis 2, H, a multiple such as 4H, I, or I+H;
    with a projection also P and I+P.

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


ELMAN, LSTM = _neutral("an Elman network", "H"), _neutral("an LSTM", "4H")
GRU, LSTM1997 = _neutral("a GRU", "3H"), _neutral("an LSTM without a forget gate", "3H")
ONE_BIAS = Table("tanh(Linear([x, h]))", {"weight": ("H", "I+H"), "bias": ("H",)}, "weight", "weight")
# A name, alone or as a prefix, that shows where parameters come from if they are not the table's.
MARKS = {"weight_hr": "it has a projection, which the other system does not have", "in": "a GRU's?", "ii": "an LSTM's?"}
MARKS |= {"i": "an RNN's?", "rngs": "nnx.state(module, nnx.Param) leaves it out"}
MARKS |= dict.fromkeys(DIRECTIONS, "one direction at a time, of " + " and ".join(f"[{name!r}]" for name in DIRECTIONS))


def require_params(table: Table, params: Mapping[str, Any], hidden: int | None = None) -> None:
    """Raise unless these are the parameters of the table; reads no values, so that JAX can trace them."""
    missing, extra = [n for n in table.shapes if n not in params], [n for n in params if n not in table.shapes]
    if missing or extra:
        problems = {"missing": missing, "extra": extra}
        got = [f"{what} {', '.join(names)}" for what, names in problems.items() if names]
        cause = next((MARKS[mark] for mark in MARKS if any(name.split("/")[0] == mark for name in extra)), "")
        cause = cause or _cause(table, table.recurrent, getattr(params.get(table.recurrent), "shape", ()))
        raise InvalidInput(mismatch(f"parameters of {table.owner}", ", ".join(table.shapes), "; ".join(got), cause))
    _require_dtypes(params)
    for name, axes in table.shapes.items():
        shape = tuple(params[name].shape)
        if len(shape) != len(axes) or 0 in shape:
            cause = "" if 0 in shape else "an axis too many or too few?"
            raise InvalidInput(mismatch(name, f"{_text(axes)} of {table.owner}", shape, cause))
    hidden = hidden or min(params[table.recurrent].shape)
    axis = next(axis for axis in table.shapes[table.input] if "I" in axis)
    columns = params[table.input].shape[table.shapes[table.input].index(axis)]
    width = _width(table, params) or hidden
    sizes = _blocks(hidden) | {
        "I": columns,
        "P": width,
        "I+H": columns + hidden if axis == "I" else max(columns, hidden + 1),
        "I+P": columns + width if axis == "I" else max(columns, width + 1),
    }
    for name in sorted(table.shapes, key=lambda name: name != table.recurrent):
        axes, shape = table.shapes[name], tuple(params[name].shape)
        if shape != tuple(sizes[axis] for axis in axes):
            known = f"H={hidden}" if name == table.input else f"H={hidden}, I={columns}"
            cause = _cause(table, name, shape, hidden)
            raise InvalidInput(mismatch(name, f"{_text(axes)} of {table.owner} with {known}", shape, cause))


def _width(table: Table, params: Mapping[str, Any]) -> int | None:
    """P, the size of a projected h, where the table has one."""
    axes = table.shapes[table.recurrent]
    if "P" in axes:
        return params[table.recurrent].shape[axes.index("P")]
    projections = [name for name, axes in table.shapes.items() if set(axes) == {"P", "H"}]
    return params[projections[0]].shape[table.shapes[projections[0]].index("P")] if projections else None


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


def _blocks(hidden: int) -> dict[str, int]:
    """The size of every axis that does not depend on the input."""
    return {"2": 2, "H": hidden} | {f"{blocks}H": blocks * hidden for blocks in (2, 3, 4, 6, 8)}


def _cause(table: Table, name: str, shape: tuple[int, ...], hidden: int | None = None) -> str:
    """What a wrong shape suggests: a transpose, or the number of gates of another cell."""
    axes = table.shapes[name]
    hidden = hidden or min(shape, default=0)
    if len(shape) != len(axes) or not hidden:
        return ""
    sizes: dict[str, tuple[int, ...]] = {axis: (size,) for axis, size in _blocks(hidden).items()} | {
        "I": shape,
        "P": shape,
    }
    sizes["I+H"] = sizes["I+P"] = tuple(size for size in shape if size > hidden)
    square = shape == shape[::-1]
    if len(axes) == 2 and not square and all(size in sizes[axis] for size, axis in zip(shape[::-1], axes, strict=True)):
        return "transposed?"
    for order in (shape, shape[::-1]):
        for size, axis in zip(order, axes, strict=True):
            if "I" not in axis and size not in sizes[axis] and size % hidden == 0:
                return _owners(table, size // hidden)
    return ""


def _owners(table: Table, blocks: int) -> str:
    """The cells that so many blocks may belong to; a Flax tree is no LSTM1997's, as Flax has none."""
    cells = with_blocks(blocks)
    return whose(cells[:1] if "kernel" in table.input else cells)


def _text(axes: tuple[str, ...]) -> str:
    """As Python shows a shape."""
    return str(axes).replace("'", "")


def require_neutral(table: Table, w: Weights) -> None:
    """Raise unless these are the neutral weights of the table, with both biases or without."""
    if not isinstance(w, Weights):
        raise InvalidType(mismatch("weights", "a common.model.layout.Weights", type(w).__name__))
    bias = w.bias_ih is not None or w.bias_hh is not None
    require_params(table if bias else table.without("bias_ih", "bias_hh"), named_weights(w, ""))


def flax_params(tree: Any, *tables: Table) -> tuple[int, dict[str, Any]]:
    """The number of the table with which a Flax tree shares most names, and the parameters of the tree by path."""
    while isinstance(tree, Mapping) and (set(tree) in ({"params"}, {"cell"})):
        (tree,) = tree.values()
    require_mapping(tables[0], tree, "nnx.state(module, nnx.Param) is one")
    params = dict(_leaves(tree))
    return max(range(len(tables)), key=lambda at: len(tables[at].shapes.keys() & params.keys())), params


def onnx_directions(table: Table, params: Any) -> list[dict[str, Any]]:
    """The inputs of one of ONNX's operators, one direction at a time."""
    require_mapping(table, params)
    counts = {name: value.shape[0] if getattr(value, "ndim", 0) else 0 for name, value in params.items()}
    if len(set(counts.values())) != 1 or not set(counts.values()) <= {1, 2}:
        expected = "W, R and perhaps B with one first axis, of 1 or 2 directions"
        raise InvalidInput(mismatch(f"inputs of {table.owner}", expected, counts or "none"))
    return [{name: value[at] for name, value in params.items()} for at in range(max(counts.values()))]


def require_mapping(table: Table, params: Any, cause: str = "") -> None:
    """Raise unless these are parameters by name."""
    if not isinstance(params, Mapping):
        raise InvalidType(mismatch(f"parameters of {table.owner}", "a tree of them", type(params).__name__, cause))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value.get_value() if hasattr(value, "get_value") else value

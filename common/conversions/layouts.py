"""How each system lays out the weights of one direction of one layer, as data, and the one converter that reads it.

A ``Layout`` lists the arrays of a system, and each ``Part`` says which blocks an array holds: of which gates, in which
order, of x or of h, on which axis, which of the two biases, and what the system adds or negates when it runs. From
this follow the conversion in both directions (``to_layout``, ``from_layout``), that of gradients (``gradients``), the
names and shapes that a file must have (``table``), the notes on what was merged, and the tables of the documentation.

Conversions use only slices, transposes, sums and concatenations, so they take NumPy and JAX arrays alike and return
the same kind. The neutral layout (``common.model.layout``) is torch's.

>>> from common.conversions.layouts import from_layout, to_layout
>>> from common.conversions.systems import LAYOUTS
>>> from common.model.initial import initial_parameters
>>> from common.model.layout import layer_weights
>>> from common.model.spec import ModelSpec
>>> params = initial_parameters(ModelSpec(cell="LSTM", input_size=3, hidden_size=5), seed=0)
>>> converted = to_layout(LAYOUTS["haiku LSTM"], layer_weights(params, "_l0"))
>>> {name: array.shape for name, array in converted.params.items()}
{'linear/w': (8, 20), 'linear/b': (20,)}
>>> converted.notes[1]
'1 was subtracted from the bias of f, as Haiku adds 1 when it runs; this rounds it'
>>> bool(abs(from_layout(LAYOUTS["haiku LSTM"], converted.params).weight_hh - params["weight_hh_l0"]).max() == 0)
True
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from common.conversions.blocks import blocks_of, held_apart, joined, letters
from common.conversions.notes import ZEROS, merged_notes, subtracted_notes
from common.conversions.parts import (
    BEHIND,
    BIAS_H,
    BIAS_X,
    ONE_GATE,
    PROJECTION,
    ROWS,
    SUM,
    XH,
    H,
    Layout,
    Part,
    X,
)
from common.conversions.tables import Table, require_params
from common.errors import InvalidInput, mismatch
from common.model.cells import TABLE
from common.model.layout import Weights


class InLayout(NamedTuple):
    """Arrays in the layout of a system, by name, and a sentence for each thing that could not be kept as it was."""

    params: dict[str, Any]
    notes: tuple[str, ...]


def to_layout(layout: Layout, w: Weights) -> InLayout:
    """One direction of one layer -> its arrays in a system's layout.

    Raises ``InvalidInput`` for what the system cannot hold: a projection, or a ``bias_hh`` that it has no place for.
    """
    if w.weight_hr is not None and not any(part.holds == PROJECTION for part in layout.parts):
        raise InvalidInput(mismatch("weight_hr", f"none, as {layout.owner} has no projection", "a projection"))
    notes: list[str] = []
    if w.bias_ih is None and layout.needs_bias:
        zeros = abs(w.weight_ih[:, 0]) * 0
        w = w._replace(bias_ih=zeros, bias_hh=zeros)
        notes.append(ZEROS.format(owner=layout.owner))
    elif w.bias_ih is None:
        layout = layout.without_bias
    else:
        notes += merged_notes(layout, w)
    if layout.zero and w.bias_hh is not None:
        _require_zero(layout, w)
    arrays = {}
    for part in layout.parts:
        if part.holds == PROJECTION and w.weight_hr is None:
            continue
        arrays[part.name] = _assembled(layout, part, w)
        notes += subtracted_notes(layout, part, w)
    return InLayout(arrays, tuple(dict.fromkeys(notes)))


def _require_zero(layout: Layout, w: Weights) -> None:
    for gate, inner in blocks_of(layout.cell, w.bias_hh).items():
        if gate in layout.zero and (inner != 0).any():
            words = {kind.letter: kind.name for kind in TABLE[layout.cell].gates}
            cause = f"{layout.owner} has no place for it; flax.linen.GRUCell has one"
            raise InvalidInput(
                mismatch(f"bias_hh of the {words[gate]}", "zeros", f"values up to {abs(inner).max()}", cause)
            )


def _assembled(layout: Layout, part: Part, w: Weights) -> Any:
    """The array of one part."""
    if part.holds == PROJECTION:
        return w.weight_hr.mT if part.transposed else w.weight_hr
    order = part.gates or ONE_GATE
    if not part.is_bias:
        sides = {X: (w.weight_ih,), H: (w.weight_hh,), XH: (w.weight_ih, w.weight_hh)}[part.holds]
        blocks = [blocks_of(layout.cell, side) for side in sides]
        rows = [_signed(part, gate, joined([side[gate] for side in blocks], axis=1)) for gate in order]
        if part.reshaped:
            return joined([block.reshape(block.shape[::-1]) for block in rows], axis=1)
        return joined(rows).mT if part.transposed else joined(rows)
    of_x, of_h = (blocks_of(layout.cell, bias) for bias in (w.bias_ih, w.bias_hh))
    apart = held_apart(layout)
    if part.holds in (BEHIND, ROWS):
        rows = [joined([_signed(part, gate, side[gate]) for gate in order]) for side in (of_x, of_h)]
        return joined(rows) if part.holds == BEHIND else joined([row[None] for row in rows])
    blocks = []
    for gate in order:
        sides = {BIAS_X: of_x[gate], BIAS_H: of_h[gate] - part.added[gate] if gate in part.added else of_h[gate]}
        if part.holds == SUM:
            values = [value for side, value in sides.items() if (side, gate) not in apart]
            value = values[0] if len(values) == 1 else values[0] + values[1]
        else:
            value = sides[part.holds]
        blocks.append(_signed(part, gate, value))
    return joined(blocks)


def _signed(part: Part, gate: str, value: Any) -> Any:
    return -value if gate in part.negated else value


def from_layout(layout: Layout, params: Mapping[str, Any]) -> Weights:
    """The inverse: arrays in a system's layout -> one direction of one layer, in the neutral layout.

    One bias goes to ``bias_ih``; ``bias_hh`` is zero, or what the system adds when it runs, so that the way back is
    exact. Raises ``InvalidInput`` for other names or shapes, and
    ``InvalidType`` for arrays that are not all of one floating-point dtype.
    """
    with_bias = any(part.name in params for part in layout.parts if part.is_bias)
    layout = layout if with_bias else layout.without_bias
    layout = layout._replace(parts=tuple(p for p in layout.parts if p.holds != PROJECTION or p.name in params))
    hidden = hidden_size(layout, params)
    require_params(table(layout), params, hidden)
    assert hidden is not None  # or the names and shapes were refused
    found: dict[tuple[str, str], Any] = {}
    projection = _projection(layout, params)
    width = hidden if projection is None else projection.shape[0]
    for part in layout.parts:
        value = params[part.name]
        if part.holds == PROJECTION:
            continue
        for side, rows in _sides(part, value, width).items():
            for k, gate in enumerate(part.gates or ONE_GATE):
                found[side, gate] = _signed(part, gate, rows[k * hidden : (k + 1) * hidden])
    names = letters(layout.cell)
    weights = Weights(*(joined([found[side, gate] for gate in names]) for side in (X, H)), weight_hr=projection)
    if not with_bias:
        return weights
    added = {gate: amount for part in layout.parts if part.is_bias for gate, amount in part.added.items()}
    of_x, of_h, xp = [], [], weights.weight_ih.__array_namespace__()
    for gate in names:
        apart = found.get((BIAS_H, gate))
        of_x.append(found[SUM, gate] if (SUM, gate) in found else found[BIAS_X, gate])
        of_h.append((xp.zeros_like(of_x[-1]) if apart is None else apart) + added.get(gate, 0))
    return weights._replace(bias_ih=joined(of_x), bias_hh=joined(of_h))


def _projection(layout: Layout, params: Mapping[str, Any]) -> Any:
    """``weight_hr`` (P, H), or None."""
    for part in layout.parts:
        if part.holds == PROJECTION:
            return params[part.name].mT if part.transposed else params[part.name]
    return None


def _sides(part: Part, value: Any, width: int) -> dict[str, Any]:
    """Side -> its rows, gates first, of the array of one part; h has ``width`` columns."""
    if not part.is_bias:
        rows = _unshaped(part, value) if part.reshaped else value.mT if part.transposed else value
        if part.holds == XH:
            return {X: rows[:, :-width], H: rows[:, -width:]}
        return {part.holds: rows}
    if part.holds == BEHIND:
        half = value.shape[0] // 2
        return {BIAS_X: value[:half], BIAS_H: value[half:]}
    if part.holds == ROWS:
        return {BIAS_X: value[0], BIAS_H: value[1]}
    return {part.holds: value}


def _unshaped(part: Part, value: Any) -> Any:
    """The rows, gates first, of an array whose blocks are ``reshaped``."""
    size = value.shape[1] // len(part.gates)
    blocks = [value[:, k * size : (k + 1) * size] for k in range(len(part.gates))]
    return joined([block.reshape(block.shape[::-1]) for block in blocks])


def hidden_size(layout: Layout, params: Mapping[str, Any]) -> int | None:
    """H, from the first array of h that is there, if its shape shows it."""
    is_square = not any(part.holds == PROJECTION for part in layout.parts)
    for part in layout.parts:
        shape = getattr(params.get(part.name), "shape", ())
        if part.holds in (H, XH) and len(shape) == 2:
            rows = shape[-1 if part.transposed else 0]
            return min(shape) if part.holds == H and is_square else rows // len(part.gates or ONE_GATE)
    return None


def gradients(layout: Layout, grads: Weights) -> dict[str, Any]:
    """The gradients of a system's arrays, from those of the neutral parameters.

    A sum of two biases has the gradient of either, what is added when running has none, and a negated gate's gradient
    changes its sign.
    """
    if grads.bias_ih is not None:
        apart = held_apart(layout)
        kept = {BEHIND, ROWS} & {part.holds for part in layout.parts}
        of_h = blocks_of(layout.cell, grads.bias_hh)
        blocks = [value if kept or (BIAS_H, gate) in apart else value * 0 for gate, value in of_h.items()]
        grads = grads._replace(bias_hh=joined(blocks))
    linear = layout._replace(parts=tuple(part._replace(added={}) for part in layout.parts))
    return to_layout(linear._replace(zero=""), grads).params


def table(layout: Layout) -> Table:
    """The names and axes of a layout, as ``require_params`` checks them."""
    shapes: dict[str, tuple[str, ...]] = {}
    for part in layout.parts:
        rows = _axis(len(part.gates or ONE_GATE))
        if part.holds == PROJECTION:
            axes: tuple[str, ...] = ("P", "H")
        elif part.is_bias:
            axes = {BEHIND: (_axis(2 * len(part.gates or ONE_GATE)),), ROWS: ("2", rows)}.get(part.holds, (rows,))
        else:
            has_projection = any(other.holds == PROJECTION for other in layout.parts)
            of_h = "P" if has_projection else "H"
            axes = (rows, {X: "I", H: of_h, XH: f"I+{of_h}"}[part.holds])
        shapes[part.name] = axes[::-1] if part.transposed and not part.is_bias else axes
    named = {part.holds: part.name for part in layout.parts[::-1]}
    return Table(layout.owner, shapes, named.get(H, named.get(XH, "")), named.get(X, named.get(XH, "")))


def _axis(blocks: int) -> str:
    return "H" if blocks == 1 else f"{blocks}H"

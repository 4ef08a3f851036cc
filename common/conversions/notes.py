"""What could not be kept as it was when weights went into the layout of another system, in sentences."""

from collections.abc import Iterator
from typing import Any

from common.conversions.blocks import blocks_of, held_apart, letters
from common.conversions.parts import BIAS_H, BIAS_X, ONE_GATE, SUM, Layout, Part
from common.model.layout import Weights

ZEROS = "{owner} cannot be built without a bias: zeros were added"


def merged_note(*gates: str) -> str:
    """What it means that two biases became one: of these gates, or of all."""
    of = " and".join(filter(None, (",".join(f" of {gate}" for gate in gates[:-1]), *(f" of {g}" for g in gates[-1:]))))
    return (
        f"{'the ' if gates else ''}two biases{of} were merged into one: the function is the same, the training is not "
        "(gradient descent moves the sum of two biases twice as far as one)"
    )


def merged_notes(layout: Layout, w: Weights) -> tuple[str, ...]:
    """A sentence if two biases of any gate become one."""
    merged = _merged(layout, w)
    of_all = len(merged) == len(letters(layout.cell))
    return (merged_note(*(() if of_all else merged)),) if merged else ()


def _merged(layout: Layout, w: Weights) -> tuple[str, ...]:
    """The gates whose two biases become one; where ``bias_hh`` is zero, or what the system adds, nothing is merged."""
    apart, of_h = held_apart(layout), blocks_of(layout.cell, w.bias_hh)
    sums = [part for part in layout.parts if part.holds == SUM]
    summed = [(gate, part.added.get(gate, 0)) for part in sums for gate in part.gates or ONE_GATE]
    return tuple(
        gate
        for gate, added in summed
        if not {(BIAS_X, gate), (BIAS_H, gate)} & apart
        and gate not in layout.zero
        and all(_differs(of_h[gate], number) for number in {0, added})
    )


def subtracted_notes(layout: Layout, part: Part, w: Weights) -> Iterator[str]:
    """A sentence for each gate to whose bias the system adds a number when it runs."""
    for gate, amount in part.added.items() if part.is_bias else ():
        why = f"as {layout.system} adds {amount:g} when it runs"
        rounded = "; this rounds it" if _is_rounded(layout.cell, part, gate, w) else ""
        yield f"{amount:g} was subtracted from the bias of {gate}, {why}{rounded}"


def _is_rounded(cell: str, part: Part, gate: str, w: Weights) -> bool:
    """Whether what is left of the bias of a gate is no number of its dtype."""
    of_x, of_h = (blocks_of(cell, bias)[gate] for bias in (w.bias_ih, w.bias_hh))
    amount = part.added[gate]
    return _is_inexact(of_h, -amount) or (part.holds == SUM and _is_inexact(of_x, of_h - amount))


def _is_inexact(a: Any, b: Any) -> bool:
    """Whether a + b is rounded: the error of a sum is a number of the same dtype (Knuth, TAOCP 2, 4.2.2, theorem B)."""
    total = a + b
    of_b = total - a
    return _differs((a - (total - of_b)) + (b - of_b), 0)


def _differs(value: Any, number: float) -> bool:
    """Whether an array is not this number everywhere; what is being traced may be anything."""
    try:
        return bool((value != number).any())
    except TypeError:  # jax.errors.TracerBoolConversionError
        return True

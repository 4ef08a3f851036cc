"""What a layout of weights is made of, as data: ``Layout`` and its ``Part``s (``common.conversions.layouts``)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

# What a part holds: the columns of x, of h, of both with x first, the projection; or a bias: that of x (``bias_ih``),
# that of h (``bias_hh``), their sum, both behind one another, or both as two rows.
X, H, XH, PROJECTION = "x", "h", "xh", "projection"
BIAS_X, BIAS_H, SUM, BEHIND, ROWS = "bias_ih", "bias_hh", "sum", "concatenated", "stacked"
BIASES = (BIAS_X, BIAS_H, SUM, BEHIND, ROWS)
# The letter of the one block of an Elman network, which has no gates.
ONE_GATE = "-"


class Part(NamedTuple):
    """One array of a layout.

    ``gates`` are the letters of its blocks in their order, "" for the one block of an Elman network. A weight that is
    ``transposed`` has the gates along its last axis: (I, G*H). With ``reshaped``, the gates stand there too, but each
    block is the (H, I) matrix of the gate with its numbers in the same order under the shape (I, H), not its transpose.
    ``added`` says what the system adds to a gate's bias when it runs, and ``negated`` which gates it computes with the
    opposite sign.
    """

    name: str
    holds: str
    gates: str
    transposed: bool = True
    added: Mapping[str, float] = {}
    negated: str = ""
    reshaped: bool = False

    @property
    def is_bias(self) -> bool:
        return self.holds in BIASES


class Layout(NamedTuple):
    """One cell in one system.

    ``system`` is the library, ``owner`` its class. ``options`` are those of the specification that the system decides
    (such as ``reset_after``). With ``needs_bias``, the class cannot be built without a bias, and gets zeros. ``state``
    is the order of the states. ``zero`` are gates whose ``bias_hh`` the system has nowhere to put.
    """

    system: str
    owner: str
    cell: str
    parts: tuple[Part, ...]
    source: str
    options: Mapping[str, Any] = {}
    needs_bias: bool = False
    state: tuple[str, ...] = ("h",)
    zero: str = ""

    @property
    def without_bias(self) -> "Layout":
        return self._replace(parts=tuple(part for part in self.parts if not part.is_bias))

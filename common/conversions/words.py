"""The conventions of a layout in words, made from its data.

>>> from common.conversions.systems import LAYOUTS
>>> from common.conversions.words import conventions
>>> for sentence in conventions(LAYOUTS["haiku LSTM"]):
...     print(sentence)
gates i, g, f, o side by side; x and h in one transposed matrix, x first: linear/w (I+H, 4H)
one bias, the sum of torch's two: linear/b (4H)
1 is added to the bias of f when it runs
"""

from collections.abc import Sequence

from common.conversions.layouts import table
from common.conversions.parts import BEHIND, BIAS_H, BIAS_X, ONE_GATE, PROJECTION, ROWS, SUM, XH, Layout, Part

NEUTRAL_STATES = (("h",), ("h", "c"))


def conventions(layout: Layout, *, has_bias: bool = True, has_projection: bool = False) -> tuple[str, ...]:
    """The order of the gates and the axes of the matrices, the biases, and what the system adds or negates.

    Of a layer without a bias or without a projection, they are left out.
    """
    layout = layout if has_bias else layout.without_bias
    if not has_projection:
        layout = layout._replace(parts=tuple(part for part in layout.parts if part.holds != PROJECTION))
    said = [_matrices(layout), *_biases(layout)]
    negated = dict.fromkeys(gate for part in layout.parts for gate in part.negated)
    said += [f"computes 1 - {gate}: the opposite sign in the rows of {gate}" for gate in negated]
    added = {gate: amount for part in layout.parts for gate, amount in part.added.items()}
    said += [f"{amount:g} is added to the bias of {gate} when it runs" for gate, amount in added.items()]
    said += [f"no bias of h for {gate}" for gate in layout.zero]
    if "reset_after" in layout.options:
        where = "after" if layout.options["reset_after"] else "before"
        said.append(f"the reset gate acts {where} the product of h with its matrix")
    if "nonlinearity" in layout.options:
        said.append(f"the nonlinearity is {layout.options['nonlinearity']}")
    if layout.state not in NEUTRAL_STATES:
        said.append(f"the state is ({', '.join(layout.state)})")
    return tuple(said)


def biases(layout: Layout) -> str:
    """How many biases a layout has for a gate: "one", "two", or which where the gates differ."""
    counts = bias_counts(layout)
    ones = [gate for gate, count in counts.items() if count == 1]
    twos = [gate for gate, count in counts.items() if count == 2]
    if not counts or (ones and twos):
        return f"one, two for {' and '.join(twos)}" if counts else "none"
    return "two" if twos else "one"


def bias_counts(layout: Layout) -> dict[str, int]:
    """Gate -> how many biases it has, in the order of the layout."""
    counts: dict[str, int] = {}
    for part in layout.parts:
        for gate in (part.gates or ONE_GATE) if part.is_bias else ():
            counts[gate] = counts.get(gate, 0) + (2 if part.holds in (BEHIND, ROWS) else 1)
    return counts


def _matrices(layout: Layout) -> str:
    """Which matrices there are, with their gates and axes."""
    matrices = [part for part in layout.parts if not part.is_bias and part.holds != PROJECTION]
    gates = "".join(dict.fromkeys(gate for part in matrices for gate in part.gates))
    transposed = any(part.transposed for part in matrices)
    kind = "transposed matrix" if transposed else "matrix"
    if len({part.gates for part in matrices}) == len(gates) > 1:
        shapes = dict.fromkeys(_shape(layout, part) for part in matrices)
        said = f"a {kind} for each gate {', '.join(gates)} and side: {' and '.join(shapes)}"
        return f"{said}, such as {matrices[0].name}" + _projection(layout)
    orders = dict.fromkeys(part.gates for part in matrices if part.gates)
    order = ", apart from them ".join(", ".join(letters) for letters in orders)
    side = "side by side" if transposed else "one below another"
    said = f"gates {order} {side}; " if order else ""
    named = _listed([f"{part.name} {_shape(layout, part)}" for part in matrices])
    if any(part.holds == XH for part in matrices):
        said += f"x and h in one {kind}, x first: {named}"
    else:
        said += f"{kind[:-2]}ices {named}" if kind.endswith("matrix") else named
    if any(part.reshaped for part in matrices):
        said += "; the numbers of each block are those of the matrix that is not transposed, in its order"
    return said + _projection(layout)


def _projection(layout: Layout) -> str:
    parts = [part for part in layout.parts if part.holds == PROJECTION]
    return "".join(f"; the projection {part.name} {_shape(layout, part)}" for part in parts)


def _biases(layout: Layout) -> list[str]:
    """Which biases there are; none where the layout is of a layer without them."""
    parts = [part for part in layout.parts if part.is_bias]
    words = {
        SUM: "one bias, the sum of torch's two",
        BEHIND: "two biases in one array, that of x first",
        ROWS: "two biases as two rows, that of x first",
    }
    if not parts:
        return ["no bias"]
    kinds = {part.holds for part in parts}
    if kinds == {BIAS_X, BIAS_H} and biases(layout) == "two":
        said = "two biases"
    elif len(kinds) == 1:
        said = words[parts[0].holds]
    else:
        twos = [gate for gate, count in bias_counts(layout).items() if count == 2]
        said = f"one bias, the sum of torch's two, but two for {' and '.join(twos)}"
    return [f"{said}: {_listed([f'{part.name} {_shape(layout, part)}' for part in parts])}"]


def _shape(layout: Layout, part: Part) -> str:
    return f"({', '.join(table(layout).shapes[part.name])})"


def _listed(names: Sequence[str], most: int = 3) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])}, ..."
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

"""The operators RNN, LSTM and GRU of a model: their weights, and which of their options a network here has.

What an operator can do and a network here cannot (peepholes, clipping, other activations, a single reverse direction,
...) makes its layer one that cannot be used, and the problem names it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from common.errors import mismatch
from common.weights.onnx_graph.folding import Constant, Folding, is_zero, plain
from common.weights.onnx_graph.operators import NotConstant
from common.weights.onnx_graph.scopes import DOMAINS, Scope
from common.weights.source import Unusable

MAX_OPERATORS = 2000
CELLS = ("RNN", "LSTM", "GRU")
DIRECTIONS = {"forward": ("",), "bidirectional": ("", "_reverse")}
# The places of inputs that all three operators share; P are an LSTM's peepholes.
W, R, B, LENGTHS, H0, C0, P = range(1, 8)
# AttributeProto.AttributeType of the attributes that are read.
F, INT, S, FLOATS, STRINGS = 1, 2, 3, 6, 8
TYPES = {"direction": S, "clip": F, "activations": STRINGS, "activation_alpha": FLOATS, "activation_beta": FLOATS}
TYPES |= dict.fromkeys(("hidden_size", "input_forget", "linear_before_reset", "layout"), INT)
PARTS = {"W": W, "R": R, "B": B}
ACTIVATIONS = {"RNN": ("tanh",), "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh")}
# Recurrent operators of other domains, and why they are not read.
QUANTIZED = "it computes with integers: x and h are quantised at every step, so no network here is the same function"
FOREIGN = {"DynamicQuantizeLSTM": QUANTIZED + "; take the model before quantisation"}
FOREIGN |= {"AttnLSTM": "its attention is part of the recurrence"}


class Recurrent(NamedTuple):
    """One operator.

    ``path`` is its name in the file, ``layout`` a key of ``systems.LAYOUTS``, ``directions`` the endings of the names
    of layers, ``options`` those of a specification. ``names`` and ``weights`` are its W, R and B, (D, ...) each.
    ``batch_first`` is the operator's ``layout``.
    """

    scope: Scope
    node: Any
    path: str
    layout: str
    directions: tuple[str, ...]
    options: Mapping[str, Any]
    names: Mapping[str, str]
    weights: Mapping[str, Constant]
    batch_first: bool
    notes: tuple[str, ...]
    problem: str = ""

    @property
    def hidden(self) -> int:
        return self.weights["R"].array.shape[2]


class Refused(ValueError):
    """Why a network here cannot be what an operator computes."""


def located(scopes: Iterable[Scope], calls: frozenset[tuple[str, str]]) -> Iterator[tuple[Scope, Any, str]]:
    """Every recurrent operator with its scope and a path that no other has; ``calls`` are the model's own functions."""
    taken: set[str] = set()
    for scope in scopes:
        for node in scope.graph.node:
            if (node.domain, node.op_type) in calls or not _is_recurrent(node):
                continue
            name = node.name or next((output for output in node.output if output), node.op_type)
            path = name if name not in taken else f"{scope.path}{name}"
            count = 1
            while path in taken:
                count += 1
                path = f"{scope.path}{name}#{count}"
            taken.add(path)
            if len(taken) > MAX_OPERATORS:
                raise Unusable(f"it has more than {MAX_OPERATORS} recurrent operators")
            yield scope, node, path


def _is_recurrent(node: Any) -> bool:
    if node.domain in DOMAINS:
        return node.op_type in CELLS
    kind = node.op_type.lower()
    return kind.endswith(("lstm", "gru", "rnn"))


def read(folding: Folding, scope: Scope, node: Any, path: str) -> Recurrent:
    """What an operator is; with a ``problem`` where no network here computes the same."""
    inputs = dict(enumerate(node.input))
    names = {part: inputs[place] for part, place in PARTS.items() if inputs.get(place)}
    kind = next((cell for cell in CELLS if cell in node.op_type.upper()), "RNN")
    result = Recurrent(scope, node, path, f"onnx {kind}", (), {}, names, {}, False, ())
    try:
        if node.domain not in DOMAINS:
            raise Refused(_foreign(node))
        attributes = _attributes(scope, node)
        options, directions = _options(node.op_type, attributes)
        weights = _weights(folding, scope, names)
        _require_shapes(weights, len(directions), attributes.get("hidden_size"))
        notes = _notes(folding, scope, inputs, weights, attributes)
    except Refused as reason:
        return result._replace(problem=str(reason))
    layout = result.layout + (", linear_before_reset=0" if options.get("reset_after") is False else "")
    return result._replace(
        layout=layout,
        directions=directions,
        options=options,
        weights=weights,
        batch_first=bool(attributes.get("layout", 0)),
        notes=notes,
    )


def _foreign(node: Any) -> str:
    reason = FOREIGN.get(node.op_type, "only RNN, LSTM and GRU of ONNX itself are read")
    return f"{node.op_type} is an operator of {node.domain!r}: {reason}"


def _attributes(scope: Scope, node: Any) -> dict[str, Any]:
    """The attributes by name, each of the type that it has in the specification. Raises ``Refused``."""
    found = {}
    for name, attribute in scope.attributes(node).items():
        if attribute.type != TYPES.get(name, attribute.type):
            raise Refused(f"its {name} is of another type than ONNX gives it")
        found[name] = plain(attribute)
    return found


def _options(cell: str, attributes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The options of the specification, and the directions. Raises ``Refused``."""
    direction = attributes.get("direction") or "forward"
    if direction == "reverse":
        text = "direction=reverse: a network here has no reverse direction alone"
        raise Refused(f"{text}; with x and y reversed in time, the same weights are those of direction=forward")
    if direction not in DIRECTIONS:
        raise Refused(mismatch("direction", "forward, reverse or bidirectional", repr(direction)))
    if attributes.get("clip") is not None:
        raise Refused(f"clip={attributes['clip']:g}: the gates' inputs are clipped, which no network here does")
    if attributes.get("input_forget"):
        raise Refused("input_forget=1: the input gate is 1 - f, which no network here has")
    for name in ("activation_alpha", "activation_beta"):
        if attributes.get(name):
            raise Refused(f"{name}={list(attributes[name])}: no activation here has a parameter")
    directions = DIRECTIONS[direction]
    options: dict[str, Any] = {"nonlinearity": "tanh"} if cell == "RNN" else {}
    if cell == "GRU":
        options["reset_after"] = bool(attributes.get("linear_before_reset"))
    given = [str(name).lower() for name in attributes.get("activations") or ()]
    expected = list(ACTIVATIONS[cell]) * len(directions)
    if cell == "RNN" and given == ["relu"] * len(directions):
        options["nonlinearity"] = "relu"
    elif given and given != expected:
        text = f"activations={', '.join(attributes['activations'])}"
        also = ", or Relu in each direction" if cell == "RNN" else ""
        raise Refused(f"{text}: those of a network here are {', '.join(expected)}{also}"[:400])
    return options, directions


def _weights(folding: Folding, scope: Scope, names: Mapping[str, str]) -> dict[str, Constant]:
    weights = {}
    for part, name in names.items():
        try:
            weights[part] = folding.value(scope, name)
        except NotConstant as reason:
            raise Refused(f"its {part} is not a constant of the file: {reason}") from reason
    missing = [part for part in ("W", "R") if part not in weights]
    if missing:
        raise Refused(f"it has no {' and no '.join(missing)}")
    return weights


def _require_shapes(weights: Mapping[str, Constant], count: int, hidden: Any) -> None:
    """The directions come first in every weight; the rest is compared with the layout, one direction at a time."""
    for part, weight in weights.items():
        shape, rank = weight.array.shape, 2 if part == "B" else 3
        if len(shape) != rank or shape[0] != count or 0 in shape:
            raise Refused(mismatch(part, f"{rank} axes, the first of {count}, none of 0", shape))
    width = weights["R"].array.shape[2]
    if hidden is not None and hidden != width:
        raise Refused(mismatch("hidden_size", f"{width}, as R has it", hidden))


def _notes(
    folding: Folding,
    scope: Scope,
    inputs: Mapping[int, str],
    weights: Mapping[str, Constant],
    attributes: Mapping[str, Any],
) -> tuple[str, ...]:
    """What the user should know of an operator that is read. Raises ``Refused`` for peepholes."""
    notes = []
    if inputs.get(P):
        if not is_zero(folding, scope, inputs[P]):
            raise Refused("it has peepholes (P): no LSTM here sees c in its gates")
        notes.append("its peepholes (P) are zeros: they are left out")
    for operator, done in (("DequantizeLinear", "dequantised"), ("Cast", "cast to another type")):
        parts = [part for part, weight in weights.items() if operator in weight.operators]
        if parts:
            notes.append(f"{', '.join(parts)}: {done} as the file says ({operator}); the file stores other numbers")
    for name, place in (("initial_h", H0), ("initial_c", C0)):
        if inputs.get(place) and is_zero(folding, scope, inputs[place]) is False:
            notes.append(f"{name} is a constant of the file other than 0: it is no part of the layer")
    if inputs.get(LENGTHS) and is_zero(folding, scope, inputs[LENGTHS]) is not None:
        notes.append("sequence_lens is a constant of the file: it is no part of the layer")
    if attributes.get("layout"):
        notes.append("layout=1: in the file, x, y and the states have the batch first")
    return tuple(notes)

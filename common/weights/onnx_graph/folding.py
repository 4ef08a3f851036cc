"""Values that follow from the constants of a model alone, computed with NumPy within a budget of memory.

Exporters write a weight as an initializer or as slices, concatenations and transposes of several. ``Folding.value``
computes such a value when it is asked for, and says why if it is not a constant. With ``seeds``, values that are not
constants are given: so what stands between two layers can be tried on numbers that show where each one ends up.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.weights.onnx_graph.operators import OPERATORS, Budget, NotConstant
from common.weights.onnx_graph.scopes import DOMAINS, Scope
from common.weights.onnx_graph.tensors import Tensors, Unsupported

MAX_DEPTH = 150
# What NumPy may raise for attributes and sizes that do not fit one another.
ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError)

TENSOR = 4  # types of attributes (AttributeProto.AttributeType), and the fields of the plain ones
FIELDS = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}
# The attributes of a Constant: their types, and what they are made.
CONSTANTS = {"value": (TENSOR, None), "value_float": (1, "float32"), "value_floats": (6, "float32")}
CONSTANTS |= {"value_int": (2, "int64"), "value_ints": (7, "int64")}

Key = tuple[int, str]


class Constant(NamedTuple):
    """A value, the initializers and constants that it was made of (scope, name), and the operators on the way."""

    array: np.ndarray
    sources: frozenset[tuple[Scope, str]]
    operators: frozenset[str]


class Folding:
    """The constants of a model, each computed once; ``budget`` is the number of bytes that all may take together."""

    def __init__(self, tensors: Tensors, budget: int, seeds: Mapping[tuple[Scope, str], np.ndarray] | None = None):
        self.tensors, self.budget, self.seeds = tensors, Budget(budget), dict(seeds or {})
        self.known: dict[Key, Constant | NotConstant] = {}

    def value(self, scope: Scope, name: str, depth: int = 0) -> Constant:
        """The value of a name in a scope. Raises ``NotConstant``, and ``Unusable`` for a tensor that is damaged."""
        place = scope.resolved(name)
        if place is None:
            raise NotConstant(f"{name!r} is an input of the graph")
        if place in self.seeds:
            return Constant(self.seeds[place], frozenset(), frozenset())
        scope, name = place
        key = (id(scope), name)
        if key not in self.known:
            try:
                self.known[key] = self._made(scope, name, depth)
            except NotConstant as reason:
                self.known[key] = reason
            except Unsupported as reason:
                self.known[key] = NotConstant(f"{name!r}: {reason}")
        known = self.known[key]
        if isinstance(known, NotConstant):
            raise known
        return known

    def _made(self, scope: Scope, name: str, depth: int) -> Constant:
        if depth > MAX_DEPTH:
            raise NotConstant(f"{name!r} is the end of more than {MAX_DEPTH} operators")
        if name in scope.initializers:
            array = self.tensors.array(scope.initializers[name])
            return Constant(array, frozenset({(scope, name)}), frozenset())
        node = scope.producers[name]
        label = f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} for {name!r}"
        if node.op_type == "Constant" and node.domain in DOMAINS:
            return self._constant(scope, name, node)
        operator = OPERATORS.get(node.op_type) if node.domain in DOMAINS else None
        if operator is None:
            raise NotConstant(f"{name!r} is computed by {label}")
        given = [self.value(scope, one, depth + 1) if one else None for one in node.input]
        arrays = [None if one is None else one.array for one in given]
        try:
            with np.errstate(all="ignore"):
                results = operator(self.budget, self._attributes(scope, node), arrays, len(node.output))
            result = results[list(node.output).index(name)]
        except ERRORS as error:
            raise NotConstant(f"{label} cannot be computed: {error}"[:300]) from error
        operators = frozenset({node.op_type}).union(*(one.operators for one in given if one))
        sources = frozenset[tuple[Scope, str]]().union(*(one.sources for one in given if one))
        return Constant(result, sources, operators)

    def _constant(self, scope: Scope, name: str, node: Any) -> Constant:
        for key, attribute in scope.attributes(node).items():
            kind, dtype = CONSTANTS.get(key, (None, None))
            if attribute.type == kind:
                array = self.tensors.array(attribute.t) if kind == TENSOR else np.asarray(plain(attribute), dtype)
                return Constant(array, frozenset({(scope, name)}), frozenset())
        raise NotConstant(f"{name!r} is a Constant that is sparse or text")

    def _attributes(self, scope: Scope, node: Any) -> dict[str, Any]:
        """Numbers, lists of numbers and tensors by name; anything else is left out."""
        return {
            name: self.tensors.array(value.t) if value.type == TENSOR else plain(value)
            for name, value in scope.attributes(node).items()
            if value.type == TENSOR or value.type in FIELDS
        }


def plain(attribute: Any) -> Any:
    """The value of an AttributeProto that is a number, text, or a list of either; None for any other."""
    if attribute.type not in FIELDS:
        return None
    value = getattr(attribute, FIELDS[attribute.type])
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float):
        return value
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in value]


def is_zero(folding: Folding, scope: Scope, name: str) -> bool | None:
    """Whether a value is a constant of zeros; None where it is no constant."""
    try:
        return not folding.value(scope, name).array.any()
    except NotConstant:
        return None

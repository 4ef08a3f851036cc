"""The graphs of a model: the main one, those inside Loop, If and Scan, and a function's for each call of it.

A name in a graph means an initializer of it, the output of one of its nodes, or what it means in the graph around it; a
formal input of a function means what the caller gave. Calls are followed as they stand, never run, and their number is
bounded, as functions that call one another twice would make a file of one page endless.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from common.weights.source import Unusable

MAX_NODES, MAX_SCOPES, MAX_DEPTH = 200_000, 20_000, 50
GRAPH, GRAPHS = 5, 10  # types of attributes (AttributeProto.AttributeType)
DOMAINS = ("", "ai.onnx")


class Scope:
    """One graph, or one call of a function.

    ``path`` stands before the names of its nodes where these are not unique. ``actual`` maps the formal inputs of a
    function to what the caller, in the scope ``outer``, gave, and ``given`` its attributes to the caller's.
    """

    def __init__(
        self,
        graph: Any,
        path: str = "",
        outer: "Scope | None" = None,
        actual: Mapping[str, str] | None = None,
        given: Mapping[str, Any] | None = None,
    ):
        self.graph, self.path, self.outer = graph, path, outer
        self.actual, self.given = actual, given or {}
        self.initializers = {tensor.name: tensor for tensor in getattr(graph, "initializer", ())}
        self.sparse = {one.values.name for one in getattr(graph, "sparse_initializer", ())}
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.inputs = {getattr(item, "name", item) for item in graph.input}

    def resolved(self, name: str) -> "tuple[Scope, str] | None":
        """The scope in which a name is made, and the name there; None where it is an input of the model."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.initializers or name in scope.producers:
                return scope, name
            if name in scope.inputs:
                if scope.actual is None:
                    return None
                name = scope.actual.get(name, "")
            elif scope.actual is not None:
                return None  # the body of a function does not see the graph around it
            scope = scope.outer
        return None

    def has(self, name: str) -> bool:
        """Whether anything makes a name: this graph, its caller, or the graphs around it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.initializers or name in scope.producers or name in scope.inputs or name in scope.sparse:
                return True
            scope = scope.outer if scope.actual is None else None
        return False

    def attributes(self, node: Any) -> dict[str, Any]:
        """Name -> AttributeProto of a node; one that refers to an attribute of the function is the caller's."""
        found = {}
        for attribute in node.attribute:
            value = self.given.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if value is not None:
                found[attribute.name] = value
        return found


def scopes(model: Any) -> Iterator[Scope]:
    """Every scope of a model, the main graph first. Raises ``Unusable`` where there are too many."""
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    size, count = len(model.graph.node), 0
    waiting = [(Scope(model.graph), 0)]
    while waiting:
        scope, depth = waiting.pop()
        count += 1
        if size > MAX_NODES or count > MAX_SCOPES or depth > MAX_DEPTH:
            raise Unusable("its functions and inner graphs are too many or nested too deeply")
        yield scope
        inner = []
        for node in scope.graph.node:
            missing = next((name for name in node.input if name and not scope.has(name)), None)
            if missing is not None:
                raise Unusable(f"{node.op_type} {node.name!r} takes {missing!r}, which nothing makes: damaged?"[:300])
            path = f"{scope.path}{node.name or next(iter(node.output), node.op_type)}/"
            function = functions.get((node.domain, node.op_type, getattr(node, "overload", "")))
            if function is not None:
                size = _grown(size, function)
                inner.append(_called(scope, node, function, path))
            for attribute in node.attribute:
                graphs = (attribute.g,) if attribute.type == GRAPH else attribute.graphs
                for graph in graphs:
                    size = _grown(size, graph)
                    inner.append(Scope(graph, f"{path}{attribute.name}/", scope, None, scope.given))
        if len(waiting) + len(inner) > MAX_SCOPES:
            raise Unusable("its functions and inner graphs are too many")
        waiting += [(one, depth + 1) for one in reversed(inner)]


def _grown(size: int, graph: Any) -> int:
    """The nodes and tensors of all scopes with those of one more, which are counted before a scope is made of them."""
    size += len(graph.node) + len(getattr(graph, "initializer", ()))
    if size > MAX_NODES:
        raise Unusable("its functions and inner graphs are too many or nested too deeply")
    return size


def _called(scope: Scope, node: Any, function: Any, path: str) -> Scope:
    given = {attribute.name: attribute for attribute in getattr(function, "attribute_proto", ())}
    given |= scope.attributes(node)
    actual = dict(zip(function.input, node.input, strict=False))
    return Scope(function, path, scope, actual, given)

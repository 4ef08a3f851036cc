"""Which recurrent operators are the layers of one network: those whose Y becomes the X of the next.

Between the two stand the operators that exporters write to join the directions, (T, D, B, H) -> (T, B, D*H). What
they do is not guessed from their names: they are computed on numbers that differ everywhere.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from common.weights.onnx_graph.folding import Folding
from common.weights.onnx_graph.nodes import LENGTHS, Recurrent
from common.weights.onnx_graph.operators import NotConstant
from common.weights.onnx_graph.scopes import DOMAINS, Scope
from common.weights.onnx_graph.tensors import Tensors

BETWEEN = frozenset({"Transpose", "Reshape", "Squeeze", "Identity", "Dropout"})
MAX_BETWEEN, MAX_TRIES, MAX_PROBE = 16, 24, 2**26
STEPS, BATCH = 3, 5


class Stack(NamedTuple):
    """Operators from the first layer to the last. ``sizes`` are the T and B for which they are joined, () for any."""

    layers: tuple[Recurrent, ...]
    sizes: tuple[tuple[int, int], ...] = ()


def stacks(tensors: Tensors, nodes: Sequence[Recurrent]) -> Iterator[Stack]:
    """The operators in their order, those that are layers of one network together at the place of the first."""
    places = {(id(node.scope), node.node.output[0]): k for k, node in enumerate(nodes) if len(node.node.output)}
    below: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {}
    for k, node in enumerate(nodes):
        source = _source(node.scope, node.node.input[0] if len(node.node.input) else "")
        first = places.get((id(node.scope), source))
        if first is None or first >= k or not _alike(nodes[first], node):
            continue
        sizes = _joined(tensors, nodes[first], node)
        if sizes is not None:
            below[k] = (first, sizes)
    counts = Counter(first for first, _ in below.values())
    above = {first: k for k, (first, _) in below.items() if counts[first] == 1}
    for k, node in enumerate(nodes):
        if k in below and above.get(below[k][0]) == k:
            continue
        layers, sizes = [node], []
        while k in above:
            k = above[k]
            layers.append(nodes[k])
            sizes += below[k][1]
        yield Stack(tuple(layers), tuple(sizes))


def _source(scope: Scope, name: str) -> str:
    """The value that operators between layers pass on under another arrangement."""
    for _ in range(MAX_BETWEEN):
        node = scope.producers.get(name)
        if node is None or node.op_type not in BETWEEN or node.domain not in DOMAINS or not len(node.input):
            break
        name = node.input[0]
    return name


def _alike(first: Recurrent, second: Recurrent) -> bool:
    """Whether the second can be the layer above the first."""
    if first.problem or second.problem:
        return False
    joined = first.hidden * len(first.directions)
    return (
        (first.layout, first.directions, first.options, first.hidden, set(first.names), first.batch_first)
        == (second.layout, second.directions, second.options, second.hidden, set(second.names), second.batch_first)
        and second.weights["W"].array.shape[2] == joined
        and first.weights["W"].array.dtype == second.weights["W"].array.dtype
        and _lengths(first) == _lengths(second)
    )


def _lengths(node: Recurrent) -> str:
    return node.node.input[LENGTHS] if len(node.node.input) > LENGTHS else ""


def _joined(tensors: Tensors, first: Recurrent, second: Recurrent) -> tuple[tuple[int, int], ...] | None:
    """Whether X of the second is Y of the first with its directions joined: () if so, or the only T and B for which
    it is so; None where it is not.
    """
    for sizes in _tries(tensors, first, second):
        (T, B), D, H = sizes, len(first.directions), first.hidden
        shape = (B, T, D, H) if first.batch_first else (T, D, B, H)
        y = np.arange(T * D * B * H).reshape(shape)
        folding = Folding(tensors, MAX_PROBE, {(first.scope, first.node.output[0]): y})
        try:
            x = folding.value(second.scope, second.node.input[0]).array
        except NotConstant:
            continue
        wanted = y.reshape(B, T, D * H) if first.batch_first else y.transpose(0, 2, 1, 3).reshape(T, B, D * H)
        if x.shape == wanted.shape and (x == wanted).all():
            return () if sizes == (STEPS, BATCH) else (sizes,)
    return None


def _tries(tensors: Tensors, first: Recurrent, second: Recurrent) -> Iterator[tuple[int, int]]:
    """T and B of our own, and those that the targets of a Reshape in between may be made for."""
    yield STEPS, BATCH
    folding, name, scope = Folding(tensors, MAX_PROBE), second.node.input[0], second.scope
    sizes: set[int] = set()
    for _ in range(MAX_BETWEEN):
        node: Any = scope.producers.get(name)
        if node is None or name == first.node.output[0]:
            break
        if node.op_type == "Reshape" and len(node.input) > 1:
            with suppress(NotConstant):
                target = folding.value(scope, node.input[1]).array
                sizes |= {int(size) for size in target.reshape(-1)[:8] if target.dtype.kind in "iu" and size > 0}
        name = node.input[0] if len(node.input) else ""
    limit = MAX_PROBE // 64 // (first.hidden * len(first.directions)) + 1
    pairs = [(a, b) for a in sorted(sizes | {STEPS}) for b in sorted(sizes | {BATCH}) if a * b <= limit]
    yield from [pair for pair in pairs if pair != (STEPS, BATCH)][:MAX_TRIES]

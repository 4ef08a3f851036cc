"""Damaged and hostile ONNX files: refused in the project's form, soon, and without the memory that they ask for.

ONNX has no checksums, so a flipped bit of a number gives another number: that much, and no more, may go unnoticed.
``python -m tests.weights.onnx_graph.test_onnx_damage`` flips 6,000 bits and prints what became of them.
"""

import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from common.errors import InvalidInput, InvalidType
from common.weights import files
from common.weights.onnx_graph import scopes, wire
from tests.weights.onnx_graph.models import Graph, H, I, network, weights

MIB = 2**20


def small() -> bytes:
    return network("GRU", 2, 2, linear_before_reset=1, activations=["Sigmoid", "Tanh"] * 2).model().SerializeToString()


def outcome(path: Path, data: bytes, whole: Any) -> str:
    """What becomes of a file: refused, the same arrays, or others; any other error is raised."""
    path.write_bytes(data)
    try:
        file = files.read(path)
    except (InvalidInput, InvalidType):
        return "refused"
    layers = file.layers or []
    if any(layer.problem for layer in layers):
        return "a layer refused"
    if len(layers) != len(whole.layers):
        return "other layers"
    same = all(
        layer.spec == other.spec
        and layer.params.keys() == other.params.keys()
        and all(layer.params[name].tobytes() == value.tobytes() for name, value in other.params.items())
        for layer, other in zip(layers, whole.layers, strict=True)
    )
    return "the same" if same else "other numbers or options"


def flips(path: Path, count: int, seed: int = 0) -> Counter[str]:
    """What became of so many files with one flipped bit, half of them outside the raw numbers."""
    data, rng, found = small(), random.Random(seed), Counter[str]()
    path.write_bytes(data)
    whole = files.read(path)
    numbers = set[int]()
    for value in (value for level in range(2) for value in weights("GRU", level, (I, 2 * H)[level], 2).values()):
        start = data.find(value.tobytes())
        assert start > 0
        numbers |= set(range(start, start + value.nbytes))
    others = sorted(set(range(len(data))) - numbers)
    for k in range(count):
        place = rng.choice(others) if k % 2 else rng.randrange(len(data))
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        result = outcome(path, bytes(flipped), whole)
        assert result != "refused" or place not in numbers
        found[result] += 1
    return found


def test_flipped_bits_raise_no_other_error(tmp_path: Path) -> None:
    found = flips(tmp_path / "flipped.onnx", 400)
    assert found["refused"] > 40
    assert found["other numbers or options"] > 40


def test_every_cut_is_refused(tmp_path: Path) -> None:
    data, path = small(), tmp_path / "cut.onnx"
    path.write_bytes(data)
    whole = files.read(path)
    for size in (*range(0, len(data), 97), *range(len(data) - 30, len(data))):
        assert outcome(path, data[:size], whole) == "refused", size
    assert outcome(path, data, whole) == "the same"


def nested() -> bytes:
    """If within If, 3,000 deep."""
    data = helper.make_graph([], "g", [], []).SerializeToString()
    for _ in range(3000):
        attribute = onnx.AttributeProto(name="then_branch", type=onnx.AttributeProto.GRAPH).SerializeToString()
        attribute += b"\x32" + size(data) + data
        node = onnx.NodeProto(op_type="If").SerializeToString() + b"\x2a" + size(attribute) + attribute
        data = b"\x0a" + size(node) + node
    return b"\x08\x08\x3a" + size(data) + data + opset()


def opset() -> bytes:
    content = helper.make_opsetid("", 17).SerializeToString()
    return b"\x42" + size(content) + content


def size(data: bytes) -> bytes:
    return varint(len(data))


def varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def many_nodes() -> bytes:
    """Empty nodes, two bytes each, of which each would be an object of a hundred bytes or more."""
    data = b"\x0a\x00" * 60_000
    return b"\x08\x08\x3a" + size(data) + data + opset()


def claimed() -> bytes:
    """A field of 40 GB in a file of a few bytes."""
    return b"\x08\x08\x3a" + varint(40_000_000_000) + b"\x0a\x00"


def huge_sizes() -> bytes:
    """R claims 40 GB and has no data."""
    graph = network("RNN", 1, 1)
    graph.initializers[1].dims[:] = [1, 100_000, 100_000]
    graph.initializers[1].ClearField("raw_data")
    return graph.model().SerializeToString()


def negative_sizes() -> bytes:
    graph = network("RNN", 1, 1)
    graph.initializers[1].dims[:] = [-1, -H, H]
    return graph.model().SerializeToString()


def filled(value: str = "R") -> Graph:
    """R is what an operator makes of nothing: 40 GB of zeros."""
    graph = network("RNN", 1, 1)
    target = graph.constant("target", np.array([1, 100_000, 100_000]))
    graph.nodes.insert(0, helper.make_node("ConstantOfShape", [target], [value]))
    graph.nodes[1].input[2] = value
    return graph


def doubled() -> Graph:
    """R is twice itself, forty times over."""
    graph = network("RNN", 1, 1)
    (recurrent, *after), graph.nodes, name = graph.nodes, [], "R_0"
    for k in range(40):
        name = graph.add("Concat", [name, name], [f"R {k}"], axis=1)
    recurrent.input[2] = name
    graph.nodes += [recurrent, *after]
    return graph


def long_chain() -> Graph:
    graph = network("RNN", 1, 1)
    (recurrent, *after), graph.nodes, name = graph.nodes, [], "R_0"
    for k in range(1000):
        name = graph.add("Identity", [name], [f"R {k}"])
    recurrent.input[2] = name
    graph.nodes += [recurrent, *after]
    return graph


def in_a_circle() -> Graph:
    graph = network("RNN", 1, 1)
    graph.nodes.insert(0, helper.make_node("Identity", ["b"], ["a"]))
    graph.nodes.insert(0, helper.make_node("Identity", ["a"], ["b"]))
    graph.nodes[2].input[2] = "a"
    return graph


def calls() -> Graph:
    """Functions that call one another twice, 2**40 times in all."""
    graph, opsets = network("RNN", 1, 1), [helper.make_opsetid("", 17), helper.make_opsetid("here", 1)]
    for k in range(40):
        nodes = [helper.make_node(f"f{k + 1}", ["a"], [f"b{n}"], domain="here") for n in range(2)]
        graph.functions.append(helper.make_function("here", f"f{k}", ["a"], ["b0"], nodes, opsets))
    graph.nodes.append(helper.make_node("f0", ["x"], ["called"], domain="here"))
    return graph


def many_calls() -> Graph:
    """A function of 3,000 operators that is called 1,000 times."""
    graph, opsets = network("RNN", 1, 1), [helper.make_opsetid("", 17), helper.make_opsetid("here", 1)]
    nodes = [helper.make_node("Identity", ["a"], [f"b{n}"]) for n in range(3000)]
    graph.functions = [helper.make_function("here", "f", ["a"], ["b0"], nodes, opsets)]
    graph.nodes += [helper.make_node("f", ["x"], [f"called {k}"], domain="here") for k in range(1000)]
    return graph


def many_operators() -> Graph:
    """3,000 RNNs of one set of weights."""
    graph = network("RNN", 1, 1)
    graph.nodes += [helper.make_node("RNN", ["x", "W_0", "R_0"], [f"many {k}"]) for k in range(3000)]
    return graph


def renamed(name: bytes) -> bytes:
    """The second layer takes its input by another name, of four bytes."""
    graph = network("GRU", 2, 2)
    graph.nodes[3].input[0] = "name"
    data = graph.model().SerializeToString()
    assert data.count(b"\x04name") == 1
    return data.replace(b"\x04name", b"\x04" + name)


FILES: list[tuple[Callable[[], bytes], str]] = [
    (nested, "nested deeper than 100"),
    (many_nodes, "more than 50000 fields"),
    (claimed, "claims 40000000000 bytes of 2: cut off"),
    (huge_sizes, "need 10000000000 numbers, and has 0"),
    (negative_sizes, "R_0 has the sizes"),
    (lambda: renamed(b"x_12"), "GRU 'node_1' takes 'x_12', which nothing makes: damaged"),
    (lambda: renamed(b"x_1\xff"), "is not UTF-8"),
    (lambda: calls().model().SerializeToString(), "functions and inner graphs are too many"),
    (lambda: many_calls().model().SerializeToString(), "functions and inner graphs are too many"),
    (lambda: many_operators().model().SerializeToString(), "more than 2000 recurrent operators"),
    (lambda: b"", "it has no graph"),
    (lambda: b"\x08\x08" + b"\xff" * 20, "not a message of ONNX"),
    (lambda: bytes(range(256)) * 40, "not a message of ONNX"),
]


def bounded(path: Path) -> Any:
    """What a file is read as, with less than 60 MiB of NumPy's and Python's memory."""
    tracemalloc.start()
    try:
        return files.read(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 60 * MIB


@pytest.mark.parametrize(("make", "text"), FILES)
def test_hostile_files_are_refused(
    make: Callable[[], bytes], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the bounds are smaller here, so that the test is quick."""
    monkeypatch.setattr(wire, "MAX_FIELDS", 50_000)
    monkeypatch.setattr(scopes, "MAX_SCOPES", 500)
    (tmp_path / "hostile.onnx").write_bytes(make())
    with pytest.raises(InvalidInput, match=text):
        bounded(tmp_path / "hostile.onnx")


WEIGHTS: list[tuple[Callable[[], Graph], str]] = [
    (filled, "take more memory than its file explains"),
    (doubled, "take more memory than its file explains"),
    (long_chain, "is the end of more than 150 operators"),
    (in_a_circle, "is the end of more than 150 operators"),
]


@pytest.mark.parametrize(("make", "text"), WEIGHTS)
def test_weights_that_a_file_only_promises_are_refused(make: Callable[[], Graph], text: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.onnx").write_bytes(make().model().SerializeToString())
    (layer,) = bounded(tmp_path / "hostile.onnx").layers
    assert text in layer.problem


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6000
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        found = flips(Path(folder) / "flipped.onnx", count, seed=1)
    print(f"{count} flips, {time.perf_counter() - start:.0f} s: {dict(found)}")


if __name__ == "__main__":
    main()

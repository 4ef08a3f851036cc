"""Faults are planted in a copy of one implementation, which is gone after the block."""

import importlib
import sys
from pathlib import Path

import pytest

import numpy_impl.unroll
from common.equivalence.planting import planted
from common.errors import InvalidInput


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("numpy_impl/unroll", "total", "")], r"expected 'total' once, got it \d+ times"),
        ([("numpy_impl/unroll", "nowhere to be found", "")], "got it 0 times"),
        ([("numpy_impl/unroll", "dstate[0] + dy[t]", "dy[t]")] * 2, "got it 0 times"),
        ([("numpy_impl/unroll", "add(", "add ("), ("jax_impl/stack", "a", "b")], "one package, got jax_impl, numpy_"),
        ([], "one package, got none"),
    ],
)
def test_what_cannot_be_planted(changes: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(InvalidInput, match=message), planted(*changes):
        pytest.fail("planted")


def test_a_copy_is_gone_after_the_block() -> None:
    path, loaded = list(sys.path), set(sys.modules)
    changes = [
        ("numpy_impl/unroll", "dstate[0] + dy[t]", "dy[t]"),
        ("numpy_impl/lstm_cell", "dc = dc_next + ", "dc = "),
    ]
    files = []

    def use() -> None:
        with planted(*changes) as name:
            files.append(Path(importlib.import_module(f"{name}.unroll").__file__ or ""))
            assert "dstate = dy[t], *dstate[1:]" in files[0].read_text()
            assert "dc = dh * o" in (files[0].parent / "lstm_cell.py").read_text()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        use()
    assert "dstate[0] + dy[t]" in Path(numpy_impl.unroll.__file__).read_text()
    assert not files[0].parent.parent.exists()
    assert (sys.path, set(sys.modules)) == (path, loaded)

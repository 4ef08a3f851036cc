"""Watching records what tagged lines assigned; a perturbed copy of a step moves each name once."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import numpy_impl.rnn_cell
from common.errors import InvalidInput
from common.model.spec import ModelSpec
from common.tracing.watch import perturbed, watching
from tests.tracing.small import EXACT, H, I, example


def written(folder: Path, text: str) -> ModuleType:
    path = folder / "some.py"
    path.write_text(text)
    module = ModuleType("some")
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), vars(module))
    return module


SOURCE = """\
import numpy as np
top = 1  # (A9)
def f(x, steps=2):
    found = np.zeros(2)
    for t in range(steps):
        found[t], pair = x + t, (found, t)  # (A1)
        found += 1  # (A2)
    total = sum([own for own in found])  # (A3)
    worse = 1 / x  # (A4)
    return helper(total)
def helper(total):
    result = -total  # (A5)
    return result
"""


def test_watching_records_what_tagged_lines_assigned(tmp_path: Path) -> None:
    module = written(tmp_path, SOURCE)
    with watching(tmp_path / "some.py") as events:
        module.f(2.0)
    assert [(event.tag, event.number) for event in events] == [
        *[("A1", 6), ("A2", 7)] * 2, ("A3", 8), ("A4", 9), ("A5", 12)
    ]  # fmt: skip
    first, second, third = (event.values for event in events[:3])
    assert first["found[t]"] == 2
    assert [part.tolist() for part in (first["pair"][0], second["found"])] == [[2, 0], [3, 1]], "copies"
    assert third["pair"][0].tolist() == [3, 3]
    assert events[4].values == {"total": 8}
    assert events[4].code == "total = sum([own for own in found])"


def test_a_line_that_raises_makes_no_event_and_the_tracer_comes_back(tmp_path: Path) -> None:
    module = written(tmp_path, SOURCE)

    def other(frame: Any, what: str, _: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(other)
    try:
        with pytest.raises(ZeroDivisionError), watching(tmp_path / "some.py") as events:
            module.f(0, steps=1)
        assert sys.gettrace() is other
    finally:
        sys.settrace(before)
    assert [event.tag for event in events] == ["A1", "A2", "A3"]
    module.f(1.0)
    assert len(events) == 3, "nothing after the block"


def test_what_is_kept_can_be_chosen(tmp_path: Path) -> None:
    module = written(tmp_path, SOURCE)
    with watching(tmp_path / "some.py", keep=type) as events:
        module.f(1.0)
    assert events[1].values == {"found": np.ndarray}


@pytest.mark.parametrize("bias", [True, False])
def test_a_perturbed_step_moves_each_name_once(bias: bool) -> None:
    given, loaded = example(ModelSpec(cell="RNN", input_size=I, hidden_size=H, bias=bias)), dict(sys.modules)
    module, args = numpy_impl.rnn_cell, (given.weights, given.x[0], given.state, "tanh")
    copy = perturbed(module, "forward")
    assert sys.modules == loaded
    (h,), _ = module.forward(*args)
    moved, tape = copy.forward(*args, eps={"a": np.full((1, H), 0.25), "h": 2.0})
    np.testing.assert_allclose(moved[0], np.tanh(np.arctanh(h) + 0.25) + 2, rtol=EXACT)
    assert tape.h is moved[0]
    assert np.array_equal(copy.forward(*args, eps={})[0][0], h)
    with pytest.raises(TypeError, match="eps"):
        module.forward(*args, eps={})  # pyright: ignore[reportCallIssue]
    with pytest.raises(InvalidInput, match="a function sideways, got none"):
        perturbed(module, "sideways")

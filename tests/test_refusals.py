"""Every refusal has one form, and the helper that other tests use to ask for it can fail."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from common.errors import InvalidInput, InvalidType, choice, mismatch, unknown
from tests.refusals import Refusal, parts, refused

ROOT = Path(__file__).parents[1]
PACKAGES = ("common", "numpy_impl", "jax_impl", "torch_impl", "reports")
MAKERS = {"located", "mismatch", "choice", "unknown"}


def wrong_raises(source: str) -> tuple[int, list[int]]:
    """How often a module raises ``InvalidInput`` or ``InvalidType``, and the lines where not in the common form."""
    raised = [node.exc for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise) and node.exc]
    ours = [
        error
        for error in raised
        if re.match(r"(\w+\.)*(InvalidInput|InvalidType|InvalidArray|InvalidDtype)\b", ast.unparse(error))
    ]
    wrong = [
        error.lineno
        for error in ours
        if not (
            isinstance(error, ast.Call)
            and error.args
            and isinstance(error.args[0], ast.Call)
            and ast.unparse(error.args[0].func) in MAKERS
        )
    ]
    return len(ours), wrong


def test_every_refusal_is_made_in_one_form() -> None:
    total = 0
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            count, wrong = wrong_raises(path.read_text(encoding="utf-8"))
            assert not wrong, f"{path}, lines {wrong}"
            total += count
    assert total > 200


def test_a_refusal_in_another_form_is_seen() -> None:
    source = "raise InvalidInput(mismatch('x', 1, 2))\nraise errors.InvalidType('no')\nraise ValueError('x')\n"
    assert wrong_raises(source + "raise InvalidInput\nraise InvalidInput()\n") == (4, [2, 4, 5])


def test_the_makers_give_that_form() -> None:
    assert parts(mismatch("x", "(2, 3)", "(3, 2)")) == Refusal("x", "(2, 3)", "(3, 2)", "")
    assert parts(mismatch("x", 1, 2, "axes in another order?")).cause == "axes in another order?"
    assert parts(choice("cell", ["RNN", "LSTM"], "GRU")) == Refusal("cell", "one of RNN, LSTM", "'GRU'", "")
    assert parts(unknown("cell", ["RNN", "LSTM"], "lst")).cause == "did you mean LSTM?"


@pytest.mark.parametrize(
    "message",
    [
        "",
        "x is wrong",
        "x: expected 1",
        "x: got 2",
        "expected 1, got 2",
        "x: expected , got 2",
        "x: expected 1, got 2\ny",
    ],
)
def test_a_message_in_another_form_fails(message: str) -> None:
    with pytest.raises(AssertionError):
        parts(message)


def refuse() -> None:
    raise InvalidInput(mismatch("steps", "1 to 10 steps", "11 at index 2", "padding counted?"))


def test_what_is_asked_for_is_found() -> None:
    asked: list[dict[str, Any]] = [{}, {"got": 11}, {"got": "11 at index 2"}, {"cause": "padding"}]
    for words in (*asked, dict[str, Any](error=InvalidInput)):
        with refused("steps", "1", "10", **words):
            refuse()


@pytest.mark.parametrize(
    ("argument", "expected", "more"),
    [
        ("step", (), {}),
        ("steps", ("2",), {}),
        ("steps", ("0",), {}),
        ("steps", (), {"got": 1}),
        ("steps", (), {"got": "at index 3"}),
        ("steps", (), {"cause": ""}),
        ("steps", (), {"cause": "axes"}),
    ],
)
def test_what_is_not_there_is_missed(argument: str, expected: tuple[str, ...], more: dict[str, Any]) -> None:
    with pytest.raises(AssertionError), refused(argument, *expected, **more):
        refuse()


def test_no_refusal_and_another_error_fail() -> None:
    with pytest.raises(pytest.fail.Exception), refused("steps"):
        pass
    with pytest.raises(InvalidInput), refused("steps", error=InvalidType):
        refuse()
    with pytest.raises(KeyError), refused("steps"):
        raise KeyError("steps")

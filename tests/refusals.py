"""What every refusal must say, whatever its English: the argument, what was expected, what came, perhaps a cause."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from common.errors import InvalidInput, InvalidType

FORM = re.compile(r"(?P<argument>\S.*?): expected (?P<expected>\S.*?), got (?P<got>\S.*?)(?:; (?P<cause>\S.*))?")


class Refusal(NamedTuple):
    """The four pieces of a message; ``cause`` is empty where none is given."""

    argument: str
    expected: str
    got: str
    cause: str


def parts(message: str) -> Refusal:
    """The pieces of a message; fails unless it is one line in the form of ``common.errors.mismatch``."""
    match = FORM.fullmatch(message)
    assert match, f"expected 'ARGUMENT: expected ..., got ...', perhaps with a cause after '; ', got {message!r}"
    return Refusal(**{name: text or "" for name, text in match.groupdict().items()})


@contextmanager
def refused(
    argument: str,
    *expected: str,
    got: object = None,
    cause: str | None = None,
    error: type[Exception] | tuple[type[Exception], ...] = (InvalidInput, InvalidType),
) -> Iterator[None]:
    """The block must be refused for ``argument``.

    Each of ``expected`` (names, numbers, options: not prose) must stand, as a word or words, in what was expected, and
    ``got`` in what came. ``cause``, where it is given, must stand in the cause; "" asks that there be none.
    """
    with pytest.raises(error) as caught:
        yield
    refusal = parts(str(caught.value))
    assert refusal.argument == argument, refusal
    for text in expected:
        assert stands(text, refusal.expected), (text, refusal)
    assert got is None or stands(str(got), refusal.got), (got, refusal)
    if cause is not None:
        assert stands(cause, refusal.cause) if cause else not refusal.cause, (cause, refusal)


def assert_refusal(text: str, argument: str, expected: str = "", got: str = "", cause: str = "") -> None:
    """``text`` is a refusal of ``argument`` with these words in its pieces; what came may hold a cause of its own."""
    refusal = parts(text)
    assert refusal.argument == argument, refusal
    assert expected in refusal.expected, (expected, refusal)
    assert got in f"{refusal.got}; {refusal.cause}", (got, refusal)
    assert cause in refusal.cause, (cause, refusal)


def stands(words: str, text: str) -> bool:
    """Whether ``words`` are in ``text``, and not as a piece of longer words or numbers."""
    return re.search(rf"(?<![\w.-]){re.escape(words)}(?!\w|\.\d)", text) is not None

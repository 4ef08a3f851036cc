"""Checks of single values, for the specifications: each raises unless the value is what its name says."""

from typing import Any

from common.errors import InvalidInput, InvalidType, choice, mismatch


def require_int(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(mismatch(what, "an int", type(value).__name__))


def require_positive_int(what: str, value: Any) -> None:
    require_int(what, value)
    if value < 1:
        raise InvalidInput(mismatch(what, "at least 1", value))


def require_number(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(mismatch(what, "a number", type(value).__name__))


def require_positive_number(what: str, value: Any) -> None:
    require_number(what, value)
    if not 0 < value < float("inf"):
        raise InvalidInput(mismatch(what, "a finite number above 0", value))


def require_flag(what: str, value: Any) -> None:
    if not isinstance(value, bool):
        kind = type(value)
        got = f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__
        raise InvalidType(mismatch(what, "a bool", got))


def require_one_of(what: str, options: tuple[str, ...], value: Any) -> None:
    if value not in options:
        raise InvalidInput(choice(what, options, value))


def require_seed(seed: Any) -> None:
    require_int("seed", seed)
    if seed < 0:
        raise InvalidInput(mismatch("seed", "at least 0", seed))

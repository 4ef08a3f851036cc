"""The errors that a user can see: each says what was expected, what it got and, if known, the likely cause."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any


class InvalidInput(ValueError):
    """A value that the contract refuses."""


class InvalidType(TypeError):
    """An argument of the wrong type or dtype."""


class InvalidArray(InvalidInput, RuntimeError):
    """An array of the wrong shape or on the wrong device; a RuntimeError too, for callers who catch torch's."""


class InvalidDtype(InvalidType, ValueError, RuntimeError):
    """An array of the wrong dtype; torch raises a ValueError or a RuntimeError for it."""


class BackendMissing(ImportError):
    """A backend whose framework is not installed."""


class BackendBroken(ImportError):
    """A backend whose framework is installed and fails when it is imported."""


class Diverged(ArithmeticError):
    """A training run whose loss is no longer finite."""


class NotEquivalent(RuntimeError):
    """A file that does not hold what was written into it."""


class WorkerDied(RuntimeError):
    """A worker process that ended before it answered."""


class RecordsCut(InvalidInput):
    """A records file that ends before its closing record; ``intact`` holds what can still be read."""

    def __init__(self, message: str, intact: list[Any]):
        super().__init__(message)
        self.intact = intact


def located(place: str, problem: str) -> str:
    """A refusal with the place where it applies before it; any other problem is what came there."""
    is_refusal = ": expected " in problem and ", got " in problem
    return f"{place}: {problem}" if is_refusal else mismatch(place, "a layer that can be computed", problem)


def mismatch(what: str, expected: object, got: object, cause: str = "") -> str:
    """One line in the form of all errors of the project: what, expected, got, and the likely cause."""
    return f"{what}: expected {expected}, got {got}" + (f"; {cause}" if cause else "")


def choice(what: str, options: tuple[str, ...] | list[str], got: object) -> str:
    """The same line for a name that is not among ``options``."""
    return mismatch(what, f"one of {', '.join(options)}", repr(got))


def unknown(what: str, options: Sequence[str], got: object) -> str:
    """The same line for a name that may be misspelt."""
    return mismatch(what, f"one of {', '.join(options)}", repr(got), closest(got, options))


def closest(got: object, options: Sequence[str]) -> str:
    """The option that was perhaps meant, as a question: one with the same beginning or a similar spelling, or ""."""
    if not isinstance(got, str) or not got:
        return ""
    lowered = {option.lower(): option for option in reversed(options)}
    longer = [option for option in options if option.lower().startswith(got.lower())]
    alike = [lowered[name] for name in get_close_matches(got.lower(), lowered, n=1)]
    return "".join(f"did you mean {option}?" for option in (longer or alike)[:1])

"""What the command line is read with: a parser that takes nothing for something else, and the kinds of values."""

import argparse
import sys
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NoReturn

from common.cli import console, ending
from common.errors import closest


class Parser(argparse.ArgumentParser):
    """Options are not abbreviated, not given twice and not empty; errors have the form that all errors here have."""

    def __init__(self, **keywords: Any):
        super().__init__(allow_abbrev=False, **keywords)
        self.register("action", None, _Once)
        self.register("type", None, filled)
        self.verbs: dict[str, Parser] = {}

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        self.exit(ending.USAGE, f"rosetta: {message}\nTry: {self.prog} --help\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stderr.write(console.printable(message or ""))
        raise ending.Answered(status)

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Ends with an error about words that the parser could not take, and the option that was perhaps meant."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        name = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        cause = f"{name} follows the command" if name in options else closest(name, options)
        self.error(f"unrecognized arguments: {' '.join(words)}" + (f"; {cause}" if cause else ""))


class _Once(argparse.Action):
    """Stores a value that only one can be given for."""

    given = False

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        if self.given:
            raise argparse.ArgumentError(self, f"expected once, got it again, with {values}")
        self.given = option_string is not None
        setattr(namespace, self.dest, values)


def _refused(expected: str, got: object, cause: str = "") -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {expected}, got {got}" + (f"; {cause}" if cause else ""))


def filled(value: str) -> str:
    """Any text but an empty one."""
    if not value:
        raise _refused("at least one character", repr(value))
    return value


def named(options: Sequence[str]) -> Callable[[str], str]:
    """One of ``options``, whatever the case of its letters."""

    def parse(value: str) -> str:
        for option in options:
            if option.lower() == value.lower():
                return option
        raise _refused(f"one of {', '.join(options)}", repr(value), closest(value, options))

    return parse


def number(value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        raise _refused("a number", repr(value)) from None
    if not isfinite(found):
        raise _refused("a finite number", value)
    return found


def integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise _refused("an integer", repr(value)) from None


def at_least(least: int, kind: Callable[[str], Any] = integer) -> Callable[[str], Any]:
    """A number that is not smaller."""

    def parse(value: str) -> Any:
        found = kind(value)
        if found < least:
            raise _refused(f"at least {least}", value)
        return found

    return parse


def optional(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """A number, or ``none``, which takes back what a task sets."""

    def parse(value: str) -> Any:
        return "none" if value.lower() == "none" else kind(value)

    return parse


def integers(value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise _refused("integers with commas between them", repr(value)) from None

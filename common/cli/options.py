"""The parser of the command line, the kinds of its values, and the options that several commands share."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any, NoReturn, TypeAlias

from common import parallel
from common.backend import registry
from common.cli import console, ending
from common.equivalence.variants import H, I, Variant
from common.errors import BackendBroken, BackendMissing, closest
from common.model.cells import CELLS
from common.model.spec import DTYPES, HALF_DTYPES, ModelSpec
from common.model.validate import require_positive_int
from common.training.settings import COUNT, MODEL, SETTINGS, Kind, Setting


class Parser(argparse.ArgumentParser):
    """Options cannot be abbreviated, repeated or empty; errors have the same form as all errors of the project."""

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
        """End with an error about words that the parser could not use, and the option that was perhaps meant."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        name = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        cause = f"{name} follows the command" if name in options else closest(name, options)
        self.error(f"unrecognized arguments: {' '.join(words)}" + (f"; {cause}" if cause else ""))


# The type that ``add_subparsers`` returns.
Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


class _Once(argparse.Action):
    """Store a value, and refuse a second one."""

    given = False

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: Any = None) -> None:
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
    """One of ``options``, in upper or lower case."""

    def parse(value: str) -> str:
        for option in options:
            if option.lower() == value.lower():
                return option
        raise _refused(f"one of {', '.join(options)}", repr(value), closest(value, options))

    return parse


def number(value: str) -> float:
    """A finite number."""
    try:
        parsed = float(value)
    except ValueError:
        raise _refused("a number", repr(value)) from None
    if not isfinite(parsed):
        raise _refused("a finite number", value)
    return parsed


def integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise _refused("an integer", repr(value)) from None


def at_least(least: int, kind: Callable[[str], Any] = integer) -> Callable[[str], Any]:
    """A number that is not below ``least``."""

    def parse(value: str) -> Any:
        parsed = kind(value)
        if parsed < least:
            raise _refused(f"at least {least}", value)
        return parsed

    return parse


def optional(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """A value of this kind, or ``none`` for None."""

    def parse(value: str) -> Any:
        return None if value.lower() == "none" else kind(value)

    return parse


def integers(value: str) -> tuple[int, ...]:
    """Integers with commas between them."""
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise _refused("integers with commas between them", repr(value)) from None


def words(value: str) -> tuple[str, ...]:
    """Words with commas between them."""
    return tuple(value.split(","))


def parser_of(kind: Kind) -> Callable[[str], Any]:
    """The function that reads a word of the command line as the value of a setting."""
    kinds: dict[type, Callable[[str], Any]] = {str: filled, int: integer, float: number}
    parse = named(kind.choices) if kind.choices else kinds[kind.type]
    parse = parse if kind.least is None else at_least(kind.least, parse)
    return optional(parse) if kind.optional else parse


METAVARS = {str: "NAME", int: "N", float: "X"}
# The arguments of a model, as ``check`` and ``describe`` take them; they have no use for initial values.
INPUT_SIZE = Setting("input_size", COUNT, MODEL, "features of x")
_OF_MODEL = [row for row in SETTINGS if row.group == MODEL and not row.kind.several and row.name != "forget_bias"]
MODEL_ROWS = {row.name: row for row in (INPUT_SIZE, *_OF_MODEL)}


# The options of one problem, which are present only if they were given.
PROBLEM = ("steps", "batch", "lengths", "mask", "given_state", "training", "regime")


def add_verb(verbs: Verbs, name: str, run: Callable[[Namespace], int], text: str, more: str = "") -> Parser:
    """The parser of a command that ``run`` runs. Its own help adds ``more`` to ``text``, the line in the list."""
    description = f"{text[0].upper()}{text[1:]}. {more}".rstrip()
    parser = verbs.add_parser(name, help=text, description=description)
    parser.add_argument("--json", action="store_true", help="print JSON lines on stdout")
    parser.set_defaults(run=run)
    return parser


def add_rows(parser: Parser, title: str, rows: Iterable[Setting], text: str = "") -> None:
    """A group of options made from rows of the table of settings; those that are not given are not in the options."""
    group = parser.add_argument_group(title, text or None, argument_default=argparse.SUPPRESS)
    for row in rows:
        kind, option = row.kind, row.name.replace("_", "-")
        if kind.type is bool:
            option, action = (f"no-{option}", "store_false") if kind.usual else (option, "store_true")
            group.add_argument(f"--{option}", dest=row.name, action=action, help=row.help)
            continue
        several: dict[str, Any] = {"action": "append"} if kind.several else {}
        text = f"{row.help}; repeat it for several" if kind.several else row.help
        metavar = METAVARS[kind.type]
        group.add_argument(f"--{option}", type=parser_of(kind), metavar=metavar, help=text, **several)


def given(options: Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the named options, all without a default, that were given."""
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def add_backends(parser: Parser, default: Sequence[str], *, several: bool = True) -> None:
    text = f"one of {', '.join(registry.BUILTIN)}, or package.module:attribute"
    text += "; repeat it for several" if several else ""
    text += f" (default: {', '.join(default)})"
    parser.add_argument("--backend", action="append", metavar="NAME", help=text)
    parser.set_defaults(default_backends=tuple(default))


def add_selection(parser: Parser, cells: Sequence[str], dtypes: Sequence[str]) -> None:
    """Cells, dtypes and a seed."""
    for name, choices, default in (("cell", CELLS, cells), ("dtype", (*DTYPES, *HALF_DTYPES), dtypes)):
        text = f"one of {', '.join(choices)}; repeat it for several (default: {', '.join(default)})"
        parser.add_argument(f"--{name}", action="append", type=named(choices), metavar="NAME", help=text)
    parser.set_defaults(default_cells=tuple(cells), default_dtypes=tuple(dtypes))
    add_seed(parser, "seed of all random numbers")


def add_seed(parser: Parser, text: str) -> None:
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help=f"{text} (default: 0)")


def add_jobs(parser: Parser) -> None:
    count, text = parallel.cpu_count(), "processes that work side by side (default: one for each processor)"
    parser.add_argument("--jobs", type=at_least(1), default=count, metavar="N", help=text)


def backends(options: Namespace) -> list[str]:
    """The names of the chosen backends, each once; raises unless all of them load."""
    return load_backends(options.backend or options.default_backends)


def load_backends(chosen: Iterable[str]) -> list[str]:
    """The names, each once, after loading the backends; a single error reports all that are missing or broken."""
    names = list(dict.fromkeys(chosen))
    problems: list[BackendMissing | BackendBroken] = []
    for name in names:
        try:
            registry.load(name)
        except (BackendMissing, BackendBroken) as error:
            problems.append(error)
    if problems:
        raise type(problems[0])("\n".join(str(problem) for problem in problems))
    return names


def cells(options: Namespace) -> tuple[str, ...]:
    return tuple(dict.fromkeys(options.cell or options.default_cells))


def dtypes(options: Namespace) -> tuple[str, ...]:
    return tuple(dict.fromkeys(options.dtype or options.default_dtypes))


def model_variant(cell: str, dtype: str, seed: int, chosen: dict[str, Any]) -> Variant:
    """The one model that the options describe, and its problem."""
    of_model: dict[str, Any] = {"input_size": I, "hidden_size": H}
    of_model |= {name: value for name, value in chosen.items() if name in MODEL_ROWS}
    of_problem = {name: value for name, value in chosen.items() if name in PROBLEM}
    for name in ("steps", "batch"):
        require_positive_int(name, of_problem.get(name, 1))
    return Variant(spec=ModelSpec(cell=cell, dtype=dtype, **of_model), seed=seed, **of_problem)

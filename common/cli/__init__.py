"""The command ``rosetta``: it parses, calls and prints, with one module for each group of commands.

``use`` has ``generate`` and ``predict``; ``teach`` has ``lessons``, ``trace`` and ``stepper``; ``info`` has
``describe``, ``ls`` and ``doctor``; ``layers`` has ``inspect``; ``study`` has ``study`` and ``report``. ``options`` is
what commands are parsed with, ``tables`` and ``console`` print.

A module has ``add``, which declares its commands and their options, beside the functions that run them. Results go to
stdout, progress and messages to stderr; ``ending.EXIT_CODES`` lists the exit codes. Parsing imports nothing but NumPy,
so that ``--help`` works everywhere. This is the only package of ``common`` that imports ``reports``, by name.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from common.cli import bench, check, ending, info, study, teach, train, use
from common.cli.layers import inspect
from common.cli.options import Parser
from common.cli.proof import convert, tolerance
from common.errors import unknown
from common.records import package_version

__all__ = ["main", "parse"]

# In the order of --help.
MODULES = (inspect, check, convert, tolerance, study, bench, train, use, teach, info)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command, and as ``run`` the function that runs it."""
    top = Parser(
        prog="rosetta",
        description="One recurrent network in NumPy, JAX and PyTorch, and proof that they agree.",
        epilog="exit codes:\n" + "\n".join(f"  {code:<3}  {text}" for code, text in ending.EXIT_CODES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"rosetta {package_version()}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND", parser_class=Parser)
    for module in MODULES:
        module.add(verbs)
    verbs.type = str  # a command's own parser judges what follows it
    top.verbs = verbs.choices
    first = next(iter(arguments), "-")
    if not first.startswith("-") and first not in top.verbs:
        top.error(unknown("command", list(top.verbs), first))
    options, left = top.parse_known_args(arguments)
    if options.verb == "predict" and not any(word.startswith("-") for word in left):
        options.input, left = [*options.input, *left], []  # argparse takes no more positional words after options
    if options.verb in ("check", "tolerance") and options.file is None and len(left) == 1 and left[0][:1] != "-":
        options.file, left = left[0], []  # nor an optional one
    if left:
        taken = options.file if options.verb in ("check", "tolerance") else None
        top.verbs[options.verb].refuse(_in_order(arguments, left, taken))
    return options


def _in_order(arguments: Sequence[str], left: Sequence[str], taken: str | None) -> list[str]:
    """The words that could not be used; an unknown option with the value that argparse took for FILE."""
    whole = []
    for word in left:
        whole.append(word)
        if taken is not None and word.startswith("-") and taken in arguments[arguments.index(word) + 1 :][:1]:
            whole.append(taken)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["rosetta", *words])

    def call() -> int:
        options = parse(words)
        options.command = ["rosetta", *words]
        return options.run(options)

    return ending.run(call, command)

"""A file of weights and one layer of it, as the options of a command name them."""

import shlex
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.cli import console
from common.cli.options import Parser, given
from common.errors import InvalidInput, mismatch
from common.weights import files
from common.weights.source import Found, WeightsFile

# What a file may leave open about its layers, in the names of the options of ``select``.
OPEN = ("nonlinearity", "reset_after")
WIDTH = 80
LAYER = "path of the layer in the file, as `rosetta inspect` lists them (default: the only one); A,B are two modules "
LAYER += "as the directions of one layer, A forward and B reverse, A+B puts layers above one another, and PATH:l1 or "
LAYER += "PATH:l1_reverse is one layer in one direction"


def add_layer(parser: Parser) -> None:
    parser.add_argument("--layer", metavar="PATH", help=LAYER)


def read(path: str, what: str = "FILE") -> WeightsFile:
    """The file, after its notes were printed on stderr."""
    file = files.read(Path(path), what)
    for note in file.notes:
        console.message(note)
    return file


def said(options: Namespace) -> dict[str, Any]:
    """What the options say about a layer that its file may not record, for ``select``."""
    cell = getattr(options, "cell", None)
    return given(options, OPEN) | ({"cell": cell} if cell else {})


def refuse_beside(options: Namespace, names: Iterable[str]) -> None:
    """Raise if an option is given that the file decides."""
    for name, value in given(options, names).items():
        option = "no-bias" if name == "bias" else name.replace("_", "-")
        raise InvalidInput(mismatch(f"--{option}", "none with FILE", value, "the file decides it"))


def print_arrays(file: WeightsFile, layer: Found) -> None:
    """The names in the file of what a layer is made of; the shape of those that the format keeps as arrays."""
    rows = [
        (suffix.removeprefix("_") or "step", part, name, str(getattr(file.params.get(name), "shape", "")))
        for suffix, parts in layer.where.items()
        for part, name in parts.items()
    ]
    console.table("arrays", ("of", "what it is", "name in the file", "shape"), rows, width=WIDTH)


def command(words: Iterable[str]) -> str:
    """A command as a user types it."""
    return shlex.join(["rosetta", *words])

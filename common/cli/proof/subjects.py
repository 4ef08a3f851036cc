"""The options that describe a layer of a file and the problem that it is checked on, and what they mean together."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.cli import console
from common.cli.options import MODEL_ROWS, Parser, at_least, given, integers, words
from common.errors import InvalidInput, mismatch
from common.model.spec import DEFAULTS
from common.proof.problems import BATCH, STEPS, Asked, Draw, draw, rounded
from common.proof.recorded import Inputs, read_inputs
from common.proof.subject import Subject, open_subject

# The options that are about a file, present only if they were given.
OF_FILE = ("layer", "inputs", "batch_first")
# Those of a model that a file may leave open; everything else of a model is what the file says.
OPEN = ("nonlinearity", "reset_after")


def add_file(parser: Parser, *, needed: bool = False) -> Any:
    """FILE, and the options that need it, in a group that more can be added to."""
    count: dict[str, Any] = {} if needed else {"nargs": "?"}
    parser.add_argument("file", metavar="FILE", help="weights in any format that `rosetta inspect` reads", **count)
    group = parser.add_argument_group("with a file of weights", argument_default=argparse.SUPPRESS)
    text = "the layer in the file: its path, a,b for two directions of one layer, a+b for a stack, PATH:l1_reverse for "
    text += "one layer and direction"
    group.add_argument("--layer", metavar="PATH", help=f"{text} (default: the only one)")
    text = "recorded inputs: x (T, B, I), or an .npz with x, h_0 and c_0 (default: drawn as the layer sees them)"
    group.add_argument("--inputs", metavar="X.npy", help=text)
    group.add_argument("--batch-first", action="store_true", help="arrays are (B, T, I) instead of (T, B, I)")
    return group


def add_valid(group: Any) -> None:
    """Which steps are valid, for a file or a model."""
    group.add_argument("--lengths", type=integers, metavar="N,N,...", help="steps of each sequence of a ragged batch")
    text = "valid steps of each sequence, 1 for a valid one and 0 for any other, such as 0111,1101"
    group.add_argument("--mask", type=words, metavar="01,01,...", help=text)


def add_sizes(group: Any, steps: int, batch: int) -> None:
    text = f"time steps (default: {steps}; with FILE {STEPS})"
    group.add_argument("--steps", type=at_least(1), metavar="T", help=text)
    text = f"sequences in the batch (default: {batch}; with FILE {BATCH})"
    group.add_argument("--batch", type=at_least(1), metavar="B", help=text)


def require_no_file_options(options: Namespace, names: Sequence[str] = OF_FILE) -> None:
    """Raise if an option that needs FILE was given without it."""
    for name in given(options, names):
        raise InvalidInput(mismatch(f"--{name.replace('_', '-')}", "none without FILE", getattr(options, name)))


def subject_of(options: Namespace) -> Subject:
    """The layer that the options choose. Raises ``InvalidInput`` for options of a model that contradict the file."""
    cells = list(dict.fromkeys(options.cell or ()))
    if len(cells) > 1:
        raise InvalidInput(mismatch("--cell", "one with FILE", ", ".join(cells)))
    chosen = given(options, MODEL_ROWS)
    left_open = {name: chosen.pop(name) for name in OPEN if name in chosen}
    path, layer = Path(options.file), getattr(options, "layer", None)
    subject = open_subject(path, layer, cell=cells[0] if cells else None, **left_open)
    for name, value in chosen.items():
        wanted = getattr(subject.spec, name)
        if value != wanted:
            cause = "the file decides it" if DEFAULTS.get(name) != 0.0 else "dropout acts in training only"
            option = ("no-" if wanted is True else "") + name.replace("_", "-")
            raise InvalidInput(mismatch(f"--{option}", f"{wanted}, as in {path}", value, cause))
    return subject


def asked_of(options: Namespace, subject: Subject) -> Asked:
    """What the options say about the problem."""
    batch_first = getattr(options, "batch_first", False)
    inputs: Inputs | None = None
    if hasattr(options, "inputs"):
        inputs = read_inputs(Path(options.inputs), subject.spec, batch_first)
        if not getattr(options, "given_state", True) and inputs.state0 is not None:
            raise InvalidInput(mismatch("--no-state", f"none, as {inputs.path} has initial states", "--no-state"))
    chosen = given(options, ("steps", "batch", "lengths", "mask", "given_state"))
    return Asked(inputs=inputs, seed=options.seed, **chosen)


def drawn(subject: Subject, asked: Asked, dtypes: Sequence[str]) -> Draw:
    """The problem, after a note for every dtype that rounds it."""
    made = draw(subject, asked, dtypes)
    for dtype in dtypes:
        if names := rounded(subject, made.problem, dtype):
            console.message(f"{' and '.join(names)} are rounded to {dtype} for the comparisons in {dtype}")
    return made


def headline(subject: Subject) -> str:
    """The layer, its model and its file in words."""
    spec = subject.spec
    sizes = f"I={spec.input_size}, H={spec.hidden_size}"
    return f"{subject.name}: {spec.label}, {sizes}, {spec.dtype} ({subject.file.format})"


def notes(subject: Subject) -> tuple[str, ...]:
    """What was assumed or merged when the file was read."""
    return tuple(dict.fromkeys(subject.file.notes + subject.layer.notes))

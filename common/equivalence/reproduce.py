"""The command that makes one comparison again."""

import re
import shlex

from common.datasets import TASKS
from common.equivalence.comparison import ORACLES
from common.errors import InvalidInput, mismatch
from common.records import Record


def shell_words(command: str) -> list[str]:
    """The words of a command line that a record tells; raises where a shell could not take them apart."""
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InvalidInput(mismatch("command line in a record", "closed quotation marks", repr(command))) from error


def _model(arguments: str) -> list[str]:
    """The options of the model, without the size of x, which a task decides."""
    of_model = re.split(r" --(?:steps|seed)\b", arguments)[0]
    return shell_words(re.sub(r" --input-size \d+", "", of_model))


def row_command(row: Record, seed: int) -> str:
    """The shortest run that shows the comparison of a check record; that of the record itself, where it tells it."""
    if "command" in row:
        # Whatever it holds, as words of one command: pasted into a shell, none of them starts another.
        return shlex.join(shell_words(row["command"]))
    if row["check"] in TASKS:
        reading, optimizer, *_ = [*row["quantity"].split(), "", ""]
        words = ["rosetta", "train", row["check"], "--reading", reading, "--optimizer", optimizer]
        words += [*_model(row["arguments"]), "--seed", str(seed)]
    else:
        words = ["rosetta", "check", *shell_words(row.get("smallest", row["arguments"]))]
    return shlex.join(
        words + [word for name in (row["a"], row["b"]) if name not in ORACLES for word in ("--backend", name)]
    )

"""The command that makes one comparison again."""

import re
import shlex

from common.datasets import TASKS
from common.records import Record


def _model(arguments: str) -> list[str]:
    """The options of the model, without the size of x, which a task decides."""
    of_model = re.split(r" --(?:steps|seed)\b", arguments)[0]
    return shlex.split(re.sub(r" --input-size \d+", "", of_model))


def row_command(row: Record, seed: int) -> str:
    """The shortest run that shows the comparison of a check record; that of the record itself, where it tells it."""
    if "command" in row:
        return row["command"]
    if row["check"] in TASKS:
        reading, optimizer, *_ = [*row["quantity"].split(), "", ""]
        words = ["rosetta", "train", row["check"], "--reading", reading, "--optimizer", optimizer]
        words += [*_model(row["arguments"]), "--seed", str(seed)]
    else:
        words = ["rosetta", "check", *shlex.split(row.get("smallest", row["arguments"]))]
    return shlex.join(
        words + [word for name in (row["a"], row["b"]) if name != "complex step" for word in ("--backend", name)]
    )

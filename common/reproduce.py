"""The command that makes one comparison again."""

import shlex

from common.datasets import TASKS
from common.records import Record


def row_command(row: Record, seed: int) -> str:
    """The shortest run that shows the comparison of a check record."""
    if row["check"] in TASKS:
        reading, optimizer, *_ = [*row["quantity"].split(), "", ""]
        words = ["rosetta", "train", row["check"], "--reading", reading, "--optimizer", optimizer]
        words += ["--cell", row["cell"], "--dtype", row["dtype"], "--seed", str(seed)]
    else:
        words = ["rosetta", "check", *shlex.split(row.get("smallest", row["arguments"]))]
    return shlex.join(
        words + [word for name in (row["a"], row["b"]) if name != "complex step" for word in ("--backend", name)]
    )

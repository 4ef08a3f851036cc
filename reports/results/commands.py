"""The commands that reproduce a number."""

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence

from common.backend.registry import DEFAULT
from common.datasets import TASKS
from common.equivalence.reproduce import row_command, shell_words
from common.model.spec import CELLS, DTYPES
from common.study.sine import EPOCHS, HIDDEN_SIZE, OPTIMIZERS
from reports.results.verdict import ONE_BIAS, Record, implementations, names, of_kind, split

TRAINED_WITH = ("task", "reading", "optimizer", "lr", "hidden_size", "seed")


def seed_of(records: Sequence[Record]) -> int:
    """The seed of the run: check records do not tell it, the command and the other records do."""
    for header in of_kind(records, "header"):
        if found := re.search(r"--seed[ =](\d+)", header.get("command", "")):
            return int(found[1])
    return next((record["seed"] for record in records if "seed" in record), 0)


def check_commands(rows: Sequence[Record], records: Sequence[Record]) -> tuple[str, ...]:
    """The runs that make some of the check records: that of the records, if it made nothing else, or others.

    The study makes everything; a check either the fixed variants or those drawn at random.
    """
    own = [shell_words(header.get("command", "")) for header in of_kind(records, "header")]
    if own and own[0][:2] == ["rosetta", "check"]:
        return (shlex.join(word for word in own[0] if word != "--json"),)
    seed = seed_of(records)
    if any(row["check"] in TASKS for row in rows):
        return (_check_command("study", rows, seed),)
    fixed, drawn = split(rows)
    groups = ((fixed, ()), (drawn, ("--configs", str(_configurations(drawn)))))
    return tuple(_check_command("check", members, seed, options) for members, options in groups if members)


def _configurations(drawn: Sequence[Record]) -> int:
    """How many variants were drawn in each dtype."""
    found = defaultdict(set)
    for row in drawn:
        found[row["dtype"]].add(row["arguments"])
    return max(map(len, found.values()), default=0)


def _check_command(verb: str, rows: Sequence[Record], seed: int, options: Sequence[str] = ()) -> str:
    """Names cells, dtypes and backends where they are not the usual ones."""
    words = ["rosetta", verb, *options]
    backends = [name for name in implementations(rows) if name != ONE_BIAS]
    chosen = (names(rows, "cell"), names(rows, "dtype"), backends)
    for flag, found, usual in zip(("--cell", "--dtype", "--backend"), chosen, (CELLS, DTYPES, DEFAULT), strict=True):
        if set(found) != set(usual):
            words += [word for name in found for word in (flag, name)]
    return shlex.join([*words, "--seed", str(seed)])


def again(row: Record, seed: int) -> str:
    """The shortest run that shows a comparison; records of before they told it name the cell and dtype alone."""
    told = {"arguments": shlex.join(["--cell", row["cell"], "--dtype", row["dtype"], "--seed", str(seed)])}
    return row_command(told | row, seed)


def train_commands(found: Sequence[Record]) -> tuple[str, ...]:
    """``rosetta train`` for training records: a command for every reading and optimiser, with all that it trained."""
    groups: dict[tuple, list[Record]] = {}
    for record in found:
        of_run = (*(record[key] for key in TRAINED_WITH), record.get("model", ""), len(record["losses"]))
        groups.setdefault(of_run, []).append(record)
    return tuple(_train_command(members) for members in groups.values())


def _train_command(members: Sequence[Record]) -> str:
    """Sizes and rates are named where they are not the study's own."""
    run = members[0]
    words = ["rosetta", "train", run["task"], "--reading", run["reading"], "--optimizer", run["optimizer"]]
    usual = OPTIMIZERS.get(run["optimizer"])
    if usual is None or run["lr"] != usual.lr:
        words += ["--lr", str(run["lr"])]
    if len(run["losses"]) != EPOCHS:
        words += ["--epochs", str(len(run["losses"]))]
    words += shell_words(run.get("model", ""))
    if run["hidden_size"] != HIDDEN_SIZE:
        words += ["--hidden-size", str(run["hidden_size"])]
    for flag, key in (("--cell", "cell"), ("--dtype", "dtype"), ("--backend", "backend")):
        words += [word for name in names(members, key) for word in (flag, name)]
    return shlex.join([*words, "--seed", str(run["seed"])])

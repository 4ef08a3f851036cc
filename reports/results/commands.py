"""The commands that reproduce the numbers of a section."""

import json
import shlex
from collections import defaultdict
from collections.abc import Sequence

from common.backend.registry import DEFAULT
from common.equivalence.coverage import configuration
from common.equivalence.reproduce import train_command
from common.model.spec import CELLS, DTYPES
from common.record_parts import Run
from common.record_types import Bench, Check, Header, OneBias, Outcome, Record, Training
from common.records import of_kind
from reports.results.verdict import ONE_BIAS, implementations, names, split


def seed_of(records: Sequence[Record]) -> int:
    """The seed of the command that made the records: that of the header, or else of the first run or timing."""
    seeds = [header["seed"] for header in of_kind(records, Header)]
    for kind in (Training, OneBias, Outcome, Bench):
        seeds += [record["seed"] for record in of_kind(records, kind)[:1]]
    return next((seed for seed in seeds if seed is not None), 0)


def check_commands(rows: Sequence[Check], records: Sequence[Record]) -> tuple[str, ...]:
    """The commands that make some of the check records: the one that made all records, if it made nothing else, or
    others.

    ``study`` makes everything; ``check`` makes either the fixed variants or those drawn at random.
    """
    made_by = next((header["command"] for header in of_kind(records, Header)), [])
    if made_by[:2] == ["rosetta", "check"]:
        return (shlex.join(word for word in made_by if word != "--json"),)
    seed = seed_of(records)
    if any(row["run"] is not None for row in rows):
        return (_check_command("study", rows, seed),)
    fixed, drawn = split(rows)
    groups = ((fixed, ()), (drawn, ("--configs", str(_configurations(drawn)))))
    return tuple(_check_command("check", members, seed, options) for members, options in groups if members)


def _configurations(drawn: Sequence[Check]) -> int:
    """How many variants were drawn in each dtype."""
    by_dtype = defaultdict(set)
    for row in drawn:
        by_dtype[row["dtype"]].add(configuration(row))
    return max(map(len, by_dtype.values()), default=0)


def _check_command(verb: str, rows: Sequence[Check], seed: int, options: Sequence[str] = ()) -> str:
    """The command, naming cells, dtypes and backends where they are not the usual ones."""
    words = ["rosetta", verb, *options]
    backends = [name for name in implementations(rows) if name != ONE_BIAS]
    chosen = (names(rows, "cell"), names(rows, "dtype"), backends)
    for flag, present, usual in zip(("--cell", "--dtype", "--backend"), chosen, (CELLS, DTYPES, DEFAULT), strict=True):
        if set(present) != set(usual):
            words += [word for name in present for word in (flag, name)]
    return shlex.join([*words, "--seed", str(seed)])


def train_commands(rows: Sequence[Training]) -> tuple[str, ...]:
    """``rosetta train`` for training records, one command for runs that differ only in cell, dtype and backend."""
    groups: dict[str, list[Training]] = {}
    for row in rows:
        settings = {name: row[name] for name in Run.__annotations__}
        settings["spec"] = row["spec"] | {"cell": "", "dtype": ""}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    keys = ("cell", "dtype", "backend")
    return tuple(train_command(group[0], *(names(group, key) for key in keys)) for group in groups.values())

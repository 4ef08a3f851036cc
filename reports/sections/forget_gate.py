"""What the forget gate changed: the LSTM of 1997 beside the LSTM, on the tasks of the paper of 1997."""

from collections.abc import Sequence

import numpy as np

from common.datasets import TASKS
from common.record_types import Record
from common.study.tasks import OF_1997
from reports.page.model import Section, Table
from reports.page.numbers import count
from reports.results.outcomes import Contest, Group, contests, curve
from reports.results.ranking import Comparison, compare
from reports.results.regimen import biases, sequences
from reports.sections.tasks import full_command

OLD, NEW = "LSTM1997", "LSTM"
# A run has learned when its validation loss has covered this share of its way down.
COVERED = 0.9
TEXT = (
    "The LSTM of 1997 (Hochreiter & Schmidhuber 1997) has no forget gate. Its memory only adds, "
    "c_new = c_old + i * g, so what is in it stays at full strength, and all that enters later is added on top. "
    "Gers, Schmidhuber & Cummins 2000 multiply the old memory by the forget gate, c_new = f * c_old + i * g: the "
    "network can clear its memory, but it also has to learn not to."
)


def forget_gate_section(records: Sequence[Record]) -> Section | None:
    """The three tasks with both cells; None if the records hold neither."""
    played = {(contest.first.task, contest.first.reading): contest for contest in contests(records)}
    pairs = {key: _pair(played.get(key)) for key in OF_1997}
    if not any(group for pair in pairs.values() for group in pair):
        return None
    rows = [row for (task, reading), pair in pairs.items() for row in _rows(task, reading, pair)]
    columns = ("Task", "Cell", "Test score, mean [range]", "Runs that beat the baseline", "Sequences to learn it")
    columns += ("Sequences seen", "Parameters", "Initial biases")
    note = (
        f"Sequences to learn it: until the validation loss has covered {COVERED:.0%} of the way from the highest "
        "first value to the lowest value of any of these runs; the median over the runs that got there, and how many "
        "did. It is evaluated once in an epoch."
    )
    table = Table(
        "With a forget gate and without", columns, tuple(rows), note, numbers=range(2, 7), wrap=True, whole=True
    )
    return Section(
        anchor="forget-gate",
        title="What the forget gate changed",
        paragraphs=(TEXT, _shared(list(pairs.values())), *_absent(pairs)),
        plots=(),
        tables=(table,),
        commands=(full_command(records),),
        findings=tuple(_finding(key, pair) for key, pair in pairs.items() if all(pair)),
    )


Pair = tuple[Group | None, Group | None]


def _pair(contest: Contest | None) -> Pair:
    """The LSTM of 1997 and the LSTM."""
    return (contest.cell(OLD), contest.cell(NEW)) if contest else (None, None)


def _name(task: str, reading: str) -> str:
    several = len(TASKS[task].readings) > 1
    return f"{TASKS[task].title}: {reading}" if several else TASKS[task].title


def _rows(task: str, reading: str, pair: Pair) -> list[tuple[str, ...]]:
    rows = []
    for cell, group in zip((OLD, NEW), pair, strict=True):
        if group is None:
            rows.append((_name(task, reading), cell, "not run", *"–––––"))
            continue
        scores = list(group.scores().values())
        score = f"{group.text(group.mean)} [{group.text(min(scores))}, {group.text(max(scores))}]" if scores else "none"
        seen = sequences(group)
        rows.append(
            (
                *(_name(task, reading), cell, score, group.beating, _learned(group, pair)),
                *(count(seen) if seen else "–", count(group.first["parameters"])),
                ", ".join(f"{gate} {bias:g}" for gate, bias in biases(group.first).items()) or "–",
            )
        )
    return rows


def _validation(group: Group) -> list[tuple[np.ndarray, np.ndarray]]:
    """(updates, losses on the validation data) of every run of the reference that has them."""
    found = [curve(row, "evaluations") for row in group.of(group.reference)]
    return [(updates, losses) for updates, losses in found if np.isfinite(losses).any()]


def _learned(group: Group, pair: Pair) -> str:
    """After how many sequences the runs of a group have learned the task: the median of those that have."""
    runs, size = _validation(group), group.first["batch_size"]
    every = [losses for member in pair if member for _, losses in _validation(member)]
    if not runs or not size:
        return "–"
    first, lowest = max(losses[0] for losses in every), min(np.nanmin(losses) for losses in every)
    limit = first - COVERED * (first - lowest)
    ends = [updates[losses <= limit][0] * size for updates, losses in runs if (losses <= limit).any()]
    middle = f"{count(int(np.median(ends)))} " if ends else ""
    return f"{middle}({len(ends)} of {len(runs)} runs)"


def _finding(key: tuple[str, str], pair: Pair) -> str:
    old, new = pair
    assert old is not None
    assert new is not None
    return f"{_name(*key)}: {_decision(compare(old, new))}."


def _decision(pair: Comparison) -> str:
    leader, other = pair.leader, pair.other
    if not pair.seeds:
        return "the two have no seed in common"
    scores = f"{leader.cell} {leader.text(leader.mean)}, {other.cell} {other.text(other.mean)}"
    ahead = f"the {leader.cell} ahead in {pair.ahead} of {pair.seeds} seeds"
    if not pair.beats_baseline:
        return f"neither learns it ({scores})"
    if not pair.clear:
        return f"the two are not shown to differ ({scores}; {ahead})"
    gate = "with the forget gate" if leader.cell == NEW else "without the forget gate"
    return f"better {gate} ({scores}; {ahead})"


def _shared(pairs: Sequence[Pair]) -> str:
    """What both cells share in these runs, from the records."""
    both = [(_way(old), _way(new)) for old, new in pairs if old and new]
    if not both:
        return "The records do not hold both cells on any of these tasks, so nothing is compared."
    if any(old != new for old, new in both):
        return "The two are NOT trained in the same way on every task."
    return (
        "Both have the same hidden size, optimiser, batches, number of epochs and initial bias of the input gate on "
        "each task; the LSTM also has a forget gate, with an initial bias of its own."
    )


def _way(group: Group) -> tuple:
    row = group.first
    return row["spec"]["hidden_size"], row["optimizer"], row["batch_size"], row["epochs"], row["input_bias"]


def _absent(pairs: dict[tuple[str, str], Pair]) -> list[str]:
    cells = [(key, cell, group) for key, pair in pairs.items() for cell, group in zip((OLD, NEW), pair, strict=True)]
    missing = [f"{cell} on {_name(*key)}" for key, cell, group in cells if group is None]
    return [f"The records do not hold: {', '.join(missing)}."] if missing else []

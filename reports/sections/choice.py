"""Which cell for what, and which output of the network for what: the answer before the details."""

from collections.abc import Sequence

from common.record_types import Record
from reports.page.model import Section, Table
from reports.page.numbers import counted
from reports.results.outcomes import CLEARLY, MARGIN_TEXT, Group, Pair, compare, pairs
from reports.results.regimen import fairness
from reports.sections.task_texts import READOUTS, words_of
from reports.sections.tasks import full_command

# From so many steps on, what must be remembered counts as far back.
LONG = 50
TIE, IDLE, ALONE = "neither clearly", "neither, so trained", "not compared"


def choice_section(records: Sequence[Record]) -> Section | None:
    """One row a task and reading; None without outcomes."""
    found = pairs(records)
    if not found:
        return None
    reference = found[0].first.reference
    paragraphs = (
        "RNN and LSTM are two kinds of recurrent network: both read a sequence step by step and carry a state along. "
        "The plain RNN overwrites its state at every step. The LSTM has gates that decide what to keep.",
        *filter(None, [fairness(found)]),
        f"Each score is the mean over {_seeds(found)} of runs that start from different weights, on examples that were "
        f"not trained on (the sine wave excepted), as {reference} gives it. The baseline is what one gets without "
        "learning, and a cell has learnt the task if its mean is better than the baseline "
        f"{MARGIN_TEXT}. A cell is called better if its mean is better and it is ahead in at least {CLEARLY:.0%} of "
        "the seeds. A run that diverged has no score: it loses to any run with a score, and counts as the baseline "
        "where the means are compared.",
    )
    command = full_command(records)
    return Section("choice", "Which cell for what", paragraphs, (), _tables(found), (command,), tuple(summary(found)))


def _seeds(found: Sequence[Pair]) -> str:
    size = max(len(group.seeds) for pair in found for group in pair.groups)
    return counted(size, "seed")


def summary(found: Sequence[Pair]) -> list[str]:
    """How often each cell is better, and how often where something has to be remembered for long."""
    distant = [pair for pair in found if words_of(pair.first.task, pair.first.reading).span >= LONG]
    texts = [f"Of {len(found)} tasks and readings, {_count(found)}."]
    if distant and len(distant) < len(found):
        near = [pair for pair in found if pair not in distant]
        texts.append(
            f"Where something must be remembered over {LONG} steps or more ({len(distant)} of them), "
            f"{_count(distant)}; of the other {len(near)}, {_count(near)}."
        )
    return texts


def _count(found: Sequence[Pair]) -> str:
    results = [_result(pair) for pair in found]
    cells = list(dict.fromkeys(group.cell for pair in found for group in pair.groups))
    words = {cell: f"the {cell} is better" for cell in cells}
    words |= {
        TIE: "neither is clearly better",
        IDLE: "so trained, neither learns the task",
        ALONE: "the cells cannot be compared",
    }
    return ", ".join(f"{text} in {number}" for name, text in words.items() if (number := results.count(name)))


def _result(pair: Pair) -> str:
    """The better cell, or why there is none."""
    found = compare(pair)
    if found.winner:
        return found.winner
    if not found.seeds:
        return ALONE
    return TIE if found.beaten else IDLE


def _tables(found: Sequence[Pair]) -> tuple[Table, ...]:
    cells = list(dict.fromkeys(group.cell for pair in found for group in pair.groups))
    rows = []
    for pair in found:
        words, first = words_of(pair.first.task, pair.first.reading), pair.first.first
        scores = [_score(pair.cell(cell)) for cell in cells]
        sense = "higher" if first["higher"] else "lower"
        base = pair.first.text(first["baseline"])
        judged = f"{first['metric']}, {sense} is better"
        readout = first["readout"].replace("_", " ")
        several = sum(other.first.task == pair.first.task for other in found) > 1
        name = f"{words.title}: {first['reading']}" if several else words.title
        rows.append((name, winner(pair), *scores, base, judged, words.asks, words.keeps, readout))
    columns = (
        "Task",
        "Better, in seeds",
        *cells,
        "Baseline",
        "Score",
        "What is asked",
        "What must be remembered",
        "Output read",
    )
    choices = Table("The tasks", columns, tuple(rows), _note(found), range(2, 3 + len(cells)), wrap=True, whole=True)
    return choices, _readouts(found)


def _note(found: Sequence[Pair]) -> str:
    texts = ["What must be remembered follows from how the task is made; it was not measured."]
    words = [words_of(pair.first.task, pair.first.reading) for pair in found]
    texts += [f"{word.title}: {word.caution}" for word in words if word.caution]
    bad = [row for pair in found for group in pair.groups for row in group.diverged]
    if bad:
        where = ", ".join(dict.fromkeys(f"{row['cell']} on {row['task']} ({row['reading']})" for row in bad))
        texts.append(f"{counted(len(bad), 'run')} diverged, without a score: {where}.")
    return " ".join(texts)


def _score(group: Group | None) -> str:
    if group is None:
        return "not run"
    return "diverged" if group.mean is None else group.text(group.mean)


def winner(pair: Pair) -> str:
    """The better cell and in how many seeds, or why there is none."""
    found, result = compare(pair), _result(pair)
    return f"{result}, {found.ahead}/{found.seeds}" if found.winner else result


def _readouts(found: Sequence[Pair]) -> Table:
    used: dict[str, list[str]] = {}
    for pair in found:
        first = pair.first.first
        title = words_of(first["task"], first["reading"]).title
        used.setdefault(first["readout"], [])
        if title not in used[first["readout"]]:
            used[first["readout"]].append(title)
    order = [name for name in READOUTS if name in used] + [name for name in used if name not in READOUTS]
    rows = tuple((name.replace("_", " "), *READOUTS.get(name, ("–", "–")), ", ".join(used[name])) for name in order)
    columns = ("Name", "What is read", "For which kind of task", "Here")
    return Table("Which output of the network for which kind of task", columns, rows)

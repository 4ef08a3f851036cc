"""A section for every task of the full study: what it is, what was learnt, how well, how far the backends part."""

import shlex
from collections.abc import Sequence

import numpy as np

from common.datasets import TASKS
from common.record_types import Record, Sample
from common.records import of_kind
from reports.page.model import Block, Plot, Section, Table
from reports.page.numbers import count, digits, error
from reports.page.svg import identifier
from reports.results.commands import seed_of
from reports.results.outcomes import Group, Pair, drift_after, pairs, threshold, verdict_sentence
from reports.results.regimen import regimens
from reports.results.verdict import names
from reports.sections.task_pictures import learning, picture
from reports.sections.task_texts import EXAMPLES, METRICS, words_of

DRIFT_AFTER = (1, 10, 100, 1000)


def task_sections(records: Sequence[Record]) -> list[Section]:
    """The sections of all tasks that have outcomes."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs(records):
        found.setdefault(pair.first.task, []).append(pair)
    return [_section(records, task, members) for task, members in found.items()]


def full_command(records: Sequence[Record]) -> str:
    return shlex.join(["rosetta", "study", "--full", "--seed", str(seed_of(records))])


def _section(records: Sequence[Record], task: str, found: Sequence[Pair]) -> Section:
    several = len(found) > 1
    pictures: list[Plot] = []
    tables = [_scores(found), _costs(found)]
    for pair in found:
        if plot := picture(pair):
            pictures.append(plot)
        tables += _examples(pair)
    pictures.append(learning(found))
    return Section(
        anchor=f"task-{identifier(task)}",
        title=f"Tasks: {words_of(task, found[0].first.reading).title}",
        findings=tuple(verdict_sentence(pair, several) for pair in found),
        paragraphs=tuple(_paragraphs(task, found)),
        plots=tuple(pictures),
        tables=tuple(tables),
        blocks=tuple(_blocks(task, records)),
        commands=(*(_command(pair) for pair in found), full_command(records)),
    )


def _paragraphs(task: str, found: Sequence[Pair]) -> list[str]:
    texts = []
    for pair in found:
        first, words = pair.first.first, words_of(task, pair.first.reading)
        name = f"Reading “{pair.first.reading}”: " if len(found) > 1 else "The task: "
        metric = METRICS.get(first["metric"], first["metric"])
        where = "the wave itself" if task == "sine" else "examples that were not trained on"
        base = f"The baseline, which learns nothing, gets {pair.first.text(first['baseline'])}"
        sentences = (f"{name}{words.asks}.", words.readout, f"Judged by {metric}, on {where}.")
        texts.append(" ".join(filter(None, (*sentences, f"{base}: {first['baseline_text']}.", words.caution))))
    texts += regimens(found)
    if task in TASKS:
        texts.append(f"Source: {TASKS[task].source}.")
    return texts


def _reading(group: Group) -> tuple[str, str]:
    return group.reading, group.cell


def _groups(found: Sequence[Pair]) -> list[Group]:
    return [group for pair in found for group in pair.groups]


def _scores(found: Sequence[Pair]) -> Table:
    """Mean, least and greatest score of every backend."""
    groups = _groups(found)
    first = groups[0].first
    backends = names([row for group in groups for row in group.rows], "backend")
    rows = []
    for group in groups:
        base = group.text(group.first["baseline"])
        rows.append((*_reading(group), *(_spread(group, name) for name in backends), base, group.beating))
    sense = "higher" if first["higher"] else "lower"
    limits = _limits(found)
    notes = [
        f"Mean [least, greatest] over the seeds; {sense} is better. Beat it: runs of {groups[0].reference} "
        f"{'above' if first['higher'] else 'below'} {limits}, the baseline with its margin.",
        *(_problem(row) for group in groups for row in group.diverged),
    ]
    columns = ("Reading", "Cell", *backends, "Baseline", "Beat it")
    title = f"Test score, {first['metric']}, over seeds {', '.join(map(str, _seeds(groups)))}"
    return Table(title, columns, tuple(rows), " ".join(notes), numbers=range(2, len(columns)))


def _limits(found: Sequence[Pair]) -> str:
    """What a score must be better than to beat the baseline, with the reading where it matters."""
    told = {pair.first.reading: pair.first.text(threshold(pair.first.first)) for pair in found}
    if len(set(told.values())) == 1:
        return told[found[0].first.reading]
    return " and ".join(f"{text} ({reading})" for reading, text in told.items())


def _seeds(groups: Sequence[Group]) -> list[int]:
    return sorted({seed for group in groups for seed in group.seeds})


def _problem(row: Record) -> str:
    why = row.get("problem") or "its score is not finite"
    return f"No score: {row['reading']}, {row['cell']}, {row['backend']}, seed {row['seed']} ({why})."


def _spread(group: Group, backend: str) -> str:
    """0.171 [0.165, 0.180]; of how many runs, where some have no score."""
    scores, runs = list(group.scores(backend).values()), group.of(backend)
    if not runs:
        return "not run"
    if not scores:
        return f"none: {len(runs)} diverged"
    text = group.text(float(np.mean(scores)))
    if len(scores) > 1:
        text += f" [{group.text(min(scores))}, {group.text(max(scores))}]"
    lost = len(runs) - len(scores)
    return text + (f", {lost} diverged" if lost else "")


def _costs(found: Sequence[Pair]) -> Table:
    """Size, length of training, time, and drift on the way."""
    rows = []
    for group in _groups(found):
        updates = [row["updates"] for row in group.rows if "updates" in row]
        span = [count(v) for v in sorted({min(updates), max(updates)})] if updates else ["–"]
        seconds = [_seconds(group, name) for name in group.backends]
        facts = (count(group.first["parameters"]), " to ".join(span), ", ".join(filter(None, seconds)) or "–")
        drifts = (_drift(drift_after(group.rows, after)) for after in (*DRIFT_AFTER, None))
        rows.append((*_reading(group), *facts, *drifts))
    columns = ("Reading", "Cell", "Parameters", "Updates", "Seconds a run (median)")
    columns += tuple(f"Drift, {after:,}" for after in DRIFT_AFTER) + ("Drift, all",)
    note = (
        "Seconds: measured while other runs share the machine, compilation included; for speed see the timings. "
        f"Drift: the largest relative difference of the training loss from that of {_origin(found)} in so many first "
        "updates, over all seeds."
    )
    return Table(
        "Size, time, and drift between the backends", columns, tuple(rows), note, numbers=(2, 3, *range(5, 10))
    )


def _origin(found: Sequence[Pair]) -> str:
    """From which backend the drift is, as the records tell."""
    return " or ".join(dict.fromkeys(name for group in _groups(found) for name in group.origins))


def _seconds(group: Group, backend: str) -> str:
    found = [row["seconds"] for row in group.of(backend) if "seconds" in row]
    return f"{backend} {digits(float(np.median(found)), 2)}" if found else ""


def _drift(value: float | None) -> str:
    return "–" if value is None else error(value)


def _examples(pair: Pair) -> list[Table]:
    """The examples that a picture of the kind "strings" holds."""
    tables = []
    for group in pair.groups:
        row = group.sampled
        if row and row["picture"].get("plot") == "strings":
            shown, title = row["picture"], f"Examples: {group.cell}, {row['backend']}, seed {row['seed']}"
            lines = tuple(tuple(map(str, line)) for line in shown["rows"])
            note = "" if tables else EXAMPLES.get(group.task, "")
            tables.append(Table(title, tuple(map(str.capitalize, shown["columns"])), lines, note, code=(0,)))
    return tables


def _blocks(task: str, records: Sequence[Record]) -> list[Block]:
    """What every cell wrote: the likeliest text, and one that was drawn."""
    blocks, found = [], [row for row in of_kind(records, Sample) if row["task"] == task]
    for cell in names(found, "cell"):
        for warmth in sorted({row["temperature"] for row in found if row["cell"] == cell}):
            rows = [row for row in found if (row["cell"], row["temperature"]) == (cell, warmth)]
            texts = list(dict.fromkeys(row["prompt"] + row["text"] for row in rows))
            how = f"drawn, with temperature {warmth:g}" if warmth else "always the likeliest character"
            if len(rows) == 1:
                same = f"by {rows[0]['backend']}"
            elif len(texts) == 1:
                same = f"the same text from {_and([row['backend'] for row in rows])}"
            else:
                same = f"the texts of the backends DIFFER; first by {rows[0]['backend']}"
            shown = texts if not warmth else texts[:1]
            start = f"{cell}, seed {rows[0]['seed']}, continuing {rows[0]['prompt']!r}, {how}; {same}"
            blocks.append(Block(start, "\n\n".join(shown)))
    return blocks


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _command(pair: Pair) -> str:
    """The runs of the first seed."""
    first = pair.first.first
    rows = [row for group in pair.groups for row in group.rows]
    words = ["rosetta", "train", first["task"], "--reading", first["reading"]]
    for flag, key in (("--cell", "cell"), ("--backend", "backend")):
        words += [word for name in names(rows, key) for word in (flag, name)]
    return shlex.join([*words, "--seed", str(min(row["seed"] for row in rows))])

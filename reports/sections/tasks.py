"""A section for every task of the full study: what it is, how well it was learned, how far the backends diverge."""

import shlex
from collections.abc import Sequence

import numpy as np

from common.datasets import TASKS
from common.datasets.task import Task
from common.record_types import Outcome, Record, Sample
from common.records import of_kind
from reports.page.model import Block, Plot, Section, Table
from reports.page.numbers import count, digits, error
from reports.page.svg import identifier
from reports.results.commands import seed_of
from reports.results.outcomes import Contest, Group, contests, drift_after, threshold
from reports.results.ranking import verdict_sentence
from reports.results.regimen import regimens
from reports.results.verdict import names
from reports.sections.task_pictures import learning, picture

DRIFT_AFTER = (1, 10, 100, 1000)


def task_sections(records: Sequence[Record]) -> list[Section]:
    """The sections of all tasks that have outcomes."""
    played: dict[str, list[Contest]] = {}
    for contest in contests(records):
        played.setdefault(contest.first.task, []).append(contest)
    return [_section(records, task, variants) for task, variants in played.items()]


def full_command(records: Sequence[Record]) -> str:
    return shlex.join(["rosetta", "study", "--full", "--seed", str(seed_of(records))])


def _section(records: Sequence[Record], task: str, variants: Sequence[Contest]) -> Section:
    several = len(variants) > 1
    pictures: list[Plot] = []
    tables = [_scores(variants), _costs(variants)]
    for contest in variants:
        if plot := picture(contest):
            pictures.append(plot)
        tables += _examples(contest)
    pictures.append(learning(variants))
    return Section(
        anchor=f"task-{identifier(task)}",
        title=f"Tasks: {variants[0].first.title}",
        findings=tuple(verdict_sentence(contest, several) for contest in variants),
        paragraphs=tuple(_paragraphs(task, variants)),
        plots=tuple(pictures),
        tables=tuple(tables),
        blocks=tuple(_blocks(task, records)),
        commands=(*(_command(contest) for contest in variants), full_command(records)),
    )


def _paragraphs(task: str, variants: Sequence[Contest]) -> list[str]:
    judged_on = TASKS[task].judged_on if task in TASKS else Task.judged_on
    texts = []
    for contest in variants:
        first, words = contest.first.first, contest.first.words
        name = f"Variant “{contest.first.reading}”: " if len(variants) > 1 else "The task: "
        base = f"The baseline, which learns nothing, gets {contest.first.text(first['baseline'])}"
        sentences = (
            *(f"{name}{words.asks}.", words.readout, f"Judged by {first['metric_text']}, on {judged_on}."),
            *(f"{base}: {first['baseline_text']}.", words.caution),
        )
        texts.append(" ".join(filter(None, sentences)))
    texts += regimens(variants)
    if task in TASKS:
        texts.append(f"Source: {TASKS[task].source}.")
    return texts


def _variant(group: Group) -> tuple[str, str]:
    return group.reading, group.cell


def _groups(variants: Sequence[Contest]) -> list[Group]:
    return [group for contest in variants for group in contest.groups]


def _scores(variants: Sequence[Contest]) -> Table:
    """Mean, lowest and highest score of every backend."""
    groups = _groups(variants)
    first = groups[0].first
    backends = names([row for group in groups for row in group.rows], "backend")
    rows = []
    for group in groups:
        base = group.text(group.first["baseline"])
        rows.append((*_variant(group), *(_spread(group, name) for name in backends), base, group.beating))
    sense = "higher" if first["higher"] else "lower"
    notes = [
        f"Mean [lowest, highest] over the seeds; {sense} is better. “Beat it” counts the runs of {groups[0].reference} "
        f"{'above' if first['higher'] else 'below'} {_limits(variants)}, the baseline with its margin.",
        *(_problem(row) for group in groups for row in group.diverged),
    ]
    columns = ("Variant", "Cell", *backends, "Baseline", "Beat it")
    title = f"Test score, {first['metric']}, over seeds {', '.join(map(str, _seeds(groups)))}"
    return Table(title, columns, tuple(rows), " ".join(notes), numbers=range(2, len(columns)))


def _limits(variants: Sequence[Contest]) -> str:
    """The limit that a score must exceed to beat the baseline; by variant, if it differs."""
    limits = {contest.first.reading: contest.first.text(threshold(contest.first.first)) for contest in variants}
    if len(set(limits.values())) == 1:
        return limits[variants[0].first.reading]
    return " and ".join(f"{text} ({reading})" for reading, text in limits.items())


def _seeds(groups: Sequence[Group]) -> list[int]:
    return sorted({seed for group in groups for seed in group.seeds})


def _problem(row: Outcome) -> str:
    why = row.get("problem") or "its score is not finite"
    return f"No score: {row['reading']}, {row['cell']}, {row['backend']}, seed {row['seed']} ({why})."


def _spread(group: Group, backend: str) -> str:
    """0.171 [0.165, 0.180]; and how many runs have no score."""
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


def _costs(variants: Sequence[Contest]) -> Table:
    """Size, length of training, time, and drift during training."""
    rows = []
    for group in _groups(variants):
        updates = [row["updates"] for row in group.rows if "updates" in row]
        span = [count(v) for v in sorted({min(updates), max(updates)})] if updates else ["–"]
        seconds = [_seconds(group, name) for name in group.backends]
        facts = (count(group.first["parameters"]), " to ".join(span), ", ".join(filter(None, seconds)) or "–")
        drifts = (_drift(drift_after(group.rows, after)) for after in (*DRIFT_AFTER, None))
        rows.append((*_variant(group), *facts, *drifts))
    columns = ("Variant", "Cell", "Parameters", "Updates", "Seconds per run (median)")
    columns += tuple(f"Drift, {after:,}" for after in DRIFT_AFTER) + ("Drift, all",)
    note = (
        "Seconds: measured while other runs share the machine, including compilation; for speed see the timings. "
        f"Drift: the largest relative difference of the training loss from that of {_origin(variants)} in the first 1, "
        "10, ... updates, over all seeds."
    )
    return Table(
        "Size, time, and drift between the backends", columns, tuple(rows), note, numbers=(2, 3, *range(5, 10))
    )


def _origin(variants: Sequence[Contest]) -> str:
    """The backend that the drift is measured from, according to the records."""
    return " or ".join(dict.fromkeys(name for group in _groups(variants) for name in group.origins))


def _seconds(group: Group, backend: str) -> str:
    seconds = [row["seconds"] for row in group.of(backend) if "seconds" in row]
    return f"{backend} {digits(float(np.median(seconds)), 2)}" if seconds else ""


def _drift(value: float | None) -> str:
    return "–" if value is None else error(value)


def _examples(contest: Contest) -> list[Table]:
    """The examples that a picture of the kind "strings" holds."""
    tables = []
    for group in contest.groups:
        if not group.pictured:
            continue
        row, examples = group.pictured
        if examples.get("plot") == "strings":
            title = f"Examples: {group.cell}, {row['backend']}, seed {row['seed']}"
            lines = tuple(tuple(map(str, line)) for line in examples["rows"])
            note = TASKS[group.task].examples if group.task in TASKS and not tables else ""
            tables.append(Table(title, tuple(map(str.capitalize, examples["columns"])), lines, note, code=(0,)))
    return tables


def _blocks(task: str, records: Sequence[Record]) -> list[Block]:
    """The text that every cell wrote: the likeliest one, and one that was drawn."""
    blocks, samples = [], [row for row in of_kind(records, Sample) if row["task"] == task]
    for cell in names(samples, "cell"):
        for temperature in sorted({row["temperature"] for row in samples if row["cell"] == cell}):
            rows = [row for row in samples if (row["cell"], row["temperature"]) == (cell, temperature)]
            texts = list(dict.fromkeys(row["prompt"] + row["text"] for row in rows))
            how = f"drawn, with temperature {temperature:g}" if temperature else "always the likeliest character"
            if len(rows) == 1:
                same = f"by {rows[0]['backend']}"
            elif len(texts) == 1:
                same = f"the same text from {_and([row['backend'] for row in rows])}"
            else:
                same = f"the texts of the backends DIFFER; first by {rows[0]['backend']}"
            caption = f"{cell}, seed {rows[0]['seed']}, continuing {rows[0]['prompt']!r}, {how}; {same}"
            blocks.append(Block(caption, "\n\n".join(texts[:1] if temperature else texts)))
    return blocks


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _command(contest: Contest) -> str:
    """The runs of the first seed."""
    first = contest.first.first
    rows = [row for group in contest.groups for row in group.rows]
    words = ["rosetta", "train", first["task"], "--reading", first["reading"]]
    for flag, key in (("--cell", "cell"), ("--backend", "backend")):
        words += [word for name in names(rows, key) for word in (flag, name)]
    return shlex.join([*words, "--seed", str(min(row["seed"] for row in rows))])

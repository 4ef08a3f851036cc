"""How the networks of the outcomes were trained, as far as their records tell."""

from collections.abc import Sequence

import numpy as np

from common.record_types import Record
from reports.page.numbers import count, counted
from reports.results.outcomes import Group, Pair

NAMES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}


def regimens(found: Sequence[Pair]) -> list[str]:
    """A line for every way of training, with the readings it holds for if there are several."""
    lines: dict[str, list[str]] = {}
    for pair in found:
        if line := _line(pair):
            lines.setdefault(line, []).append(pair.first.reading)
    if len(lines) == 1:
        return [f"Training: {line}." for line in lines]
    return [f"Training ({', '.join(names)}): {line}." for line, names in lines.items()]


def _line(pair: Pair) -> str:
    """What both cells share is told once."""
    told = {group.cell: _of(group.first) for group in pair.groups}
    if not all(told.values()):
        return ""
    same = len(set(told.values())) == 1
    parts = [told[pair.first.cell]] if same else [f"{cell}: {text}" for cell, text in told.items()]
    return "; ".join([*parts, _length(pair.groups), *_forget_biases(pair.groups)])


def _of(row: Record) -> str:
    if not {"hidden_size", "optimizer", "epochs"} <= set(row):
        return ""
    rule = row["optimizer"]
    clip = rule.get("clip_norm")
    name = NAMES.get(rule["name"], rule["name"])
    parts = [counted(row["hidden_size"], "hidden unit"), f"{name} with learning rate {rule['lr']:g}"]
    if rule.get("momentum"):
        parts.append(f"momentum {rule['momentum']:g}")
    if rule.get("schedule", "constant") != "constant":
        parts.append(f"{rule['schedule']} schedule")
    parts.append(f"gradients clipped at norm {clip:g}" if clip else "no clipping")
    return ", ".join(parts)


def _length(groups: Sequence[Group]) -> str:
    row = groups[0].first
    updates = sorted({run["updates"] for group in groups for run in group.rows if "updates" in run})
    epochs, size = counted(row["epochs"], "epoch"), row.get("batch_size")
    if row.get("patience"):
        epochs = f"up to {epochs} (stopped after {row['patience']} without progress on the validation data)"
    if size:
        batches = f"{size} sequences an update"
    elif max(updates, default=0) > row["epochs"]:
        batches = "the next piece of every sequence an update"
    else:
        batches = "all examples in every update"
    span = " to ".join(count(v) for v in dict.fromkeys((*updates[:1], *updates[-1:])))
    return f"{batches}, {epochs}" + (f" = {span} updates" if span else "")


def _forget_biases(groups: Sequence[Group]) -> list[str]:
    found = {group.cell: group.first.get("forget_bias") for group in groups}
    return [f"forget bias of the {cell} {value:g} at the start" for cell, value in found.items() if value is not None]


def sequences(group: Group) -> int | None:
    """How many sequences a run of the reference sees in the median, repetitions counted; None if not told."""
    seen = [row["updates"] * row["batch_size"] for row in group.of(group.reference) if _sized(row)]
    return int(np.median(seen)) if seen else None


def _sized(row: Record) -> bool:
    return bool(row.get("batch_size")) and "updates" in row


def fairness(found: Sequence[Pair]) -> str:
    """What the two cells share and what not; "" where the records hold no two cells."""
    pairs = [pair for pair in found if pair.cell("RNN") and pair.cell("LSTM")]
    ways = [
        [(way := _of(group.first)) and f"{way}, {group.first['epochs']}" for group in pair.groups] for pair in pairs
    ]
    if not pairs or not all(map(all, ways)):
        return ""
    apart = sum(len(set(way)) > 1 for way in ways)
    who = "Both cells" if not apart else f"Except on {apart} of {counted(len(pairs), 'task')}, both cells"
    same = "have the same hidden size, learning rate and number of epochs, chosen for the task as a whole and not tuned"
    biases = [row.get("forget_bias") for pair in pairs for group in pair.groups for row in group.rows]
    text = f"{who} {same} for each cell. "
    known = sorted({value for value in biases if value is not None})
    if known:
        span = " to ".join(f"{value:g}" for value in dict.fromkeys((known[0], known[-1])))
        text += (
            f"But the LSTM's forget bias at the start is set for each task ({span}); the RNN has nothing of the kind"
        )
    shares = [_share(pair) for pair in pairs]
    span = " to ".join(dict.fromkeys((f"{min(shares):.0%}", f"{max(shares):.0%}")))
    return f"{text}{', and it' if known else 'The RNN'} has only {span} of the LSTM's parameters."


def _share(pair: Pair) -> float:
    """The RNN's parameters over the LSTM's."""
    rnn, lstm = pair.cell("RNN"), pair.cell("LSTM")
    assert rnn
    assert lstm
    return rnn.first["parameters"] / lstm.first["parameters"]

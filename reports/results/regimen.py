"""How the networks of the outcomes were trained, and what the cells that are compared share."""

from collections.abc import Sequence

import numpy as np

from common.record_types import Outcome
from reports.page.numbers import count, counted
from reports.results.outcomes import Contest, Group

NAMES = {"sgd": "SGD", "adam": "Adam", "rmsprop": "RMSprop"}


def regimens(variants: Sequence[Contest]) -> list[str]:
    """A line for every way of training, with the variants to which it applies if there are several."""
    lines: dict[str, list[str]] = {}
    for contest in variants:
        lines.setdefault(_line(contest), []).append(contest.first.reading)
    if len(lines) == 1:
        return [f"Training: {line}." for line in lines]
    return [f"Training ({', '.join(readings)}): {line}." for line, readings in lines.items()]


def _line(contest: Contest) -> str:
    """How a task was trained; what all cells share is stated once."""
    ways = {group.cell: _way(group.first) for group in contest.groups}
    shared = len(set(ways.values())) == 1
    parts = [ways[contest.first.cell]] if shared else [f"{cell}: {way}" for cell, way in ways.items()]
    return "; ".join([*parts, _length(contest.groups), *_forget_biases(contest.groups)])


def _way(row: Outcome) -> str:
    rule = row["optimizer"]
    name = NAMES.get(rule["name"], rule["name"])
    parts = [counted(row["spec"]["hidden_size"], "hidden unit"), f"{name} with learning rate {rule['lr']:g}"]
    if rule["momentum"]:
        parts.append(f"momentum {rule['momentum']:g}")
    if rule["schedule"] != "constant":
        parts.append(f"{rule['schedule']} schedule")
    parts.append(f"gradients clipped at norm {rule['clip_norm']:g}" if rule["clip_norm"] else "no clipping")
    return ", ".join(parts)


def _length(groups: Sequence[Group]) -> str:
    row = groups[0].first
    updates = sorted({run["updates"] for group in groups for run in group.rows if "updates" in run})
    epochs = counted(row["epochs"], "epoch")
    if row["patience"]:
        epochs = f"up to {epochs} (stopped after {row['patience']} without progress on the validation data)"
    if row["batch_size"]:
        batches = f"{row['batch_size']} sequences an update"
    elif max(updates, default=0) > row["epochs"]:
        batches = "the next piece of every sequence an update"
    else:
        batches = "all examples in every update"
    span = " to ".join(count(value) for value in dict.fromkeys((*updates[:1], *updates[-1:])))
    return f"{batches}, {epochs}" + (f" = {span} updates" if span else "")


def _forget_bias(row: Outcome) -> float | None:
    return row["spec"]["forget_bias"]


def _forget_biases(groups: Sequence[Group]) -> list[str]:
    biases = {group.cell: _forget_bias(group.first) for group in groups}
    return [f"initial forget bias of the {cell} {bias:g}" for cell, bias in biases.items() if bias is not None]


def sequences(group: Group) -> int | None:
    """How many sequences a run of the reference sees in the median, with repetitions; None without mini-batches."""
    rows = group.of(group.reference)
    seen = [row["updates"] * row["batch_size"] for row in rows if row["batch_size"] and "updates" in row]
    return int(np.median(seen)) if seen else None


def fairness(played: Sequence[Contest]) -> str:
    """What competing cells share and what they do not; "" where none compete."""
    competing = [contest for contest in played if len(contest.groups) > 1]
    if not competing:
        return ""
    cells = list(dict.fromkeys(group.cell for contest in competing for group in contest.groups))
    ways = [{(_way(group.first), group.first["epochs"]) for group in contest.groups} for contest in competing]
    who, apart = "Both cells" if len(cells) == 2 else "All cells", sum(len(way) > 1 for way in ways)
    if apart:
        who = f"Except on {apart} of {counted(len(competing), 'task')}, {who.lower()}"
    return " ".join(
        [
            f"{who} have the same hidden size, learning rate and number of epochs, chosen for the task as a whole and "
            "not tuned for each cell.",
            *_advantage(competing, cells),
            _sizes(competing, cells),
        ]
    )


def _advantage(competing: Sequence[Contest], cells: Sequence[str]) -> list[str]:
    """The initial forget bias, which is set for each task."""
    groups = [group for contest in competing for group in contest.groups]
    biases = {cell: {_forget_bias(row) for g in groups if g.cell == cell for row in g.rows} - {None} for cell in cells}
    having = [cell for cell in cells if biases[cell]]
    lacking = [cell for cell in cells if not biases[cell]]
    if not having:
        return []
    known = sorted({bias for cell in having for bias in biases[cell] if bias is not None})
    span = " to ".join(f"{value:g}" for value in dict.fromkeys((known[0], known[-1])))
    verb = "has" if len(lacking) == 1 else "have"
    without = f"; {_the(lacking)} {verb} none" if lacking else ""
    return [f"But the initial forget bias of {_the(having)} is set for each task ({span}){without}."]


def _sizes(competing: Sequence[Contest], cells: Sequence[str]) -> str:
    """The parameters of the other cells, as shares of those of the cell that has the most."""
    parameters = {cell: [contest.cell(cell) for contest in competing] for cell in cells}
    totals = {cell: max(g.first["parameters"] for g in groups if g) for cell, groups in parameters.items()}
    largest = max(cells, key=lambda cell: totals[cell])
    parts = []
    for cell in cells:
        pairs = [(a, b) for a, b in zip(parameters[cell], parameters[largest], strict=True) if a and b]
        shares = [a.first["parameters"] / b.first["parameters"] for a, b in pairs]
        if cell != largest and shares:
            span = " to ".join(dict.fromkeys((f"{min(shares):.0%}", f"{max(shares):.0%}")))
            parts.append(f"the {cell} has only {span} of the {largest}'s parameters")
    text = " and ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _the(cells: Sequence[str]) -> str:
    return " and ".join(f"the {cell}" for cell in cells)

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
    return "; ".join([*parts, _length(contest.groups), *_initial_biases(contest.groups)])


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


def biases(row: Outcome) -> dict[str, float]:
    """The initial biases of the gates that the run sets, by the name of the gate."""
    values = {"forget": row["spec"]["forget_bias"], "input": row["input_bias"]}
    return {gate: bias for gate, bias in values.items() if bias is not None}


def _initial_biases(groups: Sequence[Group]) -> list[str]:
    """One clause for each gate and value, with the cells that have it."""
    cells: dict[str, list[str]] = {}
    for group in groups:
        for gate, bias in biases(group.first).items():
            cells.setdefault(f"initial {gate} bias {bias:g}", []).append(group.cell)
    return [f"{text} ({', '.join(names)})" for text, names in cells.items()]


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
    """The initial biases of gates, which are set for each task."""
    rows = [row for contest in competing for group in contest.groups for row in group.rows]
    known: dict[str, dict[str, set[float]]] = {}
    for row in rows:
        for gate, bias in biases(row).items():
            known.setdefault(gate, {}).setdefault(row["cell"], set()).add(bias)
    sentences = []
    for gate, of in known.items():
        having_it = sum(any(gate in biases(group.first) for group in contest.groups) for contest in competing)
        where = "for each task" if having_it == len(competing) else f"in {having_it} of {len(competing)} task variants"
        values = sorted(set().union(*of.values()))
        span = " to ".join(f"{value:g}" for value in dict.fromkeys((values[0], values[-1])))
        having, lacking = ([cell for cell in cells if (cell in of) == has] for has in (True, False))
        verb = "has" if len(lacking) == 1 else "have"
        without = f"; {_the(lacking)} {verb} none" if lacking else ""
        sentences.append(f"the initial {gate} bias of {_the(having)} is set {where} ({span}){without}.")
    return [f"But {' And '.join(sentences)}"] if sentences else []


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

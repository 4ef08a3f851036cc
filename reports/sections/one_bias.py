"""One bias or two: the same function, another training."""

import shlex
from collections.abc import Sequence

import numpy as np

from common.equivalence.comparison import failed, used
from reports.page import plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import count, error, fraction, percent
from reports.page.plots import Curve, Gaps
from reports.page.svg import variable
from reports.results.runs import Gap, largest_gap, numbers_of, relative_gap, span
from reports.results.verdict import ONE_BIAS, Record, of_kind, worst

KINDS = ("two biases", "one bias")
# After how many updates the table of numbers tells the losses.
STEP = 10


def one_bias_section(records: Sequence[Record]) -> Section | None:
    """That the function agrees, and how far the loss curves part."""
    found = of_kind(records, "one-bias")
    rows = [row for row in of_kind(records, "check") if ONE_BIAS in (row["a"], row["b"])]
    if not found:
        return None
    paragraphs = [
        "torch.nn.RNN and torch.nn.LSTM add two biases to every gate, one with the input and one with the state. "
        "Flax, Keras and home-made cells, tanh(Linear([x, h])), have one. Their sum is all that the function sees.",
        *([_function(rows)] if rows else []),
        f"The training does not agree: {_parting(found)}. Both biases get the gradient that the one would get, so "
        "their sum moves twice as far in a step of gradient descent. Under Adam each of the two moves about as far "
        "as the one would, so their sum again moves about twice as far.",
    ]
    commands = tuple(_command(record) for record in found)
    return Section("one-bias", "One bias or two", tuple(paragraphs), (_plot(found),), (_table(found),), commands)


def _function(rows: Sequence[Record]) -> str:
    top = worst(rows)
    bad = sum(failed(row) for row in rows)
    agrees = "does NOT agree" if bad else "agrees"
    outcome = f"{count(bad)} failed" if bad else "all passed"
    return (
        f"The function {agrees}: with the sum of the two biases as the one, {count(len(rows))} comparisons of "
        f"outputs and gradients were made and {outcome}. The worst error is {error(top['error'])}, "
        f"{fraction(used(top))} of its tolerance."
    )


def _curves(record: Record) -> tuple[np.ndarray, np.ndarray]:
    return numbers_of(record["two_biases"]), numbers_of(record["one_bias"])


def parting(record: Record) -> Gap:
    """The largest gap between the two curves, relative to the loss with two biases."""
    two, one = _curves(record)
    gap = largest_gap({ONE_BIAS: relative_gap(one, two)})
    assert gap
    return gap


def _parting(found: Sequence[Record]) -> str:
    parts = [
        f"under {record['optimizer']} the loss with one bias parts by up to {percent(parting(record).value)} of the "
        f"loss with two, after {parting(record).update} updates"
        for record in found
    ]
    return "; ".join(parts)


def _plot(found: Sequence[Record]) -> Plot:
    panels, rows = [], []
    limits = span(relative_gap(one, two) for two, one in map(_curves, found))
    for record in found:
        two, one = _curves(record)
        gap = relative_gap(one, two)
        title = f"RNN, {record['optimizer']} with lr {record['lr']:g}"
        top = parting(record)
        alt = (
            f"{title}: the losses with two biases and with one start together at {two[0]:.3g} and end at "
            f"{error(float(two[-1]))} and {error(float(one[-1]))}. They part by up to {percent(top.value)} of the "
            "loss."
        )
        losses = (Curve(two.tolist(), 0), Curve(one.tolist(), 1))
        kinds = [Gaps("", (Curve(gap.tolist(), 1),))]
        panels.append(Panel(plots.training(f"bias{len(panels)}", title, alt, losses, kinds, limits), alt))
        for update in range(0, len(two), STEP):
            values = (f"{two[update]:.6g}", f"{one[update]:.6g}", error(float(gap[update])))
            rows.append((record["optimizer"], str(update), *values))
    columns = ("Optimiser", "Updates", "Loss, two biases", "Loss, one bias", "Relative gap")
    table = Table(f"One update in {STEP}", columns, tuple(rows), numbers=range(1, len(columns)))
    legend = tuple(Key(variable(i), text, plots.mark(i)) for i, text in enumerate(KINDS))
    return Plot("Losses with two biases and with one, and their relative gap", tuple(panels), legend, table)


def _table(found: Sequence[Record]) -> Table:
    rows = []
    for record in found:
        (two, one), top = _curves(record), parting(record)
        ends = (f"{two[0]:.3g}", f"{two[-1]:.3g}", f"{one[-1]:.3g}")
        rows.append((record["optimizer"], f"{record['lr']:g}", *ends, percent(top.value), str(top.update)))
    columns = ("Optimiser", "Learning rate", "First loss, both", "Final, two biases", "Final, one bias")
    columns += ("Largest gap", "At update")
    return Table(
        "One bias against two, RNN on the sine wave, float64", columns, tuple(rows), numbers=range(1, len(columns))
    )


def _command(record: Record) -> str:
    words = ["rosetta", "train", "sine", "--reading", "windows", "--cell", "RNN", "--optimizer", record["optimizer"]]
    words += ["--dtype", "float64", "--backend", "numpy", "--backend", ONE_BIAS, "--seed", str(record["seed"])]
    return shlex.join(words)

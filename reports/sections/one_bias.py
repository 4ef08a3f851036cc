"""One bias or two: the same function, but different training."""

from collections.abc import Sequence

import numpy as np

from common.equivalence.reproduce import train_command
from common.equivalence.tally import failed, used
from common.record_types import Check, OneBias, Record
from common.records import of_kind
from reports.page import plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import count, error, fraction, percent
from reports.page.plots import Curve, Gaps
from reports.page.svg import variable
from reports.results.runs import Gap, largest_gap, numbers_of, relative_gap, span
from reports.results.verdict import ONE_BIAS, worst

KINDS = ("two biases", "one bias")
# The table of numbers shows one in this many updates.
STEP = 10


def one_bias_section(records: Sequence[Record]) -> Section | None:
    """Shows that the function agrees, and how far the loss curves diverge."""
    trained = of_kind(records, OneBias)
    rows = [row for row in of_kind(records, Check) if ONE_BIAS in (row["a"], row["b"])]
    if not trained:
        return None
    paragraphs = [
        "torch.nn.RNN and torch.nn.LSTM add two biases to every gate, one with the input and one with the state. "
        "Flax, Keras and home-made cells, tanh(Linear([x, h])), have one. The function depends only on the sum of "
        "the two.",
        *([_function(rows)] if rows else []),
        f"The training does not agree: {_divergences(trained)}. Each of the two biases gets the gradient that a "
        "single one would get, so their sum moves twice as far in a step of gradient descent. Under Adam each of the "
        "two moves about as far as the one would, so their sum again moves about twice as far.",
    ]
    backends = ["numpy", ONE_BIAS]
    commands = (train_command(run, [run["spec"]["cell"]], [run["spec"]["dtype"]], backends) for run in trained)
    return Section(
        anchor="one-bias",
        title="One bias or two",
        paragraphs=tuple(paragraphs),
        plots=(_plot(trained),),
        tables=(_table(trained),),
        commands=tuple(commands),
    )


def _function(rows: Sequence[Check]) -> str:
    top = worst(rows)
    bad = sum(failed(row) for row in rows)
    agrees = "does NOT agree" if bad else "agrees"
    outcome = f"{count(bad)} failed" if bad else "all passed"
    return (
        f"The function {agrees}: with the sum of the two biases as the one, {count(len(rows))} comparisons of "
        f"outputs and gradients were made and {outcome}. The worst error is {error(top['error'])}, "
        f"{fraction(used(top))} of its tolerance."
    )


def _curves(record: OneBias) -> tuple[np.ndarray, np.ndarray]:
    return numbers_of(record["two_biases"]), numbers_of(record["one_bias"])


def divergence(record: OneBias) -> Gap:
    """The largest gap between the two curves, relative to the loss with two biases."""
    two, one = _curves(record)
    gap = largest_gap({ONE_BIAS: relative_gap(one, two)})
    assert gap
    return gap


def _divergences(trained: Sequence[OneBias]) -> str:
    parts = [
        f"under {record['optimizer']['name']} the loss with one bias differs by up to "
        f"{percent(divergence(record).value)} of the loss with two, after {divergence(record).update} updates"
        for record in trained
    ]
    return "; ".join(parts)


def _plot(trained: Sequence[OneBias]) -> Plot:
    panels, rows = [], []
    limits = span(relative_gap(one, two) for two, one in map(_curves, trained))
    for record in trained:
        two, one = _curves(record)
        gap = relative_gap(one, two)
        title = f"RNN, {record['optimizer']['name']} with lr {record['optimizer']['lr']:g}"
        top = divergence(record)
        alt = (
            f"{title}: the losses with two biases and with one start together at {two[0]:.3g} and end at "
            f"{error(float(two[-1]))} and {error(float(one[-1]))}. They differ by up to {percent(top.value)} of the "
            "loss."
        )
        losses = (Curve(two.tolist(), 0), Curve(one.tolist(), 1))
        kinds = [Gaps("", (Curve(gap.tolist(), 1),))]
        panels.append(Panel(plots.training(f"bias{len(panels)}", title, alt, losses, kinds, limits), alt))
        for update in range(0, len(two), STEP):
            values = (f"{two[update]:.6g}", f"{one[update]:.6g}", error(float(gap[update])))
            rows.append((record["optimizer"]["name"], str(update), *values))
    columns = ("Optimiser", "Updates", "Loss, two biases", "Loss, one bias", "Relative gap")
    table = Table(f"One update in {STEP}", columns, tuple(rows), numbers=range(1, len(columns)))
    legend = tuple(Key(variable(i), text, plots.mark(i)) for i, text in enumerate(KINDS))
    return Plot("Losses with two biases and with one, and their relative gap", tuple(panels), legend, table)


def _table(trained: Sequence[OneBias]) -> Table:
    rows = []
    for record in trained:
        (two, one), top, rule = _curves(record), divergence(record), record["optimizer"]
        ends = (f"{two[0]:.3g}", f"{two[-1]:.3g}", f"{one[-1]:.3g}")
        rows.append((rule["name"], f"{rule['lr']:g}", *ends, percent(top.value), str(top.update)))
    columns = ("Optimiser", "Learning rate", "First loss, both", "Final, two biases", "Final, one bias")
    columns += ("Largest gap", "At update")
    return Table(
        "One bias against two, RNN on the sine wave, float64", columns, tuple(rows), numbers=range(1, len(columns))
    )

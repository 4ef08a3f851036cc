"""How far back the gradient reaches: its size at every time step, before and after training."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.equivalence.comparison import relative_gaps
from common.record_types import GradientNorms, Record
from common.records import of_kind
from reports.page import plots, task_plots
from reports.page.model import Key, Panel, Plot, Section, Table
from reports.page.numbers import digits, error, fraction
from reports.page.plots import Curve
from reports.page.svg import variable
from reports.page.task_plots import cell_colour
from reports.results.runs import numbers_of
from reports.results.verdict import names
from reports.sections.tasks import full_command

SHOWN_STEPS = 10
STAGES = {"before": "before training", "after": "after training"}
# The states, the output first: h has the colour of the cell.
STATES = ("h", "c")
COLOURS_OF_C = {"LSTM": 1, "LSTM1997": 5}
# A gradient has faded if less than this share of it arrives at step 0, and exploded if more than the inverse does.
FADED = 1e-3


GRU_ROAD = (
    "A GRU has one state and a straight path in it: a step back multiplies dL/dh_t by the update gate z_t, and what "
    "passes through the gates and the candidate joins it. Where z_t is near 1, the message is kept."
)


class Trace(NamedTuple):
    """The norms of the gradient of one state, by step, at one stage in one backend."""

    stage: str
    cell: str
    state: str
    backend: str
    norms: np.ndarray

    @property
    def line(self) -> tuple[str, str]:
        return self.cell, self.state

    @property
    def colour(self) -> int:
        return cell_colour(self.cell) if self.state == "h" else COLOURS_OF_C.get(self.cell, 7)

    @property
    def name(self) -> str:
        return f"{self.cell} dL/d{self.state}_t"

    @property
    def ends(self) -> tuple[float, float]:
        """The first norm, and the last that is not zero: the output does not see the last c."""
        positive = self.norms[np.isfinite(self.norms) & (self.norms > 0)]
        return float(self.norms[0]), float(positive[-1]) if positive.size else math.nan

    @property
    def share(self) -> float:
        """The share of the gradient at the end that arrives at step 0."""
        return self.ends[0] / self.ends[1]


def traces(rows: Sequence[GradientNorms]) -> list[Trace]:
    """By stage, cell, state and backend."""
    cells = names(rows, "cell")
    found = [
        Trace(
            stage=row["stage"],
            cell=row["cell"],
            state=state,
            backend=row["backend"],
            norms=numbers_of(row["norms"][state]),
        )
        for row in rows
        for state in STATES
        if row["stage"] in STAGES and state in row["norms"]
    ]
    return sorted(found, key=lambda t: (list(STAGES).index(t.stage), cells.index(t.cell), STATES.index(t.state)))


def flow_section(records: Sequence[Record]) -> Section | None:
    """The section on gradients through time; None if no gradients were recorded."""
    rows = of_kind(records, GradientNorms)
    found = traces(rows)
    if not found:
        return None
    backends = names(rows, "backend")
    span = task_plots.positive_span([trace.norms for trace in found])
    lines = {trace.line: trace for trace in found}
    plot = Plot(
        f"Size of the gradient of the error at each time step, {_whose(rows)}",
        tuple(_panel(found, stage, backends, span) for stage in dict.fromkeys(trace.stage for trace in found)),
        (
            *(Key(variable(trace.colour), trace.name) for trace in lines.values()),
            *(Key("--muted", name, plots.mark(i)) for i, name in enumerate(backends)),
        ),
        _steps(found),
    )
    paragraphs = (
        "A network learns from an early input only if the error at the end shows the state at that time which "
        "way to change. That message is the gradient of the error, dL/dh_t; its size says how strong it still is "
        "after travelling back from the last step to step t.",
        "In a plain RNN, every step back multiplies it by the same weights, and by slopes of tanh of at most 1: if "
        "that makes it smaller each time, it fades exponentially (the vanishing gradient).",
        *([_two_roads()] if any(trace.state == "c" for trace in found) else []),
        *([GRU_ROAD] if any(trace.cell == "GRU" for trace in found) else []),
        *_slopes(found),
        _agreement(found, backends),
    )
    return Section(
        "flow",
        "How far back does the gradient reach?",
        paragraphs,
        (plot,),
        (_factors(found),),
        (full_command(records),),
    )


def _two_roads() -> str:
    return (
        "An LSTM has two states, so there are two messages: dL/dh_t with the memory c_t held fixed, and dL/dc_t with "
        "h_t held fixed. The second takes the memory's straight path: a step back is a multiplication by the forget "
        "gate alone, and what h_t carries joins it at each step. At the last step it is zero, as the output reads h_t "
        "alone."
    )


def _whose(rows: Sequence[GradientNorms]) -> str:
    row = rows[0]
    return f"task {row['task']}, seed {row['seed']}, median of {row['sequences']} sequences"


def factor(norms: np.ndarray) -> float:
    """The factor of the norm for one step back: from the straight line through its logarithm over t."""
    time = np.arange(norms.size)
    positive = np.isfinite(norms) & (norms > 0)
    if positive.sum() < 2:
        return math.nan
    return float(np.exp(-np.polyfit(time[positive], np.log(norms[positive]), 1)[0]))


def quartiles(norms: np.ndarray) -> tuple[float, float]:
    """The two factors between which half of all single steps lie."""
    positive = np.isfinite(norms) & (norms > 0)
    steps = positive[:-1] & positive[1:]
    here, after = norms[:-1][steps], norms[1:][steps]
    if not here.size:
        return math.nan, math.nan
    low, high = np.quantile(here / after, (0.25, 0.75))
    return float(low), float(high)


def _firsts(found: Sequence[Trace], stage: str) -> list[Trace]:
    """The traces of one backend at a stage."""
    firsts: dict[tuple[str, str], Trace] = {}
    for trace in found:
        if trace.stage == stage:
            firsts.setdefault(trace.line, trace)
    return list(firsts.values())


def _panel(found: Sequence[Trace], stage: str, backends: Sequence[str], span: tuple[float, float]) -> Panel:
    curves = [
        Curve(np.where(trace.norms > 0, trace.norms, np.nan).tolist(), trace.colour, backends.index(trace.backend))
        for trace in found
        if trace.stage == stage
    ]
    sentences = [
        f"{trace.name}: {error(trace.ends[0])} at step 0, {error(trace.ends[1])} at the end, times "
        f"{digits(factor(trace.norms), 3)} a step back."
        for trace in _firsts(found, stage)
    ]
    alt = f"Size of the gradient over time, {STAGES[stage]}. {' '.join(sentences)}"
    return Panel(task_plots.by_time(f"flow-{stage}", STAGES[stage].capitalize(), alt, curves, span), alt)


def _slopes(found: Sequence[Trace]) -> list[str]:
    """The numbers in words, stage by stage."""
    texts = []
    for stage in dict.fromkeys(trace.stage for trace in found):
        firsts = _firsts(found, stage)
        parts = [
            f"{trace.name} is multiplied by {digits(factor(trace.norms), 3)} a step back on the whole"
            f"{_between(trace.norms)}, and {fraction(trace.share)} of it arrives at step 0"
            for trace in firsts
        ]
        texts.append(" ".join([f"{STAGES[stage].capitalize()}: {'; '.join(parts)}.", *_conclusions(firsts)]))
    return texts


def _between(norms: np.ndarray) -> str:
    low, high = quartiles(norms)
    return f" ({digits(low, 3)} to {digits(high, 3)} in the middle half of the steps)" if math.isfinite(low) else ""


def _conclusions(firsts: Sequence[Trace]) -> list[str]:
    """Which messages fade, which explode, and which arrives best."""
    finite = [trace for trace in firsts if math.isfinite(trace.share)]
    kinds = {
        f"Faded, to less than {FADED:g}": [trace.name for trace in finite if trace.share < FADED],
        f"Exploded, to more than {1 / FADED:,.0f} times": [trace.name for trace in finite if trace.share > 1 / FADED],
    }
    texts = [f"{kind}: {', '.join(lines)}." for kind, lines in kinds.items() if lines]
    if finite and not texts:
        texts.append("None fades or explodes.")
    if len(finite) > 1:
        texts.append(f"The largest share arrives for {max(finite, key=lambda trace: trace.share).name}.")
    return texts


def _agreement(found: Sequence[Trace], backends: Sequence[str]) -> str:
    """The largest relative difference between two backends, over all steps."""
    if len(backends) < 2:
        return f"Only {backends[0]} was run."
    gaps = []
    for stage in dict.fromkeys(trace.stage for trace in found):
        for first in _firsts(found, stage):
            others = [trace.norms for trace in found if (trace.stage, trace.line) == (stage, first.line)][1:]
            gaps += [relative_gaps(norms, first.norms) for norms in others]
    top = float(np.max(np.concatenate(gaps))) if gaps else 0.0
    return (
        f"The lines of {', '.join(backends)} coincide, so their marks alternate along one line: the largest relative "
        f"difference between two of them, at any step, is {error(top)}."
        if top < 1e-6
        else f"The lines of {', '.join(backends)} do NOT coincide: they differ by up to {error(top)} of their size."
    )


def _factors(found: Sequence[Trace]) -> Table:
    rows = [
        (
            trace.name,
            STAGES[trace.stage],
            trace.backend,
            error(trace.ends[1]),
            error(trace.ends[0]),
            f"{factor(trace.norms):.4f}",
        )
        for trace in sorted(found, key=lambda trace: list(dict.fromkeys(t.line for t in found)).index(trace.line))
    ]
    columns = ("Gradient", "When", "Backend", "At the end", "At the first step", "Factor a step back")
    note = (
        "The factor is that of a straight line through the logarithms; where the curve bends, it is only a summary. "
        "“At the end” means the last step at which the gradient is not zero."
    )
    return Table("What a step back in time does to the gradient", columns, tuple(rows), note, numbers=(3, 4, 5))


def _steps(found: Sequence[Trace]) -> Table:
    rows = []
    for stage in dict.fromkeys(trace.stage for trace in found):
        for trace in _firsts(found, stage):
            step = max(1, (trace.norms.size - 1) // SHOWN_STEPS)
            times = range(0, trace.norms.size, step)
            rows += [(STAGES[stage], trace.name, str(t), error(trace.norms[t])) for t in times]
    columns = ("When", "Gradient", "Time step", "Size of the gradient")
    return Table(f"Some of the steps, by {found[0].backend}", columns, tuple(rows), numbers=(2, 3))

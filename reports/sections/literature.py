"""Published results on the tasks, next to those in the records, and in which respect the two agree."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.datasets import TASKS
from common.record_types import Record
from reports.page.model import Section, Table
from reports.page.numbers import count
from reports.results.outcomes import Group, contests
from reports.results.regimen import sequences
from reports.sections.tasks import full_command

# A mean within this share of the baseline has stayed at it.
AT_BASELINE = 0.1
Groups = dict[tuple[str, str, str], Group]


class Published(NamedTuple):
    """A figure as it was published, where, and how the set-up differs from ours.

    ``numbers`` are the published numbers with which ours are compared; ``rule`` interprets them and says whether our
    result, which has a mean, agrees.
    """

    task: str
    reading: str
    cell: str
    figure: str
    source: str
    differs: str
    numbers: tuple[float, ...]
    rule: Callable[[Group, Groups, "Published"], str]

    @property
    def key(self) -> tuple[str, str, str]:
        return self.task, self.reading, self.cell


def literature_section(records: Sequence[Record]) -> Section | None:
    """One row for each published figure; None without outcomes."""
    groups = {(group.task, group.reading, group.cell): group for c in contests(records) for group in c.groups}
    if not groups:
        return None
    rows = []
    for figure in FIGURES:
        group = groups.get(figure.key)
        agreement = figure.rule(group, groups, figure) if group and group.mean is not None else "cannot be decided"
        rows.append(
            (
                *(TASKS[figure.task].title, figure.reading, figure.cell, figure.figure),
                *(_ours(group), agreement, figure.differs, figure.source),
            )
        )
    columns = ("Task", "Variant", "Cell", "Published", "Ours", "Do they agree?", "What differs in the set-up", "Source")
    note = "Ours: the mean over the seeds, and in brackets the lowest and the highest."
    paragraphs = (
        "None of these studies is repeated here: networks, sizes and training differ, as the table says. A published "
        "number is therefore compared only in what both set-ups have in common.",
    )
    table = Table("Published figures next to ours", columns, tuple(rows), note, wrap=True, whole=True)
    return Section("published", "Published figures", paragraphs, (), (table,), (full_command(records),))


def _ours(group: Group | None) -> str:
    if group is None:
        return "not run"
    if group.mean is None:
        return "no score: all runs diverged"
    scores = list(group.scores().values())
    span = f" [{group.text(min(scores))}, {group.text(max(scores))}]" if len(scores) > 1 else ""
    base = group.text(group.first["baseline"])
    return f"{group.first['metric']} {group.text(group.mean)}{span}, baseline {base}"


def _stays(group: Group, _: Groups, __: Published) -> str:
    """Rule for a published figure that stays at the baseline."""
    assert group.mean is not None
    base, mean = group.text(group.first["baseline"]), group.text(group.mean)
    excess = group.mean / group.first["baseline"] - 1
    if abs(excess) <= AT_BASELINE:
        return f"agrees: {mean} is within {AT_BASELINE:.0%} of the baseline, {base}"
    if excess > 0:
        return f"agrees in that it does not get below the baseline: {mean}, baseline {base}"
    return f"disagrees: {mean} is below the baseline, {base}"


def _shorter(group: Group, _: Groups, __: Published) -> str:
    """Rule for published figures with longer delays than ours."""
    assert group.mean is not None
    where = "below" if group.mean < group.first["baseline"] else "not below"
    result = f"{group.text(group.mean)}, {where} the baseline of {group.text(group.first['baseline'])}"
    return f"not comparable: ours has a shorter delay; {result}"


def _under(group: Group, _: Groups, figure: Published) -> str:
    """Rule for a published figure below a limit."""
    assert group.mean is not None
    (limit,) = figure.numbers
    good = sum(score < limit for score in group.scores().values())
    word = "agrees" if group.mean < limit else "disagrees"
    runs = len(group.of(group.reference))
    return f"{word}: {group.text(group.mean)} on average, under {limit:g} in {good} of {runs} runs"


def _seen(group: Group, least: float, most: float) -> str:
    """How many sequences ours saw, compared with the published number."""
    ours = sequences(group)
    if ours is None:
        return ""
    than = "fewer than theirs" if ours < least else "more than theirs" if ours > most else "as many"
    return f"; ours saw {count(ours)} sequences, {than}"


def _wrong(judged: str) -> Callable[[Group, Groups, Published], str]:
    """Rule for a share of wrong sequences; ``judged`` says what counts as wrong on both sides."""

    def rule(group: Group, _: Groups, figure: Published) -> str:
        assert group.mean is not None
        wrong, of, seen = figure.numbers
        theirs, ours = wrong / of, 1 - group.mean
        shares = f"wrong sequences: theirs {theirs:.2%}, ours {ours:.2%}"
        fits = "agrees in that nearly all are right" if ours <= 0.01 else "disagrees: fewer of ours are right"
        return f"{fits}; {shares}; {judged}{_seen(group, seen, seen)}"

    return rule


def _successes(group: Group) -> tuple[int, int]:
    """The number of runs with every test string right, and of all runs."""
    return sum(score == 1 for score in group.scores().values()), len(group.of(group.reference))


def _never(group: Group, _: Groups, figure: Published) -> str:
    good, runs = _successes(group)
    (seen,) = figure.numbers
    word = "agrees" if not good else "disagrees"
    return f"{word}: {good} of {runs} runs get every test string right{_seen(group, seen, seen)}"


def _nearly_always(group: Group, _: Groups, figure: Published) -> str:
    good, runs = _successes(group)
    word = "agrees" if good == runs else "disagrees"
    return f"{word}: {good} of {runs} runs get every test string right{_seen(group, *figure.numbers)}"


def _mnist(group: Group, _: Groups, __: Published) -> str:
    return f"not comparable in numbers: another data set; ours {group.text(group.mean)}"


def _permuted(group: Group, groups: Groups, figure: Published) -> str:
    plain = groups.get((group.task, "plain", group.cell))
    if plain is None or plain.mean is None or group.mean is None:
        return _mnist(group, groups, figure)
    scores = f"plain {group.text(plain.mean)}, permuted {group.text(group.mean)}"
    harder = "is harder" if group.mean < plain.mean else "is not harder here"
    word = "agrees" if group.mean < plain.mean else "disagrees"
    return f"{word} in that the permuted order {harder}: {scores}; the numbers are of another data set"


HS97 = "Hochreiter & Schmidhuber 1997"
HS97_LSTM = (
    "theirs has memory cells that share gates, other activations and other initial biases, truncates its gradients, "
    "and learns from one sequence at a time by SGD"
)
ASB16 = "Arjovsky, Shah & Bengio 2016"
MNIST = "784 steps and 60,000 images there, 64 steps and 1,197 images here: the small sibling, not the same task"
OTHERS = (
    "the same form, one mark in each half, at T=100 (Le, Jaitly & Hinton 2015 mark any two steps); other sizes and "
    "RMSprop there"
)
DELAYS = "delays T of 100, 200, 300 and 500 there, 20 here"

FIGURES = (
    Published(
        task="adding",
        reading="modern",
        cell="RNN",
        figure="at T=100 stays near the baseline, 0.167",
        source=f"{ASB16}, section 5.2, read off figure 2",
        differs=OTHERS,
        numbers=(0.167,),
        rule=_stays,
    ),
    Published(
        task="adding",
        reading="modern",
        cell="LSTM",
        figure="at T=100 far below the baseline of 0.167, under 0.01",
        source=f"{ASB16}, section 5.2, read off figure 2",
        differs=OTHERS,
        numbers=(0.01,),
        rule=_under,
    ),
    Published(
        task="adding",
        reading="1997",
        cell="LSTM1997",
        figure="1 sequence of 2,560 wrong, by 0.04 or more, after 74,000 sequences",
        source=f"{HS97}, experiment 4",
        differs=HS97_LSTM,
        numbers=(1, 2560, 74000),
        rule=_wrong("both count errors of 0.04 or more"),
    ),
    Published(
        task="temporal-order",
        reading="6a",
        cell="LSTM1997",
        figure="1 sequence of 2,560 wrong, after 31,390 sequences",
        source=f"{HS97}, experiment 6a",
        differs=HS97_LSTM,
        numbers=(1, 2560, 31390),
        rule=_wrong("theirs counts outputs off by 0.3, ours the highest output"),
    ),
    Published(
        task="reber",
        reading="embedded",
        cell="RNN",
        figure="no Elman net succeeded within 200,000 sequences",
        source=f"{HS97}, experiment 1",
        differs="an Elman net's training there sees one step back, ours the whole string",
        numbers=(200000,),
        rule=_never,
    ),
    Published(
        task="reber",
        reading="embedded",
        cell="LSTM1997",
        figure="97% to 100% of the trials succeeded, after 8,440 to 39,740 sequences",
        source=f"{HS97}, experiment 1",
        differs=HS97_LSTM,
        numbers=(8440, 39740),
        rule=_nearly_always,
    ),
    Published(
        task="copy",
        reading="copy",
        cell="RNN",
        figure="at the memoryless baseline at T = 100, 200, 300 and 500",
        source=f"{ASB16}, section 5.1, figure 1",
        differs=DELAYS,
        numbers=(100, 200, 300, 500),
        rule=_shorter,
    ),
    Published(
        task="copy",
        reading="copy",
        cell="LSTM",
        figure="below the memoryless baseline only at T = 100, slightly, after long training; at it at 200, 300 and "
        "500",
        source=f"{ASB16}, section 5.1, figure 1",
        differs=DELAYS,
        numbers=(100, 200, 300, 500),
        rule=_shorter,
    ),
    Published(
        task="digits",
        reading="plain",
        cell="LSTM",
        figure="98.2% on MNIST pixel by pixel",
        source=f"{ASB16}, section 5.3",
        differs=MNIST,
        numbers=(98.2,),
        rule=_mnist,
    ),
    Published(
        task="digits",
        reading="permuted",
        cell="LSTM",
        figure="88.0% on permuted MNIST",
        source=f"{ASB16}, section 5.3",
        differs=MNIST,
        numbers=(88.0,),
        rule=_permuted,
    ),
)

"""What was published beside what the records hold, and in which respect the two agree."""

from collections.abc import Callable, Sequence

from common.record_types import Record
from reports.page.model import Section, Table
from reports.page.numbers import count
from reports.results.outcomes import Group, pairs
from reports.results.regimen import sequences
from reports.sections.published import FIGURES, Published
from reports.sections.task_texts import words_of
from reports.sections.tasks import full_command

# A mean within this share of the baseline has stayed at it.
AT_BASELINE = 0.1
Found = dict[tuple[str, str, str], Group]
Rule = Callable[[Group, Found, Published], str]


def literature_section(records: Sequence[Record]) -> Section | None:
    """One row a published figure; None without outcomes."""
    found = {(group.task, group.reading, group.cell): group for pair in pairs(records) for group in pair.groups}
    if not found:
        return None
    rows = []
    for figure in FIGURES:
        key = (figure.task, figure.reading, figure.cell)
        title = words_of(figure.task, figure.reading).title
        told = (_ours(found.get(key)), _agreement(figure, found), figure.differs, figure.source)
        rows.append((title, figure.reading, figure.cell, figure.figure, *told))
    columns = ("Task", "Reading", "Cell", "Published", "Ours", "Do they agree?", "What differs in the set-up", "Source")
    note = "Ours: the mean over the seeds, and in brackets the least and the greatest."
    paragraphs = (
        "None of these studies is repeated here: networks, sizes and training differ, as the table says. So a "
        "published number is compared only in what both set-ups can tell.",
    )
    table = Table("Published figures beside ours", columns, tuple(rows), note, wrap=True, whole=True)
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


def _agreement(figure: Published, found: Found) -> str:
    key = (figure.task, figure.reading, figure.cell)
    group, rule = found.get(key), RULES.get(key)
    if group is None or group.mean is None:
        return "cannot be told"
    return rule(group, found, figure) if rule else "not compared"


def _stays(group: Group, _: Found, __: Published) -> str:
    """For a figure that says that a network stays at the baseline."""
    assert group.mean is not None
    base = group.first["baseline"]
    part = group.mean / base - 1
    if abs(part) <= AT_BASELINE:
        return f"agrees: {group.text(group.mean)} is within {AT_BASELINE:.0%} of the baseline, {group.text(base)}"
    if part > 0:
        return (
            f"agrees in that it does not come below the baseline: {group.text(group.mean)}, baseline {group.text(base)}"
        )
    return f"disagrees: {group.text(group.mean)} is below the baseline, {group.text(base)}"


def _shorter(group: Group, _: Found, __: Published) -> str:
    """For figures of longer delays than ours."""
    assert group.mean is not None
    where = "below" if group.mean < group.first["baseline"] else "not below"
    told = f"{group.text(group.mean)}, {where} the baseline of {group.text(group.first['baseline'])}"
    return f"not comparable: ours has a shorter delay; {told}"


def _under(group: Group, _: Found, figure: Published) -> str:
    """For a figure under a limit."""
    assert group.mean is not None
    limit = figure.numbers[0]
    good = sum(score < limit for score in group.scores().values())
    word = "agrees" if group.mean < limit else "disagrees"
    runs = len(group.of(group.reference))
    return f"{word}: {group.text(group.mean)} on average, under {limit:g} in {good} of {runs} runs"


def _seen(group: Group, least: float, most: float) -> str:
    """How many sequences ours saw beside the published number."""
    ours = sequences(group)
    if ours is None:
        return ""
    than = "fewer" if ours < least else "more" if ours > most else "as many"
    return f"; ours saw {count(ours)} sequences, {than}{'' if than == 'as many' else ' than theirs'}"


def _wrong(group: Group, _: Found, figure: Published) -> str:
    """Shares of wrong sequences, judged in different ways."""
    assert group.mean is not None
    wrong, of, seen = figure.numbers
    theirs, ours = wrong / of, 1 - group.mean
    told = f"wrong sequences: theirs {theirs:.2%}, ours {ours:.2%}"
    fits = "agrees in that nearly all are right" if ours <= 0.01 else "disagrees: fewer of ours are right"
    judged = "theirs counts outputs off by 0.3, ours the highest output"
    return f"{fits}; {told}; {judged}{_seen(group, seen, seen)}"


def _other_measure(group: Group, _: Found, figure: Published) -> str:
    learns = "learns it" if group.beats else "does not learn it"
    limit, seen = figure.numbers[2:]
    how = f"theirs counts errors above {limit:g}, ours is a mean squared error"
    return f"not comparable in numbers: {how}; ours {learns}{_seen(group, seen, seen)}"


def _successes(group: Group) -> tuple[int, int]:
    """Runs with every test string right, of how many."""
    return sum(score == 1 for score in group.scores().values()), len(group.of(group.reference))


def _never(group: Group, _: Found, figure: Published) -> str:
    good, runs = _successes(group)
    word = "agrees" if not good else "disagrees"
    return (
        f"{word}: {good} of {runs} runs get every test string right{_seen(group, figure.numbers[0], figure.numbers[0])}"
    )


def _nearly_always(group: Group, _: Found, figure: Published) -> str:
    good, runs = _successes(group)
    word = "agrees" if good == runs else "disagrees"
    return f"{word}: {good} of {runs} runs get every test string right{_seen(group, *figure.numbers)}"


def _mnist(group: Group, _: Found, __: Published) -> str:
    return f"not comparable in numbers: another data set; ours {group.text(group.mean)}"


def _permuted(group: Group, found: Found, figure: Published) -> str:
    plain = found.get((group.task, "plain", group.cell))
    if plain is None or plain.mean is None or group.mean is None:
        return _mnist(group, found, figure)
    told = f"plain {group.text(plain.mean)}, permuted {group.text(group.mean)}"
    same = (
        "agrees in that the permuted order is harder"
        if group.mean < plain.mean
        else ("disagrees in that the permuted order is not harder here")
    )
    return f"{same}: {told}; the numbers are of another data set"


RULES: dict[tuple[str, str, str], Rule] = {
    ("adding", "modern", "RNN"): _stays,
    ("adding", "modern", "LSTM"): _under,
    ("adding", "1997", "LSTM"): _other_measure,
    ("temporal-order", "6a", "LSTM"): _wrong,
    ("reber", "embedded", "RNN"): _never,
    ("reber", "embedded", "LSTM"): _nearly_always,
    ("copy", "copy", "RNN"): _shorter,
    ("copy", "copy", "LSTM"): _shorter,
    ("digits", "plain", "LSTM"): _mnist,
    ("digits", "permuted", "LSTM"): _permuted,
}

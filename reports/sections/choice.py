"""Which cell suits which task, and which output of the network: the answer before the details."""

from collections.abc import Sequence

from common.model.network import READOUTS
from common.record_types import Record
from reports.page.model import Section, Table
from reports.page.numbers import counted
from reports.results.outcomes import MARGIN_TEXT, Contest, Group, contests
from reports.results.ranking import CLEARLY, Comparison, Ranking, rank
from reports.results.regimen import fairness
from reports.sections.tasks import full_command

# What each cell is; the LSTM of 1997 is not among those to choose from, and has a section of its own.
KINDS = {
    "RNN": "The plain RNN overwrites its state at every step.",
    "LSTM": "The LSTM has a second state, the memory, and three gates that decide what enters, stays and leaves.",
    "GRU": "The GRU has one state and two gates: one decides how much of the state stays, the other how much of it the "
    "new candidate sees.",
}
HISTORICAL = "LSTM1997"
# What must be remembered over at least this many steps counts as far back.
LONG = 50
TIE, IDLE, ALONE = "tie", "idle", "alone"
# Why no cell is better than every other: in a cell of the table, and in the summary; of two cells, and of more.
IN_TABLE = {
    TIE: ("neither clearly", "none clearly"),
    IDLE: ("neither, as trained", "none, as trained"),
    ALONE: ("not compared", "not compared"),
}
IN_SUMMARY = {
    TIE: ("neither is clearly better", "none is better than every other"),
    IDLE: ("neither learns the task (as trained)", "none learns the task (as trained)"),
    ALONE: ("the cells cannot be compared", "the cells cannot be compared"),
}


def choice_section(records: Sequence[Record]) -> Section | None:
    """One row a task and variant; None without outcomes."""
    rankings = [rank(contest) for contest in map(_choosable, contests(records)) if contest.groups]
    if not rankings:
        return None
    played = [ranking.contest for ranking in rankings]
    seeds = counted(max(len(group.seeds) for contest in played for group in contest.groups), "seed")
    paragraphs = (
        _kinds(played),
        *filter(None, [fairness(played)]),
        f"Each score is the mean over {seeds}, that is, over runs that start from different weights, on examples that "
        f"were not trained on (except for the sine wave), in {played[0].first.reference}. The baseline is the score "
        "that can be reached without learning, and a cell has learned the task if its mean is better than the "
        f"baseline {MARGIN_TEXT}. A cell is called better than another if its mean is better and it is ahead in at "
        f"least {CLEARLY:.0%} of the seeds. A run that diverged has no score: it loses to any run with a score, and "
        "counts as the baseline where means are compared.",
    )
    tables = [_choices(rankings)]
    if _several(rankings):
        tables.append(_pairs(rankings))
    return Section(
        anchor="choice",
        title="Which cell for what",
        paragraphs=paragraphs,
        plots=(),
        tables=(*tables, _readouts(played)),
        commands=(full_command(records),),
        findings=tuple(summary(rankings)),
    )


def _choosable(contest: Contest) -> Contest:
    """The same without the LSTM of 1997."""
    return Contest(tuple(group for group in contest.groups if group.cell != HISTORICAL))


def _kinds(played: Sequence[Contest]) -> str:
    """What the cells are."""
    cells = list(dict.fromkeys(group.cell for contest in played for group in contest.groups))
    what = "A recurrent network reads a sequence step by step and carries a state along."
    return " ".join([what, *(KINDS[cell] for cell in KINDS if cell in cells)])


def _several(rankings: Sequence[Ranking]) -> bool:
    """Whether more than two cells compete anywhere."""
    return any(len(ranking.contest.groups) > 2 for ranking in rankings)


def summary(rankings: Sequence[Ranking]) -> list[str]:
    """How often each cell is better, and how often if something must be remembered for long."""
    distant = [ranking for ranking in rankings if ranking.contest.first.words.span >= LONG]
    near = [ranking for ranking in rankings if ranking not in distant]
    texts = [f"Of {counted(len(rankings), 'task variant')}, {_count(rankings)}."]
    if distant and near:
        texts.append(
            f"Where something must be remembered over {LONG} steps or more ({len(distant)} of them), "
            f"{_count(distant)}; of the other {len(near)}, {_count(near)}."
        )
    return texts


def _count(rankings: Sequence[Ranking]) -> str:
    several = _several(rankings)
    results = [result(ranking) for ranking in rankings]
    cells = dict.fromkeys(group.cell for ranking in rankings for group in ranking.contest.groups)
    words = {cell: f"the {cell} is better{' than every other' if several else ''}" for cell in cells}
    words |= {why: texts[several] for why, texts in IN_SUMMARY.items()}
    return ", ".join(f"{text} in {number}" for name, text in words.items() if (number := results.count(name)))


def result(ranking: Ranking) -> str:
    """The cell that is better than every other, or why there is none."""
    if ranking.winner:
        return ranking.winner.cell
    if not ranking.compared:
        return ALONE
    return TIE if ranking.beats_baseline else IDLE


def standing(ranking: Ranking) -> str:
    """The entry in the table: the better of two cells and in how many seeds, or the ranks of several; or why not."""
    several = len(ranking.contest.groups) > 2
    if several and any(pair.clear for pair in ranking.comparisons):
        places = ((group.cell, dict.fromkeys(ranking.places(group))) for group in ranking.ordered)
        return ", ".join(f"{cell} {' to '.join(map(str, ranks))}" for cell, ranks in places)
    if ranking.winner:
        (pair,) = ranking.comparisons
        return f"{pair.leader.cell}, {pair.ahead}/{pair.seeds}"
    return IN_TABLE[result(ranking)][several]


def _choices(rankings: Sequence[Ranking]) -> Table:
    played = [ranking.contest for ranking in rankings]
    cells = list(dict.fromkeys(group.cell for contest in played for group in contest.groups))
    rows = []
    for ranking in rankings:
        contest, first = ranking.contest, ranking.contest.first
        facts, words = first.first, first.words
        scores = [_score(contest.cell(cell)) for cell in cells]
        judged = f"{facts['metric']}, {'higher' if facts['higher'] else 'lower'} is better"
        rows.append(
            (
                *(_name(contest, played), standing(ranking), *scores, first.text(facts["baseline"])),
                *(judged, words.asks, words.remembers, facts["readout"].replace("_", " ")),
            )
        )
    columns = (
        *("Task", "Ranks" if _several(rankings) else "Better, in seeds", *cells, "Baseline"),
        *("Score", "What is asked", "What must be remembered", "Output read"),
    )
    numbers = range(2, 3 + len(cells))
    return Table("The tasks", columns, tuple(rows), _note(rankings), numbers, wrap=True, whole=True)


def _name(contest: Contest, played: Sequence[Contest]) -> str:
    """The title of the task, with the variant where there are several."""
    first = contest.first
    several = sum(other.first.task == first.task for other in played) > 1
    return f"{first.title}: {first.reading}" if several else first.title


def _note(rankings: Sequence[Ranking]) -> str:
    groups = [group for ranking in rankings for group in ranking.contest.groups]
    texts = ["What must be remembered follows from the construction of the task; it was not measured."]
    if _several(rankings):
        texts.append(
            "Ranks: a cell comes after the cells that are better and before those that it is better than; cells that "
            "are not shown to differ share ranks."
        )
    for ranking in rankings:
        if caution := ranking.contest.first.words.caution:
            texts.append(f"{ranking.contest.first.title}: {caution}")
    diverged = [row for group in groups for row in group.diverged]
    if diverged:
        where = ", ".join(dict.fromkeys(f"{row['cell']} on {row['task']} ({row['reading']})" for row in diverged))
        texts.append(f"{counted(len(diverged), 'run')} diverged, without a score: {where}.")
    return " ".join(texts)


def _score(group: Group | None) -> str:
    if group is None:
        return "not run"
    return "diverged" if group.mean is None else group.text(group.mean)


def _pairs(rankings: Sequence[Ranking]) -> Table:
    """Every pair of cells: the evidence for the ranks."""
    played = [ranking.contest for ranking in rankings]
    rows = []
    for ranking in rankings:
        for pair in ranking.comparisons:
            means = (pair.leader.text(pair.leader.mean), pair.other.text(pair.other.mean))
            ahead = f"{pair.ahead} of {pair.seeds}" if pair.seeds else "–"
            name = _name(ranking.contest, played)
            rows.append((name, pair.leader.cell, pair.other.cell, *means, ahead, _decision(pair)))
    columns = ("Task", "Cell", "Against", "Score", "Score of the other", "Ahead in seeds", "Result")
    return Table("Every pair of cells", columns, tuple(rows), numbers=range(3, 6))


def _decision(pair: Comparison) -> str:
    if pair.clear:
        return f"{pair.leader.cell} is better"
    if not pair.seeds:
        return "no seed in common"
    return "not shown to differ" if pair.beats_baseline else "neither learns the task"


def _readouts(played: Sequence[Contest]) -> Table:
    used: dict[str, dict[str, None]] = {}
    for contest in played:
        used.setdefault(contest.first.first["readout"], {})[contest.first.title] = None
    rows = []
    for name in (*(name for name in READOUTS if name in used), *(name for name in used if name not in READOUTS)):
        text, serves = (READOUTS[name].text, READOUTS[name].serves) if name in READOUTS else ("–", "–")
        rows.append((name.replace("_", " "), text, serves, ", ".join(used[name])))
    columns = ("Name", "What is read", "Kind of task", "Here")
    return Table("Which output of the network for which kind of task", columns, tuple(rows))

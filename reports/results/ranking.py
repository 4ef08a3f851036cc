"""Which cell is better on a task: any number of cells, compared two by two over the seeds of both."""

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from reports.page.numbers import counted
from reports.results.outcomes import Contest, Group, better

# A cell is called better if it is ahead in this share of the seeds, and on average.
CLEARLY = 0.8


class Comparison(NamedTuple):
    """Two cells: which stands better on average, and in how many of the seeds of both it is ahead.

    ``clear`` says that the leader is better than the other cell; without it the two are not shown to differ. Cells
    without a common seed (``seeds`` is 0) are not compared.
    """

    leader: Group
    other: Group
    ahead: int
    seeds: int
    clear: bool

    @property
    def beats_baseline(self) -> bool:
        """Whether one of the two beats the baseline; otherwise neither is called better."""
        return self.leader.beats or self.other.beats

    @property
    def equal(self) -> bool:
        """Whether both means are equal in all digits shown."""
        return self.leader.text(self.leader.mean) == self.other.text(self.other.mean)


class Ranking(NamedTuple):
    """The cells of a contest, compared pair by pair."""

    contest: Contest
    comparisons: tuple[Comparison, ...]

    @property
    def compared(self) -> bool:
        """Whether any two cells have a seed in common."""
        return any(pair.seeds for pair in self.comparisons)

    @property
    def beats_baseline(self) -> bool:
        """Whether any cell beats the baseline."""
        return any(group.beats for group in self.contest.groups)

    @property
    def ordered(self) -> list[Group]:
        """The cells by their means, the best first."""
        groups = self.contest.groups
        sign = -1 if groups[0].first["higher"] else 1
        return sorted(groups, key=lambda group: sign * group.standing(group.attempted))

    def places(self, group: Group) -> tuple[int, int]:
        """The best and the worst rank of a cell: after the cells that are better, before those that it is better than.

        Cells that are not shown to differ share ranks.
        """
        better_ones = sum(pair.clear and pair.other.cell == group.cell for pair in self.comparisons)
        worse_ones = sum(pair.clear and pair.leader.cell == group.cell for pair in self.comparisons)
        return 1 + better_ones, len(self.contest.groups) - worse_ones

    @property
    def winner(self) -> Group | None:
        """The cell that is better than every other one; None where there is no other."""
        if len(self.contest.groups) < 2:
            return None
        return next((group for group in self.contest.groups if self.places(group) == (1, 1)), None)


def rank(contest: Contest) -> Ranking:
    """Compare every two cells by their means and seed by seed."""
    return Ranking(contest, tuple(compare(a, b) for a, b in combinations(contest.groups, 2)))


def compare(a: Group, b: Group) -> Comparison:
    """Two cells. A run that diverged is lost, not missing: any score beats it."""
    common = a.attempted & b.attempted
    if not common:
        return Comparison(leader=a, other=b, ahead=0, seeds=0, clear=False)
    of_a, of_b = a.standing(common), b.standing(common)
    leader, other = (b, a) if better(of_b, of_a, a.first) else (a, b)
    ahead = _ahead(leader, other, common)
    if of_a == of_b and (reverse := _ahead(other, leader, common)) > ahead:
        leader, other, ahead = other, leader, reverse
    clear = of_a != of_b and ahead >= CLEARLY * len(common) and (a.beats or b.beats)
    return Comparison(leader=leader, other=other, ahead=ahead, seeds=len(common), clear=clear)


def _ahead(group: Group, other: Group, seeds: Collection[int]) -> int:
    """In how many seeds a group has a score and the other has a worse one or none."""
    mine, theirs = group.scores(), other.scores()
    return sum(seed in mine and (seed not in theirs or better(mine[seed], theirs[seed], group.first)) for seed in seeds)


def verdict_sentence(contest: Contest, named: bool = False) -> str:
    """Which cell is better, by how much and how often; ``named`` names the variant too."""
    where = f"In the variant “{contest.first.reading}”," if named else "On this task,"
    return " ".join([_finding(rank(contest), where), *_losses(contest)])


def _finding(ranking: Ranking, where: str) -> str:
    groups, first = ranking.contest.groups, ranking.contest.first
    scored = [group for group in groups if group.mean is not None]
    sense = "higher" if first.first["higher"] else "lower"
    base = f"(baseline {first.text(first.first['baseline'])}; {sense} is better)"
    if not scored:
        return f"{where} no run has a score."
    means = ", ".join(f"{group.cell} {group.text(group.mean)}" for group in scored)
    if not ranking.beats_baseline:
        who = {1: f"the {first.cell} does not beat", 2: "neither cell beats"}
        return f"{where} {who.get(len(groups), f'none of the {len(groups)} cells beats')} the baseline: {means} {base}."
    if len(groups) == 1:
        return f"{where} the {first.cell} beats the baseline: {means} {base}."
    if not ranking.compared:
        return f"{where} the cells have no seed in common: {means} {base}."
    if len(groups) == 2:
        return f"{where} {_of_two(ranking.comparisons[0], means, base)}"
    return f"{where} {_of_several(ranking, means, base)}"


def _of_two(pair: Comparison, means: str, base: str) -> str:
    leader, other, seeds = pair.leader, pair.other, counted(pair.seeds, "seed")
    if pair.clear:
        score = "no score" if other.mean is None else other.text(other.mean)
        against = f"{leader.text(leader.mean)} against {score} {base}, in {pair.ahead} of {seeds}."
        return " ".join([f"the {leader.cell} is better: {against}", *_not_beating([leader, other])])
    return f"neither cell is clearly better: {means} {base}, {_evidence(pair)}."


def _of_several(ranking: Ranking, means: str, base: str) -> str:
    winner, order = ranking.winner, [group.cell for group in ranking.ordered]
    head = f"the {winner.cell} is better than every other cell" if winner else "no cell is better than every other"
    pairs = [pair for pair in ranking.comparisons if pair.beats_baseline]
    pairs.sort(key=lambda pair: (order.index(pair.leader.cell), order.index(pair.other.cell)))
    clauses = "; ".join(map(_clause, pairs))
    return " ".join([f"{head}: {means} {base}.", f"Two by two: {clauses}.", *_not_beating(ranking.contest.groups)])


def _clause(pair: Comparison) -> str:
    both = f"the {pair.leader.cell} and the {pair.other.cell}"
    if not pair.seeds:
        return f"{both} have no seed in common"
    if pair.clear:
        seeds = counted(pair.seeds, "seed")
        return f"the {pair.leader.cell} is better than the {pair.other.cell} in {pair.ahead} of {seeds}"
    return f"{both} are not shown to differ ({_evidence(pair)})"


def _evidence(pair: Comparison) -> str:
    """How often the leader is ahead."""
    seeds = counted(pair.seeds, "seed")
    if pair.ahead:
        return f"the {pair.leader.cell} ahead in {pair.ahead} of {seeds}"
    return f"equal over {seeds}" if pair.equal else f"ahead in none of {seeds}"


def _not_beating(groups: Sequence[Group]) -> Iterator[str]:
    """The cells with a score that does not beat the baseline."""
    for group in groups:
        if group.mean is not None and not group.beats:
            yield f"The {group.cell} does not beat the baseline."


def _losses(contest: Contest) -> Iterator[str]:
    """Runs without a score, and cells that were not trained."""
    for group in contest.groups:
        if group.diverged:
            lost = sum(row["backend"] == group.reference for row in group.diverged)
            counts = f", of which the {lost} in {group.reference} count as lost" if lost else ""
            runs = counted(len(group.rows), "run")
            yield f"{len(group.diverged)} of {runs} of the {group.cell} diverged{counts}."
    if len(contest.groups) == 1:
        yield "The records hold no other cell."

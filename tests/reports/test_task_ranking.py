"""Which cell the report calls better, for two cells and for more, and the evidence that it gives."""

from typing import Any

import pytest

from reports.page.render import page
from reports.results.outcomes import contests
from reports.results.ranking import rank, verdict_sentence
from reports.sections import build
from reports.sections.choice import standing
from tests.task_records import ORDER, SEEDS, diverged, lines, outcome, runs, section, several

HALF = [0.2, 0.2, 0.2, 0.001, 0.001]
VERDICTS = [
    (
        runs([0.2] * 5, [0.001] * 5),
        "the LSTM is better: 0.00100 against 0.200 (baseline 0.160; lower is better), in 5 of 5",
    ),
    (runs([0.2] * 5, [0.001] * 5), "The RNN does not beat the baseline."),
    (
        runs([0.001] * 5, [0.002] * 5),
        "the RNN is better: 0.00100 against 0.00200 (baseline 0.160; lower is better), in 5",
    ),
    (
        runs([0.9] * 5, [0.75] * 5, ORDER),
        "the RNN is better: 90.0% against 75.0% (baseline 25.0%; higher is better), in 5",
    ),
    (runs([0.9] * 5, [0.5, 0.5, 0.5, 0.5, 0.95], ORDER), "the RNN is better: 90.0% against 59.0%"),
    (
        runs([0.1] * 5, HALF),
        "neither cell is clearly better: RNN 0.100, LSTM 0.120 (baseline 0.160; lower is better), the RNN",
    ),
    (runs([0.1] * 5, HALF), "the RNN ahead in 3 of 5 seeds."),
    (
        runs([1.0] * 5, [1.0] * 5, ORDER),
        "neither cell is clearly better: RNN 100.0%, LSTM 100.0% (baseline 25.0%; higher is",
    ),
    (runs([1.0] * 5, [1.0] * 5, ORDER), "equal over 5 seeds."),
    (
        runs([0.2] * 5, [0.17] * 5),
        "neither cell beats the baseline: RNN 0.200, LSTM 0.170 (baseline 0.160; lower is better).",
    ),
    (
        runs([0.2] * 5, [0.159] * 5),
        "neither cell beats the baseline: RNN 0.200, LSTM 0.159 (baseline 0.160; lower is better).",
    ),
    (
        runs([0.25] * 5, [0.2] * 5, ORDER),
        "neither cell beats the baseline: RNN 25.0%, LSTM 20.0% (baseline 25.0%; higher is",
    ),
    (
        [outcome("LSTM", score=0.01)],
        "the LSTM beats the baseline: LSTM 0.0100 (baseline 0.160; lower is better). The records",
    ),
    (
        [outcome("RNN"), diverged("LSTM")],
        "neither cell beats the baseline: RNN 0.200 (baseline 0.160; lower is better). 1 of 1 run of the LSTM",
    ),
    ([diverged("RNN"), diverged("LSTM")], "no run has a score. 1 of 1 run of the RNN diverged"),
]


@pytest.mark.parametrize(("records", "sentence"), VERDICTS)
def test_verdict(records: list[Any], sentence: str) -> None:
    (contest,) = contests(records)
    assert sentence in verdict_sentence(contest)
    assert verdict_sentence(contest).startswith("On this task, ")
    assert verdict_sentence(contest, named=True).startswith(f"In the variant “{contest.first.reading}”, ")
    assert sentence in page(build(records)).replace("&lt;", "<")


def test_a_run_that_diverged_is_lost_and_not_missing() -> None:
    records = [*runs([0.1] * 5, [0.01] * 5)[:-1], diverged("LSTM", SEEDS[-1]), outcome("RNN", 99, 0.001)]
    (contest,) = contests(records)
    (pair,) = rank(contest).comparisons
    assert (pair.clear, pair.leader.cell, pair.ahead, pair.seeds) == (True, "LSTM", 4, 5)
    assert standing(rank(contest)) == "LSTM, 4/5"
    assert "1 of 5 runs of the LSTM diverged, of which the 1 in numpy count as lost." in verdict_sentence(contest)

    lucky = [*runs([0.1] * 5, [0.01] * 5)[:6], *(diverged("LSTM", seed) for seed in SEEDS[1:])]
    (contest,) = contests(lucky)
    assert standing(rank(contest)) == "RNN, 4/5"

    (contest,) = contests([*runs([0.1] * 5, [0.01] * 5)[:5], *(diverged("LSTM", seed) for seed in SEEDS)])
    assert standing(rank(contest)) == "RNN, 5/5"
    assert "the RNN is better: 0.100 against no score (baseline" in verdict_sentence(contest)
    elsewhere = [*runs([0.1] * 5, [0.01] * 5), diverged("LSTM", backend="torch")]
    assert verdict_sentence(contests(elsewhere)[0]).endswith("1 of 6 runs of the LSTM diverged.")


def test_a_lost_run_counts_as_the_baseline_in_the_mean() -> None:
    """One score of five beats the baseline by far, but not by enough to make up for four lost runs."""
    scores = [outcome("LSTM", SEEDS[0], 0.13), *(diverged("LSTM", seed) for seed in SEEDS[1:])]
    (contest,) = contests(scores)
    assert contest.first.mean == 0.13
    assert contest.first.standing(SEEDS) == pytest.approx(0.154)
    assert not contest.first.beats
    assert contest.first.beating == "1 of 5"


def test_nothing_is_compared_without_a_common_seed() -> None:
    (strange,) = contests([outcome("RNN", 1, 0.1), outcome("LSTM", 2, 0.01)])
    assert rank(strange).winner is None
    assert standing(rank(strange)) == "not compared"
    assert "the cells have no seed in common" in verdict_sentence(strange)
    (idle,) = contests(runs([0.2] * 5, [0.17] * 5))
    assert standing(rank(idle)) == "neither, as trained"
    (alone,) = contests([outcome(score=0.01)])
    assert standing(rank(alone)) == "not compared"
    assert section([outcome(score=0.01)], "choice").findings == (
        "Of 1 task variant, the cells cannot be compared in 1.",
    )


# Cells that are not in the package: a contest takes any number of them.
GOOD, FAIR, POOR, MIXED, IDLE = [0.001] * 5, [0.01] * 5, [0.1] * 5, [0.001, 0.001, 0.02, 0.02, 0.02], [0.2] * 5
CONTESTS = [
    # Cell -> scores; what the table says; parts of the sentence.
    (
        {"RNN": POOR, "LSTM": FAIR, "Third": GOOD},
        "Third 1, LSTM 2, RNN 3",
        (
            "the Third is better than every other cell: RNN 0.100, LSTM 0.0100, Third 0.00100 (baseline 0.160; lower",
            "Two by two: the Third is better than the LSTM in 5 of 5 seeds; the Third is better than the RNN in 5 of 5",
            "; the LSTM is better than the RNN in 5 of 5 seeds.",
        ),
    ),
    (
        {"RNN": GOOD, "LSTM": POOR, "Third": FAIR},
        "RNN 1, Third 2, LSTM 3",
        ("the RNN is better than every other cell", "the Third is better than the LSTM in 5 of 5 seeds"),
    ),
    (  # a tie at the top
        {"RNN": IDLE, "LSTM": FAIR, "Third": MIXED},
        "LSTM 1 to 2, Third 1 to 2, RNN 3",
        (
            "no cell is better than every other: RNN 0.200, LSTM 0.0100, Third 0.0124 (",
            "the LSTM and the Third are not shown to differ (the LSTM ahead in 3 of 5 seeds)",
            "the Third is better than the RNN in 5 of 5 seeds",
            "The RNN does not beat the baseline.",
        ),
    ),
    (  # all the same
        {"RNN": GOOD, "LSTM": GOOD, "Third": GOOD},
        "none clearly",
        ("the RNN and the Third are not shown to differ (equal over 5 seeds)",),
    ),
    (  # between two cells that learn nothing, nothing is decided
        {"RNN": [0.3] * 5, "LSTM": IDLE, "Third": FAIR},
        "Third 1, LSTM 2 to 3, RNN 2 to 3",
        ("The RNN does not beat the baseline. The LSTM does not beat the baseline.",),
    ),
    (
        {"RNN": IDLE, "LSTM": [0.3] * 5, "Third": [0.25] * 5},
        "none, as trained",
        ("none of the 3 cells beats the baseline: RNN 0.200, LSTM 0.300, Third 0.250 (baseline 0.160",),
    ),
    (
        {"RNN": IDLE, "LSTM": POOR, "Third": FAIR, "Fourth": GOOD},
        "Fourth 1, Third 2, LSTM 3, RNN 4",
        (
            "the Fourth is better than every other cell: RNN 0.200, LSTM 0.100, Third 0.0100, Fourth 0.00100",
            "the Fourth is better than the LSTM in 5 of 5 seeds; the Fourth is better than the RNN in 5",
        ),
    ),
    (  # not shown to differ from the first and from the third, which differ
        {"RNN": POOR, "LSTM": FAIR, "Third": MIXED, "Fourth": [0.001, 0.001, 0.001, 0.002, 0.002]},
        "Fourth 1 to 2, LSTM 2 to 3, Third 1 to 3, RNN 4",
        (
            "no cell is better than every other: ",
            "the LSTM and the Third are not shown to differ (the LSTM ahead in 3 of 5 seeds)",
            "the Fourth and the Third are not shown to differ (the Fourth ahead in 3 of 5 seeds)",
            "the Fourth is better than the LSTM in 5 of 5 seeds",
        ),
    ),
]


@pytest.mark.parametrize(("scores", "text", "parts"), CONTESTS)
def test_any_number_of_cells_is_ranked(scores: dict[str, list[float]], text: str, parts: tuple[str, ...]) -> None:
    (contest,) = contests(several(scores))
    ranking = rank(contest)
    assert standing(ranking) == text
    sentence = verdict_sentence(contest)
    for part in parts:
        assert part in sentence
    names = {frozenset((pair.leader.cell, pair.other.cell)) for pair in ranking.comparisons}
    assert len(names) == len(ranking.comparisons) == len(scores) * (len(scores) - 1) // 2
    assert "not compared" not in str(section(several(scores), "choice"))


def test_the_evidence_for_every_two_cells_is_a_table() -> None:
    scores = {"RNN": IDLE, "LSTM": FAIR, "Third": MIXED}
    records = [*several(scores), *runs([0.9] * 5, [0.5] * 5, ORDER)]
    part = section(records, "choice")
    assert part.findings[0] == (
        "Of 2 task variants, the RNN is better than every other in 1, none is better than every other in 1."
    )
    adding, order = lines(part.tables[0])
    assert (adding["Ranks"], adding["Third"], order["Ranks"], order["Third"]) == (
        "LSTM 1 to 2, Third 1 to 2, RNN 3",
        "0.0124",
        "RNN, 5/5",
        "not run",
    )
    assert part.tables[1].rows == (
        ("Adding problem", "LSTM", "RNN", "0.0100", "0.200", "5 of 5", "LSTM is better"),
        ("Adding problem", "Third", "RNN", "0.0124", "0.200", "5 of 5", "Third is better"),
        ("Adding problem", "LSTM", "Third", "0.0100", "0.0124", "3 of 5", "not shown to differ"),
        ("Temporal order", "RNN", "LSTM", "90.0%", "50.0%", "5 of 5", "RNN is better"),
    )
    assert "Every two cells" not in [table.caption for table in section(runs(GOOD, FAIR), "choice").tables]


def test_a_third_cell_with_other_seeds_can_have_any_rank() -> None:
    records = [*runs(POOR, FAIR), *(outcome("Third", seed, 0.001) for seed in (94, 95))]
    (contest,) = contests(records)
    ranking = rank(contest)
    assert ranking.winner is None
    assert standing(ranking) == "Third 1 to 3, LSTM 1 to 2, RNN 2 to 3"
    sentence = verdict_sentence(contest)
    assert "the RNN and the Third have no seed in common" in sentence
    assert "the LSTM is better than the RNN in 5 of 5 seeds" in sentence
    assert [row["Result"] for row in lines(section(records, "choice").tables[1])].count("no seed in common") == 2


def test_a_third_cell_that_diverged_is_last() -> None:
    records = [*runs(POOR, FAIR), *(diverged("Third", seed) for seed in SEEDS)]
    (contest,) = contests(records)
    assert standing(rank(contest)) == "LSTM 1, RNN 2, Third 3"
    assert verdict_sentence(contest).endswith(
        "5 of 5 runs of the Third diverged, of which the 5 in numpy count as lost."
    )


LEADERS = {
    "the better mean, in fewer seeds": ([0.1] * 4 + [0.9], [0.11] * 5, "LSTM"),
    "equal means, ahead in more seeds": ([0.0625] * 4 + [0.125], [0.078125] * 4 + [0.0625], "RNN"),
}


@pytest.mark.parametrize(("rnn", "lstm", "leader"), LEADERS.values(), ids=LEADERS)
def test_neither_mean_nor_seeds_alone_make_a_cell_better(rnn: list[float], lstm: list[float], leader: str) -> None:
    (contest,) = contests(runs(rnn, lstm))
    (pair,) = rank(contest).comparisons
    assert (pair.leader.cell, pair.clear) == (leader, False)

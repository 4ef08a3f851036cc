"""What the report concludes from the outcomes of the tasks: which cell is better, what beats a baseline, the spread."""

import math

import pytest

from reports.page.render import page
from reports.results.outcomes import beats, compare, drift_after, pairs, threshold, verdict_sentence
from reports.sections import build
from reports.sections.choice import winner
from tests.task_records import ADDING, ORDER, SEEDS, diverged, lines, outcome, runs, section

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
def test_verdict(records: list[dict], sentence: str) -> None:
    (pair,) = pairs(records)
    assert sentence in verdict_sentence(pair)
    assert verdict_sentence(pair).startswith("On this task ")
    assert verdict_sentence(pair, named=True).startswith(f"With the reading “{pair.first.reading}” ")
    assert sentence in page(build(records)).replace("&lt;", "<")


def test_a_run_that_diverged_is_lost_and_not_missing() -> None:
    records = [*runs([0.1] * 5, [0.01] * 5)[:-1], diverged("LSTM", SEEDS[-1]), outcome("RNN", 99, 0.001)]
    (pair,) = pairs(records)
    found = compare(pair)
    assert (found.winner, found.ahead, found.seeds) == ("LSTM", 4, 5)
    assert winner(pair) == "LSTM, 4/5"
    assert "1 of 5 runs of the LSTM diverged, of which the 1 in numpy count as lost." in verdict_sentence(pair)

    lucky = [*runs([0.1] * 5, [0.01] * 5)[:6], *(diverged("LSTM", seed) for seed in SEEDS[1:])]
    (pair,) = pairs(lucky)
    assert (compare(pair).winner, compare(pair).ahead, compare(pair).seeds) == ("RNN", 4, 5)

    (pair,) = pairs([*runs([0.1] * 5, [0.01] * 5)[:5], *(diverged("LSTM", seed) for seed in SEEDS)])
    assert winner(pair) == "RNN, 5/5"
    assert "the RNN is better: 0.100 against no score (baseline" in verdict_sentence(pair)
    elsewhere = [*runs([0.1] * 5, [0.01] * 5), diverged("LSTM", backend="torch")]
    assert verdict_sentence(pairs(elsewhere)[0]).endswith("1 of 6 runs of the LSTM diverged.")


def test_a_lost_run_counts_as_the_baseline_in_the_mean() -> None:
    """One score of five beats the baseline by far, but not by enough to make up for four lost runs."""
    scores = [outcome("LSTM", SEEDS[0], 0.13), *(diverged("LSTM", seed) for seed in SEEDS[1:])]
    (pair,) = pairs(scores)
    assert pair.first.mean == 0.13
    assert pair.first.standing(SEEDS) == pytest.approx(0.154)
    assert not pair.first.beats
    assert pair.first.beating == "1 of 5"


def test_nothing_is_compared_without_a_common_seed() -> None:
    (strange,) = pairs([outcome("RNN", 1, 0.1), outcome("LSTM", 2, 0.01)])
    assert (compare(strange).winner, winner(strange)) == ("", "not compared")
    assert "the cells have no seed in common" in verdict_sentence(strange)
    (idle,) = pairs(runs([0.2] * 5, [0.17] * 5))
    assert winner(idle) == "neither, so trained"
    (alone,) = pairs([outcome(score=0.01)])
    assert winner(alone) == "not compared"
    assert section([outcome(score=0.01)], "choice").findings == (
        "Of 1 tasks and readings, the cells cannot be compared in 1.",
    )


# Baseline, test examples, and the share of right answers from which on the baseline is beaten.
THRESHOLDS = [
    (0.25, None, 0.2875),
    (0.25, 10_000, 0.2875),
    (0.25, 100, 0.25 + 2 * math.sqrt(0.25 * 0.75 / 100)),
    (0.0, None, 0.05),
    (0.0, 10, 2 * math.sqrt(0.1 * 0.9 / 10)),
    (1.0, 100, 1.0 + 2 * math.sqrt(0.01 * 0.99 / 100)),
    (0.5, 1, 0.525),
]


@pytest.mark.parametrize(("baseline", "examples", "least"), THRESHOLDS)
def test_a_share_beats_the_baseline_by_more_than_another_draw_changes(
    baseline: float, examples: int | None, least: float
) -> None:
    row = ORDER | {"baseline": baseline} | ({"tested": examples} if examples else {})
    assert threshold(row) == pytest.approx(least)
    assert not beats(least - 1e-9, row)
    assert beats(least + 1e-9, row)


def test_an_error_beats_the_baseline_by_a_share_of_it() -> None:
    assert threshold(ADDING) == pytest.approx(0.152)
    assert threshold(ADDING | {"higher": True}) == pytest.approx(0.168)
    part = section(runs([0.2] * 5, [0.1] * 5), "task-adding")
    assert "Beat it: runs of numpy below 0.152, the baseline with its margin." in part.tables[0].note
    both = [*runs([0.2] * 5, [0.1] * 5), *runs([0.2] * 5, [0.1] * 5, ADDING | {"reading": "1997", "baseline": 0.04})]
    assert "numpy below 0.152 (modern) and 0.0380 (1997), the" in section(both, "task-adding").tables[0].note


def test_scores_of_every_backend_with_their_spread() -> None:
    records = [*runs([0.2, 0.1, 0.3, 0.2, 0.2], [0.01] * 5), diverged("LSTM", 4, backend="jax")]
    records += [outcome("LSTM", seed, 0.02, "jax", drift=[]) for seed in SEEDS[1:]]
    part = section(records, "task-adding")
    rnn, lstm = lines(part.tables[0])
    assert (rnn["numpy"], rnn["jax"], rnn["Baseline"], rnn["Beat it"]) == (
        "0.200 [0.100, 0.300]",
        "not run",
        "0.160",
        "1 of 5",
    )
    assert (lstm["numpy"], lstm["Beat it"]) == ("0.0100 [0.0100, 0.0100]", "5 of 5")
    assert lstm["jax"] == "0.0200 [0.0200, 0.0200], 1 diverged"
    assert "No score: modern, LSTM, jax, seed 4 (loss is not finite after 7 updates)." in part.tables[0].note
    assert "over seeds 4, 5, 6, 7, 8" in part.tables[0].caption
    lost = section([diverged("RNN"), outcome("LSTM")], "task-adding")
    assert lines(lost.tables[0])[0]["numpy"] == "none: 1 diverged"
    assert lines(lost.tables[1])[0]["Updates"] == "–"
    none = section([outcome(score=None), outcome("LSTM")], "task-adding")
    assert "seed 4 (its score is not finite)." in none.tables[0].note


def test_costs_and_drift() -> None:
    records = [
        outcome(),
        outcome(backend="jax"),
        outcome(seed=5, updates=450),
        outcome(seed=5, backend="jax", drift=[[1, 3e-16]]),
    ]
    (line,) = lines(section(records, "task-adding").tables[1])
    assert (line["Parameters"], line["Updates"], line["Seconds a run (median)"]) == (
        "1,185",
        "450 to 500",
        "numpy 2.5, jax 2.5",
    )
    told = [line[f"Drift, {after}"] for after in ("1", "10", "100", "1,000", "all")]
    assert told == ["3.0e-16", "1.0e-15", "2.0e-08", "–", "5.0e-04"]
    assert drift_after([outcome(backend="jax", drift=[[1, 0.0], [9, None]])], 1) == 0
    assert drift_after([outcome(backend="jax", drift=[[1, 0.0], [9, None]])], None) == math.inf


RULE = {"name": "adam", "lr": 0.02, "momentum": 0.0, "clip_norm": 1.0, "schedule": "constant"}
TRAINED = ADDING | {"hidden_size": 32, "optimizer": RULE, "epochs": 8, "batch_size": 20, "patience": None}


def test_how_the_networks_were_trained() -> None:
    told = [outcome("RNN", of=TRAINED), outcome("LSTM", of=TRAINED | {"forget_bias": 4.0})]
    assert (
        "Training: 32 hidden units, Adam with learning rate 0.02, gradients clipped at norm 1; 20 sequences an "
        "update, 8 epochs = 500 updates; forget bias of the LSTM 4 at the start."
    ) in section(told, "task-adding").paragraphs
    whole = TRAINED | {"optimizer": RULE | {"name": "sgd", "clip_norm": None, "momentum": 0.9}, "batch_size": None}
    whole |= {"epochs": 500, "reading": "1997"}
    texts = section([*told, outcome(of=whole, updates=450), outcome(seed=5, of=whole)], "task-adding").paragraphs
    assert (
        "Training (1997): 32 hidden units, SGD with learning rate 0.02, momentum 0.9, no clipping; all examples in "
        "every update, 500 epochs = 450 to 500 updates."
    ) in texts
    assert any(text.startswith("Training (modern): 32 hidden units, Adam") for text in texts)
    pieces = section([outcome(of=TRAINED | {"batch_size": None, "patience": 3})], "task-adding").paragraphs
    assert any("the next piece of every sequence an update, up to 8 epochs (stopped after 3" in t for t in pieces)
    apart = section([told[0], outcome("LSTM", of=TRAINED | {"hidden_size": 16})], "task-adding").paragraphs
    assert any("Training: RNN: 32 hidden units" in text and "; LSTM: 16 hidden units" in text for text in apart)
    assert not any("Training" in text for text in section([outcome()], "task-adding").paragraphs)


def test_what_the_cells_share_and_what_not() -> None:
    small, large = TRAINED | {"parameters": 1185}, TRAINED | {"parameters": 4740}
    told = [outcome("RNN", of=small), outcome("LSTM", of=large | {"forget_bias": 1.0})]
    order = {"task": "temporal-order", "reading": "6a", "parameters": 2370}
    other = [outcome("RNN", of=small | order | {"parameters": 790}), outcome("LSTM", of=large | order)]
    other[1] |= {"forget_bias": 4.0}
    text = " ".join(section([*told, *other], "choice").paragraphs)
    assert "Both cells have the same hidden size, learning rate and number of epochs, chosen for the task as a" in text
    assert "forget bias at the start is set for each task (1 to 4); the RNN has nothing of the kind" in text
    assert "it has only 25% to 33% of the LSTM's parameters." in text
    other[1] |= {"hidden_size": 16}
    assert "Except on 1 of 2 tasks, both cells" in " ".join(section([*told, *other], "choice").paragraphs)
    assert "hidden size" not in " ".join(section([outcome(), outcome("LSTM")], "choice").paragraphs)

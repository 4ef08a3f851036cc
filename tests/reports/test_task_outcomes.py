"""What the report says of the outcomes of the tasks: what beats a baseline, the spread, the cost, the training."""

import math

import pytest

from reports.results.outcomes import beats, drift_after, threshold
from tests.task_records import ADDING, ORDER, RULE, SEEDS, diverged, lines, model, outcome, runs, section

# Baseline, test examples, and the share of correct answers from which on the baseline is beaten.
THRESHOLDS = [
    (0.25, 10**9, 0.2875),
    (0.25, 10_000, 0.2875),
    (0.25, 100, 0.25 + 2 * math.sqrt(0.25 * 0.75 / 100)),
    (0.0, 10**9, 0.05),
    (0.0, 10, 2 * math.sqrt(0.1 * 0.9 / 10)),
    (1.0, 100, 1.0 + 2 * math.sqrt(0.01 * 0.99 / 100)),
    (0.5, 1, 0.525),
]


@pytest.mark.parametrize(("baseline", "examples", "least"), THRESHOLDS)
def test_a_share_beats_the_baseline_by_more_than_another_draw_changes(
    baseline: float, examples: int, least: float
) -> None:
    row = ORDER | {"baseline": baseline, "tested": examples}
    assert threshold(row) == pytest.approx(least)
    assert not beats(least - 1e-9, row)
    assert beats(least + 1e-9, row)


def test_an_error_beats_the_baseline_by_a_share_of_it() -> None:
    assert threshold(ADDING) == pytest.approx(0.152)
    assert threshold(ADDING | {"higher": True}) == pytest.approx(0.168)
    part = section(runs([0.2] * 5, [0.1] * 5), "task-adding")
    assert "“Beat it” counts the runs of numpy below 0.152, the baseline with its margin." in part.tables[0].note
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
    assert (line["Parameters"], line["Updates"], line["Seconds per run (median)"]) == (
        "1,185",
        "450 to 500",
        "numpy 2.5, jax 2.5",
    )
    drifts = [line[f"Drift, {after}"] for after in ("1", "10", "100", "1,000", "all")]
    assert drifts == ["3.0e-16", "1.0e-15", "2.0e-08", "–", "5.0e-04"]
    assert drift_after([outcome(backend="jax", drift=[[1, 0.0], [9, None]])], 1) == 0
    assert drift_after([outcome(backend="jax", drift=[[1, 0.0], [9, None]])], None) == math.inf


TRAINED = ADDING | {"batch_size": 20}


def test_how_the_networks_were_trained() -> None:
    cells = [outcome("RNN", of=TRAINED), outcome("LSTM", of=model(TRAINED, forget_bias=4.0))]
    assert (
        "Training: 32 hidden units, Adam with learning rate 0.02, gradients clipped at norm 1; 20 sequences an "
        "update, 8 epochs = 500 updates; initial forget bias 4 (LSTM)."
    ) in section(cells, "task-adding").paragraphs
    whole = TRAINED | {"optimizer": RULE | {"name": "sgd", "clip_norm": None, "momentum": 0.9}, "batch_size": None}
    whole |= {"epochs": 500, "reading": "1997"}
    texts = section([*cells, outcome(of=whole, updates=450), outcome(seed=5, of=whole)], "task-adding").paragraphs
    assert (
        "Training (1997): 32 hidden units, SGD with learning rate 0.02, momentum 0.9, no clipping; all examples in "
        "every update, 500 epochs = 450 to 500 updates."
    ) in texts
    assert any(text.startswith("Training (modern): 32 hidden units, Adam") for text in texts)
    pieces = section([outcome(of=TRAINED | {"batch_size": None, "patience": 3})], "task-adding").paragraphs
    assert any("the next piece of every sequence an update, up to 8 epochs (stopped after 3" in t for t in pieces)
    apart = section([cells[0], outcome("LSTM", of=model(TRAINED, hidden_size=16))], "task-adding").paragraphs
    assert any("Training: RNN: 32 hidden units" in text and "; LSTM: 16 hidden units" in text for text in apart)


def test_what_the_cells_share_and_what_not() -> None:
    small, large = TRAINED | {"parameters": 1185}, TRAINED | {"parameters": 4740}
    cells = [outcome("RNN", of=small), outcome("LSTM", of=model(large, forget_bias=1.0))]
    order = {"task": "temporal-order", "reading": "6a", "parameters": 2370}
    other = [outcome("RNN", of=small | order | {"parameters": 790}), outcome("LSTM", of=large | order)]
    other[1] = model(other[1], forget_bias=4.0)
    text = " ".join(section([*cells, *other], "choice").paragraphs)
    assert "Both cells have the same hidden size, learning rate and number of epochs, chosen for the task as a" in text
    assert "the initial forget bias of the LSTM is set for each task (1 to 4); the RNN has none" in text
    assert "the initial input bias" not in text
    shut = [
        outcome("GRU", of=small),
        *(outcome(cell, of=large | {"input_bias": -3.0}) for cell in ("LSTM", "LSTMCell")),
    ]
    both = " ".join(section(shut, "choice").paragraphs)
    assert (
        "But the initial input bias of the LSTM and the LSTMCell is set for each task (-3); the GRU has none." in both
    )
    some = " ".join(section([*shut, *(row | order for row in cells)], "choice").paragraphs)
    assert "the initial input bias of the LSTM and the LSTMCell is set in 1 of 2 task variants (-3);" in some
    line = " ".join(section([*shut[:2], model(shut[2], forget_bias=2.0)], "task-adding").paragraphs)
    assert "; initial input bias -3 (LSTM, LSTMCell); initial forget bias 2 (LSTMCell)." in line
    assert "The RNN has only 25% to 33% of the LSTM's parameters." in text
    third = outcome("Third", of=small | {"parameters": 3555})
    text = " ".join(section([*cells, *other, third], "choice").paragraphs)
    assert "All cells have the same hidden size" in text
    assert "the LSTM is set for each task (1 to 4); the RNN and the Third have none." in text
    assert "The RNN has only 25% to 33% of the LSTM's parameters and the Third has only 75% of the" in text
    other[1] = model(other[1], hidden_size=16)
    assert "Except on 1 of 2 tasks, both cells" in " ".join(section([*cells, *other], "choice").paragraphs)
    assert "hidden size" not in " ".join(section([outcome()], "choice").paragraphs)

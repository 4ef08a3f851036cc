"""The report's sections on the gradient's way back through time, and on how runs of two backends diverge."""

import math

import numpy as np
import pytest

from reports.results.outcomes import contests
from reports.sections import drift, flow
from tests.task_records import FLOW, lines, norms, other, outcome, runs, section


def test_gradient_flow() -> None:
    part = section([*FLOW, outcome()], "flow")
    text = " ".join(part.paragraphs)
    assert "Before training: RNN dL/dh_t is multiplied by 0.500 a step back on the whole (0.500 to 0.500 in" in text
    assert f", and {0.5**20:.1e} of it arrives at step 0; LSTM dL/dh_t is multiplied by 0.875" in text
    assert "After training: RNN dL/dh_t is multiplied by 0.250 a step back" in text
    assert "Faded, to less than 0.001: RNN dL/dh_t. The largest share arrives for LSTM dL/dh_t." in text
    assert "dL/dc" not in text
    assert "The lines of numpy, jax coincide" in text
    assert "the largest relative difference between two of them, at any step, is 3.0e-13." in text
    assert [row["Factor a step back"] for row in lines(part.tables[0])] == [
        "0.5000",
        "0.5000",
        "0.2500",
        "0.8750",
        "0.9688",
    ]
    before, after = part.plots[0].panels
    assert f"RNN dL/dh_t: {3 * 0.5**20:.1e} at step 0, 3.0e+00 at the end, times 0.500 a step back." in before.alt
    assert "LSTM dL/dh_t: 1.6e+00 at step 0, 3.0e+00 at the end, times 0.969 a step back." in after.alt
    apart = section([*FLOW, norms("LSTM", "after", 0.96875, "jax", 0.25)], "flow")
    assert "do NOT coincide: they differ by up to 2.5e-01 of their size" in " ".join(apart.paragraphs)
    assert "Only numpy was run." in section(FLOW[:1], "flow").paragraphs[-1]
    silent = norms("RNN", "before", 0.5) | {"norms": {"h": [0.0, 0.0, 0.0]}}
    text = " ".join(section([silent], "flow").paragraphs)
    assert "RNN dL/dh_t is multiplied by not finite a step back on the whole, and not finite of it" in text
    assert math.isnan(flow.factor(np.array([0.0, 0.0, 1.0])))
    assert flow.factor(np.array([0.0, 0.125, 0.25, math.nan, 1.0])) == pytest.approx(0.5)


def test_both_gradients_of_an_lstm() -> None:
    """What is said follows from the numbers: here h fades, c stays, and the RNN explodes."""
    straight = [2.0] * 20 + [0.0]
    records = [norms("RNN", "after", 2.0), norms("LSTM", "after", 0.5, c=straight)]
    part = section([*records, outcome()], "flow")
    text = " ".join(part.paragraphs)
    assert "dL/dh_t with the memory c_t held fixed, and dL/dc_t with h_t held fixed" in text
    assert "LSTM dL/dc_t is multiplied by 1.00 a step back on the whole (1.00 to 1.00 in the middle half" in text
    assert "of the steps), and 1.0 of it arrives at step 0." in text
    assert "Faded, to less than 0.001: LSTM dL/dh_t. Exploded, to more than 1,000 times: RNN dL/dh_t." in text
    assert "The largest share arrives for RNN dL/dh_t." in text
    assert [row[0] for row in part.tables[0].rows] == ["RNN dL/dh_t", "LSTM dL/dh_t", "LSTM dL/dc_t"]
    assert lines(part.tables[0])[-1]["At the end"] == "2.0e+00"
    legend = part.plots[0].legend
    assert [key.label for key in legend] == ["RNN dL/dh_t", "LSTM dL/dh_t", "LSTM dL/dc_t", "numpy"]
    assert len({key.colour for key in legend}) == 4
    assert all(f"var({key.colour})" in part.plots[0].panels[0].svg for key in legend[:3])
    calm = section([norms("RNN", "before", 0.99), norms("LSTM", "before", 0.98)], "flow")
    assert "None fades or explodes. The largest share arrives for RNN dL/dh_t." in " ".join(calm.paragraphs)


def test_factors_of_single_steps() -> None:
    assert flow.quartiles(np.array([1.0, 2.0, 4.0, 8.0, 0.0])) == (0.5, 0.5)
    assert flow.quartiles(np.array([3.0, 1.0, 4.0])) == pytest.approx((0.25 + 0.6875, 0.25 + 3 * 0.6875))
    assert all(map(math.isnan, flow.quartiles(np.array([0.0, 1.0]))))


def test_drift_between_backends() -> None:
    short = outcome("LSTM", backend="jax", drift=[[1, 0.0], [100, 4e-9]])
    records = [
        outcome(),
        outcome(backend="jax"),
        outcome("LSTM"),
        short,
        outcome("LSTM", 5),
        outcome("LSTM", 5, backend="jax", drift=[[1, 1e-16]]),
    ]
    part = section(records, "drift")
    text = " ".join(part.paragraphs)
    assert (
        "2 of 3 runs diverge by 1e-9 of the loss, the first after 90 updates (Adding problem, modern, RNN), half"
        in text
    )
    assert "half of these by update 95. In order: Adding problem, modern, RNN; Adding problem" in text
    assert "1 of 3 runs diverge by 1e-6 of the loss, the first after 500 updates (Adding problem, modern, RNN)" in text
    assert "None of 3 runs diverges by 1e-3 of the loss." in text
    found = {(row["Diverged by"], row["Cell"]): row for row in lines(part.tables[0])}
    assert (found["1e-9", "RNN"]["Runs"], found["1e-9", "RNN"]["First, at update"]) == ("1 of 1 (100%)", "90")
    assert (found["1e-9", "LSTM"]["Runs"], found["1e-9", "LSTM"]["First, at update"]) == ("1 of 2 (50%)", "100")
    assert found["1e-3", "LSTM"]["First, at update"] == "–"
    rnn, lstm = part.plots[0].panels
    assert (
        "RNN: after 1 update the median relative difference is 0 and the largest 0; after 500, 5.0e-04 and 5.0e-04."
        in rnn.alt
    )
    assert (
        "LSTM: after 1 update the median relative difference is 5.0e-17 and the largest 1.0e-16; after 100, 2.0e-09"
        in lstm.alt
    )
    (run,) = drift.divergences(contests([outcome(backend="jax", drift=[[1, 2e-9], [9, None]])])[0].first)
    assert (run.reaches(1e-9), run.reaches(1e-3), run.after(400)) == (1, 9, math.inf)
    (run,) = drift.divergences(contests([outcome(backend="jax")])[0].first)
    assert (run.after(90), run.after(300), run.after(301), run.after(999)) == (2e-8, 2e-8, 5e-4, 5e-4)
    early = [outcome(), outcome(backend="jax"), outcome("LSTM"), outcome("LSTM", backend="jax", drift=[[3, 4e-9]])]
    text = " ".join(section(early, "drift").paragraphs)
    assert "the first after 3 updates (Adding problem, modern, LSTM), half of these by update 46." in text
    assert "In order: Adding problem, modern, LSTM; Adding problem, modern, RNN." in text
    lost = [outcome(), outcome(backend="jax", drift=[[1, 2e-9], [9, None]])]
    assert "not finite" in section(lost, "drift").plots[0].panels[0].alt


def test_scores_agree_or_do_not() -> None:
    base = runs([0.1, 0.2, 0.1, 0.2, 0.1], [0.01, 0.02, 0.01, 0.02, 0.01])
    same = [other(row) for row in base]
    text = " ".join(section([*base, *same], "drift").paragraphs)
    assert "The scores agree nevertheless: in 2 of 2 comparisons of a backend with the reference the mean" in text
    assert "in all 2 they differ by no more than the best and the worst seed do." in text
    near = [other(row, score=row["score"] + 0.005 * (row["cell"] == "LSTM")) for row in base]
    text = " ".join(section([*base, *near], "drift").paragraphs)
    assert "in 1 of 2 comparisons" in text
    assert "in all 2 they differ by no more than the best and the worst seed do." in text
    apart = [other(row, score=row["score"] + 0.05 * (row["cell"] == "LSTM")) for row in base]
    text = " ".join(section([*base, *apart], "drift").paragraphs)
    assert "Most scores agree nevertheless: in 1 of 2" in text
    assert "They do NOT in 1: Adding problem, modern, LSTM, jax." in text


def test_drift_names_its_own_reference() -> None:
    """Where numpy diverged, another backend is the reference of the drift."""
    records = [outcome(), outcome(seed=5, backend="torch") | {"reference": "jax"}]
    assert "losses of jax and of another" in section(records, "drift").plots[0].caption
    assert "loss from that of jax in the first" in section(records, "task-adding").tables[1].note
    mixed = [*records, outcome(backend="torch") | {"reference": "numpy"}]
    assert "losses of jax or numpy and of another" in section(mixed, "drift").plots[0].caption
    plain = [outcome(), outcome(backend="jax")]
    assert "losses of numpy and of another" in section(plain, "drift").plots[0].caption

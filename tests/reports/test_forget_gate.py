"""What the report says about the forget gate: the LSTM of 1997 beside the LSTM on the tasks of its paper."""

from typing import Any

from reports.page.render import markdown, page
from reports.sections import build
from reports.sections.choice import choice_section
from reports.sections.forget_gate import forget_gate_section
from tests.task_records import ORDER, SEEDS, diverged, lines, model, outcome, section, several

# The three tasks of the paper, with invented scores: 2 updates an epoch, 10 sequences an update.
SHARED = {"batch_size": 10, "epochs": 8, "updates": 16, "input_bias": -3.0, "parameters": 300}
REBER, SUM, CLASSES = (
    ORDER | SHARED | {"task": task, "reading": reading}
    for task, reading in (("reber", "embedded"), ("adding", "1997"), ("temporal-order", "6a"))
)
# Losses on the validation data after each epoch: 90% of the way from 1 to 0 is 0.1.
SLOW, NEVER = ([[2, 1.0], [4, 0.2], [6, low]] for low in (0.09, 0.11))
FAST = [[2, 0.5], [4, 0.05], [6, 0.0]]


def of_task(of: Any, old: list[float], new: list[float], curves: Any = None) -> list[Any]:
    rows = several({"LSTM1997": old, "LSTM": new}, of)
    return [row | ({"evaluations": curves[row["cell"]]} if curves else {}) for row in rows]


def rows_of(records: list[Any]) -> dict[tuple[str, str], dict[str, str]]:
    return {(line["Task"], line["Cell"]): line for line in lines(section(records, "forget-gate").tables[0])}


def test_each_task_says_which_cell_is_better_and_how_soon() -> None:
    records = of_task(SUM, [0.75] * 5, [1.0] * 5, {"LSTM1997": SLOW, "LSTM": FAST})
    records += of_task(CLASSES, [1.0, 1.0, 1.0, 1.0, 0.5], [0.9] * 5)
    records += of_task(REBER, [0.2] * 5, [0.1] * 5)
    part = section(records, "forget-gate")
    assert part.findings == (
        "Embedded Reber grammar: neither learns it (LSTM1997 20.0%, LSTM 10.0%).",
        "Adding problem: 1997: better with the forget gate (LSTM 100.0%, LSTM1997 75.0%; the LSTM ahead in 5 of 5 "
        "seeds).",
        "Temporal order: the two are not shown to differ (LSTM1997 90.0%, LSTM 90.0%; the LSTM1997 ahead in 4 of 5 "
        "seeds).",
    )
    table = rows_of(records)
    assert len(table) == 6
    old, new = table["Adding problem: 1997", "LSTM1997"], table["Adding problem: 1997", "LSTM"]
    assert (old["Test score, mean [range]"], new["Runs that beat the baseline"]) == ("75.0% [75.0%, 75.0%]", "5 of 5")
    assert (old["Sequences to learn it"], new["Sequences to learn it"]) == ("60 (5 of 5 runs)", "40 (5 of 5 runs)")
    assert (old["Sequences seen"], old["Parameters"], old["Initial biases"]) == ("160", "300", "input -3")
    assert table["Temporal order", "LSTM"]["Sequences to learn it"] == "–"
    text = " ".join(part.paragraphs)
    assert "c_new = c_old + i * g" in text
    assert "Both have the same hidden size" in text
    assert "do not hold" not in text
    assert part.title in page(build(records))
    assert f"## {part.title}\n" in markdown(build(records))


def test_runs_that_never_learn_are_not_in_the_median() -> None:
    records = of_task(SUM, [0.5] * 5, [1.0] * 5, {"LSTM1997": NEVER, "LSTM": FAST})
    assert rows_of(records)["Adding problem: 1997", "LSTM1997"]["Sequences to learn it"] == "(0 of 5 runs)"
    late = [row | ({"evaluations": SLOW} if (row["cell"], row["seed"]) == ("LSTM1997", 4) else {}) for row in records]
    assert rows_of(late)["Adding problem: 1997", "LSTM1997"]["Sequences to learn it"] == "60 (1 of 5 runs)"


def test_of_runs_that_learn_at_different_times_the_median_is_said() -> None:
    records = of_task(SUM, [0.5] * 5, [1.0] * 5, {"LSTM1997": NEVER, "LSTM": FAST})
    ends = dict(zip(SEEDS, (2, 4, 4, 14, 16), strict=True))
    each = [
        row | ({"evaluations": [[1, 1.0], [ends[row["seed"]], 0.0]]} if row["cell"] == "LSTM" else {})
        for row in records
    ]
    assert rows_of(each)["Adding problem: 1997", "LSTM"]["Sequences to learn it"] == "40 (5 of 5 runs)"


def test_what_is_absent_is_said_to_be() -> None:
    alone = several({"LSTM": [0.9] * 5}, CLASSES)
    part = section(alone, "forget-gate")
    assert part.findings == ()
    assert "so nothing is compared" in part.paragraphs[1]
    assert part.paragraphs[2] == (
        "The records do not hold: LSTM1997 on Embedded Reber grammar, LSTM on Embedded Reber grammar, "
        "LSTM1997 on Adding problem: 1997, LSTM on Adding problem: 1997, LSTM1997 on Temporal order."
    )
    assert rows_of(alone)["Temporal order", "LSTM1997"]["Test score, mean [range]"] == "not run"
    assert forget_gate_section([]) is None
    assert forget_gate_section([outcome("LSTM"), outcome("RNN", of=CLASSES)]) is None  # the modern form is no such task


def test_runs_that_were_trained_in_another_way_or_diverged() -> None:
    records = of_task(SUM, [0.5] * 5, [1.0] * 5)
    for changed in ({"input_bias": None}, {"epochs": 9}, {"batch_size": 5}):
        other = [row | (changed if row["cell"] == "LSTM" else {}) for row in records]
        assert "The two are NOT trained in the same way" in " ".join(section(other, "forget-gate").paragraphs)
    more = [model(row, forget_bias=4.0) if row["cell"] == "LSTM" else row for row in records]
    assert "Both have the same" in " ".join(section(more, "forget-gate").paragraphs)
    assert rows_of(more)["Adding problem: 1997", "LSTM"]["Initial biases"] == "forget 4, input -3"
    lost = [*records[5:], *(diverged("LSTM1997", seed, of=SUM) for seed in SEEDS)]
    assert rows_of(lost)["Adding problem: 1997", "LSTM1997"]["Test score, mean [range]"] == "none"
    assert section(lost, "forget-gate").findings[0].startswith("Adding problem: 1997: better with the forget gate (")


def test_the_lstm_of_1997_is_not_among_the_cells_to_choose_from() -> None:
    records = [*of_task(CLASSES, [1.0] * 5, [0.9] * 5), *several({"RNN": [0.3] * 5, "GRU": [0.8] * 5}, CLASSES)]
    part = section(records, "choice")
    assert part.findings == ("Of 1 task variant, the LSTM is better than every other in 1.",)
    assert "LSTM1997" not in part.tables[0].columns
    assert len(part.tables[1].rows) == 3
    for words in ("plain RNN", "The LSTM has", "The GRU has"):
        assert words in part.paragraphs[0]
    assert "GRU" not in section(several({"RNN": [0.3] * 5, "LSTM": [0.8] * 5}, CLASSES), "choice").paragraphs[0]
    assert choice_section(several({"LSTM1997": [0.3] * 5}, CLASSES)) is None

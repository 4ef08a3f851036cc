"""Which cell and which output the report recommends for what, and what was published about the tasks."""

import pytest

from common.datasets import TASKS, load
from common.model.network import READOUTS
from reports.page.render import page
from reports.sections import build
from reports.sections.literature import FIGURES
from tests.task_records import ADDING, ALL, ORDER, VARIANTS, diverged, lines, outcome, runs, section, several


def test_which_cell_for_what() -> None:
    records = [*runs([0.2] * 5, [0.001] * 5), *runs([0.9] * 5, [0.5] * 5, ORDER)]
    records += [outcome(cell, of=ORDER | {"task": "places", "reading": "letters"}) for cell in ("RNN", "LSTM")]
    part = section(records, "choice")
    assert part.findings == (
        "Of 3 task variants, the RNN is better in 1, the LSTM is better in 1, neither learns the task (as trained) "
        "in 1.",
        "Where something must be remembered over 50 steps or more (2 of them), the RNN is better in 1, the LSTM is "
        "better in 1; of the other 1, neither learns the task (as trained) in 1.",
    )
    adding, order, places = lines(part.tables[0])
    assert (adding["Task"], adding["Better, in seeds"], adding["RNN"], adding["LSTM"], adding["Baseline"]) == (
        "Adding problem",
        "LSTM, 5/5",
        "0.200",
        "0.00100",
        "0.160",
    )
    assert (order["Better, in seeds"], places["Better, in seeds"]) == ("RNN, 5/5", "neither, as trained")
    assert (adding["Output read"], adding["Score"]) == ("last step", "MSE, lower is better")
    assert [row["Task"] for row in lines(section(ALL, "choice").tables[0])][:2] == [
        "Sine wave: windows",
        "Sine wave: article",
    ]
    assert [part.anchor for part in build(records).sections][:2] == ["summary", "choice"]
    assert "1 run diverged, without a score: LSTM on adding (modern)." in page(build([outcome(), diverged("LSTM")]))
    assert lines(section([outcome(), diverged("LSTM")], "choice").tables[0])[0]["LSTM"] == "diverged"
    assert "not measured" in part.tables[0].note


def test_which_output_for_which_kind_of_task() -> None:
    found = {line["Name"]: line for line in lines(section([outcome(of=ORDER), *ALL], "choice").tables[1])}
    assert set(found) == {"last step"}
    assert found["last step"]["Kind of task"].startswith("one answer to a whole sequence")
    assert "Temporal order" in found["last step"]["Here"]
    every = lines(
        section([outcome(of=ADDING | {"task": name, "readout": name}) for name in READOUTS], "choice").tables[1]
    )
    assert [line["What is read"] for line in every] == [readout.text for readout in READOUTS.values()]


def test_published_figures_next_to_ours() -> None:
    records = [*runs([0.165] * 5, [0.002, 0.001, 0.001, 0.001, 0.02]), *several({"LSTM1997": [0.98] * 5}, ORDER)]
    reber = ORDER | {"task": "reber", "reading": "embedded", "metric": "success rate", "baseline": 0.0}
    records += several({"RNN": [0.5] * 5, "LSTM1997": [1.0, 1.0, 1.0, 1.0, 0.99]}, reber)
    copy = ADDING | {"task": "copy", "reading": "copy", "baseline": 0.52}
    records += runs([0.4] * 5, [0.1] * 5, copy)
    for reading, score in (("plain", 0.95), ("permuted", 0.9)):
        records += runs([0.5] * 5, [score] * 5, ORDER | {"task": "digits", "reading": reading})
    (table,) = section(records, "published").tables
    found = {(line["Task"], line["Variant"], line["Cell"]): line for line in lines(table)}
    assert len(found) == len(FIGURES) == len(table.rows)

    def agrees(*key):
        return found[key]["Do they agree?"]

    assert agrees("Adding problem", "modern", "RNN") == "agrees: 0.165 is within 10% of the baseline, 0.160"
    assert agrees("Adding problem", "modern", "LSTM") == "agrees: 0.00500 on average, under 0.01 in 4 of 5 runs"
    assert found["Adding problem", "modern", "LSTM"]["Ours"] == "MSE 0.00500 [0.00100, 0.0200], baseline 0.160"
    assert found["Adding problem", "1997", "LSTM1997"]["Ours"] == "not run"
    assert agrees("Adding problem", "1997", "LSTM1997") == "cannot be decided"
    assert "disagrees: fewer of ours are right; wrong sequences: theirs 0.04%, ours 2.00%" in agrees(
        "Temporal order", "6a", "LSTM1997"
    )
    assert agrees("Embedded Reber grammar", "embedded", "RNN") == "agrees: 0 of 5 runs get every test string right"
    assert (
        agrees("Embedded Reber grammar", "embedded", "LSTM1997") == "disagrees: 4 of 5 runs get every test string right"
    )
    assert agrees("Copying memory", "copy", "RNN") == (
        "not comparable: ours has a shorter delay; 0.400, below the baseline of 0.520"
    )
    assert agrees("Copying memory", "copy", "LSTM").startswith("not comparable: ours has a shorter delay; 0.100, below")
    assert agrees("Handwritten digits", "plain", "LSTM") == "not comparable in numbers: another data set; ours 95.0%"
    assert agrees("Handwritten digits", "permuted", "LSTM").startswith(
        "agrees in that the permuted order is harder: plain 95.0%"
    )
    worse = [
        *runs([0.3] * 5, [0.18] * 5),
        *several({"LSTM1997": [0.999] * 5}, ORDER),
        *runs([0.6] * 5, [0.5] * 5, copy),
    ]
    comparisons = {
        line["Task"] + line["Cell"]: line["Do they agree?"] for line in lines(section(worse, "published").tables[0])
    }
    assert comparisons["Adding problemRNN"].startswith("agrees in that it does not get below the baseline: 0.300")
    assert comparisons["Temporal orderLSTM1997"].startswith("agrees in that nearly all are right")
    assert comparisons["Copying memoryRNN"].endswith("0.600, not below the baseline of 0.520")
    adding = {"task": "adding", "reading": "1997"}
    (missed,) = [
        line
        for line in lines(section([*worse, *several({"LSTM1997": [0.2] * 5}, ORDER | adding)], "published").tables[0])
        if line["Variant"] == "1997"
    ]
    assert missed["Do they agree?"] == (
        "disagrees: fewer of ours are right; wrong sequences: theirs 0.04%, ours 80.00%; both count errors of 0.04 or "
        "more"
    )


def test_every_published_figure_is_listed_once() -> None:
    assert len({figure.key for figure in FIGURES}) == len(FIGURES)


def test_how_many_sequences_were_seen_next_to_the_published_number() -> None:
    def compared(task: str, reading: str, cell: str, updates: int, **options) -> str:
        of = ADDING | {"task": task, "reading": reading, "batch_size": 20, "updates": updates} | options
        rows = lines(section([outcome(cell, of=of)], "published").tables[0])
        title = TASKS[task].title
        (line,) = [r for r in rows if (r["Task"], r["Variant"], r["Cell"]) == (title, reading, cell)]
        return line["Do they agree?"]

    assert compared("adding", "1997", "LSTM1997", 1250).endswith("ours saw 25,000 sequences, fewer than theirs")
    assert compared("adding", "1997", "LSTM1997", 3700).endswith("ours saw 74,000 sequences, as many")
    assert compared("temporal-order", "6a", "LSTM1997", 1600).endswith("ours saw 32,000 sequences, more than theirs")
    assert compared("reber", "embedded", "LSTM1997", 640, higher=True).endswith("ours saw 12,800 sequences, as many")
    assert compared("reber", "embedded", "RNN", 640, higher=True).endswith(
        "ours saw 12,800 sequences, fewer than theirs"
    )
    assert "saw" not in compared("adding", "1997", "LSTM1997", 1250, batch_size=None)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: "-".join(figure.key))
def test_the_numbers_of_a_published_figure_are_those_of_its_text(figure) -> None:
    for number in figure.numbers:
        assert any(f"{text}" in figure.figure for text in (f"{number:,}", f"{number:g}")), number


def test_published_set_ups_are_distinguished_from_ours_by_correct_numbers() -> None:
    """What the texts say of our own side is what the data sets hold."""
    of = {figure.key: figure for figure in FIGURES}
    baseline = f"{load('adding', 'modern').scoring.baseline.value:.3f}"
    assert all(baseline in of["adding", "modern", cell].figure for cell in ("RNN", "LSTM"))
    steps = TASKS["adding"].options().steps
    assert all(f"T={steps}" in of["adding", "modern", cell].figure for cell in ("RNN", "LSTM"))
    assert all(
        of["copy", "copy", cell].differs.endswith(f", {TASKS['copy'].options().delay} here") for cell in ("RNN", "LSTM")
    )
    digits = load("digits", "plain").train.x.shape
    here = f"{digits[0]} steps and {digits[1]:,} images here"
    assert all(here in of["digits", reading, "LSTM"].differs for reading in ("plain", "permuted"))


def test_the_words_state_the_sizes_of_the_tasks() -> None:
    sizes = {
        ("adding", "modern"): 100,
        ("adding", "1997"): 110,
        ("temporal-order", "6a"): 100,
        ("sum", "sequence"): 100,
        ("copy", "copy"): 30,
        ("digits", "plain"): 64,
    }
    words = {(name, reading): TASKS[name].readings[reading] for name, reading in VARIANTS}
    for key, span in sizes.items():
        assert words[key].span == span
        assert str(span) in words[key].remembers
    for key in (
        ("adding", "modern"),
        ("adding", "1997"),
        ("temporal-order", "6a"),
        ("sum", "sequence"),
        ("copy", "copy"),
    ):
        assert len(load(*key).test.x) >= words[key].span
    assert words["temporal-order", "6a"].remembers == "two letters over 40 to 100 steps"
    assert "wait 20 steps" in words["copy", "copy"].asks
    assert "far above one half" in section(ALL, "choice").tables[0].note
    assert "far above one half" in " ".join(section(ALL, "task-reber").paragraphs)
    for reading in words.values():
        assert all((reading.summary, reading.asks, reading.remembers, reading.span, reading.readout))
    assert all((task.title, task.summary, task.source) for task in TASKS.values())

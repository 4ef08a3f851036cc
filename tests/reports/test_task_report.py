"""The report's sections for the tasks of the full study: what they draw, write, and do without."""

import re

import pytest

import reports
from common.model.cells import LAYERS
from reports.page import plots
from reports.page.render import MARKDOWN_LIMIT, markdown, page
from reports.page.task_plots import DASH_MARKS, cell_style
from reports.sections import build
from reports.sections.choice import choice_section
from tests.task_records import ADDING, ALL, STUDY, VARIANTS, diverged, outcome, runs, sample, section, study


def test_text_that_was_written() -> None:
    records = [outcome(of=ADDING | {"task": "text", "reading": "characters"}), sample(), sample(backend="jax")]
    records += [sample(temperature=0.7, text="drawn"), sample(temperature=0.7, backend="jax", text="drawn")]
    greedy, drawn = section(records, "task-text").blocks
    assert "always the likeliest character; the same text from numpy and jax" in greedy.caption
    assert "drawn, with temperature 0.7; the same text from" in drawn.caption
    assert (greedy.text, drawn.text) == ("The of  the\n  list <b>~~~~", "The drawn")
    (differs,) = section([records[0], sample(), sample(backend="jax", text="to")], "task-text").blocks
    assert "the texts of the backends DIFFER" in differs.caption
    assert differs.text == "The of  the\n  list <b>~~~~\n\nThe to"
    report = build(records)
    assert "The of  the\n  list &lt;b&gt;~~~~</pre>" in page(report)
    assert "```text\nThe of  the\n  list <b>~~~~\n```" in markdown(report)


ALTS = [
    ("sine", "RNN, windows, numpy, seed 4: a wave between 0 and 1 and 2 predictions, at most 0.25 from it and 0.12 on"),
    (
        "sum",
        "mean absolute error of the sum, from 1.5 at 14 to 3.0 at 60 (length of the series); without learning from 9.0",
    ),
    (
        "adding",
        "Half lie within 0.25 of the diagonal, where both are equal, all within 0.50. The correct answers go from",
    ),
    ("temporal-order", "RNN, 6a, numpy, seed 4: 37 of 50 right; most often R was taken for Q, 11 times."),
    (
        "copy",
        "accuracy of the digit, from 0.75 at 1 to 0.50 at 2 (position in the answer); "
        "without learning from 0.12 to 0.12.",
    ),
]


@pytest.mark.parametrize(("task", "alt"), ALTS)
def test_pictures_describe_their_numbers(task: str, alt: str) -> None:
    part = section(STUDY, f"task-{task}")
    rnn, lstm = part.plots[0].panels
    assert alt in rnn.alt
    assert lstm.alt.startswith("LSTM, ")
    assert all(panel.svg.count(f'aria-label="{panel.alt}"') == 1 for panel in (rnn, lstm))
    assert {row[0] for row in part.plots[0].data.rows} == {"RNN", "LSTM"}
    colours = [key.colour for key in part.plots[-1].legend]
    assert len(set(colours)) == 2
    assert all(f"var({name})" in part.plots[-1].panels[0].svg for name in colours)
    assert "Training loss" in part.plots[-1].panels[0].alt
    assert "RNN: from 0.50 to 0.12 (0.12 to 0.12 over 1 seed)." in part.plots[-1].panels[0].alt


def test_the_confusion_matrix_shows_its_counts() -> None:
    part = section(STUDY, "task-temporal-order")
    svg = part.plots[0].panels[0].svg
    assert re.findall(r">(\d+)</text>", svg) == ["30", "2", "11", "7"]
    assert "RNN: 74.0% right</text>" in svg
    assert [svg.count(f'fill="var({name})"') for name in ("--heat-6", "--heat-4", "--heat-3", "--heat-1")] == [
        1,
        1,
        1,
        1,
    ]
    assert svg.count("var(--on-heat)") == 2
    assert part.plots[0].data.rows[1] == ("RNN", "R", "11", "7")


def test_examples_are_a_table() -> None:
    part = section(STUDY, "task-reber")
    assert [table.caption for table in part.tables[2:]] == [
        "Examples: RNN, numpy, seed 4",
        "Examples: LSTM, numpy, seed 4",
    ]
    assert part.tables[2].rows == (("BT|P`E", "T"), ("BP", "P"))
    assert ("first goes wrong" in part.tables[2].note, part.tables[3].note) == (True, "")
    assert "| <code>BT\\|P\\`E</code> | T |" in markdown(study())


def test_same_records_same_bytes_and_a_page_of_its_own() -> None:
    text, again = page(study()), page(build(STUDY))
    assert text == again
    assert not re.search(r"https?:|@import|#fe01|<script|<img", text)
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', text)) <= set(ids)
    assert text.count("<svg") == len(re.findall(r'<svg role="img" aria-label="[^"]*\d[^"]*"', text)) == 28
    assert text.count('class="fit"') == 28
    twin = markdown(study())
    for part in study().sections:
        assert f"## {part.title}\n" in twin
        assert all(table.caption.replace("_", "\\_") in twin for table in part.tables)
    assert len(twin.encode()) < MARKDOWN_LIMIT


def test_markdown_keeps_whole_what_is_to_be_read_as_a_whole() -> None:
    many = [row | {"task": f"{row['task']}-{i}"} for i in range(25) for row in ALL[:2]]
    text = markdown(build([*many, *STUDY, sample(text="word " * 9000)]))
    assert "more rows are in report.html" in text
    table = text.partition("**The tasks**")[2].partition("**Which output")[0]
    shown = [line.split(" ")[1] for line in table.splitlines() if line.startswith("| sine-")]
    assert shown == [f"sine-{i}" for i in range(25)]


def test_the_order_of_records_changes_nothing_but_their_own() -> None:
    titles = [part.title for part in build(STUDY[::-1]).sections if part.anchor.startswith("task-")]
    assert titles == [part.title for part in study().sections if part.anchor.startswith("task-")]
    assert titles[0] == "Tasks: Sine wave"
    assert len(titles) == len({task for task, _ in VARIANTS}) == 10


def test_records_without_outcomes_and_outcomes_without_checks() -> None:
    assert choice_section([]) is None
    assert ("the tasks", "rosetta study --full --seed 0") in build([]).missing
    report = study()
    assert "the tasks" not in [name for name, _ in report.missing]
    assert "the sine wave" in [name for name, _ in report.missing]
    assert report.verdict == reports.verdict([])
    strange = ADDING | {"task": "knitting", "reading": "purl", "readout": "needle", "metric": "stitches"}
    for records in (
        [outcome(of=strange)],
        [diverged()],
        [outcome(backend="mine", curve=[])],
        [outcome(curve=[[1, None]])],
    ):
        assert "<h1>" in page(build(records))
    assert "knitting, purl" in page(build([outcome(of=strange)]))


def test_commands_train_the_first_seed_again() -> None:
    records = [*runs([0.2] * 5, [0.1] * 5), outcome("LSTM", backend="torch")]
    train, full = section(records, "task-adding").commands
    assert (
        train == "rosetta train adding --reading modern --cell RNN --cell LSTM --backend numpy --backend torch --seed 4"
    )
    assert full == "rosetta study --full --seed 4"


def test_every_layer_has_a_colour_a_mark_and_dashes_of_its_own() -> None:
    styles = [cell_style(cell) for cell in (*LAYERS, "Another")]
    assert len({style.colour for style in styles}) == len(styles)
    assert len({plots.mark(style.colour) for style in styles}) == len(styles)
    assert len({style.dash for style in styles[:-1]}) == len(LAYERS)
    assert len(set(DASH_MARKS.values())) == len(DASH_MARKS)
    records = [outcome(cell) for cell in LAYERS]
    learning = section(records, "task-adding").plots[-1]
    assert [(key.label, key.mark) for key in learning.legend] == [
        (cell, DASH_MARKS[cell_style(cell).dash]) for cell in LAYERS
    ]
    for key in learning.legend:
        (line,) = re.findall(rf'<path [^>]*stroke="var\({key.colour}\)"[^>]*>', learning.panels[0].svg)
        assert ("stroke-dasharray" in line) == (key.label != "LSTM")

"""The report's sections for the tasks of the full study: what they conclude, compute, draw, and do without."""

import math
import re
from functools import cache

import numpy as np
import pytest

import reports
from common.published import FIGURES
from reports import drift, flow, literature
from reports.choice import choice_section, winner
from reports.document import build
from reports.outcomes import compare, drift_after, pairs, verdict_sentence
from reports.render import MARKDOWN_LIMIT, markdown, page
from reports.task_texts import READOUTS, WORDS

SEEDS = (4, 5, 6, 7, 8)
SCATTER = {"plot": "scatter", "target": [0.5, 1.0, 1.5], "prediction": [0.75, 1.0, 1.0]}
ADDING = {"kind": "outcome", "task": "adding", "reading": "modern", "readout": "last_step", "parameters": 1185}
ADDING |= {"metric": "MSE", "higher": False, "baseline": 0.16, "baseline_text": "always 1", "updates": 500}
ORDER = ADDING | {"task": "temporal-order", "reading": "6a", "metric": "accuracy", "higher": True, "baseline": 0.25}
CURVE = {"curve": [[1, 0.5], [10, 0.25], [500, 0.125]], "evaluations": []}
DRIFT = [[1, 0.0], [8, 1e-15], [90, 2e-8], [300, 1e-12], [500, 5e-4]]


def outcome(cell="RNN", seed=4, score: float | None = 0.2, backend="numpy", of=ADDING, **options):
    """A run; the reference has a curve, others a drift."""
    row = of | {"cell": cell, "seed": seed, "backend": backend, "score": score, "seconds": 2.5, "ended": "finished"}
    return row | (CURVE if backend == "numpy" else {"drift": DRIFT}) | options


def other(row, **options):
    """The same run in another backend."""
    kept = {key: value for key, value in row.items() if key not in ("curve", "evaluations", "picture")}
    return kept | {"backend": "jax", "drift": DRIFT} | options


def diverged(cell="RNN", seed=4, **options):
    row = outcome(cell, seed, **options) | {"ended": "diverged", "problem": "loss is not finite after 7 updates"}
    return {key: value for key, value in row.items() if key not in ("score", "updates", "seconds", "curve", "drift")}


def runs(rnn, lstm, of=ADDING):
    """One run of each cell a seed."""
    cells = (("RNN", rnn), ("LSTM", lstm))
    return [
        outcome(cell, seed, score, of=of) for cell, found in cells for seed, score in zip(SEEDS, found, strict=True)
    ]


def norms(cell, stage, factor, backend="numpy", gap=0.0):
    values = [3.0 * (1 + gap) * factor ** (20 - t) for t in range(21)]
    row = {"kind": "gradient-norms", "task": "adding", "cell": cell, "stage": stage, "backend": backend, "seed": 4}
    return row | {"sequences": 20, "norms": values}


def sample(cell="LSTM", backend="numpy", temperature=0.0, text="of  the\n  list <b>~~~~"):
    row = {"kind": "sample", "task": "text", "cell": cell, "backend": backend, "seed": 4, "prompt": "The "}
    return row | {"temperature": temperature, "text": text}


PICTURES = {
    ("sine", "windows"): {
        "plot": "series",
        "series": [0.0, 0.5, 1.0, 0.5],
        "position": [2, 3],
        "prediction": [0.75, 0.5],
    },
    ("sum", "sequence"): {"plot": "by_length", "lengths": [14.0, 60.0], "errors": [1.5, 3.0], "baseline": [9.0, 6.0]}
    | {"unit": "mean absolute error of the sum"},
    ("adding", "modern"): SCATTER,
    ("temporal-order", "6a"): {"plot": "confusion", "labels": ["Q", "R"], "counts": [[30, 2], [11, 7]]},
    ("reber", "embedded"): {"plot": "strings", "columns": ["string", "legal"], "rows": [["BT|P`E", "T"], ["BP", "P"]]},
    ("copy", "copy"): {"plot": "by_step", "steps": [1, 2], "values": [0.75, 0.5], "baseline": [0.125, 0.125]}
    | {"name": "accuracy of the digit"},
}
ALL = [
    outcome(cell, of=ADDING | {"task": task, "reading": reading}) for task, reading in WORDS for cell in ("RNN", "LSTM")
]
ALL = [row | ({"picture": PICTURES[key]} if (key := (row["task"], row["reading"])) in PICTURES else {}) for row in ALL]
ALL += [other(row) for row in ALL]
FLOW = [norms("RNN", "before", 0.5), norms("RNN", "before", 0.5, "jax", 3e-13), norms("RNN", "after", 0.25)]
FLOW += [norms("LSTM", "before", 0.875), norms("LSTM", "after", 0.96875)]
STUDY = [{"kind": "header", "command": "rosetta study --full --seed 4"}, *ALL, *FLOW, sample(), sample(temperature=0.7)]


@cache
def study():
    return build(STUDY)


def section(records, anchor):
    report = study() if records is STUDY else build(records)
    return next(part for part in report.sections if part.anchor == anchor)


def lines(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


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
    (runs([0.2] * 5, [0.17] * 5), "neither cell beats the baseline of 0.160: RNN 0.200, LSTM 0.170 (lower is better)."),
    (
        runs([0.2] * 5, [0.159] * 5),
        "neither cell beats the baseline of 0.160: RNN 0.200, LSTM 0.159 (lower is better).",
    ),
    (runs([0.25] * 5, [0.2] * 5, ORDER), "neither cell beats the baseline of 25.0%: RNN 25.0%, LSTM 20.0% (higher is"),
    (
        [outcome("LSTM", score=0.01)],
        "only the LSTM has a score: LSTM 0.0100 (baseline 0.160; lower is better). The records",
    ),
    (
        [outcome("RNN"), diverged("LSTM")],
        "the RNN does not beat the baseline of 0.160: RNN 0.200 (lower is better). 1 of 1 run",
    ),
    ([diverged("RNN"), diverged("LSTM")], "no run has a score. 1 of 1 run of the RNN diverged, without a score."),
]


@pytest.mark.parametrize(("records", "sentence"), VERDICTS)
def test_verdict(records: list[dict], sentence: str) -> None:
    (pair,) = pairs(records)
    assert sentence in verdict_sentence(pair)
    assert verdict_sentence(pair).startswith("On this task ")
    assert verdict_sentence(pair, named=True).startswith(f"With the reading “{pair.first.reading}” ")
    assert sentence in page(build(records)).replace("&lt;", "<")


def test_who_is_ahead_is_counted_in_the_seeds_of_both() -> None:
    records = [*runs([0.1] * 5, [0.01] * 5)[:-1], diverged("LSTM", SEEDS[-1]), outcome("RNN", 99, 0.001)]
    (pair,) = pairs(records)
    found = compare(pair)
    assert (found.winner, found.ahead, found.seeds) == ("LSTM", 4, 4)
    assert winner(pair) == "LSTM, 4/4"
    assert "1 of 5 runs of the LSTM diverged, without a score." in verdict_sentence(pair)
    (strange,) = pairs([outcome("RNN", 1, 0.1), outcome("LSTM", 2, 0.01)])
    assert (compare(strange).winner, winner(strange)) == ("", "neither clearly")
    (idle,) = pairs(runs([0.2] * 5, [0.17] * 5))
    assert winner(idle) == "neither learns it"
    (alone,) = pairs([outcome(score=0.01)])
    assert winner(alone) == "not compared"
    assert section([outcome(score=0.01)], "choice").findings == (
        "Of 1 tasks and readings, the cells cannot be compared in 1.",
    )


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


def test_which_cell_for_what() -> None:
    records = [*runs([0.2] * 5, [0.001] * 5), *runs([0.9] * 5, [0.5] * 5, ORDER)]
    records += [outcome(cell, of=ORDER | {"task": "places", "reading": "letters"}) for cell in ("RNN", "LSTM")]
    part = section(records, "choice")
    assert part.findings == (
        "Of 3 tasks and readings, the RNN is better in 1, the LSTM is better in 1, neither learns the task in 1.",
        "Where something must be remembered over 50 steps or more (2 of them), the RNN is better in 1, the LSTM is "
        "better in 1; of the other 1, neither learns the task in 1.",
    )
    adding, order, places = lines(part.tables[0])
    assert (adding["Task"], adding["Better, in seeds"], adding["RNN"], adding["LSTM"], adding["Baseline"]) == (
        "Adding problem",
        "LSTM, 5/5",
        "0.200",
        "0.00100",
        "0.160",
    )
    assert (order["Better, in seeds"], places["Better, in seeds"]) == ("RNN, 5/5", "neither learns it")
    assert (adding["Output read"], adding["Score"]) == ("last step", "MSE, lower is better")
    assert [row["Task"] for row in lines(section(ALL, "choice").tables[0])][:2] == [
        "Sine wave: windows",
        "Sine wave: article",
    ]
    assert [part.anchor for part in build(records).sections][:2] == ["summary", "choice"]
    assert "1 run diverged, without a score: LSTM on adding (modern)." in page(build([outcome(), diverged("LSTM")]))
    assert lines(section([outcome(), diverged("LSTM")], "choice").tables[0])[0]["LSTM"] == "diverged"


def test_which_output_for_which_kind_of_task() -> None:
    records = [outcome(of=ADDING | {"readout": name}) for name in READOUTS] + [outcome(of=ORDER)]
    found = {line["Name"]: line for line in lines(section([*records[-1:], *ALL], "choice").tables[1])}
    assert set(found) == {"last step"}
    assert found["last step"]["For which kind of task"].startswith("one answer to a whole sequence")
    assert "Temporal order" in found["last step"]["Here"]
    assert all(word in {key[0] for key in WORDS} for word in ("kana", "places", "digits"))


def test_published_figures_beside_ours() -> None:
    records = [*runs([0.165] * 5, [0.002, 0.001, 0.001, 0.001, 0.02]), *runs([0.3] * 5, [0.98] * 5, ORDER)]
    reber = ORDER | {"task": "reber", "reading": "embedded", "metric": "success rate", "baseline": 0.0}
    records += runs([0.5] * 5, [1.0, 1.0, 1.0, 1.0, 0.99], reber)
    copy = ADDING | {"task": "copy", "reading": "copy", "baseline": 0.52}
    records += runs([0.4] * 5, [0.1] * 5, copy)
    for reading, score in (("plain", 0.95), ("permuted", 0.9)):
        records += runs([0.5] * 5, [score] * 5, ORDER | {"task": "digits", "reading": reading})
    (table,) = section(records, "published").tables
    found = {(line["Task"], line["Reading"], line["Cell"]): line for line in lines(table)}
    assert len(found) == len(FIGURES) == len(table.rows)

    def agrees(*key):
        return found[key]["Do they agree?"]

    assert agrees("Adding problem", "modern", "RNN") == "agrees: 0.165 is within 10% of the baseline, 0.160"
    assert agrees("Adding problem", "modern", "LSTM") == "agrees: 0.00500 on average, under 0.01 in 4 of 5 runs"
    assert found["Adding problem", "modern", "LSTM"]["Ours"] == "MSE 0.00500 [0.00100, 0.0200], baseline 0.160"
    assert found["Adding problem", "1997", "LSTM"]["Ours"] == "not run"
    assert agrees("Adding problem", "1997", "LSTM") == "cannot be told"
    assert "disagrees: fewer of ours are right; wrong sequences: theirs 0.04%, ours 2.00%" in agrees(
        "Temporal order", "6a", "LSTM"
    )
    assert agrees("Embedded Reber grammar", "embedded", "RNN") == "agrees: 0 of 5 runs get every test string right"
    assert agrees("Embedded Reber grammar", "embedded", "LSTM") == "disagrees: 4 of 5 runs get every test string right"
    assert agrees("Copying memory", "copy", "RNN") == "disagrees: 0.400 is below the baseline, 0.520"
    assert agrees("Copying memory", "copy", "LSTM").startswith("disagrees: ours is far below the baseline: 0.100")
    assert agrees("Handwritten digits", "plain", "LSTM") == "not comparable in numbers: another data set; ours 95.0%"
    assert agrees("Handwritten digits", "permuted", "LSTM").startswith(
        "agrees in that the permuted order is harder: plain 95.0%"
    )
    worse = [*runs([0.3] * 5, [0.18] * 5), *runs([0.3] * 5, [0.999] * 5, ORDER), *runs([0.6] * 5, [0.5] * 5, copy)]
    told = {
        line["Task"] + line["Cell"]: line["Do they agree?"] for line in lines(section(worse, "published").tables[0])
    }
    assert told["Adding problemRNN"].startswith("agrees in that it does not come below the baseline: 0.300")
    assert told["Temporal orderLSTM"].startswith("agrees in that nearly all are right")
    assert told["Copying memoryLSTM"] == "agrees: 0.500, baseline 0.520"
    (missed,) = [
        line
        for line in lines(
            section([*worse, *runs([0.2] * 5, [0.2] * 5, ADDING | {"reading": "1997"})], "published").tables[0]
        )
        if line["Reading"] == "1997"
    ]
    assert missed["Do they agree?"].endswith("ours does not learn it")


def test_every_published_figure_has_a_rule() -> None:
    assert {figure[:3] for figure in FIGURES} == set(literature.RULES)


def test_gradient_flow() -> None:
    part = section([*FLOW, outcome()], "flow")
    text = " ".join(part.paragraphs)
    assert "Before training a step back multiplies it by 0.500 in the RNN" in text
    assert f"whose first step gets {0.5**20:.1e} of what the last gets" in text
    assert "After training a step back multiplies it by 0.250 in the RNN" in text
    assert "by 0.969 in the LSTM" in text
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
    assert f"RNN: {3 * 0.5**20:.1e} at step 0, 3.0e+00 at step 20, times 0.500 a step back." in before.alt
    assert "LSTM: 1.6e+00 at step 0, 3.0e+00 at step 20, times 0.969 a step back." in after.alt
    apart = section([*FLOW, norms("LSTM", "after", 0.96875, "jax", 0.25)], "flow")
    assert "do NOT coincide: they differ by up to 2.5e-01 of their size" in " ".join(apart.paragraphs)
    assert "Only numpy was run." in section(FLOW[:1], "flow").paragraphs[-1]
    silent = norms("RNN", "before", 0.5) | {"norms": [0.0, 0.0, 0.0]}
    assert "by not finite in the RNN" in " ".join(section([silent], "flow").paragraphs)
    assert math.isnan(flow.factor(np.array([0.0, 0.0, 1.0])))
    assert flow.factor(np.array([0.0, 0.125, 0.25, math.nan, 1.0])) == pytest.approx(0.5)


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
        "2 of 3 runs part by 1e-9 of the loss, the first after 90 updates (Adding problem, modern, RNN), half" in text
    )
    assert "half of these by update 95. In the order of parting: Adding problem, modern, RNN; Adding problem" in text
    assert "1 of 3 runs part by 1e-6 of the loss, the first after 500 updates (Adding problem, modern, RNN)" in text
    assert "None of 3 runs parts by 1e-3." in text
    found = {(row["Apart by"], row["Cell"]): row for row in lines(part.tables[0])}
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
    (run,) = drift.partings(pairs([outcome(backend="jax", drift=[[1, 2e-9], [9, None]])])[0].first)
    assert (run.reaches(1e-9), run.reaches(1e-3), run.after(400)) == (1, 9, math.inf)
    (run,) = drift.partings(pairs([outcome(backend="jax")])[0].first)
    assert (run.after(90), run.after(300), run.after(301), run.after(999)) == (2e-8, 2e-8, 5e-4, 5e-4)
    early = [outcome(), outcome(backend="jax"), outcome("LSTM"), outcome("LSTM", backend="jax", drift=[[3, 4e-9]])]
    text = " ".join(section(early, "drift").paragraphs)
    assert "the first after 3 updates (Adding problem, modern, LSTM), half of these by update 46." in text
    assert "In the order of parting: Adding problem, modern, LSTM; Adding problem, modern, RNN." in text
    lost = [outcome(), outcome(backend="jax", drift=[[1, 2e-9], [9, None]])]
    assert "not finite" in section(lost, "drift").plots[0].panels[0].alt


def test_scores_agree_or_do_not() -> None:
    base = runs([0.1, 0.2, 0.1, 0.2, 0.1], [0.01, 0.02, 0.01, 0.02, 0.01])
    same = [other(row) for row in base]
    text = " ".join(section([*base, *same], "drift").paragraphs)
    assert "The scores agree nevertheless: in 2 of 2 comparisons of a backend with the reference the mean" in text
    assert "in all 2 they differ by no more than the scores of two seeds do." in text
    near = [other(row, score=row["score"] + 0.005 * (row["cell"] == "LSTM")) for row in base]
    text = " ".join(section([*base, *near], "drift").paragraphs)
    assert "in 1 of 2 comparisons" in text
    assert "in all 2 they differ by no more than the scores of two seeds do." in text
    apart = [other(row, score=row["score"] + 0.05 * (row["cell"] == "LSTM")) for row in base]
    text = " ".join(section([*base, *apart], "drift").paragraphs)
    assert "Most scores agree nevertheless: in 1 of 2" in text
    assert "They do NOT in 1: Adding problem, modern, LSTM, jax." in text


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
    assert "~~~~text\nThe of  the\n  list <b>~~~ ~\n~~~~" in markdown(report)


ALTS = [
    ("sine", "RNN, windows, numpy, seed 4: a wave between 0 and 1 and 2 predictions, at most 0.25 from it and 0.12 on"),
    (
        "sum",
        "mean absolute error of the sum, from 1.5 at 14 to 3.0 at 60 (length of the series); without learning from 9.0",
    ),
    (
        "adding",
        "Half lie within 0.25 of the diagonal, where both are equal, all within 0.50. The right answers go from",
    ),
    ("temporal-order", "RNN, 6a, numpy, seed 4: 37 of 50 right; most often R was taken for Q, 11 times."),
    (
        "copy",
        "accuracy of the digit, from 0.75 at 1 to 0.50 at 2 (place in the answer); without learning from 0.12 to 0.12.",
    ),
]


@pytest.mark.parametrize(("task", "alt"), ALTS)
def test_pictures_tell_their_numbers(task: str, alt: str) -> None:
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
    assert [svg.count(f"fill: var({name})") for name in ("--heat-6", "--heat-4", "--heat-3", "--heat-1")] == [
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
    assert ("After which symbol" in part.tables[2].note, part.tables[3].note) == (True, "")
    assert "| `BT\\|P'E` | T |" in markdown(study())


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
    assert len(titles) == len({task for task, _ in WORDS}) == 10


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

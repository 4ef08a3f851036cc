"""The report: right numbers, the same bytes every time, nothing hidden, and no old report lost."""

import math
import re
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import pytest

import reports
from common.errors import InvalidInput
from reports.page.numbers import digits, error, fraction, percent
from reports.page.render import MARKDOWN_LIMIT, markdown, page
from reports.sections import build
from tests.study_records import (
    DRAWN,
    HEADER,
    RNN,
    STUDY,
    TASK,
    bench,
    check,
    closed,
    drawn,
    environment,
    html,
    of_run,
    problem,
    rows,
    section,
    tags,
    training,
)


@pytest.mark.parametrize("partial", [False, True])
def test_same_records_same_bytes(tmp_path: Path, partial: bool) -> None:
    first = reports.write(STUDY, tmp_path / "a" / "deeper", partial=partial)
    with matplotlib.rc_context({"axes.linewidth": 9.0}):
        second = reports.write(STUDY, tmp_path / "b", partial=partial)
    assert sorted(first.parent.iterdir()) == [first, tmp_path / "a" / "deeper" / "report.md"]
    for name in ("report.html", "report.md"):
        text = first.with_name(name).read_text(encoding="utf-8")
        assert text == second.with_name(name).read_text(encoding="utf-8")
        assert ("Incomplete: the records end early" in text) is partial
        assert ("Equivalent" in text) is not partial


def test_the_page_is_self_contained_and_accessible() -> None:
    text, report = html(STUDY), build(STUDY)
    assert not re.search(r"https?:|@import|#fe01", text)
    assert not {"script", "img", "iframe", "object", "embed"} & tags(text)
    links, ids = re.findall(r'(?:href|src)="([^"]*)"', text), re.findall(r' id="([^"]*)"', text)
    assert all(link in ("data:,", "lessons/index.html", *(f"#{name}" for name in ids)) for link in links)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert len(ids) == len(set(ids))
    assert len(text) < 800_000
    assert text.count("<h1>") == 1
    assert closed(text)
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert all({"figcaption", "details", "table", "svg"} <= tags(figure) for figure in figures)
    assert (
        text.count("<svg") == len(re.findall(r'<svg role="img" aria-label="[^"]*\d[^"]*"', text)) == len(figures) == 6
    )
    assert text.count("Reproduce:") == len(report.sections) == 11
    assert all(command.startswith("rosetta ") for part in report.sections for command in part.commands)
    (command,) = section([HEADER, check(b="mine")], "heat").commands
    assert command == "rosetta check --cell RNN --dtype float64 --backend numpy --backend mine --seed 3"


VERDICTS = [
    (
        STUDY,
        True,
        "6 comparisons over 3 implementations, 1 cell and 1 dtype, none out of tolerance; the worst used 75%",
    ),
    ([HEADER], False, "NOT equivalent: nothing was compared."),
    ([check(b="exact")], True, "Equal to the exact result"),
    ([check(), check(ratio=3.5)], False, "NOT equivalent: 1 of 2 comparisons is out of tolerance; the worst is y of"),
    ([check(count=0)], False, "where no element was compared; none undecided."),
    ([check(ratio=7), check(ratio=None)], False, "numpy against jax, which is not finite; none undecided."),
    ([check(resolution=1e-5), check("y")], True, "25% of it; 1 undecided."),
    ([check(resolution=1e-5)], False, "Undecided: 1 comparison over 2 implementations"),
    ([check(resolution=None)], False, "shown an error in y (forward) of numpy, RNN in float64 and 1 more."),
    ([check(resolution=0.0), check()], True, "none undecided, 1 of an exact zero."),
    ([check(ratio=12)], False, "y of RNN in float64, numpy against jax, at 12 times its tolerance; none undecided."),
    (
        [check(ratio=0.9), check("h_n", verdict="failed")],
        False,
        "1 of 2 comparisons is out of tolerance; the worst is h_n",
    ),
]


@pytest.mark.parametrize(("records", "passed", "sentence"), VERDICTS)
def test_verdict(records: list[Any], passed: bool, sentence: str) -> None:
    found, cut = reports.verdict(records), reports.verdict(records, True)
    assert found.passed is passed
    assert sentence in found.sentence
    assert not cut.passed
    assert cut.sentence.startswith("Incomplete: the records end early; so far, ")


def test_failures_are_listed_with_their_commands() -> None:
    bad = check("dweight_hh", 2.5, rung="gradient", cell="LSTM", variant="LSTM no bias", dtype="float32")
    bad["problem"] = problem("LSTM", dtype="float32", bias=False)
    records = [*STUDY, of_run("curve", 1.5, optimizer="adam"), bad]
    first, second = rows(section(records, "summary").tables[1])
    assert (first["Variant"], first["Error"], first["Tolerance"]) == ("LSTM no bias", "2.5e-11", "1.0e-11")
    sizes = "--input-size 3 --hidden-size 7 --no-bias --steps 9 --batch 5 --no-state"
    command = f"rosetta check --cell LSTM --dtype float32 {sizes} --seed 3 --backend numpy --backend jax"
    assert first["Reproduce"] == command
    assert second["Quantity"] == "windows adam curve (sine)"
    trained = "--optimizer adam --lr 0.05 --epochs 4 --hidden-size 32 --cell RNN --dtype float64"
    command = f"rosetta train sine --reading windows {trained} --backend numpy --backend jax --seed 3"
    assert second["Reproduce"] == command
    assert first["Reproduce"] in html(records)
    assert "✗2.5</text>" in html(records)
    assert [row["Passed"] for row in rows(section(records, "summary").tables[0])] == ["NO, 1 failed"] * 2
    table = section([check(ratio=2 + i) for i in range(230)], "summary").tables[1]
    assert (len(table.rows), rows(table)[0]["Error / tolerance"]) == (200, "230")
    assert "30 more failed" in table.note


def test_the_heat_map_and_the_gradients_show_the_worst() -> None:
    first, second = rows(section(STUDY, "heat").plots[0].data)
    assert (first["Pair"], first["y"], first["dx"]) == ("numpy – jax", "0.25", "0.0042")
    assert (second["Pair"], second["y"], second["dx"]) == ("jax – torch", "0.75", "–")
    assert "The worst error is 0.75 of its tolerance: y, jax – torch. None failed." in html(STUDY)
    (line,) = rows(section(STUDY, "gradients").tables[0])
    assert (line["All pairs, float64"], line["By hand, float64"]) == ("8.4e-14 (numpy – jax)", "1.0e-11")
    (total,) = rows(section(STUDY, "summary").tables[0])
    assert (total["Comparisons"], total["Error / tolerance"], total["Pair"]) == ("6", "0.75", "jax – torch")


def test_commands_that_draw_again() -> None:
    drew = HEADER | {"command": ["rosetta", "check", "--configs", "12", "--dtype", "float64", "--json"]}
    assert section([drew, *DRAWN], "coverage").commands == ("rosetta check --configs 12 --dtype float64",)
    fixed, more = section([check(), *DRAWN[:2], drawn(0, "relu", RNN)], "summary").commands
    assert fixed == "rosetta check --cell RNN --dtype float64 --backend numpy --backend jax --seed 0"
    assert more.startswith("rosetta check --configs 2 --cell RNN --dtype float64 --backend numpy --backend jax ")
    (study,) = section([HEADER, *DRAWN, of_run()], "summary").commands
    assert study.startswith("rosetta study ")


def test_predictions_losses_and_their_gaps() -> None:
    part = section(STUDY, "training")
    text = " ".join(part.paragraphs)
    assert "over 4 updates" in text
    assert "Measured: 4.0e-14 (jax, after 2 updates). The promise is kept." in text
    assert "In float32 the gap measured is at most 3.0e-06 (jax, after 2 updates)" in text
    double, single = rows(part.tables[0])
    assert (double["Largest gap"], double["At update"], double["Equal"]) == ("4.0e-14", "2", "80%")
    assert (single["Dtype"], single["Largest gap"]) == ("float32", "3.0e-06")
    assert "The promise is NOT kept." in html([training(), training("jax", 2e-9)])
    lost = training("jax", losses=[0.5, 0.25, None, None])
    assert "not finite (jax, after 2 updates). The promise is NOT kept." in html([training(), lost])
    line, _ = rows(section(STUDY, "sine").tables[0])
    assert (line["Farthest from the wave"], line["Farthest apart"]) == ("0.10", "4.0e-14")
    (line,) = rows(section(STUDY, "one-bias").tables[0])
    assert (line["Largest gap"], line["At update"], line["Final, one bias"]) == ("25%", "1", "0.19")


def test_ratios_throughput_and_noise() -> None:
    part = section(STUDY, "speed")
    arms = {row["Arm"]: row for row in rows(part.tables[0])}
    shown = [arms[name]["Time / torch.nn [95%]"] for name in ("numpy", "jax")]
    assert shown == ["0.50x [0.50, 0.50]", "3.00x [3.00, 3.00]"]
    assert [arms["jax"][name] for name in ("Median ms", "GFLOP/s", "First call, s")] == ["6.30", "0.635", "0.75"]
    assert rows(part.tables[1])[0]["jax / flax"] == "1.50x [1.50, 1.50]"
    assert "In 1 of 1 cases it is wider than ±20%" in " ".join(part.paragraphs)
    quiet = [bench(), bench("torch.nn (A/A)", 1.1, backend="torch.nn")]
    assert "it spans 1.10 to 1.10x." in " ".join(section(quiet, "speed").paragraphs)
    assert "wider than" not in html(quiet)


def test_what_is_missing_is_named_and_left_out() -> None:
    report = build([check(), check("dx", rung="gradient")])
    anchors = ["summary", "reading", "heat", "resolution", "coverage", "gradients"]
    assert [part.anchor for part in report.sections] == anchors
    missing = [
        "the sine wave",
        "training",
        "one bias against two",
        "the tasks",
        "timings",
        "the environment",
    ]
    assert [name for name, _ in report.missing] == missing
    assert ("coverage of the options", "rosetta check --configs 200 --seed 3") in build([training()]).missing
    assert "rosetta check --configs 200 --seed 3" in html([training()])
    assert "Missing from the records" in page(report)
    assert build(STUDY).missing == (("the tasks", "rosetta study --full --seed 3"),)
    assert [part.anchor for part in build([bench()]).sections] == ["summary", "speed"]
    for records in ([], [HEADER], [training()], [TASK, training("mine")], [check(b="complex step")], [bench("numpy")]):
        assert "<h1>" in html(records)


@pytest.mark.parametrize("name", ['<b>&"', "$x_1^2$", "名前", "_hidden", "a|b`c`"])
def test_names_are_text_and_never_markup(name: str, tmp_path: Path) -> None:
    records = [check(b=name), training(), training(name, 1e-12), TASK, bench(), bench(name)]
    path = reports.write([environment(name, {"<i>": "<script>"}), *records], tmp_path)
    text = path.read_text(encoding="utf-8")
    assert not {"b", "i", "script"} & tags(text)
    assert closed(text)
    assert f"numpy – {escape(name, quote=False)}</text>" in text
    lines = path.with_name("report.md").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "<b>" in line.split("`")[0] and not line.startswith("rosetta ")]
    (line,) = [line for line in lines if line.startswith("| float64 | RNN |")]
    assert line.replace("\\|", "").count("|") == 9


def test_markdown_stays_short_enough_to_paste() -> None:
    many = [check(f"tensor {i}", 2.0, a="long" * 60, b="complex step", rung="complex step") for i in range(199)]
    text = markdown(build(many))
    assert "NOT equivalent: 199 of 199 comparisons" in text
    assert "149 more rows are in report.html." in text
    assert len(text.encode()) < MARKDOWN_LIMIT
    assert "<details><summary>RNN: losses, and gaps relative to the loss</summary>" in markdown(build(STUDY))


def test_an_old_report_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = reports.write(STUDY, tmp_path)
    old, write = [file.read_bytes() for file in sorted(tmp_path.iterdir())], Path.write_text

    def full(self: Path, text: str, **options: str) -> int:
        write(self, text[: len(text) // 2], **options)
        raise OSError("no space left on device")

    with pytest.raises(InvalidInput, match=r"output folder: expected a writable folder, got .*report\.html"):
        reports.write(STUDY, path)
    with pytest.raises(KeyError):
        reports.write([{"kind": "check"}], tmp_path)  # pyright: ignore
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InvalidInput, match="no space left on device"):
        reports.write([HEADER, check(ratio=9)], tmp_path)
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == old


def test_numbers() -> None:
    assert [error(v) for v in (1.23e-15, 0.0, None, math.nan)] == ["1.2e-15", "0", "not finite", "not finite"]
    assert [fraction(v) for v in (0.281, 12.3, 4.7e-5, 0.00999, 231.0)] == ["0.28", "12", "4.7e-05", "0.010", "230"]
    assert [percent(v) for v in (0.281, 4.7e-5, 2.7)] == ["28%", "0.0047%", "270%"]
    assert [digits(v) for v in (0.0341, 9.999, 1234.5, 0.0)] == ["0.0341", "10.0", "1230", "0"]

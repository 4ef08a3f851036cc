"""The report: right numbers, the same bytes every time, nothing hidden, and no old report lost."""

import math
import re
from html import escape
from pathlib import Path

import matplotlib
import pytest

import reports
from common.equivalence.comparison import decided
from common.equivalence.tolerances import TOLERANCES
from common.errors import InvalidInput
from reports.page.numbers import digits, error, fraction, percent
from reports.page.render import MARKDOWN_LIMIT, markdown, page
from reports.sections import build

SERIES, POSITION = [math.sin(0.3 * i) for i in range(40)], list(range(5, 40))
ENVIRONMENT = {"numpy": "2.4.6", "blas": {"architecture": "SkylakeX", "num_threads": 2}}


def check(quantity="y", ratio: float | None = 0.25, *, a="numpy", b="jax", rung="forward", **options):
    """One comparison, with the verdict that its numbers bear out."""
    row = {"kind": "check", "check": rung, "cell": "RNN", "variant": "RNN", "dtype": "float64", "quantity": quantity}
    row |= {"a": a, "b": b, "count": 315, "ratio": ratio, "drawn": False, "reason": "", "resolution": 2e-11}
    known = (None, None, None) if ratio is None else (ratio * 1e-11, 0.5, 1e-11)
    row: dict = row | dict(zip(("error", "scale", "tolerance"), known, strict=True)) | options
    verdict = decided(row["resolution"], row["dtype"]) if ratio is not None and ratio <= 1 else "failed"
    whole: dict = {"verdict": verdict, "resolutions": {quantity: row["resolution"]}, "verdicts": {quantity: verdict}}
    if "resolutions" in row:
        whole["verdicts"] = {name: decided(value, row["dtype"]) for name, value in row["resolutions"].items()}
    return whole | row


def drawn(ratio, options, arguments, *, b="jax", **more):
    """A rung and pair on a variant drawn at random, and what it compares worst."""
    more |= {"options": [*options.split("|"), "plain"], "arguments": arguments, "drawn": True}
    return check("dweight_ih_l1_reverse", ratio, b=b, **({"rung": "gradient"} | more))


def training(backend="numpy", gap=0.0, **options):
    """A loss that halves, and at update 2 is off by ``gap``, relative to itself."""
    losses, prediction = [0.5, 0.25, 0.125 * (1 + gap), 0.0625], [SERIES[i] + 0.1 + gap for i in POSITION]
    run = {"kind": "training", "task": "sine", "reading": "windows", "cell": "RNN", "backend": backend}
    run |= {"dtype": "float64", "optimizer": "sgd", "lr": 0.05, "hidden_size": 32, "seed": 3, "losses": losses}
    return run | {"final_loss": 0.03125, "prediction": prediction} | options


def bench(arm="torch.nn", scale=1.0, **options):
    """Eleven rounds; the arm is slower by ``scale`` in each."""
    case = {"kind": "bench", "cell": "LSTM", "steps": 25, "batch": 176, "input_size": 1, "hidden_size": 32}
    case |= {"backward": False, "dtype": "float32", "seed": 0, "flops": 4_000_000, "reference": "torch.nn"}
    case |= {"backend": arm, "arm": arm, "seconds": [scale * (0.002 + 0.0001 * (i % 3)) for i in range(11)]}
    return case | {"calls": 9, "first_call": 0.75, "environment": ENVIRONMENT} | options


HEADER = {"kind": "header", "schema": 2, "command": "rosetta study --seed 3", "version": "0.1.0", "python": "3.11.7"}
TASK = {"kind": "task", "task": "sine", "reading": "windows", "summary": "time runs inside a window", "steps": 5}
TASK |= {"batch": 35, "series": SERIES, "position": POSITION}
ONE_BIAS = {"kind": "one-bias", "optimizer": "adam", "lr": 0.01, "seed": 3}
ONE_BIAS |= {"two_biases": [0.5, 0.4, 0.2], "one_bias": [0.5, 0.3, 0.19]}
STUDY = [HEADER, TASK, ONE_BIAS, {"kind": "environment", "of": "machine", "system": "Linux"}]
STUDY += [
    {"kind": "environment", "of": "numpy", **ENVIRONMENT},
    check("y", 0.25, options=["tanh"], arguments="--seed 3"),
]
STUDY += [check("y", 0.75, a="jax", b="torch")]
STUDY += [check("dx", 0.0042, rung="gradient", variant="RNN relu"), check("dx", 0.0011, rung="gradient")]
STUDY += [check("dx", 0.5, rung="complex step", b="complex step"), check("dx", 0.1, b="one-bias", rung="gradient")]
STUDY += [training(), training("jax", 4e-14), training(dtype="float32"), training("jax", 3e-6, dtype="float32")]
STUDY += [training("torch", 1e-15), bench(), bench("numpy", 0.5), bench("jax", 3.0), bench("flax", 2.0)]
STUDY += [bench("torch.nn (A/A)", 1.5, backend="torch.nn")]
RNN, LSTM, SHORT = "--cell RNN --seed 4", "--cell LSTM --proj-size 2 --seed 9", "--cell RNN --steps 1 --seed 6"
DRAWN = [drawn(0.25, "T=1|tanh", SHORT), drawn(0.5, "T=1|tanh", SHORT, b="flax"), drawn(0.125, "tanh|lengths", RNN)]
DRAWN += [drawn(0.0625, "tanh|lengths", RNN, b="flax"), drawn(0.03125, "tanh|lengths", RNN, rung="forward")]
DRAWN += [drawn(0.75, "tanh|lengths", RNN, b="complex step", rung="complex step")]
DRAWN += [drawn(0.875, "proj_size|given state", LSTM, cell="LSTM"), drawn(0.0, "relu", RNN, a="flax", dtype="float32")]
DRAWN += [drawn(0.375, "relu|H=1", RNN, a="jax", b="torch", dtype="bfloat16", rung="forward")]
DRAWN += [drawn(0.5, "relu|no bias", RNN, b="one-bias")]


def html(records):
    return page(build(records))


def section(records, anchor):
    return next(part for part in build(records).sections if part.anchor == anchor)


def rows(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def tags(text):
    return set(re.findall(r"<([a-z0-9]+)", text))


def closed(text):
    """Whether every element that can be left open is closed as often as it is opened."""
    names = tags(text) - {"meta", "link", "path", "rect", "use"}
    return all(len(re.findall(rf"<{name}[ >]", text)) == text.count(f"</{name}>") for name in names)


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
    ([check(), check(ratio=3.5)], False, "NOT equivalent: 1 of 2 comparisons is out of tolerance; the worst is y of"),
    ([check(count=0)], False, "where no element was compared; none undecided."),
    ([check(ratio=7), check(ratio=None)], False, "numpy against jax, which is not finite; none undecided."),
    ([check(resolution=1e-5), check("y")], True, "25% of its own; 1 undecided."),
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
def test_verdict(records: list[dict], passed: bool, sentence: str) -> None:
    found, cut = reports.verdict(records), reports.verdict(records, True)
    assert found.passed is passed
    assert sentence in found.sentence
    assert not cut.passed
    assert cut.sentence.startswith("Incomplete: the records end early; so far, ")


def test_the_resolutions_are_shown_by_dtype_and_regime() -> None:
    """Of 200 that passed the finest, the median, that of 99%, the coarsest; those that decide nothing are counted."""
    several = {f"q{i}": i * 1e-9 for i in range(1, 201)} | {"coarse": 1e-6, "blind": None, "zero": 0.0}
    records = [
        drawn(0.5, "tanh", "--seed 1", resolutions=several),
        check(options=["huge"], arguments="--seed 2", dtype="float32"),
    ]
    (table,) = section(records, "resolution").tables
    first, second = rows(table)
    assert (first["Dtype"], first["Regime"], first["Comparisons"]) == ("float64", "plain", "203")
    assert [first[name] for name in ("Finest", "Median", "99%", "Coarsest")] == [
        "1.0e-09",
        "1.0e-07",
        "2.0e-07",
        "2.0e-07",
    ]
    assert (first["Undecided"], first["Exact zero"]) == ("2", "1")
    assert (second["Dtype"], second["Regime"], second["Undecided"]) == ("float32", "huge", "0")
    assert "5e-07 in float64" in " ".join(section(records, "resolution").paragraphs)


def test_failures_are_listed_with_their_commands() -> None:
    bad = check("dweight_hh", 2.5, rung="gradient", cell="LSTM", variant="LSTM no bias", dtype="float32")
    records = [*STUDY, check("windows adam curve", 1.5, rung="sine"), bad]
    first, second = rows(section(records, "summary").tables[1])
    assert (first["Variant"], first["Error"], first["Tolerance"]) == ("LSTM no bias", "2.5e-11", "1.0e-11")
    assert first["Reproduce"] == "rosetta check --cell LSTM --dtype float32 --seed 3 --backend numpy --backend jax"
    assert second["Reproduce"].startswith("rosetta train sine --reading windows --optimizer adam --cell RNN ")
    assert first["Reproduce"] in html(records)
    told = section([check(ratio=2, arguments="--cell RNN --no-bias --seed 9")], "summary").tables[1]
    assert rows(told)[0]["Reproduce"] == "rosetta check --cell RNN --no-bias --seed 9 --backend numpy --backend jax"
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


def coverage_by_hand(records, dtype, option, name):
    """A cell of the table, straight from its records."""
    found = [r for r in records if r["dtype"] == dtype and (option == "all" or option in r["options"])]
    found = [r for r in found if name in (r["a"], r["b"]) and "one-bias" not in (r["a"], r["b"])]
    models = len({r["arguments"] for r in found})
    return f"{fraction(max(r['ratio'] for r in found))} ({models})" if found else "–"


def test_coverage_tells_the_worst_and_the_number_of_variants() -> None:
    part = section(DRAWN, "coverage")
    (plot,) = part.plots
    assert plot.data.columns[2:] == ("numpy", "jax", "flax", "torch")
    lines = rows(plot.data)
    options = ["all", "tanh", "relu", "proj_size", "lengths", "given state", "T=1", "H=1", "plain"]
    assert [(line["Dtype"], line["Option"]) for line in lines] == [
        (dtype, option) for dtype in ("float64", "float32", "bfloat16") for option in options
    ]
    for line in lines:
        for name in plot.data.columns[2:]:
            assert line[name] == coverage_by_hand(DRAWN, line["Dtype"], line["Option"], name), (line, name)
    tanh = lines[1]
    assert (tanh["numpy"], tanh["jax"], tanh["flax"], tanh["torch"]) == ("0.75 (2)", "0.25 (2)", "0.50 (2)", "–")
    assert [panel.alt.count("None failed.") for panel in plot.panels] == [1, 1, 1]
    assert (
        "Coverage in float64: 3 variants, 6 options by 3 implementations. The worst error is 0.88" in plot.panels[0].alt
    )
    squares = [line[name] for line in lines if line["Dtype"] == "float64" for name in ("numpy", "jax", "flax")]
    for text in ("(1)", "(2)", "(3)"):
        assert plot.panels[0].svg.count(f">{text}</text>") == sum(square.endswith(text) for square in squares) > 0
    assert [table.caption for table in part.tables] == ["The regimes"], "outputs and gradients have no table"
    losses = [row | {"check": "loss"} for row in DRAWN if row["dtype"] != "bfloat16"]
    tolerance = section([*DRAWN, *losses], "coverage").tables[0]
    stated = {line["Dtype"]: (float(line["rtol"]), float(line["atol"])) for line in rows(tolerance)}
    assert stated == {name: TOLERANCES["loss", name][:2] for name in ("float64", "float32")}


def test_coverage_says_why_a_square_is_empty() -> None:
    text = " ".join(section(DRAWN, "coverage").paragraphs)
    assert "flax got none with proj_size (Flax has no projection), given state, H=1: its column" in text
    assert "numpy got none in float32, bfloat16 (NumPy has no bfloat16 of its own)." in text
    assert (
        "No variant here had num_layers, bidirectional, dropout, no bias, no state, B=1, saturated, zero, huge." in text
    )
    assert "relu in 16 bits is compared in its outputs only" in text
    double = " ".join(section([row for row in DRAWN if row["dtype"] == "float64"], "coverage").paragraphs)
    assert "in 16 bits" not in double
    assert "numpy got none" not in double


def test_what_was_drawn_stays_out_of_the_tables_by_tensor() -> None:
    fixed = [check("y", 0.25), check("dx", 0.0042, rung="gradient")]
    fixed = [row | {"options": ["tanh", "no state", "plain"], "arguments": "--seed 1"} for row in fixed]
    heat, gradients = (section([*DRAWN, *fixed], anchor) for anchor in ("heat", "gradients"))
    assert heat.plots[0].data.columns == ("Dtype", "Pair", "y", "dx")
    assert "over all variants of a cell: tanh, no state. 1 is the limit." in heat.paragraphs[0]
    assert [row["Gradient"] for row in rows(gradients.tables[0])] == ["dx"]
    for part in (heat, gradients):
        assert "Variants drawn at random" in " ".join(part.paragraphs)
    both = section([*DRAWN, *fixed], "summary")
    assert sum(int(row["Comparisons"]) for row in rows(both.tables[0])) == len(DRAWN) + 2
    assert "3 of the variants were drawn at random" in " ".join(section([*DRAWN, *fixed], "reading").paragraphs)
    report = build(DRAWN)
    assert [part.anchor for part in report.sections] == ["summary", "reading", "resolution", "coverage"]
    assert report.missing[0] == ("comparisons of implementations, tensor by tensor", "rosetta check --seed 0")


def test_a_failure_of_a_drawn_variant_marks_its_squares_and_tells_the_smallest() -> None:
    bad = drawn(3.5, "tanh|lengths", RNN, a="flax", b="numpy", smallest="--cell RNN --hidden-size 1 --seed 4")
    records = [*DRAWN, bad, drawn(None, "relu|no state", SHORT), drawn(0.5, "B=1", SHORT, count=0)]
    (plot,) = section(records, "coverage").plots
    lines = {line["Option"]: line for line in rows(plot.data) if line["Dtype"] == "float64"}
    failed = {(option, name) for option, line in lines.items() for name in line if line[name].endswith("FAILED")}
    assert failed == {(option, name) for option in ("all", "plain") for name in ("numpy", "jax", "flax")} | {
        *((option, name) for option in ("tanh", "lengths") for name in ("numpy", "flax")),
        *((option, name) for option in ("relu", "no state", "B=1") for name in ("numpy", "jax")),
    }
    assert lines["lengths"]["flax"] == "3.5 (1) FAILED"
    assert lines["no state"]["jax"] == "not finite (1) FAILED"
    assert [text in plot.panels[0].svg for text in ("✗3.5</text>", "✗nan</text>")] == [True, True]
    assert plot.panels[0].alt.endswith("3 comparisons failed.")
    table = section(records, "summary").tables[1]
    (line,) = [row for row in rows(table) if row["Pair"] == "flax – numpy"]
    assert line["Reproduce"] == "rosetta check --cell RNN --hidden-size 1 --seed 4 --backend flax --backend numpy"
    assert "the smallest one found that still fails" in table.note


def test_commands_that_draw_again() -> None:
    drew = HEADER | {"command": "rosetta check --configs 12 --dtype float64 --json"}
    assert section([drew, *DRAWN], "coverage").commands == ("rosetta check --configs 12 --dtype float64",)
    fixed, more = section([check(), *DRAWN[:2], drawn(0, "relu", RNN)], "summary").commands
    assert fixed == "rosetta check --cell RNN --dtype float64 --backend numpy --backend jax --seed 0"
    assert more.startswith("rosetta check --configs 2 --cell RNN --dtype float64 --backend numpy --backend jax ")
    (study,) = section([HEADER, *DRAWN, check("windows sgd curve", rung="sine")], "summary").commands
    assert study.startswith("rosetta study ")


def test_dtypes_come_in_their_usual_order() -> None:
    order = ["float64", "float32", "float16", "bfloat16"]
    found = [drawn(0.5, "tanh", RNN, dtype=dtype) for dtype in ("bfloat16", "float32", "float16", "float64")]
    assert [row["Dtype"] for row in rows(section(found, "summary").tables[0])] == order
    assert [row["Dtype"] for row in rows(section(found, "resolution").tables[0])] == order


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
    assert [part.anchor for part in report.sections] == ["summary", "reading", "heat", "resolution", "gradients"]
    missing = [
        "coverage of the options",
        "the sine wave",
        "training",
        "one bias against two",
        "the tasks",
        "timings",
        "the environment",
    ]
    assert [name for name, _ in report.missing] == missing
    assert report.missing[0][1] == "rosetta check --configs 200 --seed 0"
    assert "rosetta check --configs 200 --seed 0" in page(report)
    assert "The records do not hold" in page(report)
    assert build(STUDY).missing == (("the tasks", "rosetta study --full --seed 3"),)
    assert [part.anchor for part in build([bench()]).sections] == ["summary", "speed"]
    for records in ([], [HEADER], [training()], [TASK, training("mine")], [check(b="complex step")], [bench("numpy")]):
        assert "<h1>" in html(records)


@pytest.mark.parametrize("name", ['<b>&"', "$x_1^2$", "名前", "_hidden", "a|b`c`"])
def test_names_are_text_and_never_markup(name: str, tmp_path: Path) -> None:
    records = [check(b=name), training(), training(name, 1e-12), TASK, bench(), bench(name)]
    path = reports.write([{"kind": "environment", "of": name, "<i>": "<script>"}, *records], tmp_path)
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
        reports.write([{"kind": "check"}], tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InvalidInput, match="no space left on device"):
        reports.write([HEADER, check(ratio=9)], tmp_path)
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == old


def test_numbers() -> None:
    assert [error(v) for v in (1.23e-15, 0.0, None, math.nan)] == ["1.2e-15", "0", "not finite", "not finite"]
    assert [fraction(v) for v in (0.281, 12.3, 4.7e-5, 0.00999, 231.0)] == ["0.28", "12", "4.7e-05", "0.010", "230"]
    assert [percent(v) for v in (0.281, 4.7e-5, 2.7)] == ["28%", "0.0047%", "270%"]
    assert [digits(v) for v in (0.0341, 9.999, 1234.5, 0.0)] == ["0.0341", "10.0", "1230", "0"]

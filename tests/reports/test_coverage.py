"""The report's coverage: which options were compared where, how well they agreed, what would have been caught."""

from common.equivalence.tolerances import TOLERANCES
from reports.page.numbers import fraction
from reports.sections import build
from tests.study_records import DRAWN, RNN, SHORT, check, drawn, problem, rows, section


def test_the_resolutions_are_shown_by_dtype_and_regime() -> None:
    """Of 200 that passed the finest, the median, that of 99%, the coarsest; those that decide nothing are counted."""
    several = {f"q{i}": i * 1e-9 for i in range(1, 201)} | {"coarse": 1e-6, "blind": None, "zero": 0.0}
    records = [
        drawn(0.5, "tanh", problem(seed=1), resolutions=several),
        check(options=["huge"], problem=problem(seed=2), dtype="float32"),
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


def coverage_by_hand(records, dtype, option, name):
    """A cell of the table, straight from its records."""
    found = [r for r in records if r["dtype"] == dtype and (option == "all" or option in r["options"])]
    found = [r for r in found if name in (r["a"], r["b"]) and "one-bias" not in (r["a"], r["b"])]
    models = len({str(r["problem"]) for r in found})
    return f"{fraction(max(r['ratio'] for r in found))} ({models})" if found else "–"


def test_coverage_shows_the_worst_and_the_number_of_variants() -> None:
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
    assert "flax was given none with proj_size (Flax has no projection), given state, H=1, so its column" in text
    assert "numpy was given none in float32, bfloat16 (NumPy has no bfloat16 of its own)." in text
    absent = "reset_after, reset_before, num_layers, bidirectional, dropout, input_dropout, recurrent_dropout"
    assert f"No variant here had {absent}, no bias, mask, no state, B=1, saturated, zero, huge." in text
    assert "torch.nn was given none with proj_size" not in text
    before = drawn(0.5, "reset_before", problem("GRU", reset_after=False), cell="GRU")
    text = " ".join(section([*DRAWN, before, drawn(0.5, "tanh", RNN, b="torch.nn")], "coverage").paragraphs)
    assert "reset_before (torch.nn has the reset gate after the product alone)" in text
    assert "With relu in 16 bits, only the outputs are compared" in text
    double = " ".join(section([row for row in DRAWN if row["dtype"] == "float64"], "coverage").paragraphs)
    assert "in 16 bits" not in double
    assert "numpy was given none" not in double


def test_what_was_drawn_stays_out_of_the_tables_by_tensor() -> None:
    fixed = [check("y", 0.25), check("dx", 0.0042, rung="gradient")]
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


def test_a_failure_of_a_drawn_variant_marks_its_squares_and_shows_the_smallest() -> None:
    bad = drawn(3.5, "tanh|lengths", RNN, a="flax", b="numpy", smallest=problem(hidden_size=1, seed=4))
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
    command = "rosetta check --cell RNN --dtype float64 --input-size 3 --hidden-size 1 --steps 9 --batch 5 --no-state"
    assert line["Reproduce"] == f"{command} --seed 4 --backend flax --backend numpy"
    assert "the smallest one found that still fails" in table.note


def test_dtypes_come_in_their_usual_order() -> None:
    order = ["float64", "float32", "float16", "bfloat16"]
    found = [drawn(0.5, "tanh", RNN, dtype=dtype) for dtype in ("bfloat16", "float32", "float16", "float64")]
    assert [row["Dtype"] for row in rows(section(found, "summary").tables[0])] == order
    assert [row["Dtype"] for row in rows(section(found, "resolution").tables[0])] == order

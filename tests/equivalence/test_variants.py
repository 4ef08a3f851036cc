"""Variants drawn from the product of all options: they cover it, agree over all pairs, and reproduce by command."""

import copy
import re
import shlex
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common import cli
from common.backend import registry
from common.backend.guards import unsupported
from common.cli import options
from common.equivalence import comparison, ladder, processes, reproduce
from common.equivalence.coverage import coverage
from common.equivalence.shrinking import shrink, simplifications
from common.equivalence.variants import OPTIONS, REGIMES, Variant, draw, drawn, problem, random_problem
from common.errors import BackendBroken, InvalidInput
from common.model.cells import LAYERS
from common.model.spec import CELLS, DTYPES, HALF_DTYPES, ModelSpec
from common.record_types import Check, End
from common.records import of_kind

COUNTS = {"float64": 208, "float32": 208, "float16": 24, "bfloat16": 24}
PIECE = processes.DRAWN_PIECE
PIECES = [(dtype, start) for dtype, count in COUNTS.items() for start in range(0, count, PIECE)]
STACK = draw("LSTM", "float64", 7, 0)


def words(variant: Variant) -> str:
    """The options of ``rosetta check`` for a variant."""
    return reproduce.arguments(variant.data)


def judged(row: comparison.Row, verdict: str) -> comparison.Row:
    """The same with another verdict on its own quantity."""
    verdicts = row.decision.verdicts | {row.quantity: verdict}
    return replace(row, decision=row.decision._replace(verdicts=verdicts))


def chosen(dtype: str) -> list[Variant]:
    """Other variants in every dtype."""
    found = drawn(COUNTS[dtype], CELLS, [dtype], seed=5000 + 500 * list(COUNTS).index(dtype))
    return [other_raggedness(v) if DEEP.issubset(v.options) and v.seed % 2 else v for v in found]


DEEP = {"num_layers", "bidirectional", "dropout"}


def other_raggedness(variant: Variant) -> Variant:
    """Lengths in the place of a mask, of as many valid steps; and padding on the left in the place of lengths."""
    if variant.lengths is None:
        return replace(variant, mask=None, lengths=variant.mask and tuple(word.count("1") for word in variant.mask))
    return replace(variant, lengths=None, mask=tuple(("1" * n).rjust(variant.steps, "0") for n in variant.lengths))


@pytest.mark.parametrize(("dtype", "start"), PIECES)
def test_drawn_variants_agree_over_all_pairs(dtype: str, start: int) -> None:
    backends = {name: registry.load(name) for name in registry.DEFAULT}
    for variant in chosen(dtype)[start : start + PIECE]:
        rows = ladder.check_drawn(backends, variant)
        failed = [
            f"{row.check} {row.quantity} {row.a} {row.b}: {row.measured.ratio}"
            for row in rows
            if row.verdict == comparison.FAILED
        ]
        assert not failed, f"rosetta check {words(variant)}\n{failed}"
        able = [name for name, own in backends.items() if not unsupported(own, variant.spec, variant.called)]
        assert ("flax" in able) == (variant.spec.proj_size == 0 and variant.spec.reset_after)
        assert ("torch.nn" in able) == variant.spec.reset_after
        assert ("numpy" in able) == (dtype != "bfloat16")
        assert {"jax", "torch"} <= set(able)
        pairs = len(able) * (len(able) + 1) // 2  # with the exact result
        kinked = variant.spec.nonlinearity == "relu" and dtype in HALF_DTYPES
        expected = {"forward": pairs} if kinked else {"forward": pairs, "gradient": pairs, "complex step": 1}
        if "numpy" not in able:
            expected.pop("complex step", None)
        assert Counter(row.check for row in rows) == expected
        outputs = variant.steps * variant.batch * variant.spec.output_size
        outputs += sum(int(np.prod(shape)) for shape in variant.spec.state_shapes(variant.batch))
        assert {row.measured.count for row in rows if row.check == "forward"} == {outputs}
        assert all(row.measured.count > 0 and row.drawn for row in rows)


def test_the_drawn_variants_cover_every_option_and_the_corners() -> None:
    found = [variant for dtype in DTYPES for variant in chosen(dtype)]
    assert len(found) >= 200
    assert len({words(variant) for variant in found}) == len(found)
    counts = Counter(option for variant in found for option in variant.options)
    assert set(counts) == set(OPTIONS)
    assert min(counts.values()) >= 10, counts
    layers = [variant for variant in found if not variant.spec.is_cell]
    assert {variant.spec.num_layers for variant in layers} == {1, 2, 3}
    for raggedness in ("lengths", "mask"):
        together = [v for v in layers if DEEP | {raggedness} <= set(v.options)]
        assert {variant.spec.cell for variant in together} == set(LAYERS)
        assert any(problem(variant).masks is not None and variant.spec.proj_size for variant in together)
    assert any(variant.lengths and len(set(variant.lengths)) > 2 for variant in layers)
    assert {variant.regime for variant in found} == set(REGIMES)
    assert {variant.spec.hidden_size for variant in found} == {1, 2, 3, 4, 6}
    assert {variant.spec.input_size for variant in found} == {1, 2, 3, 5}
    assert ({v.steps for v in found}, {v.batch for v in found}) == ({1, 2, 3, 5, 8}, {1, 2, 3, 4})
    assert len({variant.spec.proj_size for variant in found}) > 2
    assert {variant.training for variant in layers if variant.spec.dropout} == {True, False}
    ragged = [v.lengths for v in found[:208] if v.lengths and v.steps > 2 and v.batch > 1]
    assert len(set(ragged)) > len(ragged) / 2, "the problems of a model have lengths of their own"


def test_the_seed_decides_a_variant_and_its_problem() -> None:
    first, again, other = (draw("LSTM", "float64", seed, 1) for seed in (5, 5, 6))
    assert first == again != other
    assert np.array_equal(problem(first).x, problem(again).x)
    found = drawn(10, ["RNN", "LSTM"], DTYPES, 10)
    assert [v.seed for v in found] == [*range(40, 50), *range(52, 62)]
    assert [v.spec.cell for v in found] == (["RNN"] * 4 + ["LSTM"] * 4 + ["RNN"] * 2) * 2
    assert len({v.spec for v in found[:4]}) == 1
    assert len({problem(v).x[0, 0, 0] for v in found[:4]}) == 4


@pytest.mark.parametrize(
    "variant", [v for dtype in COUNTS for v in chosen(dtype)[::3][:8]], ids=lambda v: reproduce.arguments(v.data)
)
def test_the_arguments_of_a_variant_describe_it_whole(variant: Variant) -> None:
    parsed = cli.parse(["check", *shlex.split(words(variant))])
    one = options.given(parsed, (*options.MODEL_ROWS, *options.PROBLEM))
    assert options.model_variant(parsed.cell[0], parsed.dtype[0], parsed.seed, one) == variant


def test_a_problem_is_as_its_variant_says() -> None:
    spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=5, num_layers=3, proj_size=2, dropout=0.5)
    plain = Variant(spec=replace(spec, bidirectional=True), steps=4, batch=6, lengths=(4, 1, 2, 2, 3, 4))
    args = problem(plain)
    assert args.lengths is not None
    assert isinstance(args.masks, np.ndarray)
    assert args.lengths.tolist() == list(plain.lengths or ())
    assert args.masks.shape == (2, 4, 6, 4)
    assert set(np.unique(args.masks)) == {0, 2}
    assert (args.masks[0] != args.masks[1]).any()
    assert problem(replace(plain, training=False)).masks is None
    other = problem(replace(plain, seed=1)).masks
    assert isinstance(other, np.ndarray)
    assert (args.masks != other).any()
    assert args.state0
    drawn_once = [args.x, args.dy, *args.state0, *args.dstate, *args.params.values()]
    assert len({array.ravel()[0] for array in drawn_once}) == len(drawn_once)
    assert abs(problem(replace(plain, regime="zero")).x).max() == 0
    assert np.array_equal(problem(replace(plain, regime="huge")).x, 1e4 * args.x)
    saturated = problem(replace(plain, regime="saturated")).params
    for name, value in args.params.items():
        factor = 1 if name.startswith(("weight_hh", "weight_hr")) else 5 * (3 * 5 / (3 + 2)) ** 0.5
        assert np.array_equal(saturated[name], factor * value), name
    with pytest.raises(InvalidInput, match=r"^lengths: expected 6, one for each sequence, got 2$"):
        replace(plain, lengths=(1, 2))
    with pytest.raises(InvalidInput, match=r"^regime: expected one of plain, .*, got 'wild'$"):
        replace(plain, regime="wild")


def test_what_is_simpler_is_valid_and_different() -> None:
    for variant in chosen("float64"):
        for simpler in simplifications(variant):
            assert simpler != variant
            problem(simpler)


def test_a_variant_is_simplified_in_every_way() -> None:
    spec = ModelSpec(cell="LSTM", input_size=3, hidden_size=4, num_layers=2, proj_size=2, dropout=0.5, bias=False)
    full = Variant(spec=replace(spec, bidirectional=True), steps=3, batch=3, lengths=(3, 1, 2), training=False)
    full = replace(full, regime="zero")
    found = list(simplifications(full))
    assert {v.training for v in found} == {v.given_state for v in found} == {True, False}
    assert {v.lengths for v in found} == {(3, 1, 2), None, (1, 1, 1), (2, 1, 2), (3, 1), (3,)}
    assert {v.regime for v in found} == {"zero", "plain"}
    specs = [v.spec for v in found]
    assert {s.hidden_size for s in specs} == {4}, "no smaller than the projection"
    assert {s.input_size for s in specs} == {1, 2, 3}
    assert {(s.num_layers, s.dropout) for s in specs} == {(2, 0.5), (2, 0.0), (1, 0.0)}
    assert {s.bias for s in specs} == {s.bidirectional for s in specs} == {True, False}
    assert {s.proj_size for s in specs} == {0, 2}
    assert {(v.steps, v.batch) for v in found} == {(3, 3), (2, 3), (1, 3), (3, 2), (3, 1)}


def test_a_nan_is_a_failure_whatever_else_is_compared() -> None:
    poisoned = copy.copy(registry.load("numpy"))
    real = poisoned.vjp

    def vjp(*args: Any, **keywords: Any) -> Any:
        grads = real(*args, **keywords)
        grads.params["bias_hh"][0] = np.nan
        return grads

    setattr(poisoned, "vjp", vjp)  # noqa: B010 - no method of the protocol can be assigned to
    variant = Variant(spec=ModelSpec(cell="RNNCell", input_size=3, hidden_size=4))
    rows = ladder.check_drawn({"numpy": registry.load("numpy"), "poisoned": poisoned}, variant)
    assert {row.check for row in rows if row.verdict == comparison.FAILED} == {"gradient", "complex step"}
    bad = [row for row in rows if row.verdict == comparison.FAILED and row.check == "gradient"]
    assert {row.decision.reason for row in bad} == {"poisoned gives nan"}


def test_what_a_backend_lacks_keeps_it_out_of_drawn_variants_and_is_refused_elsewhere() -> None:
    pair = {name: registry.load(name) for name in ("numpy", "torch", "one-bias")}
    ragged = Variant(spec=ModelSpec(cell="RNN", input_size=3, hidden_size=4), lengths=(1, 2, 9, 4, 3))
    assert {name for row in ladder.check_drawn(pair, ragged) for name in (row.a, row.b)} == {
        "numpy",
        "torch",
        "complex step",
        "exact",
    }
    with pytest.raises(InvalidInput, match="options for backend one-bias: expected none, got 'lengths'"):
        ladder.require_all_supported(pair, [ragged])


def test_a_backend_that_breaks_is_reported_with_its_command_and_does_not_stop_the_shrinking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> Any:
        raise BackendBroken("boom")

    variant = chosen("float64")[0]
    (row, *_) = ladder.check_drawn({name: registry.load(name) for name in ("numpy", "torch")}, variant)
    monkeypatch.setattr(ladder, "check_drawn", broken)
    command = re.escape(f"boom; rosetta check {words(variant)} --backend numpy --backend torch")
    with pytest.raises(BackendBroken, match=f"^{command}$"):
        processes.drawn_records(["numpy", "torch"], [variant])
    assert not processes.fails(row, variant)


def test_a_variant_fails_as_a_row_did_only_if_the_same_rung_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    variant, pair = chosen("float64")[0], {name: registry.load(name) for name in ("numpy", "torch")}
    rows = ladder.check_drawn(pair, variant)
    bad = [judged(row, "failed") if row.check == "gradient" else row for row in rows]
    monkeypatch.setattr(ladder, "check_drawn", lambda *_: bad)
    assert {row.check: processes.fails(row, variant) for row in rows if row.b == "torch"} == {
        "forward": False,
        "gradient": True,
    }


def test_shrinking_stops_at_what_is_needed_or_after_its_trials() -> None:
    def fails(variant: Variant) -> bool:
        return variant.spec.num_layers > 1 and variant.spec.hidden_size > 1

    variant = next(v for v in chosen("float64") if fails(v) and v.spec.bidirectional and v.lengths)
    small = shrink(variant, fails)
    assert small.spec == ModelSpec(cell=variant.spec.cell, input_size=1, hidden_size=2, num_layers=2)
    assert (small.steps, small.batch, small.lengths, small.regime) == (1, 1, None, "plain")
    assert shrink(variant, fails, trials=0) == variant


def test_a_failed_record_has_the_smallest_variant_and_others_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ladder.check_drawn

    def spoiled(backends: object, variant: Variant) -> list[comparison.Row]:
        rows = real(backends, variant)  # pyright: ignore
        bad = variant.spec.bidirectional
        return [judged(row, "failed") if row.check == "forward" and bad else row for row in rows]

    monkeypatch.setattr(ladder, "check_drawn", spoiled)
    two = [v for v in chosen("float64") if v.spec.num_layers > 1 and v.lengths]
    mixed = [next(v for v in two if v.spec.bidirectional is on) for on in (True, False)]
    records = of_kind(processes.drawn_records(["numpy", "torch"], mixed), Check)
    assert {record["verdict"] for record in records} == {"passed", "failed"}
    for record in records:
        assert ("smallest" in record) == (record["verdict"] == "failed")
        if "smallest" in record:
            smallest = record["smallest"]
            assert smallest["spec"]["bidirectional"]
            assert (smallest["spec"]["num_layers"], smallest["lengths"]) == (1, None)
            command = shlex.split(reproduce.row_command(record))
            assert command[:2] == ["rosetta", "check"]
            assert "--bidirectional" in command
            assert not {"--num-layers", "--lengths"} & set(command)


def test_coverage_counts_variants_and_keeps_the_worst() -> None:
    def row(problem: str, a: str, b: str, ratio: float, *options: str) -> Any:
        names = {"a": a, "b": b, "problem": problem, "run": None, "options": options}
        return {"kind": "check", "ratio": ratio, **names}

    found = [
        row("one", "numpy", "torch", 0.1, "relu", "lengths"),
        row("one", "numpy", "jax", 0.3, "relu", "lengths"),
        row("two", "numpy", "torch", 0.2, "lengths"),
        row("two", "numpy", "complex step", 0.5, "lengths"),
        End(kind="end", records=0),
    ]
    table = coverage(found)
    assert table["lengths", "numpy"] == (2, 0.5)
    assert table["relu", "numpy"] == (1, 0.3)
    assert table["lengths", "jax"] == table["all", "jax"] == (1, 0.3)
    assert table["all", "torch"] == (2, 0.2)
    assert [option for option, _ in table if _ == "numpy"] == ["all", "relu", "lengths"]
    assert not [name for _, name in table if name == "complex step"]


def test_a_random_problem_has_no_options_of_its_own() -> None:
    args = random_problem(STACK.spec, 3, 2, 0)
    assert args.lengths is args.masks is None

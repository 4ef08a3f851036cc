"""The arithmetic of ratios, and one small benchmark in its real processes. Nothing depends on how fast anything is."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.backend import registry
from common.backend.contract import Problem
from common.cli import tables
from common.errors import BackendBroken, InvalidInput, WorkerDied
from common.model.spec import ModelSpec
from common.study import bench, bench_worker
from common.study.bench import Case, arms_for, cases, ratio
from common.workers import Workers

CASE = Case(cell="LSTM", steps=4, batch=3, input_size=2, hidden_size=5, backward=True)


def test_ratio_is_taken_round_by_round() -> None:
    """A machine that slows down tenfold half-way changes no ratio; the ratio of medians would be off."""
    reference = [1.0] * 5 + [10.0] * 6
    seconds = [2.0] * 5 + [20.0] * 6
    assert ratio(seconds, reference) == (2.0, 2.0, 2.0)
    assert ratio(reference, seconds) == (0.5, 0.5, 0.5)
    assert ratio([3.0, 1.0, 8.0], [1.0, 1.0, 2.0]).median == 3.0


@pytest.mark.parametrize(("count", "rank"), [(5, 0), (6, 0), (9, 1), (11, 1), (15, 3), (25, 7)])
def test_interval_of_the_median(count: int, rank: int) -> None:
    """The ranks of the 95% interval in tables of the sign test: from the (rank + 1)-th smallest to the mirror image."""
    seconds = [float(value) for value in range(count, 0, -1)]
    found = ratio(seconds, [1.0] * count)
    assert (found.low, found.high) == (1.0 + rank, float(count - rank))
    assert found.median == (count + 1) / 2


def test_ratio_needs_a_round() -> None:
    with pytest.raises(InvalidInput, match="rounds: expected at least 1, got 0"):
        ratio([], [])


@pytest.mark.parametrize(
    ("cell", "backward", "flops"),
    [
        ("LSTM", True, 24 * 4 * 3 * 5 * 7),
        ("LSTM", False, 8 * 4 * 3 * 5 * 7),
        ("RNN", True, 6 * 4 * 3 * 5 * 7),
        ("GRU", False, 6 * 4 * 3 * 5 * 7),
    ],
)
def test_flops(cell: str, backward: bool, flops: int) -> None:
    assert replace(CASE, cell=cell, backward=backward).flops() == flops


def test_the_reference_runs_twice() -> None:
    both = arms_for(["numpy", "torch.nn", "flax"])
    assert both[0] == ("torch.nn", "torch.nn")
    assert both[-1] == ("torch.nn", "torch.nn (A/A)")
    assert sorted(label for _, label in both) == ["flax", "numpy", "torch.nn", "torch.nn (A/A)"]
    assert arms_for(["numpy"]) == [("numpy", "numpy"), ("numpy", "numpy (A/A)")]


def test_cases_are_the_product() -> None:
    found = cases(["RNN", "LSTM"], ["one", "sine"], ["float32"], seed=3)
    assert len(set(found)) == 2 * 2 * 2
    assert {(case.steps, case.batch, case.input_size, case.hidden_size) for case in found} == {
        bench.SIZES["one"],
        bench.SIZES["sine"],
    }
    assert {case.seed for case in found} == {3}


def test_a_small_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROUND_SECONDS", 1e-4)
    for name in bench.DROPPED_VARIABLES:
        monkeypatch.setitem(os.environ, name, "Haswell" if "CORETYPE" in name else "1024")
    seen: list[Case] = []
    records = list(bench.bench(["numpy", "torch.nn"], [CASE], 3, seen.append))
    assert [record["arm"] for record in records] == ["torch.nn", "numpy", "torch.nn (A/A)"]
    assert seen == [CASE]
    for record in records:
        assert record["reference"] == "torch.nn"
        assert len(record["seconds"]) == 3
        assert min(*record["seconds"], record["first_call"]) > 0
        assert record["flops"] == CASE.flops()
    numpy = records[1]["environment"]
    assert not set(bench.DROPPED_VARIABLES) & set(numpy["variables"])
    assert numpy["blas"]["architecture"]
    assert records[0]["environment"]["torch"]


class FakeArm(bench.Arm):
    """Answers at once, with a time of its own for a call."""

    def __init__(self, label: str, each: float):
        self.backend = self.label = label
        self.each = each

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if function is bench_worker.prepare:
            return {"first": 100 * self.each, "later": self.each}
        assert function is bench_worker.run
        return arguments[0] * self.each


def test_every_arm_gets_its_own_time(capsys: pytest.CaptureFixture[str]) -> None:
    each = {"torch.nn": 0.004, "numpy": 0.001, "torch.nn (A/A)": 0.008}
    arms = [FakeArm(label, seconds) for label, seconds in each.items()]
    records = list(bench._bench_case(arms, [{}] * 3, CASE, rounds=5))
    assert {record["arm"]: record["seconds"] for record in records} == {
        label: pytest.approx([seconds] * 5) for label, seconds in each.items()
    }
    assert {record["arm"]: record["first_call"] for record in records} == {k: 100 * v for k, v in each.items()}
    tables.print_bench(records)
    out = capsys.readouterr().out
    assert "0.25 [0.25, 0.25]" in out
    assert "2.00 [2.00, 2.00]" in out


@pytest.mark.parametrize("backward", [True, False])
def test_the_worker_times_what_it_is_asked(backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    calls = []

    def timed(spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        seen.append((spec.cell, problem.x.shape, spec.hidden_size, backward))
        return lambda: calls.append(1)

    monkeypatch.setattr(registry, "load", lambda name: SimpleNamespace(timed=timed))
    assert min(bench_worker.prepare("fake", asdict(replace(CASE, backward=backward))).values()) >= 0
    assert seen == [("LSTM", (4, 3, 2), 5, backward)]
    before = len(calls)
    assert bench_worker.run(3) >= 0
    assert len(calls) - before == 1 + 3


def test_a_backend_that_fails_while_it_is_timed_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(spec: ModelSpec, problem: Problem, *, backward: bool) -> Callable[[], None]:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(registry, "load", lambda name: SimpleNamespace(timed=timed))
    with pytest.raises(BackendBroken, match="backend fake fails while it computes: RuntimeError: no such kernel"):
        bench_worker.prepare("fake", asdict(CASE))


def test_a_cell_that_a_backend_lacks_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"cells of backend one-bias: expected \['RNN', 'RNNCell'\], got \['LSTM'\]"):
        list(bench.bench(["one-bias"], [CASE], 1))


def test_an_error_of_a_worker_arrives_with_its_kind() -> None:
    with Workers() as workers:
        arm = bench.Arm(workers, "no.such.backend", "missing")
        with pytest.raises(InvalidInput, match=r"backend no\.such\.backend: expected an importable module"):
            arm.ask(bench_worker.environment, arm.backend)


def test_a_worker_that_dies_is_an_error() -> None:
    with Workers() as workers:
        arm = bench.Arm(workers, "numpy", "NumPy")
        text = "a worker process ended with exit code 7 while it worked on the timing of NumPy"
        with pytest.raises(WorkerDied, match=text):
            arm.ask(os._exit, 7)
        with pytest.raises(WorkerDied, match="ended with exit code 7"):  # sending to it is the same
            arm.ask(bench_worker.environment, arm.backend)


def test_a_script_without_a_guard_may_start_workers(tmp_path: Path) -> None:
    """The lessons are such scripts: a worker that imported one would run it again."""
    script = tmp_path / "script.py"
    lines = ["from common.parallel import Piece, run", "print(list(run([Piece('a', abs, (-3,))] * 3, 2)))"]
    script.write_text("\n".join(lines))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "[3, 3, 3]\n", "")

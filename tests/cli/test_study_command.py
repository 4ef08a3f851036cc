"""``rosetta check``, ``study``, ``train`` and ``report``: records, verdicts, and the exit codes that follow."""

import json
import os
import signal
from pathlib import Path

import pytest

from common import records
from common.cli import main
from common.equivalence import variants
from common.model.spec import DTYPES
from common.study import bench, sine, study
from tests.cli.commands import ROOT, lines, rosetta
from tests.cli.commands import elsewhere as elsewhere  # pytest looks for it here
from tests.processes import PATIENCE, started, wait_until


def test_check_passes_with_numpy_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--backend", "numpy", "--cell", "rnn", "--dtype", "float64", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert "passed" in captured.out
    assert "complex step" in captured.out
    assert "checks" in captured.err
    assert "checks" not in captured.out


def test_check_as_json_is_a_records_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--backend", "numpy", "--backend", "torch.nn", "--cell", "LSTMCell", "--jobs", "1", "--json"]
    assert main(arguments) == 0
    path = tmp_path / "records.jsonl"
    path.write_text(capsys.readouterr().out)
    found = records.read(path)
    rows = [record for record in found if record["kind"] == "check"]
    assert {row["dtype"] for row in rows} == {"float64", "float32"}
    assert {(row["a"], row["b"]) for row in rows} == {
        ("numpy", "torch.nn"),
        ("numpy", "complex step"),
        ("numpy", "exact"),
        ("torch.nn", "exact"),
    }
    assert all(row["verdict"] == "passed" for row in rows)


WRONG = """
from numpy_impl.backend import NumpyBackend
class Wrong(NumpyBackend):
    name = "wrong"
    def forward(self, spec, params, x, state0=None, **options):
        y, state = super().forward(spec, params, x, state0, **options)
        return y * 1.001, state
BACKEND = Wrong()
"""


SLOW = """
from dataclasses import replace
from numpy_impl.backend import NumpyBackend
class Slow(NumpyBackend):
    def trainer(self, run, params):
        return super().trainer(replace(run, optimizer=replace(run.optimizer, lr=0.99 * run.optimizer.lr)), params)
BACKEND = Slow()
"""


def test_a_wrong_backend_exits_with_1_and_says_how_to_see_it(tmp_path: Path) -> None:
    (tmp_path / "wrong_backend.py").write_text(WRONG)
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    arguments = ["check", "--backend", "numpy", "--backend", "wrong_backend:BACKEND", "--cell", "RNN"]
    found = rosetta(*arguments, "--dtype", "float64", "--jobs", "2", PYTHONPATH=path)
    assert found.returncode == 1
    assert "FAILED RNN float64: forward y, numpy - wrong_backend:BACKEND" in found.stdout
    assert "--backend wrong_backend:BACKEND" in found.stdout
    assert "passed" not in found.stdout
    as_json = rosetta(*arguments, "--dtype", "float64", "--jobs", "1", "--json", PYTHONPATH=path)
    assert as_json.returncode == 1
    assert {row["check"] for row in lines(as_json.stdout) if row["kind"] == "check" and row["verdict"] == "failed"} == {
        "forward",
        "complex step",
    }


def test_the_one_bias_cell_fails_in_training_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Same function, same gradients, different training: the harness distinguishes them."""
    arguments = ["check", "--backend", "numpy", "--backend", "one-bias", "--cell", "RNN", "--dtype", "float64"]
    assert main([*arguments, "--jobs", "1", "--json"]) == 1
    rows = [row for row in lines(capsys.readouterr().out) if row["kind"] == "check" and row["b"] == "one-bias"]
    assert {row["check"] for row in rows} == {"forward", "gradient", "loss", "training"}
    assert {row["check"] for row in rows if row["verdict"] == "failed"} == {"training"}


def test_a_backend_that_lacks_a_cell_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("check", "study"):
        assert main([verb, "--backend", "numpy", "--backend", "one-bias", "--cell", "LSTM", "--jobs", "1"]) == 2
        assert "cell for backend one-bias: expected one of RNN, RNNCell, got 'LSTM'" in capsys.readouterr().err


def test_nothing_compared_exits_with_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "variants", lambda *_: [])
    assert main(["check", "--backend", "numpy", "--jobs", "1"]) == 1
    assert "Nothing was compared" in capsys.readouterr().out


@pytest.mark.usefixtures("small_study")
def test_train_study_and_report_exit_with_1_for_a_wrong_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slow_learner.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["--backend", "numpy", "--backend", "slow_learner:BACKEND", "--cell", "RNN", "--dtype", "float64"]
    assert main(["train", "--epochs", "3", *arguments]) == 1
    out = capsys.readouterr().out
    assert "1 FAILED" in out or "2 FAILED" in out
    assert "passed" not in out
    out_folder = ["--out", str(tmp_path / "out")]
    assert main(["study", *arguments, *out_folder, "--jobs", "1", "--rounds", "1"]) == 1
    assert "NOT equivalent" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "out" / "records.jsonl")]) == 1


def test_an_interrupted_study_exits_with_130_and_keeps_what_it_had(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("an older study\n")
    (tmp_path / "report.html").write_text("an older report\n")
    part = tmp_path / "records.jsonl.part"
    words = ("study", "--out", str(tmp_path), "--rounds", "1000000", "--backend", "numpy", "--cell", "RNN")
    with started(tmp_path, *words) as process:
        wait_until(lambda: part.exists() and '"check"' in part.read_text(), "a check is recorded")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not out
    assert "report --partial" in err
    with pytest.raises(records.RecordsCut) as cut:
        records.read(part)
    assert any(record["kind"] == "check" for record in cut.value.intact)
    assert (tmp_path / "records.jsonl").read_text() == "an older study\n"
    assert (tmp_path / "report.html").read_text() == "an older report\n"


# Comparisons of the RNN over one pair: (dtypes, nonlinearities, bias, state) x quantities. Trained are those with bias
# that start from zero, in five networks: six parameters and a loss, in one a table more, in one a decoder and two; with
# relu in the first two of them.
TRAINED = 2 * ((3 * 7 + 8 + 13) + 2 * 7)
PAIRS = 3  # of two backends and the exact result
CHECKED = {
    "complex step": 2 * 2 * 2 * (6 + 4),
    "forward": 2 * 2 * 2 * 2 * 2 * PAIRS,
    "gradient": 2 * 2 * 2 * (6 + 4) * PAIRS,
    "loss": TRAINED,
    "training": TRAINED,
}


@pytest.fixture
def small_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sine, "EPOCHS", 3)
    monkeypatch.setattr(study, "DRAWN", 8)
    monkeypatch.setattr(study, "BENCH_SIZES", ("one",))
    monkeypatch.setattr(bench, "ROUND_SECONDS", 1e-4)


@pytest.mark.usefixtures("small_study")
def test_study_writes_records_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--backend", "numpy", "--backend", "torch.nn", "--cell", "RNN", "--jobs", "1", "--rounds", "2"]
    assert main(["study", *arguments, "--out", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert f"Report: {tmp_path}/new/report.html" in out
    found = records.read(tmp_path / "new" / "records.jsonl")
    assert {record["kind"] for record in found} == set(records.KINDS) - {"outcome", "sample", "gradient-norms", "trace"}
    rows = [row for row in found if row["kind"] == "check" and row["b"] != "one-bias"]
    random = [row for row in rows if row.get("drawn")]
    rows = [row for row in rows if not row.get("drawn")]
    assert {str(row["problem"]) for row in random} == {str(v.data) for v in variants.drawn(8, ["RNN"], DTYPES, 0)}
    ladder = [row for row in rows if row["check"] != "task"]
    labels = {(variant.label, variant.spec.dtype) for variant in variants.variants(["RNN"])}
    assert {(row["variant"], row["dtype"]) for row in ladder} == labels
    for check, count in CHECKED.items():
        assert sum(row["check"] == check for row in rows) == count, check
    runs = {(r["reading"], r["optimizer"]["name"], r["dtype"], r["backend"]) for r in found if r["kind"] == "training"}
    assert runs == {(*run, name) for run in sine.SINE_RUNS for name in ("numpy", "torch.nn")}
    assert sum(row["check"] == "task" for row in rows) == 2 * len(sine.SINE_RUNS)
    assert sum(record["kind"] == "bench" for record in found) == 2 * 3
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["records.jsonl", "report.html", "report.md"]
    before = [(tmp_path / "new" / name).read_bytes() for name in ("report.html", "report.md")]
    assert main(["report", str(tmp_path / "new" / "records.jsonl"), "--out", str(tmp_path / "again")]) == 0
    assert [(tmp_path / "again" / name).read_bytes() for name in ("report.html", "report.md")] == before


def test_report_of_a_cut_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "--backend", "numpy", "--cell", "RNN", "--dtype", "float64", "--jobs", "1", "--json"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    path = tmp_path / "cut.jsonl"
    path.write_text(text[: len(text) // 2])
    assert main(["report", str(path)]) == 2
    assert "the file was cut" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
    assert main(["report", str(path), "--partial", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["passed"] is False
    assert answer["verdict"].startswith("Incomplete")
    assert (tmp_path / "report.html").exists()


def test_an_unwritable_output_folder_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["study", "--backend", "numpy", "--out", str(tmp_path / "file" / "folder")]) == 2
    assert "output folder: expected a writable folder" in capsys.readouterr().err


def test_train_compares_several_backends(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "sine", "--cell", "lstm", "--epochs", "3", "--reading", "article", "--optimizer", "ADAM"]
    assert main([*arguments, "--backend", "numpy", "--backend", "torch", "--json"]) == 0
    found = lines(capsys.readouterr().out)
    runs = [record for record in found if record["kind"] == "training"]
    assert [run["backend"] for run in runs] == ["numpy", "torch"]
    assert {len(run["losses"]) for run in runs} == {3}
    rules = {(run["reading"], run["optimizer"]["name"], run["optimizer"]["lr"]) for run in runs}
    assert rules == {("article", "adam", 0.01)}
    assert [record["run"]["task"] for record in found if record["kind"] == "check"] == ["sine", "sine"]
    assert [record["of"] for record in found if record["kind"] == "environment"] == ["machine", "numpy", "torch"]

"""Recorded outputs of ragged batches, what is lost on the way, and what identifies a file and its problem."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.backend import registry
from common.cli import main
from common.cli.proof import check
from common.cli.proof.subjects import drawn
from common.errors import InvalidInput
from common.proof import problems, recorded
from common.proof.outcome import is_proved
from common.proof.problems import Asked, draw
from common.proof.recorded import Inputs, read_inputs
from common.proof.subject import fingerprint, open_subject
from common.proof.trials import Trial
from common.weights import peers
from tests.proof.models import B, Made, T, made, opened

STEPS = ("1101101", "0111110", "1111111")
VALID = [
    (["--lengths", "7,3,5"], {"lengths": np.array([7, 3, 5])}),
    (["--mask", ",".join(STEPS)], {"mask": np.array([[step == "1" for step in word] for word in STEPS]).T}),
]


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A file and x.npy in the folder in which the commands run; no library but the backends takes part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers, "owner", lambda _: "")
    file = made(tmp_path, "GRU")
    np.save("x.npy", file.x)
    return file


def words(file: Made, *more: str) -> list[str]:
    return ["check", str(file.path), "--backend", "numpy", "--dtype", "float32", "--inputs", "x.npy", *more]


@pytest.mark.parametrize(("options", "keywords"), VALID, ids=["lengths", "mask"])
def test_padding_of_a_recorded_y_is_ignored_and_it_is_said(
    options: list[str], keywords: dict[str, Any], file: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = opened(file)
    y, _ = registry.load("torch").forward(subject.spec, subject.params("float32"), file.x, None, **keywords)
    valid = keywords["mask"] if "mask" in keywords else np.arange(T)[:, None] < keywords["lengths"]
    np.save("y.npy", np.where(valid[..., None], y, np.float32(9)))
    asked = words(file, *options, "--expect", "y.npy")
    assert main(asked) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "y.npy" in line]
    assert any("valid" in line for line in notes), notes
    y = y.copy()
    y[2, 1, 3] += 1e-3
    np.save("y.npy", y)
    assert main(asked) == 1, "that step is valid"


def test_no_note_where_every_step_is_valid(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("y.npy", file.outputs["y"])
    assert main(words(file, "--expect", "y.npy")) == 0
    assert "valid" not in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["", "torch", "expected", "all"])
def test_what_was_asked_for_and_not_compared_fails(
    lost: str, file: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A participant whose comparisons are missing, though every other passed."""
    real = check.trials

    def without(*args: Any) -> Iterator[Trial]:
        for trial in real(*args):
            rungs = []
            for rung in trial.rungs:
                kept = [row for row in rung.rows if lost not in ("all", row.a, row.b)]
                rungs.append(rung._replace(rows=tuple(kept)))
            yield trial._replace(rungs=tuple(rungs))

    monkeypatch.setattr(check, "trials", without)
    np.savez("y.npz", **file.outputs)  # pyright: ignore
    assert main(words(file, "--backend", "torch", "--expect", "y.npz")) == (1 if lost else 0)
    assert (f"{lost} was not compared" in capsys.readouterr().err) is (lost in ("torch", "expected"))


def test_nothing_compared_proves_nothing() -> None:
    assert not is_proved([])
    assert not is_proved([], ["torch"])


def test_the_fingerprint_covers_every_array_of_the_problem(file: Made) -> None:
    """One number of each, its dtype, and its shape; the weights are covered by the hash of the file."""
    lstm = opened(made(file.path.parent, "LSTM", num_layers=2))
    problem = draw(lstm, Asked(steps=5, batch=3, lengths=(5, 2, 4)), ("float32",)).problem
    problem = problem._replace(mask=np.ones((5, 3), bool))
    found = {fingerprint(problem)}
    count = 1
    for name in ("x", "dy", "lengths", "mask", "state0", "dstate"):
        value = getattr(problem, name)
        parts = value if isinstance(value, tuple) else (value,)
        for k, part in enumerate(parts):
            moved = part.copy()
            moved.flat[-1] = not moved.flat[-1] if part.dtype == bool else moved.flat[-1] + 1
            for other in (moved, part.astype("float64"), part.swapaxes(0, -1).reshape(part.shape[::-1])):
                changed = (*parts[:k], other, *parts[k + 1 :])
                whole = changed if isinstance(value, tuple) else changed[0]
                found.add(fingerprint(problem._replace(**{name: whole})))
                count += part.ndim > 1 or other is not parts[k]
    assert problem.state0 is not None
    found |= {fingerprint(problem._replace(state0=problem.state0[::-1])), fingerprint(problem._replace(mask=None))}
    assert len(found) == count + 2 - 1, "the transpose of the lengths is the lengths"


def test_a_record_holds_the_sha256_of_the_file(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(file, "--json")) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    hashes = {record["file"]["sha256"] for record in found if record["kind"] == "check"}
    assert hashes == {hashlib.sha256(file.path.read_bytes()).hexdigest()}


def test_a_layer_with_too_many_parameters_is_refused(file: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = opened(file)
    count = sum(value.size for value in subject.layer.params.values())
    monkeypatch.setattr(problems, "MOST", count)
    draw(subject, Asked(steps=2, batch=1), ("float32",))
    monkeypatch.setattr(problems, "MOST", count - 1)
    with pytest.raises(InvalidInput, match=rf"expected at most {count - 1}, got {count}"):
        draw(subject, Asked(steps=2, batch=1), ("float32",))


def test_inputs_of_too_many_steps_are_refused(file: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = opened(file).spec
    numbers = T * B * spec.hidden_size
    monkeypatch.setattr(recorded, "LARGEST", 100 * numbers)
    read_inputs(Path("x.npy"), spec)
    monkeypatch.setattr(recorded, "LARGEST", numbers)
    with pytest.raises(InvalidInput, match=f"{T} steps of {B} sequences"):
        read_inputs(Path("x.npy"), spec)


def test_the_limits_are_those_of_a_computer() -> None:
    """They admit layers of ten million parameters and 100,000 numbers, and stay below 16 GiB."""
    assert 1e7 <= problems.MOST <= 2**34 / 50
    assert 1e7 <= recorded.LARGEST <= 2**34 / 8


@pytest.mark.parametrize("exact", [True, False])
def test_inputs_that_a_dtype_rounds_are_named(exact: bool, file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    x = file.x.astype("float64") + (0.0 if exact else 1e-9)
    drawn(opened(file), Asked(inputs=Inputs("x.npy", x, None, is_single=False)), ("float32", "float64"))
    lines = [line for line in capsys.readouterr().err.splitlines() if "rounded" in line]
    assert len(lines) == (0 if exact else 1)
    assert all("x " in line and "float32" in line and "float64" not in line for line in lines)


def test_weights_that_a_dtype_rounds_are_named(file: Made, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({name: value.double() / 3 for name, value in file.module.state_dict().items()}, "double.pt")
    drawn(open_subject(Path("double.pt"), None), Asked(given_state=False, steps=2), ("float32", "float64"))
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "rounded" in line)
    assert "the weights" in line
    assert "float32" in line

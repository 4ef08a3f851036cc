"""The certificate of ``rosetta check FILE``: its files, its notes and its verdict are those of the check."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.cli import main
from common.weights import peers

T, B, I, H = 4, 2, 3, 5
WORDS = ("check", "in.npz", "--backend", "numpy", "--dtype", "float32", "--inputs", "x.npy")


@pytest.fixture(name="y")
def y_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """What torch.nn gives on x.npy with the weights of in.npz, which holds another array too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers, "owner", lambda _: "")
    torch.manual_seed(3)
    module, x = torch.nn.RNN(I, H), torch.randn(T, B, I)
    arrays: dict[str, Any] = {f"rnn.{name}": value.numpy() for name, value in module.state_dict().items()}
    np.savez("in.npz", table=np.ones((4, 7), "float32"), **arrays)
    np.save("x.npy", x.numpy())
    with torch.no_grad():
        return module(x)[0].numpy()


def certified(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """The certificate, and what was printed."""
    assert main([*WORDS, *words, "--certificate", "proof.html"]) == code
    out, err = capsys.readouterr()
    return json.loads(Path("proof.json").read_text(encoding="utf-8")), " ".join((out + err).split())


def test_its_files_are_those_that_were_read(y: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("y.npy", y)
    found, _ = certified(capsys, "--expect", "y.npy")
    assert found["passed"]
    assert [(file["role"], file["path"]) for file in found["files"]] == [
        ("weights", "in.npz"),
        ("inputs", "x.npy"),
        ("expected", "y.npy"),
    ]
    for file in found["files"]:
        data = Path(file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_what_failed_did_not_pass(y: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("y.npy", 1.1 * y)
    found, out = certified(capsys, "--expect", "y.npy", code=1)
    assert not found["passed"]
    assert found["sentence"].startswith("Not equivalent")
    assert found["sentence"] in out
    assert {row["quantity"] for row in found["comparisons"] if row["verdict"] == "failed"} == {"y"}


def test_every_note_that_is_printed_is_in_it(y: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """About what the file leaves open, and about what was recorded."""
    np.save("y.npy", y)
    found, out = certified(capsys, "--expect", "y.npy", "--lengths", "4,2")
    assert any("nonlinearity" in note for note in found["notes"])
    assert any(note.startswith("y.npy") for note in found["notes"])
    assert all(note in out for note in found["notes"])

"""``rosetta convert``: what is refused, interrupted or replaced, and what is left then."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.study import certificate
from common.weights import files
from tests.cli.commands import Run, run_fixture
from tests.weights.converting import cellar, torch_peer
from tests.weights.converting.test_convert import convert, left, saved, source_fixture

__all__ = ["run_fixture", "source_fixture"]
I, H = 3, 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_nothing_is_left_after_an_interruption(
    error: type[BaseException], run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(cellar.Loaded, "vjp", fail)
    code, *_ = convert(run)
    assert code != 0
    assert left() == {"in.npz"}


def test_an_existing_file_is_replaced_only_on_request(run: Run, source: Any) -> None:
    Path("other").write_text("precious")
    for make in (lambda: Path("out.npz").write_text("precious"), lambda: Path("out.npz").symlink_to("other")):
        make()
        code, _, err = convert(run)
        assert code == 2
        assert "--force" in err
        code, *_ = convert(run, "cellar", "--force")
        assert code == 0
        assert not Path("out.npz").is_symlink()
        assert files.read("out.npz").layers
        assert Path("other").read_text() == "precious"
        Path("out.npz").unlink()
    Path("out.npz").symlink_to("nowhere")
    assert convert(run)[0] == 2
    assert convert(run, "cellar", "--force")[0] == 0
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "npz", "--out", "out.h5"), "ends in .npz"),
        (("--to", "npz", "--out", "no/out.npz"), "a folder that exists"),
        (("--to", "npz", "--out", "folder.npz", "--force"), "a folder"),
        (("--to", "npz", "--out", "out.npz", "--layer", "decoder"), "one of encoder"),
        (("--to", "npz", "--out", "out.npz", "--certificate", "in.npz"), "ends in .html"),
        (("--to", "npz", "--out", "out.npz", "--certificate", "page.html"), "a certificate"),
    ],
)
def test_what_is_asked_is_judged_before_anything_is_written(
    words: tuple[str, ...], said: str, run: Run, source: Any
) -> None:
    Path("folder.npz").mkdir()
    Path("page.md").write_text("a page of the user's")
    before = left()
    code, out, err = run("convert", "in.npz", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert left() == before


def test_what_a_target_cannot_hold_is_refused(run: Run, tmp_path: Path) -> None:
    for cell, options, said in [
        ("LSTM", {"proj_size": 2}, "projection"),
        ("LSTM", {"num_layers": 2}, "one layer in one direction"),
        ("GRU", {}, "an LSTM"),
    ]:
        saved(tmp_path / "in.npz", cell, **options)
        code, _, err = convert(run)
        assert code == 2
        assert said in err
        assert left() == {"in.npz"}
    saved(tmp_path / "in.npz", "LSTM", "float16")
    code, _, err = convert(run)
    assert code == 2
    assert "float16" in err


def test_a_bias_that_a_system_cannot_do_without_is_added(run: Run, tmp_path: Path) -> None:
    saved(tmp_path / "in.npz", "LSTM", bias=False)
    code, out, _ = convert(run)
    assert code == 0
    assert "note cellar.LSTM cannot be built without a bias: zeros were added" in out
    with np.load("out.npz") as found:
        np.testing.assert_array_equal(found["cellar/b"], np.repeat([0, 0, -1, 0], H))


def test_the_faulty_peers_are_faultless_otherwise(run: Run, source: Any) -> None:
    """Or their tests would show nothing."""
    (layer,) = tuple(files.read("in.npz").layers or ())
    x, state = np.ones((4, 2, I), "float32"), (np.ones((1, 2, H), "float32"),) * 2
    right, wrong = (peer.load(Path("in.npz"), layer) for peer in (torch_peer.PEER, torch_peer.WRONG_GRADIENTS))
    for a, b in zip(right.forward(x, state), wrong.forward(x, state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_check_of_a_file_has_a_certificate_too(run: Run, source: Any) -> None:
    words = ("check", "in.npz", "--backend", "numpy", "--certificate", "proof.html")
    code, out, _ = run(*words)
    assert code == 0
    assert "Certificate: proof.html" in out
    assert left() == {"in.npz", "proof.html", "proof.json", "proof.md"}
    found = certificate.read(Path("proof.json"))
    assert found["passed"]
    assert found["sentence"] in " ".join(out.split())
    assert [file["role"] for file in found["files"]] == ["weights"]
    assert found["command"] == ["rosetta", *words]
    assert {row["check"] for row in found["comparisons"]} == {"forward", "gradient", "complex step"}
    assert [given["label"] for given in found["inputs"]] == ["float32", "float64"]
    assert "torch" in found["versions"]
    code, _, err = run("check", "--certificate", "proof.html")
    assert code == 2
    assert "none without FILE" in err

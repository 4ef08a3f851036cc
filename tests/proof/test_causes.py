"""What would explain a wrong recording, besides the mistakes of ``test_trials``: axes, float32, and rounded weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.cli import main
from common.equivalence.comparison import EXPECTED
from common.proof.causes import explanation
from common.weights import peers
from tests.proof.models import B, Made, T, all_trials, made, opened, plan, run
from tests.proof.test_trials import first_failure, reordered


def explained(file: Made, x: np.ndarray, recorded: dict[str, np.ndarray]) -> str:
    trial, rung, _ = first_failure(all_trials(plan(opened(file), {}, x=x, recorded=recorded)), "y")
    return explanation(trial, opened(file).layer.layout, rung.results[EXPECTED], rung.bounds)


@pytest.mark.parametrize("steps", [T, B])
def test_a_forgotten_batch_first_is_named(steps: int, tmp_path: Path) -> None:
    """Also where there are as many steps as sequences, so that final states have the right shape."""
    file = made(tmp_path, bidirectional=True)
    x = file.x[:steps]
    right = run(file.module, torch.tensor(x))
    recorded = {**right, "y": right["y"].swapaxes(0, 1)} if steps == B else {"y": right["y"].swapaxes(0, 1)}
    text = explained(file, np.ascontiguousarray(x.swapaxes(0, 1)), recorded)
    assert text == "x and y hold the batch first: add --batch-first"
    recorded["y"] = recorded["y"][::-1]
    assert not explained(file, np.ascontiguousarray(x.swapaxes(0, 1)), recorded)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_of_the_weights_is_a_cause_and_hides_no_other(dtype: str, tmp_path: Path) -> None:
    """The file holds 16 bits, in float32 here; the outputs are those of the module before."""
    file = made(tmp_path, num_layers=2)
    rounded = {
        f"rnn.{name}": value.to(getattr(torch, dtype)).float() for name, value in file.module.state_dict().items()
    }
    torch.save(rounded, file.path)
    text = explained(file, file.x, file.outputs)
    assert text.startswith(f"the weights are rounded to {dtype}, which makes errors of this size")
    y = file.outputs["y"].copy()
    y[3, 1, 2] += 0.5
    assert not explained(file, file.x, {**file.outputs, "y": y})
    wrong = run(reordered(file.module, "ofgi"), torch.tensor(file.x))
    assert "rounded" not in explained(file, file.x, wrong)


def test_weights_of_float32_are_not_said_to_be_rounded(tmp_path: Path) -> None:
    file = made(tmp_path)
    noise = np.random.default_rng(0).uniform(-1e-4, 1e-4, file.outputs["y"].shape).astype("float32")
    assert not explained(file, file.x, {**file.outputs, "y": file.outputs["y"] + noise})


@pytest.fixture(name="words")
def words_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A check of y.npy, and in right.npy what torch.nn gave, in float32."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(peers, "owner", lambda _: "")
    file = made(tmp_path)
    np.save("x.npy", file.x)
    np.save("right.npy", file.outputs["y"])
    return ["check", "LSTM.pt", "--backend", "numpy", "--inputs", "x.npy", "--expect", "y.npy"]


def printed(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert main(words) == code
    captured = capsys.readouterr()
    assert all(len(line) <= 80 for line in captured.err.splitlines())
    return " ".join(captured.out.split()), " ".join(captured.err.split())


def test_float64_numbers_that_float32_computed_are_judged_in_float32(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Written with nine decimals, no number is exact in float32; one step is wrong."""
    y = np.load("right.npy").astype("float64").round(9)
    np.save("y.npy", y)
    out, _ = printed(words, 1, capsys)
    cause = "so it was computed in float32: cast y, or use --dtype float32."
    assert cause in out
    assert "FAILED float32" not in out
    printed([*words, "--dtype", "float32"], 0, capsys)
    y[4] += 1e-3
    np.save("y.npy", y)
    for more in ([], ["--dtype", "float32"]):
        out, err = printed([*words, *more], 1, capsys)
        assert "The outputs depart at step 4; steps 0 to 3 agree; no other step is wrong." in out
        assert (cause in out) == (not more)
        assert ("y.npy holds float64: it is rounded to float32" in err) == bool(more)


def test_mostly_float32_numbers_are_taken_for_float32(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    y = np.load("right.npy").astype("float64")
    y[4] += 1e-3
    np.save("y.npy", y)
    out, err = printed(words, 1, capsys)
    assert "108 of its 126 values are exact in float32" in err
    assert "The outputs depart at step 4; steps 0 to 3 agree; no other step is wrong." in out


def test_one_error_in_float64_is_not_taken_for_float32(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = made(tmp_path, dtype=torch.float64)
    y = file.outputs["y"].copy()
    y[2, 1, 0] += 1e-9
    np.savez("x.npz", x=file.x)
    np.save("y.npy", y)
    words[words.index("x.npy")] = "x.npz"
    out, _ = printed(words, 1, capsys)
    assert "computed in float32" not in out
    assert "1 of 126 elements differ" in out


def test_a_final_state_whose_shape_shows_it_names_batch_first(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file: Any = made(tmp_path)
    outputs = {**file.outputs, "y": file.outputs["y"].swapaxes(0, 1)}
    np.savez("y.npz", **outputs)
    np.save("xb.npy", file.x.swapaxes(0, 1))
    words[-3:] = ["xb.npy", "--expect", "y.npz"]
    assert main(words) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        "rosetta: h_n in y.npz: expected (1, 7, 6), (D*L, B, H), got (1, 3, 6); "
        "x and y hold the batch first? then add --batch-first"
    )
    assert main([*words, "--batch-first"]) == 0
    np.savez("y.npz", **file.outputs)
    words[words.index("xb.npy")] = "x.npy"
    assert main([*words, "--batch-first"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("x holds the time first? then leave out --batch-first")


def test_tolerances_are_listed_layer_by_layer_under_full_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = made(tmp_path, "RNN", num_layers=2, bidirectional=True, bias=False)
    assert main(["tolerance", str(file.path), "--for", "numpy", "--steps", "3"]) == 0
    captured = capsys.readouterr()
    names = [line.partition("(")[2].partition(",")[0] for line in captured.out.splitlines() if line.startswith("np.")]
    layers = ("l0", "l0_reverse", "l1", "l1_reverse")
    weights = [f"dweight_{side}_{layer}" for layer in layers for side in ("ih", "hh")]
    assert names == ["y", "h_n", *weights, "dx", "dh_0"]
    assert all(len(line) <= 80 or " " not in line.strip() for line in captured.err.splitlines())
    assert main(["tolerance", "--cell", "RNN", "--for", "numpy"]) == 0
    assert "(dweight_ih, expected_dweight_ih," in capsys.readouterr().out

"""``rosetta convert``: what it keeps has been proved, and what is wrong with a file or a library keeps it away."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.conversions.layouts import BIAS_X, Part
from common.conversions.systems import LAYOUTS
from common.study import certificate
from common.weights import peers, targets
from common.weights.formats import npz
from common.weights.peers import Entry
from tests.cli.commands import Run, run_fixture
from tests.weights.converting import cellar
from tests.weights.converting.conftest import use

__all__ = ["run_fixture"]
I, H = 3, 5


@pytest.fixture(name="source")
def source_fixture(run: Run, tmp_path: Path) -> dict[str, np.ndarray]:
    """in.npz: an LSTM inside a larger model."""
    return saved(tmp_path / "in.npz", "LSTM", num_layers=1)


def saved(path: Path, cell: str, dtype: str = "float32", **options: Any) -> dict[str, np.ndarray]:
    torch.manual_seed(3)
    module = getattr(torch.nn, cell)(I, H, dtype=getattr(torch, dtype), **options)
    arrays = {f"encoder.{name}": value.numpy() for name, value in module.state_dict().items()}
    np.savez(path, embedding=np.ones((4, I), dtype), **arrays)  # pyright: ignore
    return arrays


def convert(run: Run, target: str = "cellar", *words: str) -> tuple[int, str, str]:
    return run("convert", "in.npz", "--to", target, "--out", "out.npz", *words)


def left() -> set[str]:
    return set(os.listdir())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("LSTM", {"num_layers": 2, "bidirectional": True}),
        ("LSTM", {"proj_size": 2}),
        ("GRU", {"bidirectional": True}),
        ("RNN", {"bias": False}),
    ],
)
def test_weights_survive_to_the_bit(cell: str, options: Any, dtype: str, run: Run, tmp_path: Path) -> None:
    arrays = saved(tmp_path / "in.npz", cell, dtype, **options)
    code, out, _ = convert(run, "npz", "--layer", "encoder")
    assert code == 0, out
    assert "biases" not in out
    with np.load("out.npz") as found:
        assert {f"encoder.{name}": found[name].tobytes() for name in found} == {
            k: v.tobytes() for k, v in arrays.items()
        }
    assert left() == {"in.npz", "out.npz"}
    assert max(map(len, out.splitlines())) <= 80


def test_everything_is_compared_at_both_ends(run: Run, source: dict[str, np.ndarray]) -> None:
    code, out, _ = convert(run, "cellar", "--json")
    assert code == 0
    found = json.loads(out)
    compared = {(row["a"], row["b"], row["quantity"]) for row in found["comparisons"]}
    for quantity in ("y", "h_n", "c_n", "dx", "dh_0", "dc_0"):
        for pair in (("numpy", "torch (in)"), ("torch (in)", "cellar (out)"), ("cellar (out)", "exact")):
            assert (*pair, quantity) in compared
    assert {("cellar (out)", "exact", f"d(cellar/{name})") for name in ("wx", "wh", "b")} <= compared
    assert {("torch (in)", "exact", f"d({name})") for name in source} <= compared
    assert found["passed"]
    assert all(row["verdict"] == "passed" for row in found["comparisons"])
    merged, added, ragged = found["notes"][-3:]
    assert merged.startswith("two biases were merged")
    assert added.startswith("1 was subtracted from the bias of f")
    assert "cellar takes no lengths" in ragged
    assert list(found["versions"]) == ["machine", "numpy", "torch", "cellar"]


def test_there_and_back_is_the_original_but_for_its_biases(run: Run, source: dict[str, np.ndarray]) -> None:
    assert convert(run)[0] == 0
    code, out, _ = run("convert", "out.npz", "--to", "npz", "--out", "back.npz")
    assert code == 0
    assert "note Cellar adds 1 to the bias of f" in out
    assert "merged" not in out
    with np.load("back.npz") as back:
        for name in ("weight_ih_l0", "weight_hh_l0"):
            assert back[name].tobytes() == source[f"encoder.{name}"].tobytes()
        sums = back["bias_ih_l0"] + back["bias_hh_l0"]
    np.testing.assert_allclose(sums, source["encoder.bias_ih_l0"] + source["encoder.bias_hh_l0"], atol=2e-7)
    code, out, _ = run("convert", "back.npz", "--to", "cellar", "--out", "again.npz")
    assert code == 0
    assert "merged" not in out
    with np.load("out.npz") as first, np.load("again.npz") as second:
        assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def layout(**parts: Part) -> Any:
    """Cellar's layout with other parts, as its own reader and writer of a mistaken project would have it."""
    own = {part.name: part for part in cellar.LAYOUT.parts} | parts
    return cellar.LAYOUT._replace(parts=tuple(own.values()))


MISTAKES = {
    "gates in another order": layout(wx=Part("wx", "x", "ifgo"), wh=Part("wh", "h", "ifgo")),
    "gates of the bias in another order": layout(b=Part("b", "sum", "igof", added={"f": 1.0})),
    "1 forgotten": layout(b=Part("b", "sum", "igfo")),
    "1 on another gate": layout(b=Part("b", "sum", "igfo", added={"i": 1.0})),
    "second bias dropped": layout(b=Part("b", BIAS_X, "igfo", added={"f": 1.0})),
    "a gate negated": layout(wx=Part("wx", "x", "igfo", negated="f")),
    "not transposed": layout(wx=Part("wx", "x", "igfo", transposed=False)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_about_a_system_is_noticed(
    mistake: str, run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reader and writer share it, so that only the library can tell."""
    monkeypatch.setitem(LAYOUTS, "cellar LSTM", MISTAKES[mistake])
    code, out, err = convert(run)
    assert code == 1
    said = " ".join((out + err).split())
    assert any(
        text in said for text in ("NOT equivalent, and nothing was kept", "fails while it computes", "the sum of")
    )
    assert left() == {"in.npz"}


def first(arrays: Any, name: str) -> Any:
    return arrays[next(key for key in arrays if key.startswith(name))]


def swap(arrays: dict[str, Any]) -> None:
    value = first(arrays, "weight_ih")
    value[:H], value[H : 2 * H] = value[H : 2 * H].copy(), value[:H].copy()


def transpose(arrays: dict[str, Any]) -> None:
    value = first(arrays, "weight_hh")
    value[:H] = value[:H].T.copy()


def drop(arrays: dict[str, Any]) -> None:
    first(arrays, "bias_hh")[:] = 0


def nudge(arrays: dict[str, Any]) -> None:
    """By one unit in the last place of one element, which no comparison of results could show."""
    value = first(arrays, "weight_hh")
    value[0, 0] = np.nextafter(value[0, 0], np.float32(9))


def cast(arrays: dict[str, Any]) -> None:
    for name in arrays:
        arrays[name] = arrays[name].astype("float64")


def lose(arrays: dict[str, Any]) -> None:
    del arrays["bias_hh_l0"]


def rename(arrays: dict[str, Any]) -> None:
    arrays["weight"] = arrays.pop("weight_hh_l0")


@pytest.mark.parametrize("bug", [swap, transpose, drop, nudge, cast, lose, rename])
def test_a_faulty_writer_is_noticed(
    bug: Callable[[Any], None], run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, spec: Any, arrays: Any) -> None:
        changed = {name: value.copy() for name, value in arrays.items()}
        bug(changed)
        npz.write(path, spec, changed)

    monkeypatch.setitem(targets.TARGETS, "npz", targets.TARGETS["npz"]._replace(write=write))
    code, out, err = convert(run, "npz")
    assert (code, out) == (1, "")
    assert "expected" in err
    assert left() == {"in.npz"}


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("WRONG_GRADIENTS", "float32 gradients, d(bias_hh_l0): torch ("),
        ("WRONG_STATE", "float32 outputs, h_n: torch (out)"),
    ],
)
def test_a_library_that_disagrees_is_noticed(
    fault: str, named: str, run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one gradient, or in the final state of a ragged batch alone."""
    use(monkeypatch, fault)
    code, out, _ = convert(run, "npz", "--certificate", "proof.html")
    assert code == 1
    assert f"FAILED {named}" in out.replace("encoder.", "")
    assert left() == {"in.npz", "proof.html", "proof.json", "proof.md"}
    found = certificate.read(Path("proof.json"))
    assert not found["passed"]
    assert found["sentence"].startswith("NOT equivalent, and nothing was kept")
    assert found["failures"][0]["elements"]
    assert found["failures"][0]["title"] in out
    assert found["failures"][0]["title"] in Path("proof.html").read_text(encoding="utf-8")


def test_a_library_without_gradients_is_compared_in_what_it_has(
    run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "WITHOUT_GRADIENTS")
    code, out, _ = convert(run, "npz")
    text = " ".join(out.split())
    assert code == 0
    assert "not compared in torch (out), as torch computes none; those that were compared are of numpy" in text
    assert "gradients (numpy)" in text
    assert "ragged batches were not compared" in text
    assert "(outputs and final states)" in text


def test_what_a_library_cannot_run_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "WITHOUT_GRADIENTS")
    saved(tmp_path / "in.npz", "LSTM", "float64")
    code, _, err = convert(run, "npz")
    assert code == 2
    assert "dtype for torch: expected float32, got float64" in err
    assert "--unproven" in err
    assert left() == {"in.npz"}


def test_a_library_that_is_missing_is_named_with_its_extra(
    run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(peers.PEERS, "cellar", Entry("nothing_of_this_name:PEER", "wine", ("nothing_of_this_name",)))
    code, _, err = convert(run)
    assert code == 3
    assert "pip install -e '.[wine]'" in err
    assert left() == {"in.npz"}
    code, out, _ = convert(run, "cellar", "--unproven", "--certificate", "proof.html")
    assert code == 0
    assert "Not proved:" in out
    assert not certificate.read(Path("proof.json"))["passed"]
    assert "out.npz" in left()


def test_a_source_without_its_library_is_our_reader_s_alone(
    run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(peers.PEERS, "torch", Entry("nothing_of_this_name:PEER", "wine", ("nothing_of_this_name",)))
    code, out, _ = convert(run)
    assert code == 0
    assert "note the source was read by our reader alone" in out

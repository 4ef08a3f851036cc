"""What follows from a conversion's comparisons: what is kept, what is said, how small an error is noticed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import weights
from common.errors import InvalidType, NotEquivalent
from common.weights import targets
from common.weights.formats import npz
from common.weights.peers import PeerGradients
from tests.cli.commands import Run, run_fixture
from tests.weights.converting import cellar
from tests.weights.converting.conftest import use
from tests.weights.converting.test_convert import I, convert, left, source_fixture

__all__ = ["run_fixture", "source_fixture"]


def proved(run: Run, target: str = "cellar", *words: str, code: int = 0) -> dict[str, Any]:
    """The certificate of a conversion, from its JSON."""
    found, out, err = convert(run, target, "--json", *words)
    assert found == code, out + err
    return json.loads(out)


def test_what_failed_is_not_kept_unproven_either(run: Run, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in ("WRONG_GRADIENTS", "WRONG_STATE"):
        use(monkeypatch, fault)
        found = proved(run, "npz", "--unproven", code=1)
        assert not found["passed"]
        assert "failed" in {row["verdict"] for row in found["comparisons"]}
        assert left() == {"in.npz"}


def test_what_is_undecided_is_kept_only_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chaotic network, whose last outputs after many steps are rounding errors and nothing else."""
    use(monkeypatch, "WITHOUT_GRADIENTS")
    rng = np.random.default_rng(0)
    arrays = {"weight_ih_l0": 0.1 * rng.standard_normal((40, I)), "weight_hh_l0": rng.standard_normal((40, 40)) / 2}
    np.savez("in.npz", **{name: value.astype("float32") for name, value in arrays.items()})  # pyright: ignore
    np.save("x.npy", rng.standard_normal((80, 2, I)).astype("float32"))
    words = ("--inputs", "x.npy", "--nonlinearity", "tanh")
    for more, code, made in (((), 1, set()), (("--unproven",), 0, {"out.npz"})):
        found = proved(run, "npz", *words, *more, code=code)
        assert {row["verdict"] for row in found["comparisons"]} == {"undecided"}
        assert not found["passed"]
        assert not found["sentence"].startswith("Equivalent")
        assert left() == {"in.npz", "x.npy"} | made


def test_the_checksums_are_those_of_the_files(run: Run, source: Any) -> None:
    np.save("x.npy", np.random.default_rng(1).standard_normal((3, 2, I)).astype("float32"))
    found = proved(run, "cellar", "--inputs", "x.npy")
    assert [(file["role"], file["path"]) for file in found["files"]] == [
        ("source", "in.npz"),
        ("target", "out.npz"),
        ("inputs", "x.npy"),
    ]
    for file in found["files"]:
        data = Path(file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_inputs_and_seed_are_what_is_run(run: Run, source: Any) -> None:
    """Those that were recorded, in either order of axes, and else others for another seed."""
    x = np.random.default_rng(1).standard_normal((3, 2, I)).astype("float32")
    np.save("x.npy", x)
    np.save("turned.npy", x.swapaxes(0, 1))
    np.save("other.npy", x + 1)
    first, second, again, recorded, turned, other = (
        proved(run, "cellar", "--force", *words)
        for words in (
            ("--seed", "0"),
            ("--seed", "5"),
            ("--seed", "5"),
            ("--seed", "5", "--inputs", "x.npy"),
            ("--seed", "5", "--inputs", "turned.npy", "--batch-first"),
            ("--seed", "5", "--inputs", "other.npy"),
        )
    )
    results = [(found["inputs"][0]["sha256"], scales(found)) for found in (first, second, recorded, other)]
    assert len(set(results)) == len({sha for sha, _ in results}) == len({scale for _, scale in results}) == 4
    assert again["inputs"] == second["inputs"]
    assert scales(again) == scales(second)
    assert turned["inputs"][0]["sha256"] == recorded["inputs"][0]["sha256"]
    assert scales(turned) == scales(recorded)
    assert [(found["inputs"][0]["steps"], found["inputs"][0]["batch"]) for found in (recorded, turned)] == [(3, 2)] * 2


def scales(found: dict[str, Any]) -> tuple[float, ...]:
    """The largest exact value of each quantity."""
    return tuple(row["scale"] for row in found["comparisons"])


class Fault:
    """Cellar's library with one element of one result, the largest, moved by a share of it."""

    def __init__(self, quantity: str, size: float):
        self.quantity, self.size = quantity, size

    def moved(self, name: str, value: np.ndarray) -> np.ndarray:
        if name != self.quantity:
            return value
        value = value.copy()
        place = np.unravel_index(np.argmax(abs(value)), value.shape)
        value[place] *= 1 + self.size
        return value

    def forward(self, right: Any) -> Any:
        def forward(*arguments: Any) -> Any:
            y, (h, c) = right(*arguments)
            return self.moved("y", y), (self.moved("h_n", h), self.moved("c_n", c))

        return forward

    def vjp(self, right: Any) -> Any:
        def vjp(*arguments: Any) -> Any:
            arrays, x, state0 = right(*arguments)
            arrays = {name: self.moved(f"d({name})", value) for name, value in arrays.items()}
            states = zip(("dh_0", "dc_0"), state0, strict=True)
            return PeerGradients(arrays, self.moved("dx", x), tuple(self.moved(*pair) for pair in states))

        return vjp

    def plant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("forward", "vjp"):
            monkeypatch.setattr(cellar.Loaded, name, getattr(self, name)(getattr(cellar.Loaded, name)))


QUANTITIES = ("y", "h_n", "c_n", "dx", "dh_0", "dc_0", "d(cellar/wx)", "d(cellar/wh)", "d(cellar/b)")
# Relative to the largest value: the resolutions of these results are 2e-6 to 7e-6.
SIZE = 2e-5


def test_an_error_just_above_the_resolution_is_noticed(run: Run, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one element of any result, in float32; the size is fixed, so that bounds that grow do not go unnoticed."""
    for quantity in QUANTITIES:
        with monkeypatch.context() as patch:
            Fault(quantity, SIZE).plant(patch)
            found = proved(run, code=1)
        failed = [row for row in found["comparisons"] if row["verdict"] == "failed"]
        assert {row["quantity"] for row in failed} == {quantity}
        assert all(SIZE / 20 < row["resolution"] < SIZE / 2 for row in failed)
        assert left() == {"in.npz"}


def changes() -> dict[str, tuple[str, Any]]:
    """What a library gives of its results: less or more than was asked for."""

    def without_array(found: Any) -> Any:
        return found._replace(arrays={name: value for name, value in found.arrays.items() if name != "cellar/b"})

    return {
        "an array without a gradient": ("vjp", without_array),
        "a gradient of one state": ("vjp", lambda found: found._replace(state0=found.state0[:1])),
        "a gradient of a third state": ("vjp", lambda found: found._replace(state0=(*found.state0, found.state0[0]))),
        "one final state": ("forward", lambda found: (found[0], found[1][:1])),
        "a third final state": ("forward", lambda found: (found[0], (*found[1], found[1][0]))),
    }


@pytest.mark.parametrize("change", changes())
def test_missing_and_further_results_are_noticed(
    change: str, run: Run, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, changed = changes()[change]
    right = getattr(cellar.Loaded, name)
    monkeypatch.setattr(cellar.Loaded, name, lambda *arguments: changed(right(*arguments)))
    code, out, err = convert(run)
    assert (code, out) == (1, ""), err
    assert "cellar (out)" in err
    assert left() == {"in.npz"}


def test_a_dtype_that_a_target_does_not_have_is_refused(tmp_path: Path) -> None:
    module = torch.nn.LSTM(3, 5, dtype=torch.float16)
    for name in ("npz", "cellar"):
        with pytest.raises(InvalidType, match="float16"):
            weights.write(tmp_path / "own.npz", name, module.state_dict())
        assert not list(tmp_path.iterdir())


def test_a_file_with_another_layer_than_the_written_one_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, spec: Any, arrays: Any) -> None:
        npz.write(path, spec, arrays | {f"z.{name}": value for name, value in arrays.items()})

    monkeypatch.setitem(targets.TARGETS, "npz", targets.TARGETS["npz"]._replace(write=write))
    with pytest.raises(NotEquivalent, match="layers"):
        weights.write(tmp_path / "own.npz", "npz", torch.nn.LSTM(3, 5).state_dict())
    assert not list(tmp_path.iterdir())

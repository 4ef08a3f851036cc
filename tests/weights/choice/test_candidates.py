"""Arrays of a recurrent layer under names of the user's own: what they may be, and the names under which it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl
from common.cli import main
from common.weights import files
from common.weights.candidates import candidates
from tests.weights.choice.models import H, I, inputs

Names = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def ones(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: np.ones(shape) for name, shape in shapes.items()}


FOUR = [f"{part}_{side}" for part in ("weight", "bias") for side in ("ih", "hh")]
NAMES: dict[str, Names] = {
    "enc_w_ih": lambda p: {f"enc_{name.replace('weight', 'w').replace('bias', 'b')}": p[name] for name in FOUR},
    "Wx": lambda p: {"Wx": p["weight_ih"].T, "Wh": p["weight_hh"].T, "bx": p["bias_ih"], "bh": p["bias_hh"]},
    "one bias": lambda p: {"m/W": p["weight_ih"], "m/U": p["weight_hh"], "m/b": p["bias_ih"] + p["bias_hh"]},
    "joined": lambda p: {
        "my_lstm_kernel": np.hstack([p["weight_ih"], p["weight_hh"]]).T,
        "my_lstm_bias": p["bias_ih"] + p["bias_hh"],
    },
}


@pytest.mark.parametrize(
    ("cell", "names"),
    [*((cell, names) for cell in ("RNN", "LSTM", "GRU") for names in ("enc_w_ih", "Wx"))]
    + [("LSTM", "one bias"), ("LSTM", "joined")],
)
def test_what_is_printed_saves_them_under_names_that_are_read(
    cell: str, names: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines are run as they are, and the layer then computes what torch's does."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(4)
    model: Any = getattr(torch.nn, cell)(I, H)
    params = {name.removesuffix("_l0"): value.numpy() for name, value in model.state_dict().items()}
    arrays: dict[str, Any] = {"emb": np.ones((9, I), "float32"), "fc_w": np.ones((2, H), "float32")}
    arrays |= NAMES[names](params)
    np.savez("a.npz", **arrays)
    assert main(["inspect", "a.npz"]) == 0
    out = capsys.readouterr().out
    assert f"may be of one {cell}" in " ".join(out.split())
    assert "not recurrent: 2 arrays" in out
    code = "\n".join(line[2:] for line in out.partition("are read")[2].splitlines()[1:] if line.startswith("  "))
    exec(code[code.index("import") :], {})
    module: Any = numpy_impl.load("renamed.npz", nonlinearity="tanh" if cell == "RNN" else None)
    x = inputs()
    y = module(x.numpy())[0]
    np.testing.assert_allclose(y, model(x)[0].detach(), rtol=0, atol=1e-6)
    assert main(["describe", "a.npz"]) == 2
    assert capsys.readouterr().err.endswith("rosetta inspect shows under which names to save them\n")


@pytest.mark.parametrize(
    "arrays",
    [
        ones(**{"input.weight": (4, 7), "hidden.weight": (4, 4), "hidden.bias": (4,)}),
        ones(**{f"W{side}_{gate}": (4, 3 if side == "x" else 4) for side in "xh" for gate in "ifco"}),
        ones(**{"lstm.head.weight": (16, 7), "lstm.head.bias": (16,)}),
        ones(w_ih=(12, 3), w_hh=(12, 5)),
        ones(w_ih=(12, 3), w_hh=(9, 3)),
        ones(enc_w_ih=(12, 3), dec_w_hh=(12, 4)),
        ones(w_ih=(12, 3, 1), w_hh=(12, 4, 1)),
        {name: np.ones((4, 4), int) for name in ("w_ih", "w_hh")},
    ],
    ids=str,
)
def test_other_arrays_are_no_candidates(arrays: dict[str, np.ndarray]) -> None:
    assert candidates(arrays, list(arrays)) == []


def test_each_layer_has_the_biases_of_its_own_names() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for at in ("enc", "dec"):
        shapes |= {f"{at}_w_ih": (12, 3), f"{at}_w_hh": (12, 4), f"{at}_b_ih": (12,), f"{at}_b_hh": (12,)}
    arrays = ones(**shapes)
    first, second = candidates(arrays, list(arrays))
    assert first.arrays == ("enc_w_ih", "enc_w_hh", "enc_b_ih", "enc_b_hh")
    assert second.renamed["dec.bias_hh_l0"] == "a['dec_b_hh']"


def test_a_file_is_described_in_a_few_words(tmp_path: Path) -> None:
    torch.save(torch.nn.LSTM(3, 5).state_dict(), tmp_path / "model.pt")
    file = files.read(tmp_path / "model.pt")
    assert repr(file) == f"<{tmp_path / 'model.pt'}: PyTorch's state_dict, 4 arrays, layers: . (LSTM, 3 -> 5)>"
    assert file.layers is not None
    (layer,) = file.layers
    assert repr(layer) == "<.: torch LSTM, LSTM, 3 -> 5>"
    assert "torch LSTM, cannot be used" in repr(layer._replace(spec=None))

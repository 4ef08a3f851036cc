"""Weights that are loaded into the module of another cell are refused with the name of the module that they are of."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from flax import nnx

import jax_impl
import numpy_impl
import torch_impl
from common.errors import InvalidInput
from common.model.cells import CELLS, TABLE
from common.model.initial import initial_parameters
from common.model.layout import likely_owner, parameter_shapes
from common.model.spec import ModelSpec

I, H = 3, 5
# The cells that have the same names and shapes, in words.
OWNERS = {
    "RNN": "an RNN's?",
    "RNNCell": "an RNNCell's?",
    "LSTM": "an LSTM's?",
    "LSTMCell": "an LSTMCell's?",
    "GRU": "a GRU's or an LSTM1997's?",
    "GRUCell": "a GRUCell's or an LSTM1997Cell's?",
    "LSTM1997": "a GRU's or an LSTM1997's?",
    "LSTM1997Cell": "a GRUCell's or an LSTM1997Cell's?",
}
PAIRS = [(own, given) for own, given in product(CELLS, CELLS) if OWNERS[own] != OWNERS[given]]
PACKAGES = {"numpy": numpy_impl, "jax": jax_impl, "torch": torch_impl}


def weights(cell: str, hidden_size: int = H, **options: Any) -> dict[str, np.ndarray]:
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=hidden_size, dtype="float32", **options)
    return initial_parameters(spec, 2)


def refusal(module: Any, params: dict[str, Any]) -> str:
    with pytest.raises((InvalidInput, RuntimeError)) as caught:
        load(module, params)
    assert str(caught.value).count("'s?") <= 1
    assert isinstance(caught.value, RuntimeError if isinstance(module, torch.nn.Module) else InvalidInput)
    return str(caught.value)


def load(module: Any, params: dict[str, Any]) -> None:
    tensors = isinstance(module, torch.nn.Module)
    module.load_state_dict({name: torch.tensor(value) for name, value in params.items()} if tensors else params)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_wrong_pair_is_named(package: str) -> None:
    options = {"rngs": nnx.Rngs(0)} if package == "jax" else {}
    modules = {cell: getattr(PACKAGES[package], cell)(I, H, **options) for cell in CELLS}
    for own, given in PAIRS:
        for hidden_size in (H, H + 2):
            text = refusal(modules[own], weights(given, hidden_size))
            assert text.endswith(f"; {OWNERS[given]}"), (own, given, text)
        if not TABLE[given].is_step:
            text = refusal(modules[own], weights(given, num_layers=2, bidirectional=True, bias=False))
            assert text.endswith(f"; {OWNERS[given]}"), (own, given, text)
    for cell, module in modules.items():
        load(module, weights(cell))
        assert OWNERS[cell] not in refusal(module, weights(cell, H + 2))
    text = refusal(modules["GRU"], weights("LSTM", H, proj_size=2))
    assert text.endswith("; an LSTM's?")


def test_the_owner_is_read_from_names_and_shapes_alone() -> None:
    gru = ModelSpec(cell="GRU", input_size=I, hidden_size=H)
    assert likely_owner(gru, {}) == ""
    assert likely_owner(gru, weights("GRU")) == likely_owner(gru, weights("LSTM1997")) == ""
    for shape in ((), (15,), (16, 5), (0, 5), (15, 0), (25, 5)):
        assert likely_owner(gru, {"weight_hh_l0": np.ones(shape)}) == "", shape
    # Three blocks with a projection are no cell's.
    lstm = ModelSpec(cell="LSTM", input_size=I, hidden_size=H)
    assert likely_owner(lstm, {"weight_hh_l0": np.ones((15, 2)), "weight_hr_l0": np.ones((2, 5))}) == ""
    assert likely_owner(gru, {"weight_hh_l0": np.ones((20, 2)), "weight_hr_l0": np.ones((2, 5))}) == "an LSTM's?"
    assert likely_owner(gru, {"weight_hh_l0": object()}) == ""
    assert set(parameter_shapes(gru)) == set(weights("LSTM"))


@pytest.mark.parametrize("assign", [False, True])
def test_a_module_of_torch_around_ours_says_it_too(assign: bool) -> None:
    """By its shapes; torch's own error has the names. What torch takes without ``strict`` is taken."""
    network: Any = torch.nn.Sequential(torch.nn.Linear(2, I), torch_impl.LSTM(I, H), torch_impl.RNNCell(H, 2))
    other = torch.nn.Sequential(torch.nn.Linear(2, I), torch.nn.GRU(I, H), torch_impl.RNNCell(H, 2))
    with pytest.raises(RuntimeError, match="size mismatch") as caught:
        network.load_state_dict(other.state_dict(), assign=assign)
    assert str(caught.value).count(OWNERS["GRU"]) == str(caught.value).count("'s?") == 1
    kept = network[1].weight_hh_l0.clone()
    found = network[1].load_state_dict(torch.nn.GRUCell(I, H).state_dict(), strict=False, assign=assign)
    assert len(found.missing_keys) == len(found.unexpected_keys) == 4
    assert torch.equal(network[1].weight_hh_l0, kept)
    network.load_state_dict(network.state_dict(), assign=assign)

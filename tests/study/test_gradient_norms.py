"""The gradient norms through time are those of every step's state, in each backend."""

import numpy as np
import pytest
import torch

from common import datasets
from common.backend import registry
from common.backend.contract import Batch
from common.errors import InvalidInput
from common.model.initial import initial_network
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec
from common.study.gradient_norms import gradient_norms

T, B, H = 7, 4, 5


def problem(cell: str) -> tuple:
    data = datasets.load("adding", steps=T, train=6, validation=3, test=B)
    network = data.network(cell, H)
    return network, initial_network(network, 3), data.test


def by_autograd(network: NetworkSpec, params: dict, batch: Batch) -> dict[str, np.ndarray]:
    """The states one by one as torch.nn's cell makes them, each keeping its gradient; one sequence at a time."""
    model = network.model
    suffix = "" if model.is_cell else "_l0"
    weights = {name: params[f"rnn.{name}{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    if model.cell == "LSTM1997":  # an LSTM whose forget gates are exactly 1, in the order i, f, g, o
        forget = {"weight_ih": 0.0, "weight_hh": 0.0, "bias_ih": 1e3, "bias_hh": 0.0}
        weights = {
            name: np.concatenate([value[:H], np.full_like(value[:H], forget[name]), value[H:]])
            for name, value in weights.items()
        }
    kind = {"LSTM1997": "LSTM"}.get(model.cell, model.cell.removesuffix("Cell"))
    cell = getattr(torch.nn, f"{kind}Cell")(2, H, dtype=torch.float64)
    cell.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    weight, bias = (torch.tensor(params[f"readout.{name}"]) for name in ("weight", "bias"))
    norms = {name: np.zeros((T + 1, B)) for name in network.model.state_names}
    for b in range(B):
        h = torch.zeros(1, H, dtype=torch.float64, requires_grad=True)
        c = torch.zeros(1, H, dtype=torch.float64, requires_grad=True)
        states = [(h, c)]
        for x_t in torch.tensor(batch.x[:, b : b + 1]):
            h, c = cell(x_t, (h, c)) if kind == "LSTM" else (cell(x_t, h), c)
            c = c * 1.0  # what the next step alone reads
            h.retain_grad()
            c.retain_grad()
            states.append((h, c))
        ((h @ weight.T + bias - torch.tensor(batch.target[b])) ** 2).sum().backward()
        for k, name in enumerate(norms):
            grads = [pair[k].grad for pair in states]
            norms[name][:, b] = [0.0 if grad is None else float(grad.norm()) for grad in grads]
    return norms


@pytest.mark.parametrize("name", ["numpy", "jax", "torch", "torch.nn"])
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "LSTMCell", "GRU", "LSTM1997"])
def test_norms_are_those_of_the_kept_gradients(cell: str, name: str) -> None:
    network, params, batch = problem(cell)
    found = gradient_norms(registry.load(name), network, params, batch)
    expected = by_autograd(network, params, batch)
    assert found.keys() == expected.keys() == set(network.model.state_names)
    for state, norms in found.items():
        assert norms.shape == (T + 1, B)
        assert expected[state][:T].min() > 0
        np.testing.assert_allclose(norms, expected[state], rtol=1e-11)


def test_a_network_that_reads_elsewhere_is_refused() -> None:
    _, params, batch = problem("RNN")
    network = NetworkSpec(
        model=ModelSpec(cell="RNN", input_size=2, hidden_size=H), readout_size=1, readout="final_state"
    )
    message = (
        r"network: expected last_step, mse, features, one layer and direction, no lengths or mask, "
        r"got final_state, mse, RNN"
    )
    with pytest.raises(InvalidInput, match=message):
        gradient_norms(registry.load("numpy"), network, params, batch)

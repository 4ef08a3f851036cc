"""The gates are stacked in torch.nn's order, and mean what they mean there."""

import pytest
import torch

from common.model.cells import TABLE
from common.model.layout import parameter_shapes
from common.model.spec import ModelSpec

I, H = 3, 7


@pytest.mark.parametrize("cell", ["LSTM", "LSTMCell"])
def test_the_order_of_gates_is_torchs(cell: str) -> None:
    """Zero weights, so that the bias alone sets the gates, each to a value of its own."""
    spec = ModelSpec(cell=cell, input_size=I, hidden_size=H)
    a = dict(zip("ifgo", torch.tensor([0.3, -0.8, 1.2, -0.2], dtype=torch.float64), strict=True))
    module = getattr(torch.nn, cell)(I, H, dtype=torch.float64)
    values = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in parameter_shapes(spec).items()}
    (bias,) = (name for name in values if name.startswith("bias_ih"))
    values[bias] = torch.cat([a[gate].repeat(H) for gate in TABLE["LSTM"].letters])
    module.load_state_dict(values)
    x, c0 = torch.ones(1, I, dtype=torch.float64), torch.full((1, H), 0.7, dtype=torch.float64)
    with torch.no_grad():
        result = module(x, (torch.zeros_like(c0), c0))
    h, c = result if spec.is_cell else result[1]
    wanted = torch.sigmoid(a["f"]) * 0.7 + torch.sigmoid(a["i"]) * torch.tanh(a["g"])
    assert torch.allclose(c, wanted, rtol=1e-14, atol=0)
    assert torch.allclose(h, torch.sigmoid(a["o"]) * torch.tanh(wanted), rtol=1e-14, atol=0)


def test_the_order_of_a_gru_s_gates_is_torchs() -> None:
    """Zero weights, so that the biases alone set the gates; z is the share that is kept."""
    spec = ModelSpec(cell="GRUCell", input_size=I, hidden_size=H)
    a = dict(zip("rzn", torch.tensor([0.3, -0.8, 1.2], dtype=torch.float64), strict=True))
    module = torch.nn.GRUCell(I, H, dtype=torch.float64)
    values = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in parameter_shapes(spec).items()}
    values["bias_ih"] = torch.cat([a[gate].repeat(H) for gate in TABLE["GRU"].letters])
    values["bias_hh"][2 * H :] = 0.9
    module.load_state_dict(values)
    with torch.no_grad():
        h = module(torch.ones(1, I, dtype=torch.float64), torch.full((1, H), 0.7, dtype=torch.float64))
    r, z = torch.sigmoid(a["r"]), torch.sigmoid(a["z"])
    wanted = (1 - z) * torch.tanh(a["n"] + r * 0.9) + z * 0.7
    assert torch.allclose(h, wanted.expand(1, H), rtol=1e-14, atol=0)

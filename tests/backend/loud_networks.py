"""Networks with weights so large that predictions are far apart, and batches for them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch
from common.model.initial import initial_network
from common.model.layout import Parameters
from common.model.network import NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec

T, B, I, H, O, S, D = 6, 4, 3, 5, 2, 7, 5  # D steps of a decoder, S symbols
CUT = 4  # the first piece has so many steps
MODEL = ModelSpec(cell="LSTM", input_size=I, hidden_size=H, num_layers=2)
TEXT = NetworkSpec(
    model=MODEL, readout_size=S, readout="every_step", loss="cross_entropy", inputs="embedding", vocabulary=S
)
WAVE = NetworkSpec(model=MODEL, readout_size=O, readout="every_step")
TALK = replace(TEXT, readout="encoder_decoder", readout_size=6)
every_backend = pytest.mark.parametrize("name", ["numpy", "torch", "jax"])


def loud(network: NetworkSpec, seed: int = 2) -> Parameters:
    """Large weights, so that predictions are far apart, and a small bias of the readout, so that they vary."""
    params = initial_network(network, seed)
    return {name: (0.1 if name == "readout.bias" else 4) * value for name, value in params.items()}


def random_batch(network: NetworkSpec) -> Batch:
    rng = np.random.default_rng(0)
    if network is WAVE:
        return Batch(rng.standard_normal((T, B, I)), rng.standard_normal((T, B, O)))
    x, size = rng.integers(S, size=(T, B)), network.readout_size
    if not network.has_decoder:
        return Batch(x, rng.integers(size, size=(T, B)))
    target, words = rng.integers(size, size=(D, B)), rng.integers(size, size=(D, B))
    return Batch(x, target, lengths=np.array([3, T, 1, 5]), decoder_x=words)


def trainer(name: str, network: NetworkSpec, params: Parameters, lr: float) -> Any:
    return registry.load(name).trainer(RunSpec(network=network, optimizer=OptimizerSpec(lr=lr)), params)


def piece(batch: Batch, part: slice) -> Batch:
    return Batch(batch.x[part], batch.target[part])

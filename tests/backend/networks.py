"""Networks of every kind, a batch for each, and a trainer."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from common.backend import registry
from common.backend.contract import Batch
from common.backend.guards import rows_shape
from common.model.initial import initial_network
from common.model.layout import Parameters
from common.model.masks import dropout_masks
from common.model.network import INPUTS, LOSSES, READOUTS, NetworkSpec
from common.model.run import OptimizerSpec, RunSpec
from common.model.spec import ModelSpec

T, B, I, H, O, S, D = 5, 4, 3, 6, 2, 7, 8  # D steps of a decoder, S symbols
LENGTHS = np.array([2, T, 0, 4])


def networks() -> Iterator[NetworkSpec]:
    """All that is allowed of readout, loss and inputs, with an RNN and an LSTM; one or two layers and directions."""
    for number, (readout, loss, inputs) in enumerate(product(READOUTS, LOSSES, INPUTS)):
        decodes = readout == "encoder_decoder"
        if decodes and (loss == "mse" or inputs == "features"):
            continue
        for place, cell in enumerate(("RNN", "LSTM")):
            layers, twice = 1 + (number + place) % 2, not decodes and (number // 2 + place) % 2 == 0
            options: dict[str, Any] = {"num_layers": layers, "dropout": 0.4 * (layers > 1), "bidirectional": twice}
            yield NetworkSpec(
                model=ModelSpec(cell=cell, input_size=I, hidden_size=H, **options),
                readout_size=O if loss == "mse" else O + 3,
                readout=readout,
                loss=loss,
                inputs=inputs,
                vocabulary={"features": None, "one_hot": I, "embedding": S}[inputs],
            )


def label(network: NetworkSpec) -> str:
    return f"{network.model.label} {network.readout} {network.loss} {network.inputs}"


def random_batch(network: NetworkSpec, ragged: bool, seed: int = 0) -> Batch:
    """Random inputs and targets, with masks where there is dropout; one class target in four does not count."""
    rng, model = np.random.default_rng(seed), network.model
    decoder_x = rng.integers(network.readout_size, size=(D, B)) if network.has_decoder else None
    symbols = network.vocabulary
    x = rng.standard_normal((T, B, I)) if symbols is None else rng.integers(symbols, size=(T, B))
    batch = Batch(x, np.zeros(0), lengths=LENGTHS if ragged else None, decoder_x=decoder_x)
    if model.num_layers > 1:
        batch = batch._replace(masks=dropout_masks(model, T, B, rng))
        if network.has_decoder:
            batch = batch._replace(decoder_masks=dropout_masks(network.decoder, D, B, rng))
    rows = rows_shape(network, batch)
    if network.loss == "mse":
        return batch._replace(target=rng.standard_normal((*rows, network.readout_size)))
    target = np.where(rng.random(rows) < 0.25, -1, rng.integers(network.readout_size, size=rows))
    target.flat[0] = 1
    return batch._replace(target=target)


def trainer(name: str, network: NetworkSpec, params: Parameters | None = None, lr: float = 0.1) -> Any:
    run = RunSpec(network=network, optimizer=OptimizerSpec(lr=lr))
    return registry.load(name).trainer(run, initial_network(network, 1) if params is None else params)

"""A batch of every kind of network, with all that it can have."""

from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.model.network import NetworkSpec
from common.model.spec import ModelSpec

T, B, I, H, O, S, D = 5, 4, 3, 7, 2, 6, 8  # D steps of a decoder, S symbols
MODEL = ModelSpec(cell="RNN", input_size=I, hidden_size=H, num_layers=2, dropout=0.5)
SYMBOLS: dict[str, Any] = {"inputs": "embedding", "vocabulary": S, "loss": "cross_entropy"}
NETWORKS = {
    "features": NetworkSpec(model=MODEL, readout_size=O),
    "one layer": NetworkSpec(model=ModelSpec(cell="RNN", input_size=I, hidden_size=H), readout_size=O),
    "last_sequence": NetworkSpec(model=MODEL, readout_size=O, readout="last_sequence"),
    "every_step mse": NetworkSpec(model=MODEL, readout_size=O, readout="every_step"),
    "one_hot": NetworkSpec(model=MODEL, readout_size=O, inputs="one_hot", vocabulary=I),
    "final_state": NetworkSpec(model=MODEL, readout_size=O, readout="final_state", **SYMBOLS),
    "every_step": NetworkSpec(model=MODEL, readout_size=O, readout="every_step", **SYMBOLS),
    "decoder": NetworkSpec(model=MODEL, readout_size=O, readout="encoder_decoder", **SYMBOLS),
}
ROWS = {"last_sequence": (T,), "every_step": (T, B), "encoder_decoder": (D, B)}


def good(name: str) -> Batch:
    """A batch with everything that a network can have."""
    network, rng = NETWORKS[name], np.random.default_rng(0)
    rows = ROWS.get(network.readout, (B,))
    symbols, decodes = network.inputs != "features", network.has_decoder
    return Batch(
        x=rng.integers(network.vocabulary or 0, size=(T, B)) if symbols else rng.standard_normal((T, B, I)),
        target=rng.integers(-1, O, size=rows) if network.loss != "mse" else rng.standard_normal((*rows, O)),
        masks=None if network.model.num_layers == 1 else rng.standard_normal((1, T, B, H)),
        lengths=None if network.readout == "last_sequence" else np.array([1, T, 2, 3]),
        decoder_x=rng.integers(O, size=(D, B)) if decodes else None,
        decoder_masks=rng.standard_normal((1, D, B, H)) if decodes else None,
    )

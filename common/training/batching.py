"""Batches: checked at the door of a trainer, cut into mini-batches of sequences or into pieces of time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.backend.guards import rows_shape
from common.errors import InvalidInput, mismatch
from common.model.initial import dropout_masks
from common.model.network import NetworkSpec

# The axis along which the sequences lie, in each field of a batch.
SEQUENCES = {"x": 1, "masks": 2, "lengths": 0, "decoder_x": 1, "decoder_masks": 2}


def take(network: NetworkSpec, batch: Batch, sequences: Any) -> Batch:
    """Some of the sequences of a batch, by index."""
    axes = SEQUENCES | {"target": len(rows_shape(network, batch)) - 1}
    fields = {name: a for name, a in batch._asdict().items() if a is not None}
    return batch._replace(**{name: np.take(a, sequences, axis=axes[name]) for name, a in fields.items()})


def minibatches(network: NetworkSpec, batch: Batch, size: int | None, rng: np.random.Generator) -> Iterator[Batch]:
    """The sequences in a random order, ``size`` at a time, the last with what remains; with None, all as they are."""
    count = batch.x.shape[1]
    if size is None:
        yield batch
        return
    if network.readout == "last_sequence":
        raise InvalidInput(mismatch("batch_size", "None for last_sequence, whose sequences are one example", size))
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield take(network, batch, order[start : start + size])


def pieces(batch: Batch, steps: int) -> Iterator[Batch]:
    """The whole batch, so many time steps at a time; the last piece has what remains."""
    if batch.lengths is not None:
        raise InvalidInput(mismatch("lengths", "None where time is cut into pieces", "lengths"))
    for start in range(0, batch.x.shape[0], steps):
        part = np.s_[start : start + steps]
        yield batch._replace(x=batch.x[part], target=batch.target[part])


def with_masks(network: NetworkSpec, batch: Batch, rng: np.random.Generator) -> Batch:
    """The batch with dropout masks of its own, if the network has dropout."""
    model = network.model
    if model.num_layers == 1 or not model.dropout:
        return batch
    steps, size = batch.x.shape[:2]
    masks = dropout_masks(model, steps, size, rng)
    if batch.decoder_x is None:
        return batch._replace(masks=masks)
    return batch._replace(masks=masks, decoder_masks=dropout_masks(network.decoder, len(batch.decoder_x), size, rng))

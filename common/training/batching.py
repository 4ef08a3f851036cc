"""Batches: cut into mini-batches of sequences or into pieces of time, and given their dropout masks."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.backend.contract import Batch
from common.backend.guards import rows_shape
from common.errors import InvalidInput, mismatch
from common.model.masks import Masks, as_masks, dropout_masks
from common.model.network import NetworkSpec

# The axis of the sequences in each field of a batch, and in each kind of dropout masks.
SEQUENCES = {"x": 1, "lengths": 0, "mask": 1, "decoder_x": 1}
OF_MASKS = Masks(layers=2, input=0, recurrent=1)


def take(network: NetworkSpec, batch: Batch, sequences: Any) -> Batch:
    """The sequences of a batch with these indices."""
    axes = SEQUENCES | {"target": len(rows_shape(network, batch)) - 1}
    fields = {name: getattr(batch, name) for name in axes if getattr(batch, name) is not None}
    taken = {name: np.take(a, sequences, axis=axes[name]) for name, a in fields.items()}
    taken |= {name: _take_masks(getattr(batch, name), sequences) for name in ("masks", "decoder_masks")}
    return batch._replace(**taken)


def _take_masks(masks: Any, sequences: Any) -> Any:
    """The same for dropout masks, in the form in which they were given."""
    given = as_masks(masks)
    if given is None:
        return None
    pairs = zip(given, OF_MASKS, strict=True)
    taken = Masks(*(None if a is None else np.take(a, sequences, axis=axis) for a, axis in pairs))
    return taken if isinstance(masks, Masks) else taken.layers


def minibatches(network: NetworkSpec, batch: Batch, size: int | None, rng: np.random.Generator) -> Iterator[Batch]:
    """The sequences in random order, ``size`` at a time, the remainder last; with None, all of them in their order."""
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
    """All sequences, ``steps`` time steps at a time; the last piece has the remainder."""
    if batch.lengths is not None:
        raise InvalidInput(mismatch("lengths", "None where time is cut into pieces", "lengths"))
    for start in range(0, batch.x.shape[0], steps):
        piece = np.s_[start : start + steps]
        mask = None if batch.mask is None else batch.mask[piece]
        yield batch._replace(x=batch.x[piece], target=batch.target[piece], mask=mask)


def with_masks(network: NetworkSpec, batch: Batch, rng: np.random.Generator) -> Batch:
    """The batch with newly drawn dropout masks, if the network has dropout."""
    steps, size = batch.x.shape[:2]
    masks = dropout_masks(network.model, steps, size, rng).simplest
    if masks is None:
        return batch
    if batch.decoder_x is None:
        return batch._replace(masks=masks)
    own = dropout_masks(network.decoder, len(batch.decoder_x), size, rng).simplest
    return batch._replace(masks=masks, decoder_masks=own)

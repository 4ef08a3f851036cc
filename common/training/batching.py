"""Batches: checked at the door of a trainer, cut into mini-batches of sequences or into pieces of time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.backend.contract import Batch, check_input, check_lengths, check_masks
from common.errors import InvalidInput, InvalidType, mismatch
from common.model.layout import check_array, check_ndarray, dropout_masks
from common.model.run import NetworkSpec

# The axis along which the sequences lie, in each field of a batch.
SEQUENCES = {"x": 1, "masks": 2, "lengths": 0, "decoder_x": 1, "decoder_masks": 2}


def rows_shape(network: NetworkSpec, batch: Batch) -> tuple[int, ...]:
    """The shape of the prediction without its last axis, O."""
    steps, size = batch.x.shape[:2]
    match network.readout:
        case "last_step" | "final_state":
            return (size,)
        case "last_sequence":
            return (steps,)
        case "every_step":
            return steps, size
        case _:
            return (0 if batch.decoder_x is None else batch.decoder_x.shape[0]), size


def check_inputs(network: NetworkSpec, batch: Batch) -> None:
    """Raise unless everything but the target is what the network reads."""
    if not isinstance(network, NetworkSpec):
        raise InvalidType(mismatch("network", "a NetworkSpec", type(network).__name__))
    if not isinstance(batch, Batch):
        raise InvalidType(mismatch("batch", "a Batch", type(batch).__name__))
    model = network.model
    if network.vocabulary is None:
        check_input(model, batch.x)
    else:
        _check_symbols("x", batch.x, 0, network.vocabulary)
    size = batch.x.shape[1]
    if batch.lengths is not None:
        if network.readout == "last_sequence":
            raise InvalidInput(mismatch("lengths", "None for last_sequence, whose steps are examples", "lengths"))
        check_lengths(batch.lengths, batch.x.shape[0], size)
    if batch.masks is not None:
        check_masks(model, batch.masks, *batch.x.shape[:2])
    if (batch.decoder_x is not None) != network.has_decoder:
        wanted = "symbols (T', B)" if network.has_decoder else "None"
        got = "None" if batch.decoder_x is None else "an array"
        raise InvalidInput(mismatch(f"decoder_x for the readout {network.readout}", wanted, got))
    if batch.decoder_masks is not None and not network.has_decoder:
        raise InvalidInput(mismatch(f"decoder_masks for the readout {network.readout}", "None", "an array"))
    if batch.decoder_x is not None:
        _check_symbols("decoder_x", batch.decoder_x, 0, network.readout_size)
        if batch.decoder_x.shape[1] != size:
            raise InvalidInput(mismatch("decoder_x", f"{size} sequences, as in x", batch.decoder_x.shape[1]))
        if batch.decoder_masks is not None:
            check_masks(network.decoder, batch.decoder_masks, *batch.decoder_x.shape)


def check_batch(network: NetworkSpec, batch: Batch) -> None:
    """Raise unless inputs and targets are what the network is trained on."""
    check_inputs(network, batch)
    shape = rows_shape(network, batch)
    if network.loss == "mse":
        owner = f"the readout {network.readout}"
        check_array("target", batch.target, (*shape, network.readout_size), network.model.dtype, owner)
        if network.readout == "every_step" and batch.lengths is not None and not batch.lengths.any():
            raise InvalidInput(mismatch("lengths", "at least one step whose target counts", "0 everywhere"))
        return
    _check_symbols("target", batch.target, -1, network.readout_size, shape)
    if (batch.target < 0).all():
        raise InvalidInput(mismatch("target", "at least one that counts", "-1 everywhere"))


def _check_symbols(name: str, array: Any, low: int, count: int, shape: tuple[int, ...] | None = None) -> None:
    check_ndarray(name, array)
    if array.dtype.kind not in "iu":
        raise InvalidType(mismatch(name, "integers, the numbers of symbols", array.dtype))
    if shape is None and (array.ndim != 2 or 0 in array.shape):
        raise InvalidInput(mismatch(name, "symbols (T, B), at least one of each", f"shape {array.shape}"))
    if shape is not None and array.shape != shape:
        raise InvalidInput(mismatch(name, shape, array.shape))
    if not low <= array.min() <= array.max() < count:
        wrong = array[(array < low) | (array >= count)][0]
        raise InvalidInput(mismatch(name, f"numbers from {low} to {count - 1}", wrong))


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

"""A whole network: inputs, recurrent layers, perhaps a decoder, readout, loss."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from common.model.layout import split_network
from common.model.network import NetworkSpec

from . import embedding, readout
from .stack import State, valid_steps

# (spec, params, x, state0, lengths, masks, mask) -> (y, final state), as ``stack.forward``.
Core = Callable[..., tuple[Tensor, State]]


def forward(
    core: Core, network: NetworkSpec, params: Mapping[str, Tensor], batch: Any, state0: State
) -> tuple[Tensor, State]:
    """The prediction in the shape that the readout gives it, and the final state; of a ``Batch`` of native arrays."""
    own, model = split_network(params), network.model
    dtype = own["readout"]["weight"].dtype
    vectors = embedding.forward(own.get("embedding"), batch.x, model.input_size, dtype)
    y, state = core(model, own["rnn"], vectors, state0, batch.lengths, batch.masks, batch.mask)
    valid = valid_steps(batch.lengths, batch.mask, batch.x.shape[0])
    if batch.decoder_x is not None:
        model, valid = network.decoder, None
        vectors = embedding.forward(own.get("decoder_embedding"), batch.decoder_x, model.input_size, dtype)
        y, state = core(model, own["decoder"], vectors, state, None, batch.decoder_masks)
    z = readout.select(network.readout, model.num_directions, y, state, valid)
    return readout.forward(own["readout"], z), state


def loss(network: NetworkSpec, prediction: Tensor, batch: Any) -> Tensor:
    if network.loss == "cross_entropy":
        return readout.cross_entropy(prediction, batch.target)
    valid = valid_steps(batch.lengths, batch.mask, batch.x.shape[0]) if network.readout == "every_step" else None
    return readout.mse(prediction, batch.target, valid)

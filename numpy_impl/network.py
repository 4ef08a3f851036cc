"""A whole network: inputs, recurrent layers, perhaps a decoder, readout, loss; forward and backward.

Equations: DERIVATION.md, 10.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from common.backend.contract import Batch
from common.backend.guards import zero_state
from common.model.dtypes import numpy_dtype
from common.model.layout import Parameters, join_network, split_network
from common.model.network import NetworkSpec

from . import embedding, readout, stack
from .stack import State


class Core(NamedTuple):
    """The recurrent layers: ``stack``'s two passes, or others with their signatures."""

    forward: Callable[..., tuple[np.ndarray, State, Any]] = stack.forward
    backward: Callable[..., tuple[Parameters, np.ndarray, State]] = stack.backward


class Tape(NamedTuple):
    """What the backward pass needs: the tapes of encoder and decoder, what was read out, and where."""

    encoder: Any
    decoder: Any
    view: readout.View
    y: np.ndarray
    state: State
    z: np.ndarray


def forward(
    network: NetworkSpec, params: Parameters, batch: Batch, state0: State, core: Core
) -> tuple[np.ndarray, State, Tape]:
    """The prediction in the shape that the readout gives it, the final state, and the tape."""
    own, model, dtype = split_network(params), network.model, numpy_dtype(network.model.dtype)
    vectors = embedding.forward(own.get("embedding"), batch.x, model.input_size, dtype)
    y, state, encoder = core.forward(model, own["rnn"], vectors, state0, batch.lengths, batch.masks, batch.mask)
    valid, decoder = stack.valid_steps(batch.lengths, batch.mask, len(batch.x)), None
    if batch.decoder_x is not None:
        model, valid = network.decoder, None
        vectors = embedding.forward(own.get("decoder_embedding"), batch.decoder_x, model.input_size, dtype)
        y, state, decoder = core.forward(model, own["decoder"], vectors, state, None, batch.decoder_masks)  # (N1)
    seen = readout.view(network.readout, model.num_directions, valid)
    z = readout.select(seen, y, state)
    return readout.forward(own["readout"], z), state, Tape(encoder, decoder, seen, y, state, z)


def loss(network: NetworkSpec, prediction: np.ndarray, batch: Batch) -> tuple[Any, np.ndarray]:
    """The loss and its gradient with respect to the prediction."""
    if network.loss == "cross_entropy":
        return readout.cross_entropy(prediction, batch.target)
    valid = stack.valid_steps(batch.lengths, batch.mask, len(batch.x)) if network.readout == "every_step" else None
    return readout.mse(prediction, batch.target, valid)


def backward(
    network: NetworkSpec, params: Parameters, batch: Batch, tape: Tape, dprediction: np.ndarray, core: Core
) -> Parameters:
    """The gradient of every parameter. The initial state is given: none flows into it."""
    own, model, grads = split_network(params), network.model, {}
    grads["readout"], dz = readout.backward(own["readout"], tape.z, dprediction)
    dy, dstate = readout.spread(tape.view, dz, tape.y, tape.state)
    if batch.decoder_x is not None:
        dw, dvectors, dstate = core.backward(network.decoder, own["decoder"], tape.decoder, dy, dstate)  # (N2)
        grads["decoder"] = dw
        if "decoder_embedding" in own:
            grads["decoder_embedding"] = embedding.backward(own["decoder_embedding"], batch.decoder_x, dvectors)
        dy = np.zeros((*batch.x.shape[:2], model.output_size), dy.dtype)
    grads["rnn"], dvectors, _ = core.backward(model, own["rnn"], tape.encoder, dy, dstate)
    if "embedding" in own:
        grads["embedding"] = embedding.backward(own["embedding"], batch.x, dvectors)
    return join_network({part: grads[part] for part in own})


def gradients(
    network: NetworkSpec, params: Parameters, batch: Batch, state0: State | None = None, core: Core | None = None
) -> tuple[float, Parameters, State]:
    """The loss, its gradient for every parameter, and the final state."""
    core = core or Core()
    if state0 is None:
        state0 = zero_state(network.model, batch.x.shape[1])
    prediction, state, tape = forward(network, params, batch, state0, core)
    value, dprediction = loss(network, prediction, batch)
    return float(value), backward(network, params, batch, tape, dprediction, core), state

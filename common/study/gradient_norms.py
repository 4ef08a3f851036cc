"""How much of a loss reaches each time step: ||dL/dh_t||, and ||dL/dc_t||, from a backend's own gradients.

A sequence cut after t steps goes on from the state h_t, so the gradient of that state is the gradient of the initial
state of what remains. All cuts of a sequence are one ragged batch, and the contract gives all their gradients at once:
``forward`` the states, ``vjp`` the gradients. (Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu et al. 2013.)
"""

import numpy as np

from common.backend.contract import Backend, Batch
from common.errors import InvalidInput, mismatch
from common.model.layout import Parameters, split_network
from common.model.network import NetworkSpec


def gradient_norms(backend: Backend, network: NetworkSpec, params: Parameters, batch: Batch) -> dict[str, np.ndarray]:
    """For each state (h, and c of an LSTM), (T+1, B): the norm of the gradient of a sequence's own squared error with
    respect to it, for t = 0 ... T; that of h_t with c_t held fixed, and the other way round.

    For sequences of equal length, read out at the last step of one direction of one layer, with squared errors.
    """
    model = network.model
    plain = (network.readout, network.loss, network.inputs) == ("last_step", "mse", "features")
    if not plain or batch.lengths is not None or batch.mask is not None or model.num_layers > 1 or model.bidirectional:
        wanted = "last_step, mse, features, one layer and direction, no lengths or mask"
        raise InvalidInput(mismatch("network", wanted, f"{network.readout}, {network.loss}, {model.label}"))
    parts, (T, B, _) = split_network(params), batch.x.shape
    prediction, _ = backend.predict(network, params, batch)
    last = 2 * (prediction - batch.target) @ parts["readout"]["weight"]
    # Column t*B + b: sequence b cut after t steps.
    before = np.tile(batch.x, (1, T - 1, 1))
    _, states = backend.forward(model, parts["rnn"], before, lengths=np.repeat(np.arange(1, T), B))
    after = np.concatenate([np.roll(batch.x, -t, axis=0) for t in range(T)], axis=1)
    start = tuple(np.concatenate([np.zeros_like(part[:, :B]), part], axis=1) for part in states)
    remaining = np.repeat(np.arange(T, 0, -1), B)
    dy = np.zeros((T, T * B, model.output_size), batch.x.dtype)
    dy[remaining - 1, np.arange(T * B)] = np.tile(last, (T, 1))
    dstate = tuple(np.zeros_like(part) for part in start)
    grads = backend.vjp(model, parts["rnn"], after, start, dy, dstate, lengths=remaining)
    norms = (np.linalg.norm(part[0], axis=1).reshape(T, B) for part in grads.state0)
    ends = (np.linalg.norm(last, axis=1), np.zeros(B))  # the readout does not see c_T
    by_state = zip(model.state_names, norms, ends, strict=False)
    return {name: np.concatenate([norm, end[None]]) for name, norm, end in by_state}

"""What a trained network produces when it reads its own output: a decoder's answer, the continuation of a text."""

import numpy as np

from common.backend.contract import Backend, Batch
from common.errors import InvalidInput, mismatch
from common.model.arrays import refuse_masked
from common.model.layout import Parameters
from common.model.network import NetworkSpec


def greedy(backend: Backend, network: NetworkSpec, params: Parameters, batch: Batch) -> np.ndarray:
    """The prediction (T', B, O) of a decoder that reads, at each step, the likeliest symbol of the step before.

    Only the first row of ``batch.decoder_x``, the start symbol, is used.
    """
    if batch.decoder_x is None:
        raise InvalidInput(mismatch("decoder_x", "symbols (T', B)", "None"))
    symbols = np.repeat(batch.decoder_x[:1], len(batch.decoder_x), axis=0)
    for step in range(1, len(symbols)):
        prediction, _ = backend.predict(network, params, batch._replace(decoder_x=symbols))
        symbols[step] = prediction[step - 1].argmax(axis=-1)
    return backend.predict(network, params, batch._replace(decoder_x=symbols))[0]


def generate(
    backend: Backend,
    network: NetworkSpec,
    params: Parameters,
    prompt: np.ndarray,
    length: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """The numbers of the next ``length`` symbols after those of a prompt (T,), each read in turn.

    Temperature 0 takes the likeliest symbol; otherwise symbols are drawn from softmax(prediction / temperature), with
    random numbers from ``seed``, so that equal predictions give equal texts. Raises ``InvalidInput`` for a network that
    does not predict, at every step, the symbols that it reads.
    """
    if network.readout != "every_step" or network.vocabulary != network.readout_size or network.model.bidirectional:
        wanted = "every_step over its own symbols, in one direction, as in the task text"
        raise InvalidInput(mismatch("readout", wanted, network.readout))
    if not 0 <= temperature < float("inf"):
        raise InvalidInput(mismatch("temperature", "a finite number of at least 0", temperature))
    if len(prompt) == 0:
        raise InvalidInput(mismatch("prompt", "at least one symbol", "none"))
    refuse_masked("prompt", prompt)
    rng, state, symbols = np.random.default_rng([seed, 8]), None, []
    x = np.asarray(prompt)[:, None]
    for _ in range(length):
        prediction, state = backend.predict(network, params, Batch(x, np.full(x.shape, -1)), state)
        symbols.append(_choose(prediction[-1, 0].astype("float64"), temperature, rng))
        x = np.array([[symbols[-1]]])
    return symbols


def _choose(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """The number of a symbol, from logits (O,)."""
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / temperature)
    number = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), side="right")
    return int(number.clip(max=len(logits) - 1))

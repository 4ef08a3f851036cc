"""What a trained network says when it reads its own words: a decoder's answer, a text continued."""

import numpy as np

from common.backend.contract import Backend, Batch
from common.errors import InvalidInput, mismatch
from common.model.arrays import refuse_masked
from common.model.layout import Parameters
from common.model.network import NetworkSpec


def greedy(backend: Backend, network: NetworkSpec, params: Parameters, batch: Batch) -> np.ndarray:
    """The prediction (T', B, O) of a decoder that reads the likeliest symbol of each step at the next.

    Of ``batch.decoder_x`` only the first row, the start symbol, is read.
    """
    if batch.decoder_x is None:
        raise InvalidInput(mismatch("decoder_x", "symbols (T', B)", "None"))
    words = np.repeat(batch.decoder_x[:1], len(batch.decoder_x), axis=0)
    for step in range(1, len(words)):
        prediction, _ = backend.predict(network, params, batch._replace(decoder_x=words))
        words[step] = prediction[step - 1].argmax(axis=-1)
    return backend.predict(network, params, batch._replace(decoder_x=words))[0]


def generate(
    backend: Backend,
    network: NetworkSpec,
    params: Parameters,
    prompt: np.ndarray,
    length: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """Symbols (T,) of a prompt -> the numbers of the next ``length`` symbols, each read in turn.

    Temperature 0 takes the likeliest; otherwise symbols are drawn from softmax(prediction / temperature), with random
    numbers from ``seed``, so that equal predictions give equal texts. Raises for a network that does not read out the
    symbols that it reads, at every step.
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
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / temperature)
    return int(
        np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(), side="right").clip(max=len(logits) - 1)
    )

"""A trained network speaks: a decoder reads its own words, a text is continued."""

from dataclasses import replace

import numpy as np
import pytest

from common.backend import registry
from common.backend.contract import Batch
from common.errors import InvalidInput
from common.model.layout import Parameters
from common.training.decoding import generate, greedy
from tests.backend.loud_networks import (
    MODEL,
    TALK,
    TEXT,
    WAVE,
    B,
    D,
    S,
    every_backend,
    loud,
    random_batch,
)


def part_of(params: Parameters, prefix: str) -> Parameters:
    return {key.removeprefix(f"{prefix}."): value for key, value in params.items() if key.startswith(f"{prefix}.")}


def naive_talk(params: Parameters, batch: Batch) -> np.ndarray:
    """Sequence by sequence and word by word, each read where it was said."""
    numpy, answers = registry.load("numpy"), []
    assert batch.lengths is not None
    assert batch.decoder_x is not None
    for n in range(B):
        x = params["embedding.weight"][batch.x[: batch.lengths[n], n]][:, None]
        _, state = numpy.forward(MODEL, part_of(params, "rnn"), x)
        word, rows = batch.decoder_x[0, n], []
        for _ in range(D):
            x = params["decoder_embedding.weight"][word][None, None]
            y, state = numpy.forward(MODEL, part_of(params, "decoder"), x, state)
            rows.append(params["readout.weight"] @ y[0, 0] + params["readout.bias"])
            word = int(np.argmax(rows[-1]))
        answers.append(rows)
    return np.stack(answers, axis=1)


@every_backend
def test_a_decoder_reads_its_own_words(name: str) -> None:
    batch, params = random_batch(TALK), loud(TALK)
    words = batch.decoder_x
    assert words is not None
    before, expected = words.copy(), naive_talk(params, batch)
    found = greedy(registry.load(name), TALK, params, batch)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(words, before)
    others = np.concatenate([words[:1], (words[1:] + 1) % 6])
    np.testing.assert_array_equal(greedy(registry.load(name), TALK, params, batch._replace(decoder_x=others)), found)
    taught, _ = registry.load(name).predict(TALK, params, batch)
    assert (abs(taught - found).max(axis=(1, 2)) > 1e-3).tolist() == [False] + [True] * (D - 1)
    assert len({tuple(answer) for answer in expected.argmax(-1).T.tolist()}) > 1


def test_greedy_needs_a_start() -> None:
    with pytest.raises(InvalidInput, match=r"^decoder_x: expected symbols \(T', B\), got None$"):
        greedy(registry.load("numpy"), TEXT, loud(TEXT), random_batch(TEXT))


PROMPT = np.array([2, 5, 0])


def logits_after(symbols: list[int], params: Parameters) -> np.ndarray:
    x = np.array(symbols)[:, None]
    prediction, _ = registry.load("numpy").predict(TEXT, params, Batch(x, np.full(x.shape, -1)))
    return prediction[-1, 0]


@every_backend
def test_a_text_is_continued_by_the_likeliest_symbol(name: str) -> None:
    """Compared with a loop that reads everything again for every symbol."""
    params, symbols = loud(TEXT), PROMPT.tolist()
    for _ in range(12):
        symbols.append(int(logits_after(symbols, params).argmax()))
    found = generate(registry.load(name), TEXT, params, PROMPT, 12)
    assert found == symbols[3:]
    assert {type(symbol) for symbol in found} == {int}
    assert len(set(found)) > 2
    assert generate(registry.load(name), TEXT, params, PROMPT[:2], 12) != found


@every_backend
def test_equal_seeds_give_equal_texts(name: str) -> None:
    def text(backend: str, seed: int, temperature: float) -> list[int]:
        return generate(registry.load(backend), TEXT, loud(TEXT), PROMPT, 15, temperature, seed)

    assert text(name, 4, 1.0) == text("numpy", 4, 1.0)
    assert text(name, 4, 1.0) != text(name, 5, 1.0)
    assert text(name, 4, 1e-6) == text(name, 4, 0.0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_symbols_come_as_often_as_the_softmax_says(temperature: float) -> None:
    params, count = loud(TEXT), 2000
    numpy = registry.load("numpy")
    drawn = [generate(numpy, TEXT, params, PROMPT, 1, temperature, seed)[0] for seed in range(count)]
    weights = np.exp(logits_after(PROMPT.tolist(), params) / temperature)
    p = weights / weights.sum()
    found = np.bincount(drawn, minlength=S) / count
    assert (abs(found - p) < 4.5 * np.sqrt(p * (1 - p) / count) + 1 / count).all()
    assert p.max() - p.min() > 0.05


def test_a_network_that_cannot_speak_is_refused() -> None:
    numpy, wanted = registry.load("numpy"), "expected every_step over its own symbols, in one direction"
    for network in (WAVE, TALK, replace(TEXT, readout="final_state"), replace(TEXT, readout_size=S - 1)):
        with pytest.raises(InvalidInput) as caught:
            generate(numpy, network, loud(network), PROMPT, 2)
        assert str(caught.value) == f"readout: {wanted}, as in the task text, got {network.readout}"
    both = replace(TEXT, model=replace(MODEL, bidirectional=True))
    with pytest.raises(InvalidInput, match=wanted):
        generate(numpy, both, loud(both), PROMPT, 2)
    for wrong in (-0.5, float("nan"), float("inf")):
        message = f"^temperature: expected a finite number of at least 0, got {wrong}$"
        with pytest.raises(InvalidInput, match=message):
            generate(numpy, TEXT, loud(TEXT), PROMPT, 2, wrong)
    with pytest.raises(InvalidInput, match=r"^prompt: expected at least one symbol, got none$"):
        generate(numpy, TEXT, loud(TEXT), PROMPT[:0], 2)
